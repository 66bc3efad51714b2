#!/usr/bin/env python3
"""Seconds until a server ends the connections of clients that are cut off without a sign: no FIN, no RST, no ICMP.

    tests/load/partition.py target/release/natsd nats-server [--only idle,flowing] [--wait 120]

idle       subscribers to which nothing is sent
flowing    subscribers to which ten messages of 128 bytes are sent each second

Each server has a network of its own with a namespace for its clients, and default settings; all servers are measured at the
same time. Five clients of each kind connect within 15 seconds, so that their timers differ, and are cut off together. A
connection has ended when /connz no longer lists it. Prints the seconds since the cut, and the reasons that the server gives;
after `--wait` seconds the rest counts as not noticed. Linux only; needs root.
"""

import argparse
import collections
import os
import sys
import threading
import time

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../interop/partition"))

from namespaces import Client, Network, Server, json_of

KINDS = ["idle", "flowing"]
CLIENTS = 5
APART = 3.0
"""Seconds from one client to the next: together as long as natsd's interval of keepalive, 14 s."""

MESSAGE = f"PUB flowing 128\r\n{'x' * 128}\r\n"


def names(server, state="open"):
    """The names of connections, with the reasons of their end."""
    listed = json_of(server, f"/connz?state={state}&limit=1024")["connections"]
    return {one["name"]: one.get("reason", "") for one in listed if one.get("name")}


def publish(server, is_over):
    """Publishes from the namespace of the server, which is not cut off."""
    client = Client(server)
    while not is_over.wait(0.1):
        client.send(MESSAGE)


def cut(server, kinds, wait):
    """Cuts the clients off. Returns the seconds of each until it has ended."""
    is_over = threading.Event()
    threading.Thread(target=publish, args=(server, is_over), daemon=True).start()
    clients = []
    for number in range(CLIENTS):
        for kind in kinds:
            client = Client(server, "c", f"{kind} {number}")
            client.send(f"SUB {kind} 1\r\n")
            client.flush()
            clients.append(client)
        time.sleep(APART)
    left = set(names(server))
    assert len(left) == len(clients), left
    server.network.cut("c")
    began, ended = time.monotonic(), {}
    while left and time.monotonic() - began < wait:
        time.sleep(0.05)
        now = names(server)
        ended.update({name: time.monotonic() - began for name in left - set(now)})
        left &= set(now)
    is_over.set()
    return ended


def measure(mark, program, options, tables):
    """Fills in the rows of a server."""
    network = Network(mark, ["s", "c"])
    server = Server(program, network, "s", is_in_cluster=False)
    try:
        network.pin()
        server.start()
        ended = cut(server, options.only, options.wait)
        reasons = names(server, "closed")
        for kind in options.only:
            mine = sorted(name for name in ended if name.startswith(kind))
            seconds = sorted(ended[name] for name in mine)
            told = f"{seconds[0]:6.1f} to {seconds[-1]:6.1f} s" if mine else f"none within {options.wait:.0f} s"
            why = dict(collections.Counter(reasons.get(name) for name in mine))
            tables[program].append(f"{kind:8} {len(mine)} of {CLIENTS} ended: {told} {why or ''}")
    finally:
        server.end()
        network.remove()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("servers", nargs="+", help="programs of servers")
    parser.add_argument("--only", type=lambda text: text.split(","), default=KINDS)
    parser.add_argument("--wait", type=float, default=120.0)
    options = parser.parse_args()
    tables = {program: [] for program in options.servers}
    # Each network has a name and addresses by its mark.
    marked = zip("abcdefgh", tables)
    threads = [threading.Thread(target=measure, args=(mark, program, options, tables)) for mark, program in marked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for program, rows in tables.items():
        print(f"  {program}")
        for row in rows or ["failed"]:
            print(f"    {row}")
    sys.exit(0 if all(tables.values()) else 1)


main()
