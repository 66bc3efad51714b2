#!/usr/bin/env python3
"""What streams of many messages, subjects and consumers cost the server, for several servers in one run.

    streams.py SERVER... [--only values,consumers,subjects,messages] [--messages 10000000] [--subjects 1000000] [--rounds 1]

Each part starts each server in turn, with `-js -sd` and a new folder, and prints the processor time of the server, its
resident memory and, where one request is outstanding, the time to its answer; in the last column the last server relative to the first.

values      a key-value bucket of 10,000 keys: get and put, one outstanding and 100 outstanding, in memory and in files
consumers   1,000 pull consumers on one stream: all receive each message; each has a filter without or with a wildcard; each fetches one message
            and acknowledges it
subjects    a stream with as many subjects as messages: filling, random reads of the last message of a subject, a multi-get, a consumer of
            the last of each subject, writing over, starting
messages    a stream of many messages in 11 subjects, one of which has 1 message in 100,000: filling, a consumer of the rare subject, counting
            with wildcards, starting after an orderly end and after SIGKILL

A server's answers are checked: each number of messages must be right. A start is measured until the server says that it is ready.
"""

import argparse
import collections
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

TICKS = os.sysconf("SC_CLK_TCK")
WINDOW = 4
CHUNK = 2000


class Server:
    """A server in a folder of its own."""

    def __init__(self, program):
        self.program = program
        self.folder = tempfile.mkdtemp(prefix="load-streams-")
        self.start()

    def start(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        arguments = ["-js", "-sd", self.folder, "-a", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(
            [*self.program.split(), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        log = []
        for line in self.process.stderr:
            log.append(line)
            if "Server is ready" in line:
                break
        else:
            raise SystemExit("the server does not start:\n" + "".join(log[-8:]))
        self.started = self.cpu()
        threading.Thread(target=collections.deque, args=(self.process.stderr, 0), daemon=True).start()

    def cpu(self):
        """Processor time in microseconds."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * 1_000_000 / TICKS

    def rss(self):
        """Resident memory in MiB."""
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024

    def end(self, number):
        self.process.send_signal(number)
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder)


class Client:
    """A client with an inbox for each kind of answer."""

    def __init__(self, server):
        self.server = server
        self.socket = socket.create_connection(("127.0.0.1", server.port))
        self.buffer, self.at, self.count = b"", 0, 0
        self.line()
        self.send(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB _I.> 1\r\nPING\r\n')
        while self.line() != b"PONG":
            pass

    def send(self, data):
        self.socket.sendall(data)

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
        """Returns the subject, the reply subject, headers and payload."""
        while True:
            words = self.line().split()
            if words[0] in (b"MSG", b"HMSG"):
                size, with_headers = int(words[-1]), words[0] == b"HMSG"
                while len(self.buffer) - self.at < size + 2:
                    self.more()
                data, self.at = self.buffer[self.at : self.at + size], self.at + size + 2
                head = int(words[-2]) if with_headers else 0
                reply = words[3] if len(words) == (6 if with_headers else 5) else b""
                return words[1], reply, data[:head], data[head:]
            if words[0] == b"PING":
                self.send(b"PONG\r\n")
            elif words[0] == b"-ERR":
                raise SystemExit(b" ".join(words).decode())

    def request(self, subject, payload=b""):
        self.count += 1
        inbox = b"_I.r%d" % self.count
        self.send(put(subject, payload, inbox))
        while True:
            to, _, head, answer = self.message()
            if to == inbox:
                return head, answer

    def api(self, subject, body=None):
        payload = b"" if body is None else json.dumps(body).encode()
        answer = json.loads(self.request(b"$JS.API." + subject.encode(), payload)[1])
        if "error" in answer:
            raise SystemExit(f"{subject}: {answer['error']}")
        return answer

    def stream(self, name, subjects, storage, **more):
        config = {"name": name, "subjects": [subjects], "storage": storage, "allow_direct": True} | more
        self.api("STREAM.CREATE." + name, config)

    def consumer(self, stream, name, **config):
        config = {"name": name, "durable_name": name, "ack_policy": "none"} | config
        return self.api(f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config})["num_pending"]

    def fill(self, count, subject, size):
        """Publishes; the last message of each chunk is acknowledged."""
        body, sent, waiting = b"x" * size, 0, 0
        while sent < count or waiting:
            while sent < count and waiting < WINDOW:
                end = min(sent + CHUNK, count)
                self.send(b"".join(put(subject(number), body) for number in range(sent, end - 1)))
                self.send(put(subject(end - 1), body, b"_I.a"))
                sent, waiting = end, waiting + 1
            to, _, _, payload = self.message()
            if to == b"_I.a":
                waiting -= 1
                if b'"error"' in payload:
                    raise SystemExit(payload.decode())

    def fetch(self, stream, name, body):
        self.send(put(b"$JS.API.CONSUMER.MSG.NEXT.%s.%s" % (stream, name), json.dumps(body).encode(), b"_I.f"))

    def deliveries(self, count):
        """Waits for as many messages of consumers. Returns their reply subjects."""
        replies = []
        while len(replies) < count:
            _, reply, head, _ = self.message()
            if reply.startswith(b"$JS.ACK."):
                replies.append(reply)
            elif head.startswith(b"NATS/1.0 4"):
                raise SystemExit(f"{len(replies)} of {count} messages, then {head}")
        return replies

    def ask(self, count, subject, outstanding):
        """Makes requests whose answers must have a stream."""
        sent = answered = 0
        while answered < count:
            end = min(count, answered + outstanding)
            self.send(b"".join(put(subject(number), b"", b"_I.d") for number in range(sent, end)))
            sent = max(sent, end)
            _, _, head, payload = self.message()
            if b"Nats-Stream: " not in head:
                raise SystemExit(f"no message: {head} {payload}")
            answered += 1


def put(subject, payload, reply=b""):
    return b"PUB %s %s %d\r\n%s\r\n" % (subject, reply, len(payload), payload)


class Part:
    """The measures of one part for one server."""

    def __init__(self):
        self.values = {}

    def cpu(self, name, server, count, work):
        """Adds the processor time for each of `count`, in microseconds."""
        before = server.cpu()
        result = work()
        self.values[name + ", CPU µs"] = (server.cpu() - before) / count
        return result

    def total(self, name, server, work):
        """Adds the processor time in seconds."""
        before = server.cpu()
        result = work()
        self.values[name + ", CPU s"] = (server.cpu() - before) / 1e6
        return result

    def rss(self, name, server):
        self.values[name + ", RSS MiB"] = server.rss()

    def start(self, name, server):
        server.start()
        self.values[name + ", CPU s"] = server.started / 1e6
        self.rss(name, server)


def values(program, part, _options):
    import time

    for storage in ("memory", "file"):
        with Server(program) as server:
            client = Client(server)
            client.stream("KV_b", "$KV.b.>", storage, max_msgs_per_subject=1, allow_rollup_hdrs=True, deny_delete=True, discard="new")
            client.fill(10_000, lambda number: b"$KV.b.k%d" % number, 128)
            for name, count, prefix in (("get", 10_000, b"$JS.API.DIRECT.GET.KV_b."), ("put", 1_000, b"")):
                times = []

                def one_by_one(count=count, prefix=prefix, times=times, payload=b"" if name == "get" else b"x" * 128):
                    for number in range(count):
                        began = time.perf_counter()
                        client.request(prefix + b"$KV.b.k%d" % (number * 7919 % 10_000), payload)
                        times.append(time.perf_counter() - began)

                part.cpu(f"{storage}: {name}, 1 outstanding", server, count, one_by_one)
                part.values[f"{storage}: {name}, p50 µs"] = sorted(times)[count // 2] * 1e6
            draw = random.Random(2)
            subject = lambda _: b"$JS.API.DIRECT.GET.KV_b.$KV.b.k%d" % draw.randrange(10_000)  # noqa: E731
            part.cpu(f"{storage}: get, 100 outstanding", server, 100_000, lambda: client.ask(100_000, subject, 100))


def consumers(program, part, _options):
    count, names = 1_000, [b"c%d" % number for number in range(1_000)]
    forms = {"all receive": "o.>", "a subject each": "o.c%d.x", "a wildcard each": "o.c%d.>", "fetch 1": "o.>"}
    for form, filter in forms.items():
        for storage in ("memory", "file"):
            with Server(program) as server:
                client = Client(server)
                client.stream("S", "o.>", storage)
                policy = "explicit" if form == "fetch 1" else "none"

                def create(client=client, filter=filter, policy=policy):
                    for number, name in enumerate(names):
                        own = filter % number if "%" in filter else filter
                        client.consumer("S", name.decode(), filter_subject=own, ack_policy=policy)

                head = f"{storage}, {form}"
                part.cpu(f"{head}: create a consumer", server, count, create)
                if form == "fetch 1":
                    client.fill(20, lambda _: b"o.x", 128)
                    part.cpu(f"{head} and acknowledge", server, 20 * count, lambda c=client: fetch_all(c, names))
                else:
                    for name in names:
                        client.fetch(b"S", name, {"batch": 1_000_000, "expires": 600 * 10**9})
                    client.api("STREAM.INFO.S")
                    receive = fan_out if form == "all receive" else one_each
                    part.cpu(f"{head}: a delivery", server, 20_000, lambda c=client, r=receive: r(c))
                part.rss(head, server)


def fan_out(client):
    for _ in range(20):
        client.send(put(b"o.x", b"x" * 128))
        client.deliveries(1_000)


def one_each(client):
    for first in range(0, 20_000, 500):
        client.send(b"".join(put(b"o.c%d.x" % (number % 1_000), b"x" * 128) for number in range(first, first + 500)))
        client.deliveries(500)


def fetch_all(client, names):
    for _ in range(20):
        for first in range(0, len(names), 100):
            for name in names[first : first + 100]:
                client.fetch(b"S", name, {"batch": 1})
            client.send(b"".join(put(reply, b"+ACK") for reply in client.deliveries(100)))
    client.api("STREAM.INFO.S")


def subjects(program, part, options):
    count = options.subjects
    subject = lambda number: b"kv.%d.name-%07d" % (number % 100, number)  # noqa: E731
    with Server(program) as server:
        client = Client(server)
        part.rss("idle", server)
        client.stream("S", "kv.>", "file", max_msgs_per_subject=1)
        part.cpu("publish", server, count, lambda: client.fill(count, subject, 64))
        part.rss("after publishing", server)
        draw = random.Random(1)
        last = lambda _: b"$JS.API.DIRECT.GET.S." + subject(draw.randrange(count))  # noqa: E731
        part.cpu("get the last of a subject", server, 100_000, lambda: client.ask(100_000, last, 100))
        part.rss("after reading", server)
        many = count // 100
        expected = part.total(
            f"create a consumer of the last of {many:,} subjects", server,
            lambda: client.consumer("S", "last", deliver_policy="last_per_subject", filter_subject="kv.7.>"),
        )  # fmt: skip
        assert expected == many, expected

        def read():
            for first in range(0, many, 1_000):
                batch = min(1_000, many - first)
                client.fetch(b"S", b"last", {"batch": batch})
                client.deliveries(batch)

        part.cpu("read with it", server, many, read)
        part.cpu("write over", server, 100_000, lambda: client.fill(100_000, lambda _: subject(draw.randrange(count)), 64))
        server.end(signal.SIGINT)
        part.start("start", server)
        server.end(signal.SIGKILL)
        part.start("start after SIGKILL", server)
        client = Client(server)
        state = client.api("STREAM.INFO.S")["state"]
        assert (state["messages"], state["num_subjects"]) == (count, count), state


def messages(program, part, options):
    count = options.messages
    subject = lambda number: b"m.rare" if number % 100_000 == 50_000 else b"m.c.%d" % (number % 10)  # noqa: E731
    rare = count // 100_000
    with Server(program) as server:
        client = Client(server)
        part.rss("idle", server)
        client.stream("M", "m.>", "file")
        part.cpu("publish", server, count, lambda: client.fill(count, subject, 128))
        part.rss("after publishing", server)

        def look(when):
            created = part.total(
                f"{when}: create a consumer of 1 in 100,000", server,
                lambda: client.consumer("M", "rare", filter_subject="m.rare"),
            )  # fmt: skip
            assert created == rare, created
            client.fetch(b"M", b"rare", {"batch": rare})
            part.total(f"{when}: read with it", server, lambda: client.deliveries(rare))
            part.rss(f"{when}: after reading", server)
            for filter, expected in (("m.c.*", count - rare), ("m.*.7", count // 10)):
                found = part.total(
                    f"{when}: count {filter}", server, lambda filter=filter: client.consumer("M", "w", filter_subject=filter)
                )
                assert found == expected, found
                client.api("CONSUMER.DELETE.M.w")
            client.api("CONSUMER.DELETE.M.rare")

        look("at first")
        for name, number in (("start", signal.SIGINT), ("start after SIGKILL", signal.SIGKILL)):
            server.end(number)
            part.start(name, server)
            client = Client(server)
            found = client.api("STREAM.INFO.M")["state"]["messages"]
            assert found == count, found
        look("after SIGKILL")


PARTS = {"values": values, "consumers": consumers, "subjects": subjects, "messages": messages}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--messages", type=int, default=10_000_000)
    parser.add_argument("--subjects", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    names = [os.path.basename(server.split()[0]) for server in options.servers]
    print("| part | measure |", " | ".join(names), "| ratio |\n| --- | --- |", " | ".join(["--:"] * (len(names) + 1)), "|")
    for name in options.only.split(","):
        results = [collections.defaultdict(list) for _ in options.servers]
        for _ in range(options.rounds):
            for server, result in zip(options.servers, results):
                part = Part()
                PARTS[name](server, part, options)
                for measure, value in part.values.items():
                    result[measure].append(value)
        for measure in results[0]:
            medians = [sorted(result[measure])[options.rounds // 2] for result in results]
            ratio = f"{medians[-1] / medians[0]:.2f}" if medians[0] else ""
            print("|", name, "|", measure, "|", " | ".join(f"{value:,.2f}" for value in medians), "|", ratio, "|", flush=True)


if __name__ == "__main__":
    main()
