#!/usr/bin/env python3
"""Growth of resident memory under a mixed load that goes on for long, and whether all messages arrive.

    tests/load/soak.py target/release/natsd nats-server [--minutes 30]

All servers run at the same time under the same load, each with monitoring:

- four publishers, 100 messages a second each, of 16 bytes to 16 KiB, each with a literal and a wildcard subscriber
- two responders in a queue group
- 40 connections a second that come and go: each subscribes, publishes ten messages to itself, sends a request, and
  closes; every other one without unsubscribing, every tenth with a reset
- every ten seconds, /connz and /varz

Memory is read every ten seconds. Its growth is the slope of a straight line, with its standard error, through what was read after the
first quarter: until then a server also fills what it keeps by design, as the list of 10,000 closed connections, which
takes 250 seconds. So a run of less than 20 minutes shows more growth than there is. The exit code is 1 if a message or a response
was lost. Linux only.
"""

import argparse
import asyncio
import os
import pathlib
import random
import socket
import statistics
import struct
import subprocess
import sys
import time

CONNECT = b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n'
PUBLISHERS, BURST, PAUSE = 4, 25, 0.25
SIZES = [16, 128, 1024, 16 << 10]
COMING = 40
LAST = b"last"
PATIENCE = 15.0
"""Seconds after which a message that did not arrive counts as lost."""


class Server:
    """A server with monitoring on free ports."""

    def __init__(self, command):
        self.command, self.lost, self.count, self.visitors = command, 0, 0, 0
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
            self.port, self.monitor = one.getsockname()[1], other.getsockname()[1]
        arguments = ["-a", "127.0.0.1", "-p", str(self.port), "-m", str(self.monitor)]
        self.process = subprocess.Popen([*command.split(), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def is_ready(self):
        while True:
            try:
                return (await Client.connect(self)).close()
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit(f"{self.command} does not start") from None
                await asyncio.sleep(0.05)

    def memory(self):
        """Resident memory in MB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("VmRSS"))

    async def get(self, path):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.monitor)
        writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        assert (await reader.read()).split(b" ", 2)[1] == b"200", path
        writer.close()


class Client:
    """A connection."""

    @classmethod
    async def connect(cls, server, subscribe=b""):
        """Connects and subscribes; both are done when this returns."""
        self = cls()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 20)
        self.send(CONNECT + subscribe)
        await self.flush()
        return self

    def send(self, data):
        self.writer.write(data)

    async def flush(self):
        """Waits until the server has processed what was sent. Nothing else may arrive meanwhile."""
        self.send(b"PING\r\n")
        while await self.reader.readline() not in (b"PONG\r\n", b""):
            pass

    async def next(self):
        """The next message: its subject, its reply subject and its payload."""
        while line := await self.reader.readline():
            words = line.split()
            if words[0] in (b"MSG", b"HMSG"):
                payload = await self.reader.readexactly(int(words[-1]) + 2)
                sizes = 1 if words[0] == b"MSG" else 2
                return words[1], words[3] if len(words) > 3 + sizes else b"", payload[:-2]
            if words[0] == b"PING":
                self.send(b"PONG\r\n")
            elif words[0] == b"-ERR":
                break
        raise ConnectionError(line.decode(errors="replace").strip() or "closed")

    def close(self, is_reset=False):
        if is_reset:
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.close()


def message(subject, payload, reply=b""):
    return b"PUB %s %s %d\r\n%s\r\n" % (subject, reply, len(payload), payload)


async def publish(server, subject, end, sent):
    client, pick = await Client.connect(server), random.Random(1)
    reading = asyncio.ensure_future(client.next())  # Answers PINGs.
    while time.monotonic() < end:
        for _ in range(BURST):
            client.send(message(subject, b"%016d".ljust(pick.choice(SIZES), b"x") % sent[subject]))
            sent[subject] += 1
        await client.writer.drain()
        await asyncio.sleep(PAUSE)
    client.send(message(subject, LAST))
    await client.writer.drain()
    return reading


async def receive(server, client, subject, sent):
    """Receives what is published to a subject, each message in turn, until the last one."""
    at = 0
    try:
        while (payload := (await asyncio.wait_for(client.next(), PATIENCE))[2]) != LAST:
            number = int(payload[:16])
            server.lost += number != at
            server.count += 1
            at = number + 1
    except (asyncio.TimeoutError, OSError):
        server.lost += 1
    server.lost += sent[subject] != at


async def respond(client):
    while True:
        _, reply, payload = await client.next()
        client.send(message(reply, payload))


async def visit(server, number):
    """A connection that comes and goes."""
    client, mine, inbox = await Client.connect(server), b"visit.%d" % number, b"_INBOX.%d.1" % number
    client.send(b"SUB %s.* 1\r\nSUB %s 2\r\n" % (mine, inbox))
    for at in range(10):
        client.send(message(b"%s.%d" % (mine, at), b"%d" % at))
    client.send(message(b"service", b"request", inbox))
    wanted = [(b"%s.%d" % (mine, at), b"%d" % at) for at in range(10)] + [(inbox, b"request")]
    while wanted:
        subject, _, payload = await client.next()
        wanted.remove((subject, payload))
        server.count += 1
    if number % 2:
        client.send(b"UNSUB 1\r\nUNSUB 2\r\n")
        await client.flush()
    client.close(number % 10 == 0)


async def watched(server, number):
    try:
        await asyncio.wait_for(visit(server, number), PATIENCE)
    except (asyncio.TimeoutError, OSError, ValueError):
        server.lost += 1


async def come_and_go(server, end):
    under_way, begin = set(), time.monotonic()
    while (now := time.monotonic()) < end:
        # No more at once than come in four seconds, if the machine is slow.
        if server.visitors < (now - begin) * COMING and len(under_way) < 4 * COMING:
            under_way.add(task := asyncio.ensure_future(watched(server, server.visitors)))
            task.add_done_callback(under_way.discard)
            server.visitors += 1
        await asyncio.sleep(0.5 / COMING)
    await asyncio.gather(*under_way)


async def watch(server, end):
    """Reads memory every ten seconds. Returns seconds and megabytes."""
    read, begin = [], time.monotonic()
    while time.monotonic() < end:
        await server.get("/connz?subs=1")
        await server.get("/varz")
        read.append((time.monotonic() - begin, server.memory()))
        await asyncio.sleep(10)
    return read


async def soak(server, seconds):
    await server.is_ready()
    sent, tasks = {b"steady.%d" % number: 0 for number in range(PUBLISHERS)}, []
    for subject in sent:
        for filters in (subject, b"*." + subject.split(b".")[1]):
            client = await Client.connect(server, b"SUB %s 1\r\n" % filters)
            tasks.append(receive(server, client, subject, sent))
    workers = [await Client.connect(server, b"SUB service workers 1\r\n") for _ in range(2)]
    responding = [asyncio.ensure_future(respond(client)) for client in workers]
    end = time.monotonic() + seconds
    tasks += [publish(server, subject, end, sent) for subject in sent]
    read, *_ = await asyncio.gather(watch(server, end), come_and_go(server, end), *tasks)
    for one in responding:
        one.cancel()
    return read


def fit(points):
    """The slope of a straight line in MB/h, and its standard error."""
    times, sizes = zip(*points)
    slope, start = statistics.linear_regression(times, sizes)
    squares = sum((size - start - slope * time) ** 2 for time, size in points)
    error = (squares / max(1, len(points) - 2)) ** 0.5 / (len(points) * statistics.pvariance(times)) ** 0.5
    return slope * 3600, error * 3600


async def run(servers, minutes):
    try:
        found = await asyncio.gather(*(soak(server, minutes * 60) for server in servers))
    finally:
        for server in servers:
            server.process.kill()
            server.process.wait()
    for server, read in zip(servers, found):
        later = [(at, size) for at, size in read if at >= minutes * 15]
        print(f"  {server.command}")
        print(f"    {server.visitors:,} connections, {server.count:,} messages and responses, {server.lost} lost")
        print(f"    RSS {read[0][1]:.1f} MB at the start, {later[0][1]:.1f} after a quarter, {later[-1][1]:.1f} at the end")
        if len(later) > 2:
            print("    growth {:.2f} ± {:.2f} MB/h".format(*fit(later)))
    return 1 if any(server.lost for server in servers) else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("servers", nargs="+", help="commands that start a server")
    parser.add_argument("--minutes", type=float, default=30.0)
    options = parser.parse_args()
    sys.exit(asyncio.run(run([Server(command) for command in options.servers], options.minutes)))


main()
