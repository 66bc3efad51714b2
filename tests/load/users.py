#!/usr/bin/env python3
"""The cost of many users with permissions: memory and time of the start and of reloads.

    tests/load/users.py target/release/natsd nats-server

Each server in turn reads 20,000 users with two subjects each, with five subjects to publish to and five to
subscribe to, with the same permissions for all of them, and 4,000 accounts with five users each. The server
starts, reloads the same file twice, and then twice more with another password in it. Reports elapsed time,
the processor time of the process and its resident memory half a second later. Writes to a temporary folder
only. Linux only.
"""

import argparse
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

USERS = 20_000


def user(number, subjects, of):
    """Formats one user; `of` is the owner of the subjects."""
    if subjects == 1:
        may = f'publish: "app.{of}.>", subscribe: "app.{of}.in"'
    else:
        publish = ", ".join(f'"app.{of}.s{at}.>"' for at in range(subjects))
        subscribe = ", ".join(f'"app.{of}.in{at}.*"' for at in range(subjects))
        may = f"publish: {{ allow: [{publish}] }}, subscribe: {{ allow: [{subscribe}] }}"
    return f'{{ user: "user{number}", password: "secret{number}", permissions: {{ {may} }} }}'


def listed(subjects, same=False):
    users = "\n".join(user(at, subjects, 0 if same else at) for at in range(USERS))
    return f"authorization {{ users: [\n{users}\n] }}\n"


def accounts():
    def account(at):
        users = "\n".join(user(at * 5 + one, 1, at * 5 + one) for one in range(5))
        return f"A{at} {{ users: [\n{users}\n] }}\n"

    return "accounts {\n" + "".join(account(at) for at in range(USERS // 5)) + "}\n"


CASES = {
    "two subjects": lambda: listed(1),
    "five and five": lambda: listed(5),
    "all the same": lambda: listed(5, same=True),
    "4,000 accounts": accounts,
}


class Server:
    def __init__(self, command, folder, text):
        self.log = folder / "log"
        self.log.write_text("")
        self.file = folder / "users.conf"
        self.file.write_text(text)
        args = [*command.split(), "-a", "127.0.0.1", "-p", "-1", "-c", self.file, "-l", self.log]
        self.process = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait_for(self, words, count):
        deadline = time.monotonic() + 120
        while self.log.read_text(errors="replace").count(words) < count:
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{self.process.args[0]}: no {words!r}:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.002)

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")")[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, name):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) // 1024
        return 0


def measure(command, text):
    """Prints rows of a table."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        server = Server(command, pathlib.Path(folder), text)
        cpu = 0.0

        def row(step):
            nonlocal cpu
            took = time.monotonic() - began
            time.sleep(0.5)
            used, cpu = server.cpu() - cpu, server.cpu()
            return step, took, used, server.memory("VmRSS"), server.memory("VmHWM")

        try:
            server.wait_for("Server is ready", 1)
            yield row("start")
            for count, step in enumerate(["reload", "reload", "changed", "changed again"], 1):
                if step.startswith("changed"):
                    text = text.replace('"secret', f'"other{count}', 1)
                    server.file.write_text(text)
                began = time.monotonic()
                server.process.send_signal(signal.SIGHUP)
                server.wait_for("Reloaded server configuration", count)
                yield row(step)
        finally:
            server.process.kill()
            server.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("servers", nargs="+", help="commands that start a server")
    parser.add_argument("--only", choices=CASES, help="one case")
    options = parser.parse_args()
    for name, text in CASES.items():
        if options.only in (None, name):
            text = text()
            print(f"\n{USERS:,} users, {name} ({len(text) / 1e6:.1f} MB of text)")
            for command in options.servers:
                print(f"  {command}")
                for step, took, cpu, now, peak in measure(command, text):
                    print(f"    {step:14} {took:6.2f} s  {cpu:5.2f} s of CPU  {now:5} MB, peak {peak:5} MB")


main()
