"""HAProxy with deploy/haproxy.cfg in front of two natsd servers: clients are balanced over both, and checks of
/healthz and /varz detect a server that stops or restarts. Reports in TAP.

NATSD and HAPROXY name the programs.
"""

import csv
import os
import re
import signal
import socket
import subprocess
import tempfile

from report import run
from servers import DEADLINE, Client, Server, free_port, until

NATSD, HAPROXY = (os.environ[name] for name in ("NATSD", "HAPROXY"))

SHIPPED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../deploy/haproxy.cfg")

CONFIG = "host: 127.0.0.1, port: -1, http: '127.0.0.1:-1', lame_duck_duration: '30s', server_name: "


class Haproxy:
    """The shipped file with other addresses."""

    def __init__(self, servers):
        self.directory = tempfile.TemporaryDirectory()
        self.control = os.path.join(self.directory.name, "control")
        self.address = f"127.0.0.1:{free_port()}"
        self.monitor = f"127.0.0.1:{free_port()}"
        with open(SHIPPED, encoding="utf-8") as file:
            text = file.read()
        changes = {"127.0.0.1:4220": self.address, "127.0.0.1:8220": self.monitor}
        for server, (port, monitor) in zip(servers, ((4222, 8222), (4223, 8223))):
            changes[f"127.0.0.1:{port} port {monitor}"] = (
                f"{server.address} port {server.monitor.split(':')[1]}"
            )
            changes[f"127.0.0.1:{monitor}"] = server.monitor
        for before, after in changes.items():
            assert before in text, f"{before} is not in deploy/haproxy.cfg"
            text = text.replace(before, after)
        text = text.replace("inter 1s", "inter 50ms")
        text = f"global\n    stats socket {self.control}\n" + text
        config = os.path.join(self.directory.name, "haproxy.cfg")
        with open(config, "w", encoding="utf-8") as file:
            file.write(text)
        with open(os.path.join(self.directory.name, "log"), "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [HAPROXY, "-db", "-f", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until("HAProxy listens", lambda: os.path.exists(self.control))

    def states(self, backend):
        """Returns the state of each server by name, and the status of its last check, or 0 while one is under way."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(DEADLINE)
            control.connect(self.control)
            control.sendall(b"show stat\n")
            text = control.makefile(encoding="utf-8").read()
        rows = csv.DictReader(text.removeprefix("# ").splitlines())
        return {
            row["svname"]: (row["status"], row["check_code"])
            for row in rows
            if row["pxname"] == backend and row["svname"] not in ("FRONTEND", "BACKEND")
        }

    def stop(self):
        self.process.terminate()
        self.process.wait(DEADLINE)
        self.directory.cleanup()


class Place:
    """The two servers and HAProxy in front of them."""

    def __init__(self):
        self.servers = [Server(NATSD, CONFIG + name + "\n") for name in ("one", "two")]
        self.haproxy = Haproxy(self.servers)
        # A client connects to HAProxy as it would to a server.
        self.address = self.haproxy.address

    def is_up(self, name, backend="natsd"):
        return self.haproxy.states(backend)[name] == ("UP", "200")

    def stop(self):
        self.haproxy.stop()
        for server in self.servers:
            server.stop()


def the_file_that_is_shipped_is_right(_):
    said = subprocess.run([HAPROXY, "-c", "-f", SHIPPED], capture_output=True, text=True)
    assert said.returncode == 0 and "warning" not in (said.stdout + said.stderr).lower(), said


def both_servers_pass_both_checks(place):
    for backend in ("natsd", "monitoring"):
        for name in ("one", "two"):
            until(f"{name} is up", lambda: place.is_up(name, backend))


def has_clients(server, count):
    what = f"it has {count} clients"
    until(what, lambda: server.json("/varz")["connections"] == count)


def clients_are_spread_over_both_and_do_their_work(place):
    clients = [Client(place) for _ in range(6)]
    for server in place.servers:
        has_clients(server, 3)
    for client in clients:
        client.say("SUB a 1\r\nPUB a 2\r\nhi\r\n")
    traffic = [server.json("/varz")["in_msgs"] for server in place.servers]
    assert traffic == [3, 3], traffic
    for client in clients:
        client.leave()
    for server in place.servers:
        has_clients(server, 0)


def checks_are_no_clients(place):
    for server in place.servers:
        varz = server.json("/varz")
        assert varz["total_connections"] == 3, varz
        assert varz["http_req_stats"]["/healthz"] > 0, varz


def endpoints_are_reached_through_it(place):
    answer = Server.get_from(place.haproxy.monitor, "/connz")
    assert answer[0] == 200 and '"num_connections": 0' in answer[2], answer


def one_in_lame_duck_mode_gets_no_new_clients_and_keeps_those_it_has(place):
    one, two = place.servers
    clients = [Client(place) for _ in range(2)]
    one.process.send_signal(signal.SIGUSR2)
    down = lambda: place.haproxy.states("natsd")["one"]
    until("it is taken out because of its answer", lambda: down() == ("DOWN", "500"))
    status = one.get("/healthz")[0]
    assert status == 500, status
    # Its monitoring stays available.
    state = place.haproxy.states("monitoring")["one"][0]
    assert state == "UP", state
    until("it answers checks", lambda: place.is_up("one", "monitoring"))
    has_clients(one, 1)
    more = [Client(place) for _ in range(3)]
    has_clients(two, 4)
    for client in more + clients:
        client.leave()
    has_clients(two, 0)


def one_that_is_gone_is_noticed_and_the_other_serves(place):
    one, two = place.servers
    one.process.send_signal(signal.SIGKILL)
    one.process.wait(DEADLINE)
    monitoring = lambda: place.haproxy.states("monitoring")["one"][0]
    until("it is taken out", lambda: monitoring() == "DOWN")
    client = Client(place)
    client.say("SUB a 1\r\nPUB a 2\r\nhi\r\n")
    has_clients(two, 1)
    client.leave()
    has_clients(two, 0)


def one_that_is_back_is_used_again(place):
    one = place.servers[0]
    host, port = one.address, re.sub(".*:", "", one.monitor)
    place.servers[0] = Server(
        NATSD, f"listen: '{host}', http: '127.0.0.1:{port}', server_name: one\n"
    )
    until("it is up", lambda: place.is_up("one"))
    clients = [Client(place) for _ in range(4)]
    has_clients(place.servers[0], 2)
    for client in clients:
        client.leave()


def main():
    place = Place()
    try:
        run(
            [
                the_file_that_is_shipped_is_right,
                both_servers_pass_both_checks,
                clients_are_spread_over_both_and_do_their_work,
                checks_are_no_clients,
                endpoints_are_reached_through_it,
                one_in_lame_duck_mode_gets_no_new_clients_and_keeps_those_it_has,
                one_that_is_gone_is_noticed_and_the_other_serves,
                one_that_is_back_is_used_again,
            ],
            place,
        )
    finally:
        place.stop()


main()
