#!/usr/bin/env python3
"""Memory of a NATS server, and its effects between clients.

    tests/load/memory_probe.py target/release/natsd [nats-server] [--only flood,slow] [--rounds 3]

Needs only Python 3 and Linux. Each part starts a server on a free port and prints a
line of JSON per server:

flood    a flood of 1 KiB messages to one reader, without and with subscribers that do not read and
         reconnect four times per second: rate kept, page faults per second, processor time per message
large    the same with messages of 64 KiB
slow     500 messages of 1 MB to a reader of 60 MB/s, at the default limits: how many arrive
total    20 stalled subscribers and a flood, 256 MB for all queues: resident memory at the peak
group    the same in a control group of 512 MB, at the default limits: whether the server survives. Needs root
rounds   eight rounds of 10,000 connections: resident memory before, and 15 to 60 s later
ping     round trips of another client beside eight flooders
"""

import argparse
import json
import os
import resource
import socket
import subprocess
import tempfile
import threading
import time

CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"echo":false}\r\n'
WINDOW = 4 << 20
PARTS = ["flood", "large", "slow", "total", "group", "rounds", "ping"]


class Server:
    """A server on a free port, within a with block."""

    def __init__(self, program, config="", group=None):
        self.program, self.config, self.group = program, config, group

    def __enter__(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.file = tempfile.NamedTemporaryFile("w", suffix=".conf")
        self.file.write(self.config)
        self.file.flush()
        args = [self.program, "-a", "127.0.0.1", "-p", str(self.port), "-c", self.file.name]
        enter = self.group and self.group.enter
        self.process = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=enter)
        for _ in range(200):
            try:
                self.dial().close()
                return self
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"{self.program} does not start")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.file.close()

    def dial(self, subscribe=None):
        """Opens a connection and waits until it is served."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = b"SUB %s 1\r\n" % subscribe if subscribe else b""
        client.sendall(CONNECT + lines + b"PING\r\n")
        seen = b""
        while b"PONG\r\n" not in seen:
            news = client.recv(4096)
            if not news:
                raise OSError("closed")
            seen += news
        return client

    def status(self, key):
        """Returns a line of /proc/PID/status, in KiB."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith(key))

    def used(self):
        """Returns page faults and seconds of processor time so far."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        ticks = int(fields[11]) + int(fields[12])
        return int(fields[7]), ticks / os.sysconf("SC_CLK_TCK")


class Group:
    """A control group with a limit of memory, of version 1 or 2, within a with block."""

    def __init__(self, limit):
        self.limit = limit

    def __enter__(self):
        base = "/sys/fs/cgroup/memory" if os.path.isdir("/sys/fs/cgroup/memory") else "/sys/fs/cgroup"
        self.path = f"{base}/natsd-probe-{os.getpid()}"
        os.mkdir(self.path)
        name = "memory.limit_in_bytes" if base.endswith("/memory") else "memory.max"
        with open(f"{self.path}/{name}", "w") as file:
            file.write(str(self.limit))
        return self

    def __exit__(self, *_):
        # The kernel takes a moment to forget the process.
        for _ in range(100):
            try:
                os.rmdir(self.path)
                return
            except OSError:
                time.sleep(0.05)

    def enter(self):
        with open(f"{self.path}/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))


class Flood:
    """Publishes as fast as the server reads until stopped."""

    def __init__(self, server, subject, size, batch=256 << 10, reader=None):
        message = b"PUB %s %d\r\n%s\r\n" % (subject, size, b"x" * size)
        self.data = message * max(1, batch // len(message))
        self.client = server.dial()
        self.reader, self.sent = reader, 0
        self.is_over = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            while not self.is_over:
                # A reader in Python may be slower than the server, and must not become a slow
                # consumer.
                while self.reader and self.sent - self.reader.bytes > WINDOW and not self.is_over:
                    time.sleep(0.0001)
                self.client.sendall(self.data)
                self.sent += len(self.data)
        except OSError:
            pass

    def stop(self):
        self.is_over = True
        self.client.shutdown(socket.SHUT_RDWR)
        self.thread.join()


class Reader:
    """Reads and counts all input."""

    def __init__(self, server, subject):
        self.client = server.dial(subject)
        self.bytes = 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        room = bytearray(1 << 20)
        try:
            while count := self.client.recv_into(room):
                self.bytes += count
        except OSError:
            pass


def stall(server, subject, stop, again=0.25):
    """Subscribes, reads nothing, and reconnects repeatedly: a closed connection cannot be distinguished from an unread one."""
    while not stop.is_set():
        client = server.dial(subject)
        stop.wait(again)
        client.close()


def flood(program, size=1024, seconds=3.0):
    with Server(program) as server:
        reader = Reader(server, b"x")
        publisher = Flood(server, b"x", size, reader=reader)
        time.sleep(1)

        def stretch():
            (faults, cpu), count, start = server.used(), reader.bytes, time.monotonic()
            time.sleep(seconds)
            wall = time.monotonic() - start
            (faults_now, cpu_now), messages = server.used(), (reader.bytes - count) / size
            return messages / wall, (faults_now - faults) / wall, (cpu_now - cpu) / messages * 1e9

        before = stretch()
        stop = threading.Event()
        stalled = threading.Thread(target=stall, args=(server, b"x", stop))
        stalled.start()
        time.sleep(1)
        beside = stretch()
        stop.set()
        stalled.join()
        time.sleep(0.5)
        after = stretch()
        publisher.stop()
    alone = (before[0] + after[0]) / 2
    return {
        "rate_kept_percent": round(100 * beside[0] / alone, 1),
        "mb_per_s_alone": round(alone * size / 1e6),
        "faults_per_s_alone": round((before[1] + after[1]) / 2),
        "faults_per_s_beside": round(beside[1]),
        "cpu_ns_alone": round((before[2] + after[2]) / 2),
        "cpu_ns_beside": round(beside[2]),
    }


def slow(program, rate=60e6, messages=500, size=1_000_000):
    with Server(program) as server:
        client = server.dial(b"x")
        publisher = server.dial()
        message = b"PUB x %d\r\n%s\r\n" % (size, b"x" * size)

        def publish():
            try:
                for _ in range(messages):
                    publisher.sendall(message)
            except OSError:
                pass

        sending = threading.Thread(target=publish)
        start = time.monotonic()
        sending.start()
        wanted = messages * (len(b"MSG x 1 %d\r\n\r\n" % size) + size)
        got, room = 0, bytearray(256 << 10)
        client.settimeout(20)
        try:
            while got < wanted:
                count = client.recv_into(room)
                if not count:
                    break
                got += count
                time.sleep(max(0, start + got / rate - time.monotonic()))
        except OSError:
            pass
        took = time.monotonic() - start
        peak = server.status("VmHWM")
        publisher.shutdown(socket.SHUT_RDWR)
        sending.join()
    return {
        "messages_of_500": got * messages // wanted,
        "seconds": round(took, 1),
        "rss_peak_mib": round(peak / 1024, 1),
    }


def stalled_flood(server, seconds):
    """Floods 20 stalled subscribers. Returns resident memory at the peak, or None if the server was killed."""
    stop = threading.Event()
    stalled = [threading.Thread(target=stall, args=(server, b"x", stop, 60)) for _ in range(20)]
    for thread in stalled:
        thread.start()
    time.sleep(1)
    publisher = Flood(server, b"x", 1024)
    time.sleep(seconds)
    is_killed = server.process.poll() is not None
    peak = None if is_killed else round(server.status("VmHWM") / 1024, 1)
    stop.set()
    try:
        publisher.stop()
    except OSError:
        pass  # The server has closed it.
    for thread in stalled:
        thread.join()
    return peak


def total(program, seconds=6.0):
    is_ours = "natsd" in os.path.basename(program)
    with Server(program, "max_pending_total: 256MB\n" if is_ours else "") as server:
        idle = server.status("VmRSS")
        peak = stalled_flood(server, seconds)
    return {"rss_idle_mib": round(idle / 1024, 1), "rss_peak_mib": peak}


def group(program, limit=512 << 20, seconds=6.0):
    with Group(limit) as limited, Server(program, group=limited) as server:
        peak = stalled_flood(server, seconds)
    return {"limit_mib": limit >> 20, "is_killed": peak is None, "rss_peak_mib": peak}


def rounds(program, count=10_000, times=8):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(count, hard - 200)
    with Server(program) as server:
        idle, start = server.status("VmRSS"), time.monotonic()
        for _ in range(times):
            clients = [server.dial(b"a.%d" % number) for number in range(count)]
            for client in clients:
                client.close()
        took, found = time.monotonic() - start, {}
        for seconds in [15, 30, 45, 60]:
            time.sleep(15)
            found[f"rss_after_{seconds}_s_mib"] = round(server.status("VmRSS") / 1024, 1)
        peak = server.status("VmHWM")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    result = {"connections": count * times, "seconds": round(took), "rss_idle_mib": round(idle / 1024, 1)}
    return {**result, "rss_peak_mib": round(peak / 1024, 1), **found}


def flood_alone(server, subject):
    """Runs in a separate process, so that it does not share the interpreter of the measurement."""
    child = os.fork()
    if child == 0:
        client = server.dial()
        data = (b"PUB %s 16\r\n%s\r\n" % (subject, b"x" * 16)) * 8000
        while True:
            client.sendall(data)
    return child


def ping(program, seconds=5.0):
    with Server(program) as server:
        flooders = [flood_alone(server, b"y.%d" % number) for number in range(8)]
        client, times = server.dial(), []
        time.sleep(0.5)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            start = time.perf_counter()
            client.sendall(b"PING\r\n")
            client.recv(4096)
            times.append((time.perf_counter() - start) * 1e3)
            time.sleep(0.002)
        for flooder in flooders:
            os.kill(flooder, 9)
            os.waitpid(flooder, 0)
    times.sort()
    at = lambda part: round(times[int(len(times) * part)], 2)  # noqa: E731
    return {"pings": len(times), "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": round(times[-1], 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("servers", nargs="+")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    parts = {
        "flood": flood,
        "large": lambda program: flood(program, 64 << 10),
        "slow": slow,
        "total": total,
        "group": group,
        "rounds": rounds,
        "ping": ping,
    }
    for name in options.only.split(","):
        for _ in range(options.rounds):
            for program in options.servers:
                print(json.dumps({"part": name, "server": program, **parts[name](program)}), flush=True)


if __name__ == "__main__":
    main()
