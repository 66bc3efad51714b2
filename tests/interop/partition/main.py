"""How long servers of a cluster need to notice that one is lost, and to be a cluster again. Reports in TAP, and prints
the seconds.

KINDS names the kinds of clusters: natsd and reference, whose programs NATSD and REFERENCE name; they are measured at the
same time. With --short, only a partition of 20 seconds. Needs root, for network namespaces.
"""

import os
import signal
import sys
import threading
import time
import traceback

from namespaces import Client, Network, Server, json_of, until

# The bars of natsd in seconds. They leave room for a busy machine; what is aimed at is in the comments.
BARS = {
    "partition of 20 s": 2.0,  # 1.5
    "partition of 130 s with 1000 subscriptions": 1.5,  # 0.5
    "kill": 1.0,  # 0.05
    "stop": 15.0,  # 10
}


class Trio:
    """A cluster of three, of which c gets lost; a client of a observes."""

    def __init__(self, kind):
        program = os.environ["NATSD" if kind == "natsd" else "REFERENCE"]
        self.network = Network(kind[0], ["a", "b", "c"])
        self.servers = [Server(program, self.network, name) for name in self.network.names]
        self.near = self.lost = None

    def form(self):
        """Starts what does not run, and waits for the full mesh and for interest of a client of c."""
        for server in self.servers:
            if not server.process or server.process.poll() is not None:
                server.start()
        peers = lambda server: {route["remote_id"] for route in json_of(server, "/routez").get("routes", [])}
        for server in self.servers:
            until(f"{server.name} has two peers", lambda server=server: len(peers(server)) == 2)
        self.near, self.lost = Client(self.servers[0]), Client(self.servers[2])
        self.lost.send("SUB known 1\r\n")
        self.lost.flush()
        until("its interest is known", lambda: self.near.has_responders("known"))

    def end(self):
        """Ends all servers, and removes the network."""
        for server in self.servers:
            server.end()
        self.network.remove()

    def arrives(self, subjects):
        """Seconds until a message to each subject has arrived."""
        begin = time.monotonic()
        while missing := [one for one in subjects if one not in self.lost.subjects]:
            self.near.send("".join(f"PUB {one} 0\r\n\r\n" for one in missing))
            if time.monotonic() - begin > 120:
                raise AssertionError(f"{len(missing)} subscriptions are not known")
            time.sleep(0.01)
        return time.monotonic() - begin

    def partition(self, seconds, count):
        """Cuts c off; its client subscribes meanwhile. Returns seconds from the heal until messages arrive there."""
        self.network.cut("c")
        begin = time.monotonic()
        subjects = [f"late.{seconds}.{number}" for number in range(count)]
        # The subject is the sid too: each is new.
        self.lost.send("".join(f"SUB {one} {one}\r\n" for one in subjects))
        self.lost.flush()
        time.sleep(max(0.0, begin + seconds - time.monotonic()))
        self.network.heal("c")
        return self.arrives(subjects)

    def vanishes(self, number):
        """Sends c a signal. Returns seconds until a knows no responders of c."""
        begin = time.monotonic()
        self.servers[2].signal(number)
        until("its interest vanishes", lambda: not self.near.has_responders("known"))
        return time.monotonic() - begin


def _measure(kind, is_short, found):
    trio = Trio(kind)
    try:
        trio.form()
        found["partition of 20 s"] = trio.partition(20, 1)
        if not is_short:
            found["partition of 130 s with 1000 subscriptions"] = trio.partition(130, 1000)
            found["kill"] = trio.vanishes(signal.SIGKILL)
            trio.servers[2].end()
            trio.form()
            found["stop"] = trio.vanishes(signal.SIGSTOP)
    except Exception:  # pylint: disable=broad-except
        traceback.print_exc()
    finally:
        trio.end()


def main():
    """Measures all kinds at the same time."""
    is_short = "--short" in sys.argv[1:]
    names = list(BARS)[:1] if is_short else list(BARS)
    kinds = os.environ["KINDS"].split()
    found = {kind: {} for kind in kinds}
    threads = [threading.Thread(target=_measure, args=(kind, is_short, found[kind])) for kind in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"1..{len(kinds) * len(names)}")
    failed = 0
    for kind in kinds:
        for name in names:
            seconds = found[kind].get(name)
            is_right = seconds is not None and (kind != "natsd" or seconds <= BARS[name])
            failed += not is_right
            told = "no result" if seconds is None else f"{seconds:.3f} s"
            print(f"{'ok' if is_right else 'not ok'} {kind}: {name}: {told}")
    sys.exit(1 if failed else 0)


main()
