"""A server with monitoring, and the same few clients for each."""

import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time

DEADLINE = 30.0


class Server:
    """A server with this configuration, on any free ports."""

    def __init__(self, program, config):
        self.directory = tempfile.TemporaryDirectory()
        path = os.path.join(self.directory.name, "server.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(config)
        self.process = subprocess.Popen(
            [program, "-c", path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        watchdog = threading.Timer(DEADLINE, self.process.kill)
        watchdog.daemon = True
        watchdog.start()
        said = []
        for line in self.process.stderr:
            said.append(line)
            if "Starting http monitor on " in line:
                self.monitor = line.split()[-1]
            if "Listening for client connections on " in line:
                self.address = line.split()[-1]
            if "Server is ready" in line:
                break
        else:
            raise RuntimeError("the server did not start:\n" + "".join(said))
        watchdog.cancel()
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def get(self, path):
        """Status, headers and body."""
        return self.get_from(self.monitor, path)

    @staticmethod
    def get_from(address, path):
        connection = http.client.HTTPConnection(address, timeout=DEADLINE)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        connection.close()
        return answer.status, headers, body

    def json(self, path):
        return json.loads(self.get(path)[2])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(DEADLINE)
        self.directory.cleanup()


class Client:
    """A minimal client of the wire protocol."""

    def __init__(self, server, is_let_in=True, **connect):
        host, port = server.address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), DEADLINE)
        self.file = self.socket.makefile("rb")
        self.cid = json.loads(self.file.readline().split(b" ", 1)[1])["client_id"]
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True}
        self.tell("CONNECT " + json.dumps(options | connect) + "\r\n")
        # nats-server counts input read together with CONNECT for another account.
        if is_let_in:
            self.say()

    def tell(self, text):
        self.socket.sendall(text.encode())

    def say(self, text=""):
        """Sends a text, and waits until the server has processed it."""
        self.tell(text + "PING\r\n")
        while line := self.file.readline():
            if line == b"PONG\r\n":
                return
        raise RuntimeError("the server closed the connection")

    def leave(self):
        self.file.close()
        self.socket.close()


def free_port():
    """For programs that take no "any port"; the port is unlikely to be reused this soon."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def until(what, holds):
    end = time.monotonic() + DEADLINE
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"never: {what}")
        time.sleep(0.01)


class System:
    """Some clients with the same behaviour on each server."""

    def __init__(self, server, who):
        self.server = server
        a = Client(server, name="a", lang="python", version="1.0", **who["a"])
        a.say("SUB one 1\r\nSUB two.* q 2\r\nSUB three.> 3\r\nUNSUB 3 10\r\n")
        b = Client(server, name="b <&> ü", lang="python", version="1.0", **who["b"])
        b.say("SUB one 1\r\nSUB gone 2\r\nUNSUB 2\r\n")
        a.say("PUB one 5\r\nhello\r\nPUB two.x 3\r\nabc\r\nPUB nobody 1\r\nx\r\n")
        b.say("PUB three.a.b 4\r\nfour\r\nHPUB one 12 14\r\nNATS/1.0\r\n\r\nhi\r\n")
        gone = Client(server, name="gone", lang="python", version="1.0", **who["a"])
        gone.say("SUB left.behind 9\r\nPUB one 2\r\nby\r\n")
        gone.leave()
        self._await_closed(1)
        bad = Client(server, name="bad", lang="python", version="1.0", **who["a"])
        bad.tell("NONSENSE\r\n")
        self._await_closed(2)
        if "wrong" in who:
            Client(server, is_let_in=False, name="wrong", lang="python", version="1.0", **who["wrong"])
            self._await_closed(3)
        a.say()
        self.clients = [a, b]

    def _await_closed(self, count):
        closed = lambda: self.server.json("/connz?state=closed")["total"] >= count
        until(f"{count} connections are closed", closed)

    def leave(self):
        for client in self.clients:
            client.leave()
