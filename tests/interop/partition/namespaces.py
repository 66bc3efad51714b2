"""Servers and clients in network namespaces of their own, on one bridge from which any of them is taken off without a sign."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time

DEADLINE = 180.0
"""Seconds until a condition must hold; reached only by a failure."""

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_switching = threading.Lock()


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


class Network:
    """A bridge, and a namespace for each server or group of clients."""

    def __init__(self, mark, names):
        # Names of interfaces have 15 characters at most.
        self.mark, self.names = f"{mark}{os.getpid() % 100000}", names
        self.bridge = f"n{self.mark}"
        self.subnet = f"10.{77 + ord(mark[0]) % 64}.0"
        _ip("link", "add", self.bridge, "type", "bridge", "forward_delay", "0")
        _ip("link", "set", self.bridge, "up")
        for number, name in enumerate(names, 1):
            space, outer, inner = self.space(name), self._port(name), self._inner(name)
            _ip("netns", "add", space)
            _ip("link", "add", outer, "type", "veth", "peer", "name", inner)
            _ip("link", "set", inner, "netns", space, "address", self._hardware(name))
            _ip("link", "set", outer, "master", self.bridge, "up")
            _ip("-n", space, "link", "set", "lo", "up")
            _ip("-n", space, "addr", "add", f"{self.subnet}.{number}/24", "dev", inner)
            _ip("-n", space, "link", "set", inner, "up")

    def space(self, name):
        """The namespace of a server."""
        return f"n{self.mark}{name}"

    def _port(self, name):
        return f"p{self.mark}{name}"

    def _inner(self, name):
        return f"i{self.mark}{name}"

    def _hardware(self, name):
        return f"02:00:00:00:00:{self.names.index(name) + 1:02x}"

    def address(self, name):
        """The address of a server."""
        return f"{self.subnet}.{self.names.index(name) + 1}"

    def cut(self, name):
        """What a server sends is lost from now on, and what is sent to it. Its link stays up."""
        _ip("link", "set", self._port(name), "nomaster")

    def heal(self, name):
        """Connects the server again."""
        _ip("link", "set", self._port(name), "master", self.bridge)

    def pin(self):
        """Makes hardware addresses permanent, as if a router were between the members: no system notices that its neighbour is lost."""
        for name in self.names:
            for other in self.names:
                told = ["neigh", "replace", self.address(other), "lladdr", self._hardware(other), "dev", self._inner(name)]
                _ip("-n", self.space(name), *told)

    def connect(self, name, port, source=None):
        """A connection to a server from the namespace of `source`; else from the server's own, which it then does not leave."""
        with _switching, open("/proc/self/ns/net", encoding="utf-8") as own:
            with open(f"/run/netns/{self.space(source or name)}", encoding="utf-8") as space:
                assert _libc.setns(space.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                return socket.create_connection((self.address(name), port), 10)
            finally:
                _libc.setns(own.fileno(), _CLONE_NEWNET)

    def remove(self):
        """Removes everything."""
        for name in self.names:
            subprocess.run(["ip", "link", "del", self._port(name)], check=False, stderr=subprocess.DEVNULL)
            subprocess.run(["ip", "netns", "del", self.space(name)], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "link", "del", self.bridge], check=False, stderr=subprocess.DEVNULL)


class Server:
    """A server in its namespace, with routes to all members of the network if it is in a cluster."""

    def __init__(self, program, network, name, is_in_cluster=True):
        self.network, self.name = network, name
        self._directory = tempfile.TemporaryDirectory(prefix="natsd-partition-")
        path = os.path.join(self._directory.name, "server.conf")
        address = network.address(name)
        routes = ", ".join(f'"nats-route://{network.address(other)}:6222"' for other in network.names)
        cluster = f'cluster {{ name: C, listen: "{address}:6222", routes: [{routes}] }}'
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"""server_name: {name}
listen: "{address}:4222"
http: "{address}:8222"
{cluster if is_in_cluster else ""}
""")
        self._command = ["ip", "netns", "exec", network.space(name), program, "-c", path]
        self.process = None

    def start(self):
        """Starts the server; `ip` is replaced by it, so that signals reach it."""
        self.process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(f"{self.name} accepts clients", self._accepts)

    def _accepts(self):
        try:
            self.network.connect(self.name, 4222).close()
        except OSError:
            return False
        return True

    def signal(self, number):
        """Sends a signal."""
        self.process.send_signal(number)

    def end(self):
        """Ends the process."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()


def until(what, holds):
    """Polls a condition."""
    end = time.monotonic() + DEADLINE
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"never: {what}")
        time.sleep(0.002)


class Client:
    """A client of the wire protocol in the namespace of `source`, or that of its server."""

    def __init__(self, server, source=None, name=""):
        self.stream = server.network.connect(server.name, 4222, source)
        self.stream.settimeout(None)
        self.subjects, self.refused = set(), 0
        self._pongs = 0
        self._changed = threading.Condition()
        self.send('CONNECT {"verbose":false,"headers":true,"no_responders":true,"name":"%s"}\r\nSUB inbox inbox\r\n' % name)
        threading.Thread(target=self._read, daemon=True).start()
        self.flush()

    def send(self, text):
        """Sends a text."""
        self.stream.sendall(text.encode())

    def flush(self):
        """Waits until the server has processed what was sent."""
        with self._changed:
            before = self._pongs
            self.send("PING\r\n")
            assert self._changed.wait_for(lambda: self._pongs > before, DEADLINE), "no PONG"

    def has_responders(self, subject):
        """Asks the server whether anybody listens; the answer of a responder is not awaited."""
        before = self.refused
        self.send(f"PUB {subject} inbox 0\r\n\r\n")
        self.flush()
        return self.refused == before

    def _read(self):
        try:
            self._read_all()
        except OSError:
            pass  # The server has been killed.

    def _read_all(self):
        file = self.stream.makefile("rb")
        while line := file.readline():
            words = line.split()
            if words[0] in (b"MSG", b"HMSG"):
                file.read(int(words[-1]) + 2)
                if words[1] == b"inbox":
                    self.refused += 1
                else:
                    self.subjects.add(words[1].decode())
            elif words[0] == b"PING":
                self.send("PONG\r\n")
            elif words[0] == b"PONG":
                with self._changed:
                    self._pongs += 1
                    self._changed.notify_all()


def json_of(server, path):
    """JSON of a server's monitoring, read inside its namespace."""
    with server.network.connect(server.name, 8222) as stream:
        stream.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        with stream.makefile("rb") as file:
            return json.loads(file.read().split(b"\r\n\r\n", 1)[1])


__all__ = ["Client", "Network", "Server", "json_of", "until"]
