"""Plays one scenario with a server, and compares the advisories and metrics that it sends with the recorded ones: subjects, and
all members with their order. Values that differ from run to run are masked.

    advisories.py SERVER...          plays it with each of these programs
    advisories.py --record SERVER    records what a program sends
"""

import json
import re
import socket
import sys
import time
from pathlib import Path

from main import Connection, MASKS, Server

RECORDED = Path(__file__).resolve().parent / "advisories.txt"

CONFIGURATION = [
    "server_name: one",
    "accounts { A { jetstream: enabled, users [ { user: a, password: p } ] }",
    "  B { users [ { user: b, password: p } ], imports [ { service: { account: A, subject: '$JS.API.STREAM.NAMES' } } ] }",
    "  $SYS { users [ { user: s, password: p } ] } }",
]
# Account A lets B ask for names.
CONFIGURATION[1] = CONFIGURATION[1].replace("enabled,", "enabled, exports [ { service: '$JS.API.STREAM.NAMES' } ],")

# No event for so long is the end: events follow their causes within milliseconds.
QUIET = 0.5

MASKED = {
    "id": "ID",
    "timestamp": "TIME",
    "start": "TIME",
    "pinned_id": "ID",
    "ack_time": 1,
    "rtt": 1,
    "pause_until": "TIME",
}


def masked(value, inside=""):
    if isinstance(value, dict):
        return {key: MASKED[key] if key in MASKED else masked(one, key) for key, one in value.items()}
    if inside == "response":
        for pattern, replacement in MASKS:
            value = pattern.sub(replacement, value)
        return re.sub(r'"pause_until":"[^"]*"', '"pause_until":"TIME"', value)
    return value


class Listener(Connection):
    """Receives all events of an account."""

    def __init__(self, port, user):
        super().__init__(port, user)
        self.events = []
        self.socket.sendall(b"SUB $JS.EVENT.> 2\r\nPING\r\n")
        while self.line() != b"PONG":
            pass

    def wait(self):
        """Waits until no event comes any more."""
        self.socket.settimeout(QUIET)
        try:
            while True:
                subject, _, payload = self.message()
                # Answers to the client, which is of the same account, arrive too.
                if not subject.startswith(b"$JS.EVENT."):
                    continue
                event = masked(json.loads(payload))
                self.events.append(f"{subject.decode()} {json.dumps(event, separators=(',', ':'))}")
        except (TimeoutError, socket.timeout):
            self.socket.settimeout(None)


class Client(Connection):
    def api(self, subject, body=None, headers=None):
        payload = "" if body is None else json.dumps(body)
        answer = self.request("$JS.API." + subject, payload, headers, timeout=5)
        assert answer is not None, subject
        return answer

    def publish(self, subject, payload, headers=None):
        assert self.request(subject, payload, headers, timeout=5) is not None, subject

    def next(self, stream, consumer, body):
        """Returns the subject of the acknowledgement of the next message."""
        self.count += 1
        inbox = b"_R.%d" % self.count
        payload = json.dumps(body).encode()
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}".encode()
        self.socket.sendall(b"PUB %s %s %d\r\n%s\r\n" % (subject, inbox, len(payload), payload))
        while True:
            words = self.line().split(b" ")
            if words[0] in (b"MSG", b"HMSG"):
                self.exactly(int(words[-1]))
                acks = [word for word in words if word.startswith(b"$JS.ACK.")]
                return acks[0].decode() if acks else None

    def tell(self, subject, payload=""):
        self.socket.sendall(b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(payload), payload.encode()))


def consumer(client, name, **more):
    config = {"durable_name": name, "name": name, "ack_policy": "explicit", **more}
    client.api(f"CONSUMER.CREATE.S.{name}", {"stream_name": "S", "config": config})


def scenario(client, other, listener):
    """All that a single server tells of."""
    client.api("INFO")
    client.api("STREAM.INFO.NONE")
    client.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s"], "storage": "memory", "allow_atomic": True})
    client.api("STREAM.UPDATE.S", {"name": "S", "subjects": ["s"], "storage": "memory", "description": "<d>", "allow_atomic": True})
    for number in range(6):
        client.publish("s", str(number))
    consumer(client, "c", sample_freq="100%", max_deliver=2, ack_wait=200_000_000)
    client.tell(client.next("S", "c", {"batch": 1}), "+ACK")
    client.tell(client.next("S", "c", {"batch": 1}), "-NAK")
    client.tell(client.next("S", "c", {"batch": 1}), "+TERM because of it")
    client.tell(client.next("S", "c", {"batch": 1}), "+TERM")
    listener.wait()
    # Delivered twice, and never acknowledged.
    consumer(client, "m", max_deliver=1, ack_wait=200_000_000)
    client.next("S", "m", {"batch": 1})
    time.sleep(0.3)
    client.next("S", "m", {"batch": 1})
    listener.wait()
    client.api("CONSUMER.PAUSE.S.c", {"pause_until": "2099-01-01T00:00:00Z"})
    client.api("CONSUMER.PAUSE.S.c")
    consumer(client, "p", priority_groups=["g"], priority_policy="pinned_client", priority_timeout=60_000_000_000)
    client.next("S", "p", {"batch": 2, "group": "g", "expires": 20_000_000_000})
    listener.wait()
    client.api("CONSUMER.UNPIN.S.p", {"group": "g"})
    listener.wait()
    client.api("CONSUMER.DELETE.S.c")
    client.publish("s", "1", "Nats-Batch-Id: b\r\nNats-Batch-Sequence: 1")
    client.request("s", "3", "Nats-Batch-Id: b\r\nNats-Batch-Sequence: 3", timeout=QUIET)
    # nats-server handles a request by an import twice; the second time may be later.
    other.api("STREAM.NAMES")
    listener.wait()
    client.api("STREAM.PURGE.S")
    client.api("STREAM.DELETE.S")
    listener.wait()


def play(program):
    with Server(program, CONFIGURATION) as server:
        port = server.port()
        listener = Listener(port, "a")
        scenario(Client(port, "a"), Client(port, "b"), listener)
        # Events of different causes overtake each other.
        return sorted(listener.events)


def main(arguments):
    if arguments[0] == "--record":
        RECORDED.write_text("\n".join(play(arguments[1])) + "\n")
        return 0
    expected = RECORDED.read_text().splitlines()
    failed = 0
    number = 0
    for program in arguments:
        found = play(program)
        for number, line in enumerate(expected, number + 1):
            is_found = line in found
            failed += not is_found
            print(f"{'ok' if is_found else 'not ok'} {number} - {line.split(' ')[0]} of {Path(program).name}")
            if not is_found:
                subject = line.split(" ")[0]
                same = [one for one in found if one.split(" ")[0] == subject and one not in expected][:1]
                print("\n    ".join([f"    expected {line}", *(f"received {one}" for one in same)]))
        for line in found:
            if line not in expected:
                failed += 1
                number += 1
                print(f"not ok {number} - unexpected: {line}")
    print(f"1..{number}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
