"""The cost of monitoring with 5,000 clients: processor time of natsd and of nats-server for the same
requests, and the effect on a client's latency. Prints a table; nothing here passes or fails.

    tests/interop/run --install && cargo build --release
    NATSD=target/release/natsd REFERENCE=tests/interop/.tools/bin/nats-server \\
        python3 tests/interop/monitor/cost.py

The machine must be idle otherwise, and the limit of open files at least 11,000.
"""

import os
import socket
import statistics
import threading
import time

from servers import Client, Server, until

NATSD, REFERENCE = (os.environ[name] for name in ("NATSD", "REFERENCE"))

CONFIG = "host: 127.0.0.1, port: -1, http: '127.0.0.1:-1', server_name: one\n"
CLIENTS = 5000
SUBSCRIPTIONS = 4
SECONDS = 10
TICKS = os.sysconf("SC_CLK_TCK")


def used(server):
    """Processor time in seconds."""
    with open(f"/proc/{server.process.pid}/stat", encoding="utf-8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(server):
    """Returns current and peak resident memory in MiB."""
    with open(f"/proc/{server.process.pid}/status", encoding="utf-8") as file:
        lines = dict(line.split(":", 1) for line in file)
    return [int(lines[name].split()[0]) // 1024 for name in ("VmRSS", "VmHWM")]


def connect(server):
    """Thousands of clients at minimal cost in this program."""
    host, port = server.address.rsplit(":", 1)
    clients = []
    for one in range(CLIENTS):
        client = socket.create_connection((host, int(port)))
        subscriptions = "".join(f"SUB place.{one}.{sub} {sub}\r\n" for sub in range(SUBSCRIPTIONS))
        connect_line = f'CONNECT {{"verbose":false,"name":"client {one}","lang":"python","version":"1.0"}}\r\n'
        client.sendall((connect_line + subscriptions).encode())
        clients.append(client)
    until("all are there", lambda: server.json("/varz")["subscriptions"] >= CLIENTS * SUBSCRIPTIONS)
    return clients


class Walker(threading.Thread):
    """A client that repeatedly sends itself a message, and records the durations."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.client = Client(server)
        self.client.say("SUB here 1\r\n")
        self.times = []
        self.goes_on = True

    def run(self):
        while self.goes_on:
            begun = time.perf_counter()
            self.client.tell("PUB here 2\r\nhi\r\n")
            self.client.file.readline()
            self.client.file.readline()
            self.times.append(time.perf_counter() - begun)
            time.sleep(0.002)

    def p99(self):
        """Returns a percentile of the last durations, in microseconds."""
        times, self.times = sorted(self.times) or [0], []
        return times[int(len(times) * 0.99)] * 1e6


def share(server, paths):
    """Returns the percentage of a core used while all of these are requested each second."""
    before = used(server)
    begun = time.perf_counter()
    for second in range(SECONDS):
        for path in paths:
            server.get(path)
        time.sleep(max(0, begun + second + 1 - time.perf_counter()))
    return (used(server) - before) / (time.perf_counter() - begun) * 100


def each(server, path, times=20):
    """Milliseconds of processor time for one request, and the length of the answer in KiB."""
    length = len(server.get(path)[2]) // 1024
    before = used(server)
    for _ in range(times):
        server.get(path)
    return (used(server) - before) / times * 1000, length


def measure(name, program):
    server = Server(program, CONFIG)
    clients = connect(server)
    paths = ["/varz", "/connz", "/connz?subs=1&limit=5000", "/connz?subs=detail&auth=1&limit=5000",
             "/connz?sort=bytes_to&limit=10", "/subsz"]
    if program == NATSD:
        paths.append("/metrics")
    costs = {path: each(server, path) for path in paths}
    for path, (cost, length) in costs.items():
        print(f"{name:12} {path:40} {cost:8.2f} ms CPU  {length:6} KiB", flush=True)
    scraped = ["/varz", "/connz"] + (["/metrics"] if program == NATSD else [])
    quiet = share(server, [])
    busy = share(server, scraped)
    print(f"{name:12} {' + '.join(scraped) + ' each second':40} {busy:8.2f} % of a core ({quiet:.2f} without)", flush=True)
    walker = Walker(server)
    walker.start()
    without, looked_at = [], []
    until("it walks", lambda: walker.times)
    for _ in range(3):
        for found, paths in ((without, []), (looked_at, scraped)):
            walker.p99()
            end = time.perf_counter() + 3
            while time.perf_counter() < end:
                for path in paths:
                    # Read by the kernel only: this program has a single interpreter lock.
                    ask(server, path)
                time.sleep(1)
            found.append(walker.p99())
    walker.goes_on = False
    walker.join()
    text = f"{statistics.median(without):.0f} µs, {statistics.median(looked_at):.0f} µs looked at"
    print(f"{name:12} {'p99 of a message to itself':40} {text}", flush=True)
    print(f"{name:12} {'memory: now, most':40} {memory(server)} MiB", flush=True)
    for client in clients:
        client.close()
    server.stop()
    return costs


def ask(server, path):
    host, port = server.monitor.split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        while connection.recv(1 << 20):
            pass


def main():
    ours = measure("natsd", NATSD)
    theirs = measure("nats-server", REFERENCE)
    for path, (cost, _) in theirs.items():
        if cost > 0:
            print(f"{path:53} natsd / nats-server: {ours[path][0] / cost:.2f}")


main()
