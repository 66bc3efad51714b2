#!/usr/bin/env python3
"""Starts servers in turn: time until each is ready, memory when idle, size of the program.

    tests/load/starts.py nats-server target/release-files/natsd-linux-amd64 [--rounds 21]

A server is ready when it logs so. Its memory is resident memory, and the part that no other process could share (private),
one second later without clients. Each server is started without options and with streams and monitoring. Prints medians. Linux only.
"""

import argparse
import os
import signal
import socket
import statistics
import subprocess
import tempfile
import time

FORMS = ["clients only", "streams and monitoring"]


def free_ports():
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return [str(socket.getsockname()[1]) for socket in (one, other)]


def processor_seconds(pid):
    """The processor time of another process. Its clock is finer than the ticks of /proc; see clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def memory_kib(pid):
    """Resident memory, and its private part."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        sizes = {key: int(value.split()[0]) for key, _, value in (line.partition(":") for line in file) if value.endswith("kB\n")}
    return sizes["Rss"], sizes["Private_Clean"] + sizes["Private_Dirty"]


def start(program, form, settle):
    """One start. Returns milliseconds until ready, milliseconds of processor time until then, and memory in MiB."""
    client, monitor = free_ports()
    with tempfile.TemporaryDirectory() as folder:
        options = ["-js", "-sd", folder, "-m", monitor] if form == FORMS[1] else []
        began = time.monotonic()
        server = subprocess.Popen(
            [program, "-a", "127.0.0.1", "-p", client, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            for line in server.stderr:
                if "Server is ready" in line:
                    break
            else:
                raise SystemExit(f"{program} does not start")
            wall, busy = time.monotonic() - began, processor_seconds(server.pid)
            time.sleep(settle)
            rss, private = memory_kib(server.pid)
        finally:
            server.send_signal(signal.SIGKILL)
            server.wait()
            server.stderr.close()
    return wall * 1e3, busy * 1e3, rss / 1024, private / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--settle", type=float, default=1.0, help="seconds from ready to the measure of memory")
    options = parser.parse_args()
    names = [os.path.basename(server) for server in options.servers]
    print("| | measure |", " | ".join(names), "|\n| --- | --- |", " | ".join(["--:"] * len(names)), "|")
    sizes = [os.stat(server).st_size / 1e6 for server in options.servers]
    print("| program | MB |", " | ".join(f"{size:.2f}" for size in sizes), "|")
    for form in FORMS:
        results = [[] for _ in options.servers]
        for _ in range(options.rounds):
            for server, result in zip(options.servers, results):
                result.append(start(server, form, options.settle))
        for number, measure in enumerate(["ready after ms", "processor ms until ready", "RSS MiB", "private MiB"]):
            medians = [statistics.median(one[number] for one in result) for result in results]
            print("|", form, "|", measure, "|", " | ".join(f"{value:.1f}" for value in medians), "|", flush=True)


main()
