"""A server, and a client of its wire protocol that waits for what it expects."""

import collections
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time

DEADLINE = 30.0

# The time in which an answer comes; without one it takes as long.
PATIENCE = 1.0

Message = collections.namedtuple("Message", "subject headers payload")


class Server:
    """A server with this configuration, on any free port."""

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
        said = []
        for line in self.process.stderr:
            said.append(line)
            if "Listening for client connections on " in line:
                host, port = line.split()[-1].rsplit(":", 1)
                self.address = (host, int(port))
            if "Server is ready" in line:
                break
        else:
            raise RuntimeError("the server did not start:\n" + "".join(said))
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)


class Client:
    """A client that has logged in, or was refused."""

    def __init__(self, server, user, password="s", name="client"):
        self.stream = socket.create_connection(server.address, timeout=DEADLINE)
        self.buffer = b""
        self.kept, self.infos, self.sid = [], [], 0
        self.info = json.loads(self._line()[5:])
        options = {
            "user": user, "pass": password, "name": name, "lang": "python", "version": "1",
            "protocol": 1, "headers": True, "no_responders": True, "verbose": False,
        }
        self._send(f"CONNECT {json.dumps(options)}\r\nPING\r\n")
        self._until_pong()

    def close(self):
        self.stream.shutdown(socket.SHUT_RDWR)

    def subscribe(self, subject):
        self.sid += 1
        self._send(f"SUB {subject} {self.sid}\r\nPING\r\n")
        self._until_pong()

    def publish(self, subject, payload):
        self._send(f"PUB {subject} {len(payload.encode())}\r\n{payload}\r\n")

    def request(self, subject, payload="", headers=None):
        """The answer, or None."""
        self.sid += 1
        inbox = f"_INBOX.{id(self)}.{self.sid}"
        body = payload.encode()
        self._send(f"SUB {inbox} {self.sid}\r\n")
        if headers is None:
            self._send(f"PUB {subject} {inbox} {len(body)}\r\n".encode() + body + b"\r\n")
        else:
            block = f"NATS/1.0\r\n{headers}\r\n\r\n".encode()
            sizes = f"{len(block)} {len(block) + len(body)}"
            self._send(f"HPUB {subject} {inbox} {sizes}\r\n".encode() + block + body + b"\r\n")
        return self.await_subject(inbox, PATIENCE)

    def await_subject(self, subject, patience=DEADLINE):
        """The next message to a subject, or None. Others are kept."""
        end = time.monotonic() + patience
        while True:
            for message in self.kept:
                if message.subject == subject:
                    self.kept.remove(message)
                    return message
            if not self._read(end - time.monotonic()):
                return None

    def await_info(self):
        """The next INFO that announces an end."""
        end = time.monotonic() + DEADLINE
        while not any(info.get("ldm") for info in self.infos):
            if not self._read(end - time.monotonic()):
                return {}
        return self.infos[-1]

    def is_closed(self):
        end = time.monotonic() + DEADLINE
        while self._read(end - time.monotonic()):
            pass
        return time.monotonic() < end

    def _send(self, text):
        self.stream.sendall(text if isinstance(text, bytes) else text.encode())

    def _until_pong(self):
        while True:
            line = self._line()
            if line in (b"PONG", b""):
                return
            self._handle(line)

    def _read(self, patience):
        """Handles one operation. Returns False at the end of the stream or of the patience."""
        if patience <= 0:
            return False
        self.stream.settimeout(patience)
        try:
            line = self._line()
        except (TimeoutError, OSError):
            return False
        self._handle(line)
        return line != b""

    def _handle(self, line):
        words = line.split(b" ")
        if words[0] == b"MSG":
            body = self._take(int(words[-1]) + 2)[:-2]
            self.kept.append(Message(words[1].decode(), b"", body))
        elif words[0] == b"HMSG":
            headers, total = int(words[-2]), int(words[-1])
            body = self._take(total + 2)[:-2]
            self.kept.append(Message(words[1].decode(), body[:headers], body[headers:]))
        elif words[0] == b"PING":
            self._send("PONG\r\n")
        elif words[0] == b"INFO":
            self.infos.append(json.loads(line[5:]))

    def _line(self):
        """The next line; empty at the end of the stream."""
        while b"\r\n" not in self.buffer:
            if not self._fill():
                return b""
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def _take(self, count):
        while len(self.buffer) < count and self._fill():
            pass
        part, self.buffer = self.buffer[:count], self.buffer[count:]
        return part

    def _fill(self):
        try:
            read = self.stream.recv(65536)
        except ConnectionError:
            return False
        self.buffer += read
        return read != b""
