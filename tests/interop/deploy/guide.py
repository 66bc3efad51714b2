"""The commands of docs/getting-started.md, docs/migration.md, docs/troubleshooting.md and the upgrade in docs/operations.md, typed as they
stand there. Reports in TAP.

NATSD, REFERENCE and NATS name the programs. Needs root, for a network and a table of processes of its own.
"""

import os
import re
import subprocess
import sys
import tempfile

import own_network
from report import run
from terminal import Terminal, blocks, commands

DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../docs")

# What stands for something else in a command of a document.
PLACEHOLDERS = {
    "DIRECTORY": "./all", "FILE": "nats.conf", "PID": "nats-server.pid", "SUBJECT": "orders.4", "STREAM": "ORDERS", "CONSUMER": "WORK",
    "/run/natsd.pid": "natsd.pid", "/usr/bin/nats-server": "./nats-server",
}

CONFIG = """
server_name: one
port: 4222
http: "127.0.0.1:8222"
jetstream { store_dir: "./store" }
"""


def commands_of(name, title=None):
    """All commands of a document, or of a part: those in blocks, and those in the text that begin with a program's name."""
    with open(f"{DOCS}/{name}", encoding="utf-8") as file:
        text = file.read()
    if title:
        text = text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    found = []
    for block in re.findall(r"(?ms)^```sh\n(.*?)^```$", text):
        found += [command.split("  #")[0].strip() for command in commands(block)]
    text = re.sub(r"(?ms)^```.*?^```$", "", text)
    found += re.findall(r"`((?:natsd|nats-server|nats|curl|ln) [^`]+)`", text)
    return [command for command in found if "…" not in command]


def endpoints_of(name):
    """The paths of monitoring that a document names."""
    with open(f"{DOCS}/{name}", encoding="utf-8") as file:
        return re.findall(r"`(/[a-z]+z\?[^`]*|/[a-z]+z)`", file.read())


class Desk:
    """A folder with the programs in the path, as a reader has them."""

    def __init__(self):
        self._directory = tempfile.TemporaryDirectory(prefix="natsd-guide-")
        self.folder = self._directory.name
        self.programs = os.path.join(self.folder, "programs")
        os.mkdir(self.programs)
        for name in ("REFERENCE", "NATS"):
            os.symlink(os.path.realpath(os.environ[name]), os.path.join(self.programs, "nats" if name == "NATS" else "nats-server"))
        # The build of CI takes the place of this one.
        with open(os.path.join(self.programs, "cargo"), "w", encoding="utf-8") as file:
            file.write('#!/bin/sh\n[ "$*" = "build --release" ] && mkdir -p target/release && ln -s "$NATSD" target/release/natsd\n')
        os.chmod(os.path.join(self.programs, "cargo"), 0o755)

    def terminal(self, name):
        """A terminal in a new folder."""
        folder = os.path.join(self.folder, name)
        os.mkdir(folder)
        return Terminal(folder, HOME=folder, PATH=f"{self.programs}:{os.environ['PATH']}")


def getting_started(desk):
    terminal = desk.terminal("getting-started")
    try:
        for block in blocks(f"{DOCS}/getting-started.md"):
            terminal.follow(block)
        # All servers end.
        terminal.type("wait $(jobs -p)")
        # Without a network there are no addresses to advertise.
        errors = [line for line in terminal.output.splitlines() if "[ERR]" in line and '"0.0.0.0" can not be resolved' not in line]
        assert errors == [] and "[FTL]" not in terminal.output, errors
    finally:
        terminal.close()


class Walk:
    """Types commands of documents, and knows which are left."""

    def __init__(self, terminal, listed):
        self.terminal, self.left = terminal, list(dict.fromkeys(listed))

    def type(self, *given, more=""):
        """Types commands that the documents have."""
        for command in given:
            assert command in self.left, f"no document has {command!r} any more, only {self.left}"
            self.left.remove(command)
            for word, meaning in PLACEHOLDERS.items():
                command = re.sub(rf"(?<![\w/]){re.escape(word)}(?!\w)", meaning, command)
            start = self.terminal.type(command + more)
        return start


def migration_and_troubleshooting(desk):
    terminal = desk.terminal("migration")
    walk = Walk(terminal, commands_of("migration.md") + commands_of("troubleshooting.md") + commands_of("operations.md", "Upgrade of a cluster"))
    with open(os.path.join(desk.folder, "migration", "nats.conf"), "w", encoding="utf-8") as file:
        file.write(CONFIG)
    try:
        terminal.type("cargo build --release && export PATH=$PWD/target/release:$PATH")
        walk.type("natsd -t -c nats.conf")
        # A nats-server with a stream, whose consumer has got one of three messages.
        terminal.type("nats-server -c nats.conf -P nats-server.pid &")
        terminal.type("nats stream add ORDERS --subjects 'orders.>' --defaults")
        terminal.type("nats consumer add ORDERS WORK --pull --defaults")
        for number in (1, 2, 3):
            terminal.type(f"nats pub --jetstream orders.{number} apples")
        terminal.type("nats consumer next ORDERS WORK --ack")
        walk.type("nats stream edit ORDERS --replicas 1 --force", "nats stream backup ORDERS ./orders", "nats account backup DIRECTORY --force")
        walk.type("nats-server --signal ldm")
        terminal.type("wait %1")
        walk.type("natsd -c nats.conf", more=" -P natsd.pid &")
        start = walk.type("nats --server nats://natsd:4222 stream restore ./orders")
        terminal.until("Messages: 3", start)
        start = walk.type("nats consumer info STREAM CONSUMER")
        terminal.until("Acknowledgment Floor: Consumer sequence: 1 Stream sequence: 1", start)
        walk.type("curl -s http://127.0.0.1:8222/varz | grep '\"routes\"'", "curl -sf http://127.0.0.1:8222/healthz", "natsd --healthcheck -m 8222")
        start = walk.type("nats trace SUBJECT")
        terminal.until("(?i)stream", start)
        walk.type("nats account info", "natsd -t -c FILE")
        for path in endpoints_of("troubleshooting.md"):
            terminal.type(f"curl -sf -o /dev/null 'http://127.0.0.1:8222{path.replace('SUBJECT', 'orders.1')}'")
        # The way back, by the same name.
        walk.type("ln -s natsd /usr/bin/nats-server")
        walk.type("natsd --signal ldm=/run/natsd.pid")
        terminal.type("wait %1")
        terminal.type("nats-server -c nats.conf -P nats-server.pid &")
        walk.type("nats-server --signal ldm=PID")
        terminal.type("wait %1")
        assert walk.left == [], f"not run: {walk.left}"
    finally:
        terminal.close()


def main():
    if os.getpid() != 1:
        os.execvp("unshare", ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, *sys.argv])
    own_network.enter()
    desk = Desk()
    # The name of the server in docs/migration.md.
    hosts = os.path.join(desk.folder, "hosts")
    with open(hosts, "w", encoding="utf-8") as file:
        file.write("127.0.0.1 localhost natsd\n")
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
    run([getting_started, migration_and_troubleshooting], desk)


main()
