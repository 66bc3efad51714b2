#!/usr/bin/env python3
"""What accounts that share cost the server, for several servers in turn.

    tests/load/accounts.py nats-server target/release/natsd [--only services,many] [--rounds 5] [--accounts 10000]

services    requests with 200 outstanding, each with an inbox of its own, to a service of the client's account and over an import:
            processor time for a request and its response
many        a file with many accounts, each with ten users, two exports and two imports: processor time until clients are
            served, and resident memory three seconds later

The number of requests and responses is checked. Linux only.
"""

import argparse
import os
import pathlib
import socket
import subprocess
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")
OUTSTANDING = 200
WARM_UP, MEASURED = 6_000, 300_000
BODY = b"m" * 16
SHARED = """accounts {
  A { users [{user: a, password: a}], exports [{service: svc}] }
  B { users [{user: b, password: b}], imports [{service: {account: A, subject: svc}}] }
}
"""


class Server:
    """A server with a configuration."""

    def __init__(self, program, configuration):
        self.folder = tempfile.TemporaryDirectory()
        path = pathlib.Path(self.folder.name, "server.conf")
        path.write_text(configuration)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        arguments = ["-c", str(path), "-a", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                with self.connect() as one:
                    one.recv(1)
                return
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit(f"{program} does not start") from None
                time.sleep(0.01)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port))

    def cpu(self):
        """Processor time in microseconds."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * 1_000_000 / TICKS

    def rss(self):
        """Resident memory in MiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


class Client:
    """A client that reads whole lines."""

    def __init__(self, server, user, subscription):
        self.file = server.connect().makefile("rwb", buffering=1 << 18)
        connect = '{"verbose":false,"headers":true,"no_responders":true,"user":"%s","pass":"%s"}' % (user, user)
        self.send(f"CONNECT {connect}\r\nSUB {subscription} 1\r\nPING\r\n".encode())
        while self.file.readline() != b"PONG\r\n":
            pass

    def send(self, data):
        self.file.write(data)
        self.file.flush()

    def replies(self, count):
        """Reads as many messages. Returns their reply subjects, empty for those that have none."""
        replies = []
        while len(replies) < count:
            line = self.file.readline()
            if line.startswith(b"-ERR") or not line:
                raise SystemExit(f"{len(replies)} of {count} messages, then {line}")
            words = line.split()
            if words[0] not in (b"MSG", b"HMSG"):
                continue
            self.file.read(int(words[-1]) + 2)
            sizes = 2 if words[0] == b"HMSG" else 1
            replies.append(words[3] if len(words) == 4 + sizes else b"")
        return replies


def services(program, _):
    values = {}
    for name, user in (("within an account", "a"), ("over an import", "b")):
        with Server(program, SHARED) as server:
            service, client = Client(server, "a", "svc"), Client(server, user, "_INBOX.c.*")
            for sent in range(0, WARM_UP + MEASURED, OUTSTANDING):
                if sent == WARM_UP:
                    before = server.cpu()
                inboxes = range(sent, sent + OUTSTANDING)
                client.send(b"".join(b"PUB svc _INBOX.c.%07d 16\r\n%s\r\n" % (inbox, BODY) for inbox in inboxes))
                replies = service.replies(OUTSTANDING)
                service.send(b"".join(b"PUB %s 16\r\n%s\r\n" % (reply, BODY) for reply in replies))
                client.replies(OUTSTANDING)
            values[f"request {name}, CPU µs"] = (server.cpu() - before) / MEASURED
    return values


def many(program, options):
    def account(number):
        users = ", ".join(f"{{user: u{number}_{at}, password: p}}" for at in range(10))
        other = (number - 1) % options.accounts
        exports = f"{{service: svc.{number}}}, {{stream: st.{number}}}"
        imports = (
            f"{{service: {{account: A{other}, subject: svc.{other}}}}}, "
            f"{{stream: {{account: A{other}, subject: st.{other}}}}}"
        )
        return f"A{number} {{ users: [{users}], exports: [{exports}], imports: [{imports}] }}\n"

    with Server(program, "accounts {\n" + "".join(map(account, range(options.accounts))) + "}\n") as server:
        ready = server.cpu() / 1_000_000
        time.sleep(3)
        return {f"{options.accounts} accounts: CPU s until ready": ready, "RSS MiB": server.rss()}


PARTS = {"services": services, "many": many}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--accounts", type=int, default=10_000)
    options = parser.parse_args()
    print("| measure |", " | ".join(map(os.path.basename, options.servers)), "|")
    print("| --- |", " | ".join(["--:"] * len(options.servers)), "|")
    for name in options.only.split(","):
        rounds = [[PARTS[name](server, options) for server in options.servers] for _ in range(options.rounds)]
        for measure in rounds[0][0]:
            columns = [sorted(one[at][measure] for one in rounds) for at in range(len(options.servers))]
            print("|", measure, "|", " | ".join(f"{column[len(column) // 2]:.2f}" for column in columns), "|", flush=True)


if __name__ == "__main__":
    main()
