"""Plays the same random sequences of requests, messages and acknowledgements on two servers and compares all answers.

    random_sequences.py NATSD REFERENCE [COUNT [SEED [ONLY]]]

A sequence creates a stream and does a few things with it: publishes with ids and expectations, removes, purges, consumes, acknowledges, asks
for states. Many sequences, each with a stream of its own, advance together, a step at a time: a request is sent when the one before it in its sequence
was answered, because servers need not keep the order of requests of different kinds. A sequence with different answers is played again alone on new
servers, so that only what it causes itself counts. `ONLY` plays one sequence and prints it.
"""

import json
import os
import random
import re
import socket
import sys

from main import Server

TOGETHER = 200
STEPS = (5, 25)
# Everything is answered within milliseconds, unless there is no answer. Differences of slow answers are found out alone.
NO_ANSWER = 0.3
NO_ANSWER_ALONE = 1.0
MASK = re.compile(
    rb'(?<=Nats-Subject: \$JS\.ACK\.)\S+|"(created|ts|time|first_ts|last_ts|last_active|leader)":"[^"]*"|Nats-Time-Stamp: \S+|"pause_remaining":\d+'
)
# nats-server reports the first sequence 1 for a stream that was purged before its first message, and 0 for others without messages.
FIRST_OF_NOTHING = (b'"first_seq":1,"first_ts":"0001', b'"first_seq":0,"first_ts":"0001')
# It also counts the message 0 as deleted there.
DELETED_OF_NOTHING = (b'"num_deleted":1,"deleted":[0],', b"")


class Sequence:
    """One random sequence; the same for both servers as long as they answer alike."""

    def __init__(self, seed, number):
        self.draw = random.Random(seed * 1_000_003 + number)
        self.name = "S%d" % number
        self.subject = "s%d" % number
        self.left = self.draw.randint(*STEPS)
        self.consumers = []
        self.acks = []
        # No messages are removed by requests any more: see docs/compat.md for what nats-server does then.
        self.keeps = False
        # There is a consumer with `max_deliver`: a negative acknowledgement would leave its `ack_floor` behind in nats-server.
        self.is_limited = False
        self.step = None
        self.log = []

    def next(self):
        """Returns the subject, headers and payload of the next request, and how many messages it asks for; None at the end."""
        if self.step is None:
            self.step = 0
            return self.create()
        if self.left == 0:
            self.left = -1
            return "$JS.API.STREAM.DELETE." + self.name, "", "", 0
        if self.left < 0:
            return None
        self.left -= 1
        self.step += 1
        kinds = [self.publish] * 8 + [self.consume] * 2 + [self.fetch] * 5 + [self.acknowledge] * 6 + [self.look] * 3
        kinds += [self.get, self.get, self.remove, self.purge, self.update]
        return self.draw.choice(kinds)()

    def config(self):
        draw = self.draw
        config = {"name": self.name, "subjects": [self.subject + ".>"], "storage": "file" if draw.random() < 0.05 else "memory"}
        config["retention"] = draw.choice(["limits", "limits", "interest", "workqueue"])
        choices = {
            "max_msgs": [3, 5, 10],
            "max_bytes": [200, 500],
            "max_msgs_per_subject": [1, 2, 3],
            "max_msg_size": [10, 40],
            "discard": ["new"],
            "allow_direct": [True],
            "allow_rollup_hdrs": [True],
            "first_seq": [100],
            "allow_msg_counter": [True],
            "discard_new_per_subject": [True],
            "allow_atomic": [True],
            "deny_delete": [True],
            "subject_transform": [{"src": self.subject + ".a", "dest": self.subject + ".z"}],
        }
        for key in draw.sample(sorted(choices), draw.randint(0, 3)):
            config[key] = draw.choice(choices[key])
        return config

    def create(self):
        self.current = self.config()
        return "$JS.API.STREAM.CREATE." + self.name, "", json.dumps(self.current), 0

    def update(self):
        changed = self.current | {self.draw.choice(["max_msgs", "max_msgs_per_subject"]): self.draw.choice([-1, 1, 2, 4])}
        return "$JS.API.STREAM.UPDATE." + self.name, "", json.dumps(changed), 0

    def token(self):
        return self.draw.choice(["a", "b", "c", "d.e"])

    def publish(self):
        draw = self.draw
        headers = []
        if draw.random() < 0.3:
            headers.append("Nats-Msg-Id: %d" % draw.randrange(4))
        if draw.random() < 0.15:
            name = draw.choice(["Nats-Expected-Last-Sequence", "Nats-Expected-Last-Subject-Sequence"])
            headers.append("%s: %d" % (name, draw.randrange(6)))
        if draw.random() < 0.05:
            headers.append("Nats-Expected-Last-Msg-Id: %d" % draw.randrange(4))
        if draw.random() < 0.05:
            headers.append("Nats-Rollup: " + draw.choice(["sub", "all"]))
        if draw.random() < 0.05:
            headers.append("Nats-Incr: " + draw.choice(["1", "-3", "x"]))
        if draw.random() < 0.05:
            headers.append("Nats-Expected-Stream: " + draw.choice([self.name, "X"]))
        return self.subject + "." + self.token(), "\r\n".join(headers), "x" * draw.choice([0, 1, 8, 30, 60]), 0

    def consume(self):
        draw = self.draw
        name = draw.choice("cde")
        config = {"durable_name": name, "ack_policy": draw.choice(["explicit", "explicit", "all", "none"])}
        config["deliver_policy"] = draw.choice(["all", "all", "new", "last", "last_per_subject"])
        self.keeps |= config["deliver_policy"] == "last_per_subject" or config["ack_policy"] == "all"
        choices = {
            "filter_subject": [self.subject + "." + filter for filter in ("a", "*", "d.>")],
            "filter_subjects": [[self.subject + ".a", self.subject + ".b"]],
            "max_deliver": [1, 2],
            "max_ack_pending": [1, 3],
            "headers_only": [True],
            "max_batch": [2],
        }
        for key in draw.sample(sorted(choices), draw.randint(0, 2)):
            config[key] = draw.choice(choices[key])
        self.is_limited |= "max_deliver" in config
        if draw.random() < 0.1:
            return "$JS.API.CONSUMER.DELETE.%s.%s" % (self.name, name), "", "", 0
        if name not in self.consumers:
            self.consumers.append(name)
        body = {"stream_name": self.name, "config": config}
        return "$JS.API.CONSUMER.DURABLE.CREATE.%s.%s" % (self.name, name), "", json.dumps(body), 0

    def fetch(self):
        if not self.consumers:
            return self.publish()
        batch = self.draw.choice([1, 1, 2, 5])
        consumer = self.draw.choice(self.consumers)
        body = json.dumps({"batch": batch, "no_wait": True})
        return "$JS.API.CONSUMER.MSG.NEXT.%s.%s" % (self.name, consumer), "", body, batch

    def acknowledge(self):
        if not self.acks:
            return self.fetch()
        at = self.draw.randrange(len(self.acks))
        subject = self.acks[at] if self.draw.random() < 0.2 else self.acks.pop(at)
        answer = self.draw.choice(["+ACK", "+ACK", "+ACK", "", "-NAK", "-NAK", "+TERM", "+WPI"])
        if answer == "-NAK" and self.is_limited:
            answer = "+ACK"
        self.keeps |= answer == "-NAK"
        return subject, "", answer, 0

    def look(self):
        if self.consumers and self.draw.random() < 0.6:
            return "$JS.API.CONSUMER.INFO.%s.%s" % (self.name, self.draw.choice(self.consumers)), "", "", 0
        body = self.draw.choice(["", '{"subjects_filter":">"}', '{"deleted_details":true}'])
        return "$JS.API.STREAM.INFO." + self.name, "", body, 0

    def get(self):
        body = self.draw.choice(
            [
                {"seq": self.draw.randint(1, 8)},
                {"last_by_subj": self.subject + "." + self.token()},
                {"next_by_subj": self.subject + ".>", "seq": self.draw.randint(0, 5)},
                {"next_by_subj": self.subject + "." + self.token()},
            ]
        )
        api = self.draw.choice(["DIRECT.GET.", "STREAM.MSG.GET."]) if "allow_direct" in self.current else "STREAM.MSG.GET."
        return "$JS.API." + api + self.name, "", json.dumps(body), 0

    def remove(self):
        if self.keeps:
            return self.look()
        body = {"seq": self.draw.randint(1, 8), "no_erase": self.draw.random() < 0.5}
        return "$JS.API.STREAM.MSG.DELETE." + self.name, "", json.dumps(body), 0

    def purge(self):
        if self.keeps:
            return self.look()
        body = self.draw.choice([{}, {"filter": self.subject + "." + self.token()}, {"seq": self.draw.randint(1, 8)}, {"keep": 2}])
        if body and self.draw.random() < 0.3:
            body = body | {"filter": self.subject + ".>"}
        return "$JS.API.STREAM.PURGE." + self.name, "", json.dumps(body), 0

    def answered(self, request, answers):
        self.log.append((request, answers))


def masked(text):
    """Returns an answer or a subject without times."""
    if text.startswith(b"$JS.ACK."):
        words = text.split(b".")
        words[-2] = b"TIME"
        return b".".join(words)
    return MASK.sub(b"TIME", text.replace(*FIRST_OF_NOTHING).replace(*DELETED_OF_NOTHING))


class Player:
    """A client that sends a step of many sequences at once."""

    def __init__(self, port, patience=NO_ANSWER):
        self.patience = patience
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.buffer, self.at = b"", 0
        self.line()
        options = {"verbose": False, "headers": True, "no_responders": True}
        self.socket.sendall(b"CONNECT " + json.dumps(options).encode() + b"\r\nPING\r\n")
        while self.line() != b"PONG":
            pass
        self.count = 0

    def more(self):
        data = self.socket.recv(1 << 18)
        if not data:
            raise EOFError("the server closed the connection")
        self.buffer, self.at = self.buffer[self.at :] + data, 0

    def line(self):
        while (end := self.buffer.find(b"\r\n", self.at)) < 0:
            self.more()
        line, self.at = self.buffer[self.at : end], end + 2
        return line

    def message(self):
        """Returns the id of the subscription, the subject, the reply subject, headers and payload."""
        while True:
            words = self.line().split(b" ")
            if words[0] in (b"MSG", b"HMSG"):
                size = int(words[-1])
                while len(self.buffer) - self.at < size + 2:
                    self.more()
                data, self.at = self.buffer[self.at : self.at + size], self.at + size + 2
                with_headers = words[0] == b"HMSG"
                head = int(words[-2]) if with_headers else 0
                reply = words[3] if len(words) == (6 if with_headers else 5) else b""
                return int(words[2]), words[1], reply, data[:head], data[head:]
            if words[0] == b"PING":
                self.socket.sendall(b"PONG\r\n")
            elif words[0] == b"-ERR":
                raise RuntimeError(b" ".join(words).decode())

    def play(self, sequences):
        """Plays sequences to their ends."""
        going = list(sequences)
        while going:
            self.step(going)
            going = [sequence for sequence in going if sequence.left >= 0 or sequence.pending]

    def step(self, sequences):
        out, waiting = [], {}
        for sequence in sequences:
            request = sequence.next()
            sequence.pending = request is not None
            if request is None:
                continue
            subject, headers, payload, batch = request
            self.count += 1
            # A delivered message has the subject under which it was published: the id of the subscription says what it answers.
            reply = b"_R.%d" % self.count
            out.append(b"SUB %s %d\r\n" % (reply, self.count))
            waiting[self.count] = [sequence, request, [], batch, reply]
            payload = payload.encode()
            if headers:
                block = b"NATS/1.0\r\n" + headers.encode() + b"\r\n\r\n"
                out.append(b"HPUB %s %s %d %d\r\n" % (subject.encode(), reply, len(block), len(block) + len(payload)))
                payload = block + payload
            else:
                out.append(b"PUB %s %s %d\r\n" % (subject.encode(), reply, len(payload)))
            out.append(payload + b"\r\n")
        numbers = list(waiting)
        self.socket.sendall(b"".join(out))
        self.socket.settimeout(self.patience)
        try:
            while waiting:
                self.take(waiting)
        except TimeoutError:
            for sequence, request, answers, *_ in waiting.values():
                sequence.answered(request, [*answers, "nothing more"])
        self.socket.settimeout(None)
        self.socket.sendall(b"".join(b"UNSUB %d\r\n" % number for number in numbers))

    def take(self, waiting):
        number, subject, reply, headers, payload = self.message()
        if number not in waiting:
            return
        sequence, request, answers, batch, _ = waiting[number]
        is_message = reply.startswith(b"$JS.ACK.")
        if is_message:
            sequence.acks.append(reply.decode())
        answers.append((subject if is_message else b"", masked(reply), masked(headers), masked(payload)))
        if not (is_message and len(answers) < batch):
            del waiting[number]
            sequence.answered(request, answers)


def compare(ours, theirs):
    """Returns the first difference of two played sequences."""
    for (request, answers), (other, others) in zip(ours.log, theirs.log):
        if plain(request) != plain(other) or answers != others:
            texts = [repr(answers), repr(others)]
            same = len(os.path.commonprefix(texts))
            texts = [text[max(0, same - 60) : same + 200] for text in texts]
            return f"> {request[0]} {request[1]!r} {request[2]}\n    natsd     {texts[0]}\n    reference {texts[1]}"
    return None


def plain(request):
    return (masked(request[0].encode()), *request[1:])


def alone(programs, seed, number):
    """Plays one sequence on new servers."""
    played = []
    for program in programs:
        with Server(program, []) as server:
            sequence = Sequence(seed, number)
            Player(server.port(), NO_ANSWER_ALONE).play([sequence])
            played.append(sequence)
    return played


def main(natsd, reference, count="1000", seed="1", only=None):
    programs, count, seed = (natsd, reference), int(count), int(seed)
    if only is not None:
        ours, theirs = alone(programs, seed, int(only))
        for request, answers in ours.log:
            print(">", *request, "\n    ", answers)
        print(compare(ours, theirs))
        return 0
    differing = steps = 0
    with Server(natsd, []) as our_server, Server(reference, []) as their_server:
        players = [Player(our_server.port()), Player(their_server.port())]
        for first in range(0, count, TOGETHER):
            numbers = range(first, min(first + TOGETHER, count))
            played = [[Sequence(seed, number) for number in numbers] for _ in players]
            for player, sequences in zip(players, played):
                player.play(sequences)
            for number, ours, theirs in zip(numbers, *played):
                steps += len(ours.log)
                if compare(ours, theirs) and (difference := compare(*alone(programs, seed, number))):
                    differing += 1
                    print(f"sequence {number} of seed {seed}:\n{difference}", flush=True)
    print(f"{count} sequences, {steps} requests, {differing} sequences answered differently")
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
