"""Compares the events and answers of the system accounts of natsd and nats-server: subjects, headers, and the names,
types and order of the members of each JSON text must be equal. differences.txt lists the exceptions with reasons; these
must differ. Reports in TAP.

NATSD and REFERENCE name the programs.
"""

import fnmatch
import json
import os
import sys

from wire import Client, Server

HERE = os.path.dirname(os.path.abspath(__file__))

CONFIG = """
listen: "127.0.0.1:-1"
server_name: one
server_tags: [eu, "rack:7"]
server_metadata: { owner: ops }
accounts {
  $SYS { users: [ { user: sys, password: s } ] }
  A { users: [
    { user: a, password: s }
    { user: limited, password: s, permissions: {
        publish: { allow: "$SYS.>", deny: bar }
        subscribe: { allow: ["_INBOX.>", "x q"] }
        allow_responses: { max: 3, expires: "1m" } } }
  ] }
}
"""

# The kinds of data, as requests to all servers and to one.
DATA = """IDZ STATSZ VARZ SUBSZ CONNZ ROUTEZ GATEWAYZ LEAFZ ACCOUNTZ JSZ HEALTHZ PROFILEZ EXPVARZ IPQUEUESZ
RAFTZ""".split()

# Requests with options to one server.
WITH_OPTIONS = """
CONNZ {"auth":true,"subscriptions":true,"limit":1}
CONNZ {"subscriptions_detail":true}
CONNZ {"state":1}
CONNZ {"LIMIT":1}
CONNZ null
CONNZ {"server_name":"on"}
CONNZ {"server_name":"on","exact_match":true}
CONNZ {"server_name":"other"}
CONNZ {"host":"127"}
CONNZ {"cluster":"c"}
CONNZ {"tags":["eu"]}
CONNZ {"tags":["us"]}
CONNZ {"domain":"d"}
CONNZ {"acc":"A"}
CONNZ {"acc":"NONE"}
CONNZ {"acc":"A","filter_subject":"jobs.*"}
CONNZ {"acc":"A","filter_subject":"none"}
CONNZ {"filter_subject":"jobs.*"}
CONNZ {"limit":"x"}
CONNZ {"state":"x"}
CONNZ {"cid":-1}
CONNZ {"auth":1}
CONNZ {"tags":"eu"}
CONNZ {"server_name":1}
CONNZ {bad
CONNZ {"limit":
CONNZ {"limit" 1}
CONNZ {} x
CONNZ []
CONNZ "x"
CONNZ {"sort":"zzz"}
CONNZ {"sort":"stop"}
SUBSZ {"subscriptions":true,"limit":1}
SUBSZ {"test":"a.*"}
ACCOUNTZ {"account":"A"}
ACCOUNTZ {"account":"NONE"}
JSZ {"leader_only":true}
HEALTHZ {"stream":"x"}
HEALTHZ {"details":true,"stream":"x"}
PROFILEZ {"name":"none"}
STATSZ {"limit":
IDZ {bad
KICK
KICK {"cid":"x"}
KICK {"cid":9999}
LDM {"cid":9999}
RELOAD
NONE
"""

ACCOUNT_DATA = "CONNZ SUBSZ LEAFZ JSZ INFO CONNS STATZ NONE".split()

# Requests of an ordinary account.
OF_ACCOUNT = """
$SYS.REQ.USER.INFO
$SYS.REQ.ACCOUNT.PING.CONNZ
$SYS.REQ.ACCOUNT.PING.CONNZ {"acc":"$SYS"}
$SYS.REQ.SERVER.PING.CONNZ
$SYS.REQ.ACCOUNT.PING.STATZ
$SYS.REQ.SERVER.PING
$SYS.REQ.SERVER.PING.VARZ
$SYS.REQ.ACCOUNT.A.CONNZ
$SYS.REQ.ACCOUNT.A.STATZ
$SYS.REQ.ACCOUNT.NSUBS
$SYS.DEBUG.SUBSCRIBERS
"""


def shape(value):
    """The structure of a JSON value: names in order, and types. Of a list the first element counts."""
    if isinstance(value, dict):
        # A build outside of a checkout has no commit, such as that of `go install`.
        return {name: shape(member) for name, member in value.items() if name != "git_commit"}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return "null" if value is None else "string"


# Values that do not depend on the server.
FIXED = {"type", "reason", "code", "description", "error", "kind", "client_type", "name", "ver", "acc", "user", "status"}


def fixed(value, path=""):
    """The members whose values are compared, by their path."""
    found = {}
    if isinstance(value, dict):
        for name, member in value.items():
            inner = f"{path}.{name}" if path else name
            if name in FIXED and not isinstance(member, (dict, list)):
                found[inner] = member
            found.update(fixed(member, inner))
    return found


def described(message):
    """A message without the parts that differ between any two servers."""
    if message is None:
        return "no answer"
    headers = message.headers.decode()
    if headers.startswith("NATS/1.0 503"):
        return "no responders"
    if "Content-Encoding: gzip" in headers or "Content-Encoding: snappy" in headers:
        return headers
    text = message.payload.decode()
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if not isinstance(value, dict):
        return headers, value
    return headers, json.dumps(shape(value)), json.dumps(fixed(value))


def observe(program):
    """What one server publishes and answers, by the name of each step."""
    seen = {}
    server = Server(program, CONFIG)
    operator = Client(server, "sys")
    events = Client(server, "sys", name="events")
    events.subscribe("$SYS.SERVER.*.*")
    events.subscribe("$SYS.SERVER.*.CLIENT.AUTH.ERR")
    events.subscribe("$SYS.SERVER.ACCOUNT.*.CONNS")
    events.subscribe("$SYS.ACCOUNT.*.*")
    events.subscribe("$SYS.ACCOUNT.*.SERVER.CONNS")
    identity = operator.info["server_id"]

    def note_event(step, subject):
        message = events.await_subject(subject.replace("<id>", identity))
        seen[f"event {step} {subject}"] = described(message)

    account = Client(server, "a")
    for subject in ("$SYS.SERVER.ACCOUNT.A.CONNS", "$SYS.ACCOUNT.A.SERVER.CONNS", "$SYS.ACCOUNT.A.CONNECT"):
        note_event("login", subject)
    account.subscribe("jobs.x")
    Client(server, "a", name="short").close()
    note_event("close", "$SYS.ACCOUNT.A.DISCONNECT")
    Client(server, "a", password="wrong")
    note_event("wrong password", "$SYS.SERVER.<id>.CLIENT.AUTH.ERR")
    note_event("wrong password", "$SYS.ACCOUNT.$G.DISCONNECT")
    operator.publish("$SYS.REQ.SERVER.PING", "")
    note_event("request", "$SYS.SERVER.<id>.STATSZ")

    def note(step, client, subject, payload="", headers=None):
        seen[step] = described(client.request(subject.replace("<id>", identity), payload, headers))

    note("PING", operator, "$SYS.REQ.SERVER.PING")
    for name in DATA + ["NONE"]:
        note(f"PING.{name}", operator, f"$SYS.REQ.SERVER.PING.{name}")
        note(f"<id>.{name}", operator, f"$SYS.REQ.SERVER.<id>.{name}")
    for line in filter(None, WITH_OPTIONS.splitlines()):
        name, _, payload = line.partition(" ")
        note(line, operator, f"$SYS.REQ.SERVER.<id>.{name}", payload)
    for of in ("A", "NONE", "$SYS", "$G"):
        for name in ACCOUNT_DATA:
            note(f"ACCOUNT.{of}.{name}", operator, f"$SYS.REQ.ACCOUNT.{of}.{name}")
    for payload in ("", '{"include_unused":true}', '{"accounts":["A"]}'):
        note(f"ACCOUNT.PING.STATZ {payload}", operator, "$SYS.REQ.ACCOUNT.PING.STATZ", payload)
    for payload in ('{"acc":"A","subject":"jobs.x"}', '{"acc":"A","subject":"jobs.*"}', '{"acc":"NONE","subject":"x"}'):
        note(f"NSUBS {payload}", operator, "$SYS.REQ.ACCOUNT.NSUBS", payload)
    note("operator USER.INFO", operator, "$SYS.REQ.USER.INFO")
    note("DEBUG.SUBSCRIBERS", operator, "$SYS.DEBUG.SUBSCRIBERS", "$SYS.ACCOUNT.x.y")
    for line in filter(None, OF_ACCOUNT.splitlines()):
        subject, _, payload = line.partition(" ")
        note(f"account {line}", account, subject, payload)
    note("limited USER.INFO", Client(server, "limited"), "$SYS.REQ.USER.INFO")
    for encoding in ("gzip", "snappy", "br"):
        note(f"encoding {encoding}", operator, "$SYS.REQ.SERVER.PING.HEALTHZ", "", f"Accept-Encoding: {encoding}")

    leaving = json.dumps({"cid": account.info["client_id"]})
    note("LDM of a client", operator, "$SYS.REQ.SERVER.<id>.LDM", leaving)
    seen["LDM of a client: INFO"] = account.await_info().get("ldm")
    note("KICK of a client", operator, "$SYS.REQ.SERVER.<id>.KICK", leaving)
    seen["KICK of a client: end"] = account.is_closed()

    server.terminate()
    note_event("end", "$SYS.SERVER.<id>.SHUTDOWN")
    return seen


def allowed():
    """The steps that may differ, as patterns."""
    with open(os.path.join(HERE, "differences.txt"), encoding="utf-8") as file:
        lines = [line.strip() for line in file]
    return [line.split("  #")[0].strip() for line in lines if line and not line.startswith("#")]


def main():
    ours, theirs = observe(os.environ["NATSD"]), observe(os.environ["REFERENCE"])
    patterns, used, failed = allowed(), set(), 0
    print(f"1..{len(theirs) + 1}")
    for step, expected in theirs.items():
        found = ours.get(step)
        matching = [pattern for pattern in patterns if fnmatch.fnmatchcase(step, pattern)]
        if found != expected:
            used.update(matching)
        if found == expected or matching:
            print(f"ok {step}")
        else:
            failed = 1
            print(f"nats-server: {expected}\nnatsd:       {found}", file=sys.stderr)
            print(f"not ok {step}")
    unused = [pattern for pattern in patterns if pattern not in used]
    print("not ok differences" if unused else "ok differences")
    if unused:
        print(f"no longer different: {unused}", file=sys.stderr)
    sys.exit(failed or bool(unused))


main()
