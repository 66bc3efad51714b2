"""nats-top on natsd and on nats-server, with the same few clients: its output must be equal.
Reports in TAP.

NATSD and REFERENCE name the servers, NATS_TOP the program.
"""

import os
import re
import subprocess

from report import run
from servers import DEADLINE, Server, System

NATSD, REFERENCE, NATS_TOP = (os.environ[name] for name in ("NATSD", "REFERENCE", "NATS_TOP"))

CONFIG = """host: 127.0.0.1, port: -1, http: '127.0.0.1:-1', server_name: one
    accounts { A { users: [{user: a, password: pw}] }, B { users: [{user: b, password: pw}] } }\n"""
WHO = {"a": {"user": "a", "pass": "pw"}, "b": {"user": "b", "pass": "pw"}}

SORTS = "cid start subs pending msgs_to msgs_from bytes_to bytes_from last idle uptime".split()

HEAD = "HOST,CID,NAME,SUBS,PENDING,MSGS_TO,MSGS_FROM,BYTES_TO,BYTES_FROM,LANG,VERSION,UPTIME,LAST_ACTIVITY"


def top(server, *more, code=0):
    """Returns the output of one run."""
    host, port = server.monitor.split(":")
    said = subprocess.run(
        [NATS_TOP, "-s", host, "-m", port, "-o", "-", *more],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert said.returncode == code, (said.returncode, said.stdout, said.stderr)
    return said.stdout


def without_servers_own(text):
    """Ports, numbers, moments, memory and processor time differ from run to run."""
    text = re.sub(r"127\.0\.0\.1:\d+,\d+,", "ADDRESS,CID,", text)
    text = re.sub(r"\d+-\d+-\d+ [\d:.]+ \+0000 UTC", "MOMENT", text)
    text = re.sub(r",\d+s,MOMENT", ",UPTIME,MOMENT", text)
    text = re.sub(r"uptime: [^)]*", "uptime: UPTIME", text)
    return re.sub(r"CPU:,[\d.]+%,Memory:,[\d.]+[KMG]?", "CPU:,Memory:", text)


def it_prints_the_numbers_of_the_clients(ours, theirs):
    text = top(ours, "-l", ",", "-b")
    for line in (
        "NATS server version,2.14.5,",
        "In:,Msgs:,6,Bytes:,29,Msgs/Sec:,0.0,Bytes/Sec:,0",
        "Out:,Msgs:,4,Bytes:,24,Msgs/Sec:,0.0,Bytes/Sec:,0",
        "Connections Polled:,2",
        HEAD,
        ",a,3,0,3,3,10,9,python,1.0,",
        ",b <&> ü,1,0,1,2,14,18,python,1.0,",
    ):
        assert line in text, f"{line!r} is not in {text!r}"


def subscriptions_sorted(text):
    """nats-server lists the subscriptions of a connection in the order of a Go map, which differs from run to run."""
    return re.sub(r"(?m)(?<=MOMENT,).+$", lambda column: "  ".join(sorted(column[0].split())), text)


def it_prints_the_same_of_both(ours, theirs):
    both = [
        subscriptions_sorted(without_servers_own(top(one, "-l", ",", "-u"))) for one in (ours, theirs)
    ]
    assert both[0] == both[1], both


def its_grid_is_laid_out(ours, theirs):
    assert re.search(r"(?m)^Server: one\n  ID:   N[A-Z2-7]{55}\n  Load: CPU:", top(ours))


def it_sorts_and_limits(ours, theirs):
    for by in SORTS:
        rows = [len(re.findall("python", top(one, "-sort", by, "-n", "1"))) for one in (ours, theirs)]
        assert rows == [1, 1], (by, rows)
    for by in ("msgs_to", "bytes_from", "subs"):
        both = [top(one, "-l", ",", "-sort", by) for one in (ours, theirs)]
        names = [re.findall(r"(?m)^127.*?,\d+,(.*?),", text) for text in both]
        assert names[0] == names[1] and len(names[0]) == 2, (by, names)


def main():
    servers = [Server(program, CONFIG) for program in (NATSD, REFERENCE)]
    systems = [System(server, WHO) for server in servers]
    try:
        run(
            [
                it_prints_the_numbers_of_the_clients,
                it_prints_the_same_of_both,
                its_grid_is_laid_out,
                it_sorts_and_limits,
            ],
            *servers,
        )
    finally:
        for server, clients in zip(servers, systems):
            clients.leave()
            server.stop()


main()
