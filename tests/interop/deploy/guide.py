"""The commands of the documents for users, typed as they stand there; commands.txt lists those that are not, and why. Reports in TAP.

NATSD, REFERENCE, NATS, RIDER and STOCK name the programs. Needs root, for a network and a table of processes of its own.
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

# The first words of commands within the text.
PROGRAMS = r"natsd|nats-server|nats|curl|ln|openssl|cargo|docker|kubectl|helm|systemctl|promtool|(?:tests|deploy|target)/[^\s`]+|\.ci/run"

# Documents whose commands are typed in sequence, with what they print.
FOLLOWED = ["getting-started.md", "tls.md", "examples.md"]

# What stands for something else in a command of a document.
PLACEHOLDERS = {
    "DIRECTORY": "./all", "FILE": "nats.conf", "PID": "nats-server.pid", "SUBJECT": "orders.4", "STREAM": "ORDERS", "CONSUMER": "WORK",
    "/run/natsd.pid": "natsd.pid", "/usr/bin/nats-server": "./nats-server", "<file>": "nats.conf", "/var/lib/natsd": "./lib",
    "natsd.conf": "nats.conf", "nats://spare:4222": "nats://spare:4444",
}

CARGO = """#!/bin/sh
mkdir -p target/debug target/release
case $* in
  'build --release') ln -s "$NATSD" target/release/natsd ;;
  'build -p rider') ln -s "$RIDER" target/debug/rider ;;
  'build -p stock') ln -s "$STOCK" target/debug/stock ;;
  'test -p rider' | 'test -p stock') ;;
  *) exit 1 ;;
esac
"""

CONFIG = """
server_name: one
port: 4222
http: "127.0.0.1:8222"
jetstream { store_dir: "./store" }
"""


def commands_of(name, title=None):
    """All commands of a document, or of a part: those in blocks, and those in the text that begin with a program's name."""
    text = read(name)
    if title:
        text = text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    found = []
    for block in re.findall(r"(?ms)^```sh\n(.*?)^```$", text):
        found += [command.split("  #")[0].strip() for command in commands(block)]
    text = re.sub(r"(?ms)^```.*?^```$", "", text)
    found += re.findall(rf"`((?:[A-Z_]+=[^\s`]+ )*(?:{PROGRAMS}) [^`\n]+)`", text)
    return [command for command in found if "…" not in command]


def read(name):
    """A document, by its path from the folder of documents."""
    with open(f"{DOCS}/{name}", encoding="utf-8") as file:
        return file.read()


def documents():
    """All documents for users."""
    names = sorted(name for name in os.listdir(DOCS) if name.endswith(".md"))
    return ["../README.md", "../deploy/README.md", *names]


def listed():
    """The commands that are not typed here, by document, and why: commands.txt."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "commands.txt"), encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.strip() and not line.startswith("#")]
    found = {}
    for line in lines:
        # Commands may have a `|` themselves.
        command, reason = line.rsplit(" | ", 1)
        found[tuple(command.split(" | ", 1))] = reason
    return found


def endpoints_of(name):
    """The paths of monitoring that a document names."""
    return re.findall(r"`(/[a-z]+z\?[^`]*|/[a-z]+z)`", read(name))


class Desk:
    """A folder with the programs in the path, as a reader has them."""

    def __init__(self):
        self._directory = tempfile.TemporaryDirectory(prefix="natsd-guide-")
        self.folder = self._directory.name
        self.programs = os.path.join(self.folder, "programs")
        os.mkdir(self.programs)
        for name in ("REFERENCE", "NATS"):
            os.symlink(os.path.realpath(os.environ[name]), os.path.join(self.programs, "nats" if name == "NATS" else "nats-server"))
        # The builds and tests of CI take the place of these.
        with open(os.path.join(self.programs, "cargo"), "w", encoding="utf-8") as file:
            file.write(CARGO)
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


def tls(desk):
    terminal = desk.terminal("tls")
    try:
        terminal.type("cargo build --release && export PATH=$PWD/target/release:$PATH")
        *steps, stop = blocks(f"{DOCS}/tls.md")
        for step in steps:
            terminal.follow(step)
        # The certificate that is presented after the reload is the new one.
        first, second = re.findall(r"^serial=(\w+)$", terminal.output, re.M)
        assert first == second
        messages(terminal, table_of("tls.md"))
        terminal.follow(stop)
        terminal.type("wait $(jobs -p)")
    finally:
        terminal.close()


def table_of(name):
    """The rows of the last table of a document: of each the quoted texts of the first two cells."""
    lines = [line for line in read(name).rsplit("\n## ", 1)[1].splitlines() if line.startswith("|")]
    return [tuple(tuple(re.findall(r"`([^`]+)`", cell)) for cell in line.split("|")[1:3]) for line in lines[2:]]


def messages(terminal, rows):
    """Causes each error of docs/tls.md; `rows` are the texts at the server and at the client."""
    pair = 'cert_file: "%s.pem", key_file: "%s-key.pem"'

    def serve(name, config):
        terminal.type(f"cat >{name}.conf <<'END'\n{config}\nEND")
        terminal.type(f"natsd -c {name}.conf -P {name}.pid &")

    serve("verifying", 'port: 4333, tls { %s, ca_file: "authority.pem", verify: true }' % (pair % ("server", "server")))
    terminal.type("DAYS=0 ./certificate late 'serverAuth, clientAuth' 'DNS:localhost'")
    terminal.type("end=$(date -d \"$(openssl x509 -in late.pem -noout -enddate | cut -d= -f2)\" +%s)")
    terminal.type("until [ $(date +%s) -gt $end ]; do sleep 0.1; done")
    serve("late", "port: 4334, tls { %s }" % (pair % ("late", "late")))
    serve("open", "port: 4335")
    client = "nats --server tls://localhost:4333 %s pub orders.1 x"
    route = "natsd -p 4336 --cluster nats://localhost:6336 --routes nats://localhost:6001 -P route.pid"
    cluster = 'cluster { name: demo, listen: "localhost:6336", routes: ["nats://localhost:6001"] %s }'
    start = "timeout 10 natsd -p 4337 -c start.conf"
    raw = "timeout 10 bash -c 'exec 3<>/dev/tcp/localhost/4333; head -c 5 <&3; %s'"
    # The command, its exit code, and a configuration that it needs.
    causes = [
        ("NATS_CA= nats --server tls://localhost:4333 pub orders.1 x", 1, None),
        ("nats --server tls://127.0.0.2:4333 pub orders.1 x", 1, None),
        ("nats --server tls://localhost:4334 pub orders.1 x", 1, None),
        (client % "", 1, None),
        (client % "--tlscert server.pem --tlskey server-key.pem", 1, None),
        (client % "--tlscert late.pem --tlskey late-key.pem", 1, None),
        ("nats --server tls://localhost:4222 --tlscert eve.pem --tlskey eve-key.pem pub orders.1 x", 1, None),
        (raw % 'printf "CONNECT {}\\r\\nPING\\r\\n" >&3; cat <&3', 0, None),
        (raw % ":", 0, None),
        ("nats --server tls://localhost:4335 pub orders.1 x", 1, None),
        (f"{route} --cluster_name demo &", 0, None),
        (f"{route} -c route.conf &", 0, ("route", cluster % (", tls { %s, ca_file: 'new-authority.pem' }" % (pair % ("node", "node"))))),
        (start, 1, ("start", "tls { %s }" % (pair % ("server", "ada")))),
        (start, 1, ("start", 'tls { cert_file: "server-key.pem", key_file: "server.pem" }')),
        (start, 1, ("start", "tls { %s, verify: true }" % (pair % ("server", "server")))),
    ]
    assert len(causes) == len(rows), f"{len(rows)} rows, {len(causes)} causes"
    for (command, code, config), (at_server, at_client) in zip(causes, rows):
        if config:
            terminal.type(f"cat >{config[0]}.conf <<'END'\n{config[1]}\nEND")
        begin = terminal.type(command, code)
        for text in at_client:
            terminal.until(re.escape(text), begin)
        if at_server:
            # One of them: what a client that gives up leaves depends on its system.
            terminal.until("|".join(re.escape(text) for text in at_server), begin)
        if command.endswith("&"):
            terminal.type("natsd --signal term=route.pid && wait $!")
    for name in ("verifying", "late", "open"):
        terminal.type(f"natsd --signal term={name}.pid")


def examples(desk):
    terminal = desk.terminal("examples")
    try:
        terminal.type("cargo build --release && export PATH=$PWD/target/release:$PATH")
        for block in blocks(f"{DOCS}/examples.md"):
            terminal.follow(block)
        terminal.type("wait $(jobs -p)", code=None)
        components = re.findall(r"^\w{22} (api|manager|agent) \d+$", terminal.output, re.M)
        assert sorted(components) == ["agent", "agent", "api", "manager", "manager"], components
    finally:
        terminal.close()


class Walk:
    """Types commands of documents, and knows which are left."""

    def __init__(self, terminal, *names):
        known = listed()
        found = [command for name in names for command in commands_of(name) if (name, command) not in known]
        self.terminal, self.left = terminal, list(dict.fromkeys(found))

    def type(self, *given, more="", **meanings):
        """Types commands that the documents have; words in capitals mean something."""
        for command in given:
            assert command in self.left, f"no document has {command!r} any more, only {self.left}"
            self.left.remove(command)
            for word, meaning in (PLACEHOLDERS | meanings).items():
                command = re.sub(rf"(?<![\w/]){re.escape(word)}(?!\w)", meaning, command)
            start = self.terminal.type(command + more)
        return start


def migration_and_troubleshooting(desk):
    terminal = desk.terminal("migration")
    walk = Walk(terminal, *MIGRATION)
    with open(os.path.join(desk.folder, "migration", "nats.conf"), "w", encoding="utf-8") as file:
        file.write(CONFIG)
    try:
        terminal.type("cargo build --release && export PATH=$PWD/target/release:$PATH")
        walk.type("natsd -t -c nats.conf", "natsd -c natsd.conf -t")
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
        # The backups of docs/operations.md.
        terminal.type("natsd -js -sd ./spare -p 4444 -P spare.pid &")
        walk.type("nats stream backup ORDERS ./backup/ORDERS", "nats account backup ./backup/all --force")
        start = walk.type("nats --server nats://spare:4222 stream restore ./backup/ORDERS", "nats --server nats://spare:4222 stream info ORDERS")
        terminal.until("Messages: 3", start)
        terminal.type("natsd --signal term=spare.pid; wait %2")
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


MIGRATION = ["migration.md", "troubleshooting.md", "operations.md"]

OPERATORS = """
accounts { $SYS { users: [ { user: ops, password: $OPS_PASSWORD } ] }, A { users: [ { user: a, password: a } ] } }
http: "127.0.0.1:8222"
"""


def front_page_and_monitoring(desk):
    """README.md, and all documents that nothing else follows."""
    terminal = desk.terminal("front-page")
    walk = Walk(terminal, *(name for name in documents() if name not in FOLLOWED + MIGRATION))
    with open(os.path.join(desk.folder, "front-page", "nats.conf"), "w", encoding="utf-8") as file:
        file.write(OPERATORS)
    try:
        terminal.type("cargo build --release && export PATH=$PWD/target/release:$PATH OPS_PASSWORD=secret")
        start = walk.type("natsd --help", "natsd -t -c FILE", "natsd -c <file> -t")
        terminal.until("is valid", start)
        start = walk.type("natsd --version")
        terminal.until(r"natsd: v", start)
        # The system account.
        walk.type("natsd -c FILE", more=" -P natsd.pid &")
        terminal.type("nats --server nats://a:a@127.0.0.1:4222 sub x &")
        start = walk.type("nats --user ops --password $OPS_PASSWORD server list")
        server = terminal.until(r"\bN[A-Z0-9]{55}\b", terminal.type("curl -s http://127.0.0.1:8222/varz | grep server_id"))[0]
        start = walk.type("nats --user ops --password $OPS_PASSWORD server report connections")
        client = terminal.until(r"NATS CLI", start) and terminal.until(r'"cid": (\d+)', terminal.type("curl -s 'http://127.0.0.1:8222/connz?acc=A'"))[1]
        events = len(terminal.output)
        walk.type("nats --user ops --password $OPS_PASSWORD events --all", more=" &")
        walk.type("nats --user ops --password $OPS_PASSWORD server request kick CID SERVER", CID=client, SERVER=server)
        terminal.until("(?i)kicked", events)
        terminal.type("kill %2 %3; natsd --signal term=natsd.pid; wait %1")
        # Streams.
        walk.type("natsd -m 8222", more=" -P natsd.pid &")
        terminal.type("natsd --signal term=natsd.pid; wait $!")
        walk.type("natsd -js -sd /var/lib/natsd", more=" -P natsd.pid &")
        walk.type("nats stream add ORDERS --subjects 'orders.>' --defaults", "nats pub --jetstream orders.1 '7 apples'")
        walk.type("openssl rand -base64 32", "nats stream backup --check ORDERS DIRECTORY")
        terminal.type("natsd --signal term=natsd.pid; wait $!")
        # A cluster.
        for number, command in enumerate(list(commands_of("../README.md")), 1):
            if "--cluster" in command:
                walk.type(command, more=f" -P {number}.pid &")
        terminal.type("nats --server nats://127.0.0.1:4223 sub across --count 1 &")
        start = terminal.type("nats --server nats://127.0.0.1:4224 pub across hello")
        terminal.until('Received on "across"', start)
        terminal.type("kill $(jobs -p)")
        walk.type("nats-server -v")
        # What the tables of docs/sizing.md are made with, on a small scale.
        terminal.type(f"ln -s {os.path.realpath(DOCS)}/../tests tests")
        for command in [command for command in walk.left if command.startswith("tests/load/sizing.py")]:
            walk.type(command, more=" --scale 0.002 --settle 0")
        assert walk.left == [], "neither run nor in commands.txt:\n" + "\n".join(walk.left)
    finally:
        terminal.close()


def configurations_are_valid(desk):
    """Each block of configuration in a document is accepted by `natsd -t`, with the options that it needs."""
    folder = os.path.join(desk.folder, "configurations")
    os.mkdir(folder)
    texts = [(name, text) for name in documents() for text in re.findall(r"(?ms)^```conf\n(.*?)^```$", read(name))]
    assert len(texts) >= 6, texts
    for name, text in texts:
        needed = "" if "http_token" in text or "http_messages" not in text else 'http: "127.0.0.1:8222", http_token: t0ken\n'
        with open(os.path.join(folder, "natsd.conf"), "w", encoding="utf-8") as file:
            file.write(needed + text)
        secrets = dict.fromkeys(re.findall(r"\$([A-Z]\w+_PASSWORD|TOKEN|PASSWORD)\b", text), "secret")
        done = subprocess.run(
            [os.environ["NATSD"], "-t", "-c", "natsd.conf"], cwd=folder, env=os.environ | secrets, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{name}:\n{text}\n{done.stdout}{done.stderr}"


def the_list_of_commands_is_true(_desk):
    """Each command in commands.txt is in its document, and nowhere typed."""
    gone = [f"{name}: {command}" for name, command in listed() if command not in commands_of(name)]
    assert gone == [], gone


def main():
    if os.getpid() != 1:
        os.execvp("unshare", ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, *sys.argv])
    own_network.enter()
    desk = Desk()
    # The names of servers in docs/migration.md and docs/operations.md.
    hosts = os.path.join(desk.folder, "hosts")
    with open(hosts, "w", encoding="utf-8") as file:
        file.write("127.0.0.1 localhost natsd spare\n")
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
    scenarios = [getting_started, tls, examples, migration_and_troubleshooting, front_page_and_monitoring, configurations_are_valid,
                 the_list_of_commands_is_true]
    # By hand, some of them.
    run([scenario for scenario in scenarios if scenario.__name__ in sys.argv[1:]] or scenarios, desk)


main()
