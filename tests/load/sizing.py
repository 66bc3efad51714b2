#!/usr/bin/env python3
"""What connections, subscriptions, users and streams take of memory, disk and file descriptors: the tables of docs/sizing.md.

    tests/load/sizing.py SERVER [--only connections,subscriptions,streams] [--scale 1.0] [--settle 2]

Each row has its own server. Memory is the growth of resident memory per item, after the server has been without work for `--settle` seconds; it does not
depend on other load of the machine.

connections    idle connections with a subscription each: plain, over WebSocket, over TLS; named and with a user
subscriptions  subscriptions of one client: literal, with a wildcard, of one subject, of queue groups
cluster        routes to two other servers: connections, memory, and interest of another server
messages       messages of streams in memory and in files, by size: processor time of publishing, memory, disk; the start with them
subjects       subjects of a stream; the start with them
consumers      durable consumers of a stream, without and with unacknowledged messages
streams        streams with one message: memory, disk, descriptors; the start with them
ids            message ids within the duplicate window

Linux. The most connections need a hard limit of 20,000 open files (`ulimit -Hn`); `--scale 0.1 --settle 0` makes a tenth of everything, to test that it works.
"""

import argparse
import contextlib
import os
import pathlib
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time

import streams as load

PARTS_OF_TESTS = pathlib.Path(__file__).parent.parent / "config/options/parts"
CERTIFICATE, KEY = PARTS_OF_TESTS / "server.pem", PARTS_OF_TESTS / "server-key.pem"
# Connections of one source address are limited by its ports.
CONNECTIONS_OF_AN_ADDRESS = 20_000


class Server:
    """A server with a configuration, in a folder of its own."""

    # Seconds without work before memory is read.
    settle = 2.0

    def __init__(self, program, config="", *arguments):
        self.program, self.config, self.arguments = program, config, arguments
        self.folder = tempfile.mkdtemp(prefix="load-sizing-")

    def __enter__(self):
        self.port, self.web = free_port(), free_port()
        file = pathlib.Path(self.folder, "sizing.conf")
        file.write_text(self.config.replace("WEB", str(self.web)))
        arguments = ["-a", "0.0.0.0", "-p", str(self.port), "-c", str(file), *self.arguments]
        self.process = subprocess.Popen([self.program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as one:
                if one.recv(4) == b"INFO":
                    break
            time.sleep(0.02)
        else:
            raise SystemExit(f"{self.program} does not start")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder)

    def rss(self):
        """Resident memory in bytes, when nothing happens."""
        time.sleep(self.settle)
        return status(self.process.pid)

    def files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def free_port():
    with socket.create_server(("0.0.0.0", 0)) as free:
        return free.getsockname()[1]


def status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) * 1024


def read_until(connection, wanted):
    seen = b""
    while wanted not in seen:
        more = connection.recv(65536)
        if not more:
            raise SystemExit(f"closed after {seen}")
        seen += more
    return seen


def dial(server, number, wrap=None, connect=b'{"verbose":false,"headers":true,"no_responders":true}', lines=b""):
    """Connects from one of several addresses and waits until the server has processed everything."""
    here = f"127.0.0.{2 + number // CONNECTIONS_OF_AN_ADDRESS}"
    port = server.web if wrap is upgraded else server.port
    client = socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(here, 0))
    client = wrap(client) if wrap else client
    if wrap is None:
        read_until(client, b"\r\n")
    if connect is not None:
        send(client, b"CONNECT " + connect + b"\r\n" + lines + b"PING\r\n")
        read_until(client, b"PONG\r\n")
    return client


def send(client, data):
    if getattr(client, "is_websocket", False):
        head = bytes([0x82, 0x80 | len(data)]) if len(data) < 126 else bytes([0x82, 0xFE]) + len(data).to_bytes(2, "big")
        data = head + bytes(4) + data
    client.sendall(data)


class WebSocket(socket.socket):
    """A connection after its upgrade; only what is sent is framed."""

    is_websocket = True


def upgraded(client):
    head = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    client.sendall(head + b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n")
    if b"INFO" not in read_until(client, b"\r\n\r\n"):
        read_until(client, b"INFO")
    client.settimeout(None)
    return WebSocket(fileno=client.detach())


def encrypted(client):
    read_until(client, b"\r\n")
    context = ssl.create_default_context(cafile=CERTIFICATE)
    context.check_hostname = False
    return context.wrap_socket(client)


def row(*cells):
    print("|", " | ".join(f"{cell:,.0f}" if isinstance(cell, (int, float)) else str(cell) for cell in cells), "|", flush=True)


def title(*names):
    print()
    row(*names)
    row(*["---" if at == 0 else "--:" for at in range(len(names))])


def connections(options):
    title("idle connections, a subscription each", "number", "B each", "files each")
    tls = f'tls {{ cert_file: "{CERTIFICATE}", key_file: "{KEY}", timeout: 30 }}\n'
    many = "max_connections: 1000000\n"
    user = "authorization { users: [ { user: joe, password: secret } ] }\n"
    web = "websocket { port: WEB, no_tls: true }\n"
    named = b'{"verbose":false,"headers":true,"name":"orders-service-17","lang":"go","version":"1.47.0","user":"joe","pass":"secret"}'
    rows = [
        ("plain", 1_000, "", {}),
        ("plain", 10_000, "", {}),
        ("plain", 18_000, "", {}),
        ("plain, with name, library and user", 10_000, user, {"connect": named}),
        ("WebSocket", 10_000, web, {"wrap": upgraded}),
        ("TLS 1.3", 5_000, tls, {"wrap": encrypted}),
    ]
    for name, count, config, more in rows:
        count = max(100, int(count * options.scale))
        with Server(options.server, many + config) as server:
            before, files = server.rss(), server.files()
            clients = [dial(server, number, lines=b"SUB a.%d 1\r\n" % number, **more) for number in range(count)]
            row(name, count, (server.rss() - before) / count, (server.files() - files) / count)
            for client in clients:
                client.close()


def subscriptions(options):
    title("subscriptions of one client", "number", "B each")
    count = int(1_000_000 * options.scale)
    forms = {
        "literal, `sensors.0042.0004242.temp`": lambda n: b"SUB sensors.%04d.%07d.temp %d\r\n" % (n % 1000, n, n),
        "with a wildcard, `sensors.0042.0004242.*`": lambda n: b"SUB sensors.%04d.%07d.* %d\r\n" % (n % 1000, n, n),
        "queue groups, `sensors.0042.0004242.temp workers`": lambda n: b"SUB sensors.%04d.%07d.temp workers %d\r\n" % (n % 1000, n, n),
        "all of one subject": lambda n: b"SUB sensors %d\r\n" % n,
    }
    for name, form in forms.items():
        with Server(options.server) as server:
            before = server.rss()
            with dial(server, 0) as client:
                for first in range(0, count, 1_000):
                    client.sendall(b"".join(form(number) for number in range(first, min(count, first + 1_000))))
                client.sendall(b"PING\r\n")
                read_until(client, b"PONG\r\n")
                row(name, count, (server.rss() - before) / count)


def cluster(options):
    title("in a cluster", "number", "descriptors of a server", "RSS MiB of a server", "B per subject of another server")
    count = int(200_000 * options.scale)
    for size in (1, 3):
        with contextlib.ExitStack() as stack:
            ports, servers = [], []
            for number in range(size):
                ports.append(free_port())
                routes = f', routes: ["nats://127.0.0.1:{ports[0]}"]' if number else ""
                config = f'cluster {{ name: c, listen: "127.0.0.1:{ports[number]}"{routes} }}\n' if size > 1 else ""
                servers.append(stack.enter_context(Server(options.server, config)))
            before, files = servers[0].rss(), servers[0].files()
            client = stack.enter_context(dial(servers[-1], 0))
            for first in range(0, count, 1_000):
                client.sendall(b"".join(b"SUB sensors.%04d.%07d.temp %d\r\n" % (n % 1000, n, n) for n in range(first, first + 1_000)))
            client.sendall(b"PING\r\n")
            read_until(client, b"PONG\r\n")
            each = (servers[0].rss() - before) / count if size > 1 else ""
            row("servers", size, files, f"{before / 2**20:.1f}", each)


@contextlib.contextmanager
def stream(options, **config):
    """A server with a stream, and its client."""
    with load.Server(options.server) as server:
        client = load.Client(server)
        before = settled(server)
        if config:
            storage = config.pop("storage", "file")
            client.stream("S", "s.>", storage, **config)
        yield server, client, before


def settled(server):
    time.sleep(Server.settle)
    return status(server.process.pid)


def on_disk(server):
    files = pathlib.Path(server.folder).rglob("*")
    return sum(file.stat().st_blocks * 512 for file in files if file.is_file())


def restart(server):
    """Ends the server, starts it again. Returns the milliseconds and the processor time in ms of the start."""
    server.end(signal.SIGINT)
    began = time.monotonic()
    server.start()
    return (time.monotonic() - began) * 1000, server.started / 1000


def messages(options):
    title("messages of a stream", "number", "publish, CPU ns", "memory, B each", "disk, B each", "start, ms", "start, CPU ms")
    for storage in ("memory", "file"):
        for size, count in ((16, 1_000_000), (128, 1_000_000), (128, 10_000_000), (1024, 1_000_000), (16_384, 50_000)):
            if storage == "memory" and count > 1_000_000:
                continue
            count = int(count * options.scale)
            with stream(options, storage=storage, max_msgs=-1) as (server, client, before):
                busy = server.cpu()
                client.fill(count, lambda number: b"s.%d" % (number % 10), size)
                busy = (server.cpu() - busy) * 1000 / count
                memory, disk = (settled(server) - before) / count, on_disk(server) / count
                start = restart(server) if storage == "file" else ("", "")
                row(f"{storage}, {size:,} B", count, busy, memory, disk if storage == "file" else "", *start)


def subjects(options):
    title("subjects of a stream, one message of 64 B each", "number", "memory, B each", "disk, B each", "start, ms", "start, CPU ms")
    for storage in ("memory", "file"):
        for count in (100_000, 1_000_000):
            count = int(count * options.scale)
            with stream(options, storage=storage, max_msgs_per_subject=1) as (server, client, before):
                client.fill(count, lambda number: b"s.%d.name-%07d" % (number % 100, number), 64)
                memory, disk = (settled(server) - before) / count, on_disk(server) / count
                start = restart(server) if storage == "file" else ("", "")
                row(storage, count, memory, disk if storage == "file" else "", *start)


def consumers(options):
    title("durable pull consumers of a stream", "number", "memory, B each", "disk, B each")
    for storage in ("memory", "file"):
        for pending in (0, 100):
            count = int((10_000 if pending == 0 else 1_000) * options.scale)
            with stream(options, storage=storage, max_msgs=-1) as (server, client, before):
                client.fill(pending or 1, lambda number: b"s.x", 128)
                before, disk = settled(server), on_disk(server)
                for number in range(count):
                    client.consumer("S", f"worker-{number}", filter_subject="s.>", ack_policy="explicit")
                    if pending:
                        client.fetch(b"S", b"worker-%d" % number, {"batch": pending})
                        client.deliveries(pending)
                name = f"{storage}, {pending} messages unacknowledged" if pending else storage
                row(name, count, (settled(server) - before) / count, (on_disk(server) - disk) / count if storage == "file" else "")


def streams(options):
    title("streams with one message each", "number", "memory, B each", "disk, B each", "descriptors each", "start, ms", "start, CPU ms")
    for storage in ("memory", "file"):
        count = int(1_000 * options.scale)
        with stream(options) as (server, client, before):
            files = len(os.listdir(f"/proc/{server.process.pid}/fd"))
            for number in range(count):
                client.stream(f"S{number}", f"s.{number}.>", storage)
                client.request(b"s.%d.x" % number, b"x" * 128)
            memory, disk = (settled(server) - before) / count, on_disk(server) / count
            files = (len(os.listdir(f"/proc/{server.process.pid}/fd")) - files) / count
            start = restart(server) if storage == "file" else ("", "")
            row(storage, count, memory, disk if storage == "file" else "", f"{files:.1f}", *start)


def ids(options):
    title("messages with an id within the duplicate window", "number", "memory, B each", "of it for the ids")
    count = int(500_000 * options.scale)
    found = []
    for name, head in (("without", b""), ("with", b"Nats-Msg-Id: 01H%020d\r\n")):
        with stream(options, storage="file", max_msgs=-1, duplicate_window=3_600_000_000_000) as (server, client, before):
            body = b"x" * 128
            for first in range(0, count, 1_000):
                batch = []
                for number in range(first, first + 1_000):
                    block = b"NATS/1.0\r\n" + (head % number if head else b"A: %023d\r\n" % number) + b"\r\n"
                    reply = b"_I.a" if number == first + 999 else b""
                    batch.append(b"HPUB s.x %s %d %d\r\n%s%s\r\n" % (reply, len(block), len(block) + len(body), block, body))
                client.send(b"".join(batch))
                while client.message()[0] != b"_I.a":
                    pass
            found.append((settled(server) - before) / count)
            row(f"{name} an id of 23 B", count, found[-1], found[-1] - found[0])


PARTS = {part.__name__: part for part in (connections, subscriptions, cluster, messages, subjects, consumers, streams, ids)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--settle", type=float, default=Server.settle)
    options = parser.parse_args()
    Server.settle = options.settle
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for name in options.only.split(","):
        PARTS[name](options)


if __name__ == "__main__":
    main()
