#!/usr/bin/env python3
"""The time that a right password takes while other clients send wrong ones.

    tests/load/logins.py target/release/natsd nats-server

Passwords are bcrypt hashes of cost 11. From 127.0.0.1 many clients send wrong ones, each again as soon as it
is rejected; from 127.0.0.2 the right one is sent ten times in sequence. Reports how many succeeded, the median
and maximum duration, the duration without the other clients, and the errors that those received.
Linux only.
"""

import argparse
import asyncio
import collections
import os
import pathlib
import socket
import statistics
import subprocess
import tempfile
import time

HASH = "$2b$11$abcdefghijklmnopqrstuuD06ya1Nw2W31Tn1jG5w4.7wnwI3cNXm"
TRIES = 10
CROWDS = [0, 8, 50, 100, 300]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


async def log_in(port, address, password):
    """Returns the server's response to CONNECT and its duration."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    try:
        await reader.readline()
        connect = '{"verbose":false,"user":"u","pass":"%s"}' % password
        began = time.monotonic()
        writer.write(f"CONNECT {connect}\r\nPING\r\n".encode())
        line = b"PING\r\n"
        # A server may send a PING first.
        while line == b"PING\r\n":
            line = await asyncio.wait_for(reader.readline(), 30)
        return line.decode().strip() or "closed", time.monotonic() - began
    finally:
        writer.transport.abort()


async def wrong(port, answers):
    while True:
        try:
            answer, _ = await log_in(port, "127.0.0.1", "wrong")
        except (OSError, asyncio.TimeoutError) as error:
            answer = type(error).__name__
        answers[answer] += 1
        if not answer.startswith("-ERR 'Auth"):
            # As clients do that are told to retry later.
            await asyncio.sleep(0.1)


async def crowd(port, size):
    answers, mine = collections.Counter(), collections.Counter()
    tasks = [asyncio.create_task(wrong(port, answers)) for _ in range(size)]
    await asyncio.sleep(1 if size else 0)
    times = []
    for _ in range(TRIES):
        try:
            answer, took = await log_in(port, "127.0.0.2", "right")
        except (OSError, asyncio.TimeoutError) as error:
            answer, took = type(error).__name__, 0
        mine[answer] += 1
        if answer == "PONG":
            times.append(took)
        await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return times, mine, answers


def measure(command):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "logins.conf"
        file.write_text(f"authorization {{ users: [ {{ user: u, password: '{HASH}' }} ] }}\n")
        port = free_port()
        args = [*command.split(), "-a", "127.0.0.1", "-p", str(port), "-c", file, "-l", os.devnull]
        server = subprocess.Popen(args)
        try:
            while True:
                with socket.socket() as one:
                    if one.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.01)
            alone = 0.0
            for size in CROWDS:
                times, mine, answers = asyncio.run(crowd(port, size))
                median, most = (statistics.median(times), max(times)) if times else (0, 0)
                alone = alone or median
                print(
                    f"    {size:4} wrong: {len(times)} of {TRIES} let in, {median:.2f} s, at most {most:.2f} s, "
                    f"{max(0, median - alone):.2f} and {max(0, most - alone):.2f} s more than alone"
                )
                refused = {answer: count for answer, count in mine.items() if answer != "PONG"}
                print(f"         refused: {refused}; the others: {dict(answers)}")
        finally:
            server.kill()
            server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("servers", nargs="+", help="commands that start a server")
    for command in parser.parse_args().servers:
        print(f"  {command}", flush=True)
        measure(command)


main()
