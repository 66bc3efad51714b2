"""Compares the monitoring of natsd and nats-server for the same clients: for every endpoint and parameter,
status, headers, order of fields, types, and values that do not depend on the server must be equal.
differences.txt lists the exceptions with reasons; these must differ. Reports in TAP.

NATSD and REFERENCE name the programs, READER the one that parses answers into nats-server's structs.
"""

import json
import os
import re
import subprocess
import sys

from servers import Server, System

NATSD, REFERENCE, READER = (os.environ[name] for name in ("NATSD", "REFERENCE", "READER"))

LISTEN = "host: 127.0.0.1, port: -1, http: '127.0.0.1:-1', server_name: one\n"

SYSTEMS = {
    "plain": (LISTEN, {"a": {}, "b": {"user": "somebody"}}),
    "accounts": (
        LISTEN
        + "max_payload: 2000, max_subs: 99, ping_interval: '45s', write_deadline: '7s'\n"
        + "server_tags: [x, y], server_metadata: { rack: r7 }\n"
        + "authorization { timeout: 3 }\n"
        + "accounts { A { users: [{user: a, password: pw}] }, B { users: [{user: b, password: pw}] } }\n",
        {
            "a": {"user": "a", "pass": "pw"},
            "b": {"user": "b", "pass": "pw"},
            "wrong": {"user": "a", "pass": "no"},
        },
    ),
}

# <CID> is replaced by the id of the first client, <GONE> by that of the first client that
# disconnected.
PATHS = """
/varz
/connz
/connz?subs=1
/connz?subs=true&auth=1
/connz?subs=detail
/connz?subs=DETAIL&auth=t
/connz?auth=True
/connz?cid=<CID>
/connz?cid=<CID>&subs=detail&auth=1
/connz?cid=<GONE>
/connz?cid=<GONE>&state=closed&subs=detail&auth=1
/connz?cid=<GONE>&state=all
/connz?cid=999999
/connz?cid=18446744073709551615
/connz?cid=18446744073709551616
/connz?cid=-1
/connz?cid=x
/connz?state=open
/connz?state=closed
/connz?state=closed&subs=1
/connz?state=closed&subs=detail&auth=1
/connz?state=any
/connz?state=ALL&auth=1
/connz?state=nonsense
/connz?user=somebody
/connz?user=b&auth=1
/connz?user=nobody
/connz?acc=A
/connz?acc=B&auth=1&subs=detail
/connz?acc=A&state=closed
/connz?acc=A&user=b
/connz?mqtt_client=x
/connz?sort=cid
/connz?sort=start
/connz?sort=subs
/connz?sort=pending
/connz?sort=last
/connz?sort=idle
/connz?sort=rtt
/connz?sort=msgs_to
/connz?sort=msgs_from
/connz?sort=bytes_to
/connz?sort=bytes_from
/connz?sort=uptime
/connz?sort=stop
/connz?sort=reason
/connz?sort=stop&state=closed
/connz?sort=reason&state=closed
/connz?sort=nonsense
/connz?sort=CID
/connz?offset=1
/connz?offset=1&limit=1
/connz?offset=5
/connz?offset=-1
/connz?offset=9223372036854775807
/connz?offset=9223372036854775808
/connz?limit=1
/connz?limit=0
/connz?limit=-1
/connz?limit=9223372036854775807
/connz?offset=1&limit=9223372036854775807
/connz?limit=x
/connz?limit=1.5
/connz?limit=%2B1
/connz?limit=
/connz?subs=x
/connz?auth=yes
/connz?auth=x&limit=x
/connz?limit=1&limit=x
/connz?limit=%zz
/connz?unknown=1
/routez
/routez?subs=1
/routez?subs=detail
/routez?subs=x
/gatewayz
/gatewayz?accs=1&subs=detail&gw_name=x&acc_name=A
/gatewayz?accs=x
/gatewayz?subs=x
/leafz
/leafz?subs=1&acc=A
/leafz?subs=detail
/subsz
/subscriptionsz
/subsz?subs=1
/subsz?subs=1&acc=A
/subsz?subs=1&acc=nobody
/subsz?subs=1&test=one
/subsz?subs=1&test=three.a.b
/subsz?subs=1&test=two.x.y
/subsz?test=one
/subsz?test=a.*
/subsz?test=a..b
/subsz?subs=detail
/subsz?offset=x
/subsz?limit=x
/subsz?subs=1&offset=9223372036854775807&limit=9223372036854775807
/accountz
/accountz?acc=A
/accountz?acc=$G
/accountz?acc=nobody
/accstatz
/accstatz?unused=1
/accstatz?unused=x
/jsz
/jsz?acc=A&accounts=1&streams=1&consumers=1&direct-consumers=1&config=1&offset=1&limit=1&raft=1
/jsz?leader-only=1
/jsz?stream-leader-only=1
/jsz?accounts=x
/jsz?limit=x
/healthz
/healthz?js-enabled=1
/healthz?js-enabled-only=true
/healthz?js-server-only=true
/healthz?js-meta-only=1
/healthz?details=1
/healthz?account=A
/healthz?stream=s
/healthz?consumer=c
/healthz?account=A&consumer=c
/healthz?stream=s&details=1
/healthz?consumer=c&details=1
/healthz?details=x
/healthz?js-server-only=x
/nope
/varz/
/VARZ
//varz
/./connz
/connz/../varz
//varz?a=b
/raftz
""".split()

# Values specific to each server.
OWN = set(
    """server_id now start stop uptime idle last_activity rtt mem cpu go port http_port config_load_time
    update_time cid http_req_stats""".split()
)

HEADERS = ("content-type", "access-control-allow-origin", "location", "x-content-type-options")


class Differences:
    """Allowed differences: lines of "system path json.path: reason"; * matches anything."""

    # By rule; true once it was applied, or if it need not be.

    def __init__(self, path):
        self.found = {}
        with open(path, encoding="utf-8") as file:
            for line in file:
                line = line.strip()
                if line and not line.startswith("#"):
                    where = line.split(": ", 1)[0]
                    self.found[where.removeprefix("sometimes ")] = where.startswith("sometimes ")

    def allow(self, where):
        for known in self.found:
            pattern = re.escape(known).replace(r"\*", ".*")
            if re.fullmatch(pattern, where):
                self.found[known] = True
                return True
        return False


def ordered(value):
    """Sorts lists whose order is undefined."""
    if isinstance(value, dict):
        value = {key: ordered(item) for key, item in value.items()}
        for key in ("subscriptions_list", "accounts"):
            if isinstance(value.get(key), list):
                value[key] = sorted(value[key], key=lambda one: (one.get("cid"), one.get("sid")) if isinstance(one, dict) else one)
        for key, by in (("subscriptions_list_detail", "sid"), ("account_statz", "acc"), ("imports", "local_subject")):
            if isinstance(value.get(key), list):
                value[key].sort(key=lambda one: one[by])
        return value
    if isinstance(value, list):
        return [ordered(item) for item in value]
    return value


def without_servers_own(value):
    """Removes the internal subscriptions of nats-server."""
    if isinstance(value, dict) and isinstance(value.get("subscriptions_list"), list):
        is_own = lambda one: isinstance(one, dict) and one["subject"].startswith("$SYS.")
        kept = [one for one in value["subscriptions_list"] if not is_own(one)]
        value["total"] = max(0, value.get("total", 0) - len(value["subscriptions_list"]) + len(kept))
        value["subscriptions_list"] = kept
        if not kept:
            del value["subscriptions_list"]
    return value


def last(where):
    """Returns the name of a value's type."""
    return re.split(r"[ .]", where)[-1]


def compare(ours, theirs, where, may_differ, found):
    # Go prints a zero fraction like an integer; that natsd does too is tested elsewhere.
    if {type(ours), type(theirs)} == {int, float}:
        ours, theirs = float(ours), float(theirs)
    if type(ours) is not type(theirs):
        if not may_differ(where):
            found.append(f"{where}: {ours!r} is not of the type of {theirs!r}")
    elif isinstance(ours, dict):
        compare_objects(ours, theirs, where, may_differ, found)
    elif isinstance(ours, list):
        if len(ours) != len(theirs):
            if not may_differ(where):
                found.append(f"{where}: {len(ours)} of them, not {len(theirs)}")
            return
        for one, other in zip(ours, theirs):
            compare(one, other, where + "[]", may_differ, found)
    elif ours != theirs and last(where) not in OWN and not may_differ(where):
        found.append(f"{where}: {ours!r}, not {theirs!r}")


def compare_objects(ours, theirs, where, may_differ, found):
    if last(where) in OWN:
        return
    at = lambda key: f"{where}.{key}" if where[-1] != " " else where + key
    for key in ours.keys() ^ theirs.keys():
        if not may_differ(at(key)):
            found.append(f"{at(key)}: only {'ours' if key in ours else 'theirs'}")
    both = [key for key in ours if key in theirs]
    if both != [key for key in theirs if key in ours]:
        found.append(f"{where}: in another order: {both}")
    for key in both:
        compare(ours[key], theirs[key], at(key), may_differ, found)


def look(system, path, ours, theirs, may_differ):
    """Returns the differences, and natsd's answer if it is JSON."""
    found = []
    (status, headers, body), (their_status, their_headers, their_body) = ours, theirs
    where = f"{system} {path} "
    if status != their_status and not may_differ(where + "status"):
        found.append(f"status {status}, not {their_status}: {body!r}")
    for name in HEADERS:
        if headers.get(name) != their_headers.get(name) and not may_differ(where + name):
            found.append(f"{name}: {headers.get(name)!r}, not {their_headers.get(name)!r}")
    if headers.get("content-type") != "application/json":
        if body != their_body and not may_differ(where + "body"):
            found.append(f"{body!r}, not {their_body!r}")
        return found, None
    if body.count("\n") > 1 and not body.startswith('{\n  "'):
        found.append("it is not indented by two blanks")
    if re.search(r": -?[0-9]+\.0\b", body):
        found.append("a whole number has a fraction")
    answers = [ordered(without_servers_own(json.loads(text))) for text in (body, their_body)]
    if re.search("sort=(pending|last|idle|rtt|reason)", path):
        # The order among equals is arbitrary, and the creation order of others unknown.
        for answer in answers:
            answer["connections"].sort(key=lambda one: one["name"])
    compare(*answers, where, may_differ, found)
    return found, body


def run(system, differences, read):
    config, who = SYSTEMS[system]
    servers = [Server(program, config) for program in (NATSD, REFERENCE)]
    systems = [System(server, who) for server in servers]
    try:
        numbers = []
        for server, clients in zip(servers, systems):
            gone = server.json("/connz?state=closed&limit=1")["connections"][0]["cid"]
            numbers.append({"<CID>": str(clients.clients[0].cid), "<GONE>": str(gone)})
        for path in PATHS:
            answers = []
            for server, known in zip(servers, numbers):
                asked = path
                for name, number in known.items():
                    asked = asked.replace(name, number)
                answers.append(server.get(asked))
            found, body = look(system, path, *answers, differences.allow)
            report(f"{system}: {path}", found)
            if body is not None:
                read.append((path, body))
    finally:
        for server, clients in zip(servers, systems):
            clients.leave()
            server.stop()


def read_by_the_reference(read):
    """nats-server's own structs can parse natsd's answers completely."""
    lines = "".join(
        f"{path.split('?')[0]}\t{json.dumps(json.loads(body))}\n" for path, body in read
    )
    said = subprocess.run([READER], input=lines, capture_output=True, text=True, check=True)
    verdicts = said.stdout.splitlines()
    wrong = [f"{path}: {verdict}" for (path, _), verdict in zip(read, verdicts) if verdict != "ok"]
    if len(verdicts) != len(read):
        wrong.append(f"{len(verdicts)} verdicts for {len(read)} answers")
    report("nats-server's own structs hold every answer", wrong)


FAILED = []


def report(name, found):
    if found:
        FAILED.append(name)
        print(f"not ok {name}: " + "; ".join(found), flush=True)
    else:
        print(f"ok {name}", flush=True)


def main():
    print(f"1..{len(SYSTEMS) * len(PATHS) + 2}", flush=True)
    folder = os.path.dirname(os.path.abspath(__file__))
    differences = Differences(os.path.join(folder, "differences.txt"))
    read = []
    for system in SYSTEMS:
        run(system, differences, read)
    read_by_the_reference(read)
    unused = [known for known, is_found in differences.found.items() if not is_found]
    report("differences.txt lists actual differences only", unused)
    sys.exit(1 if FAILED else 0)


main()
