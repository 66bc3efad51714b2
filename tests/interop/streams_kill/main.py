#!/usr/bin/env python3
"""Kills a server under load, again and again, and checks what its streams have promised.

    main.py SERVER        KILLS=300 sets the number of kills of each scenario (default 20), SEED=7 chooses other moments

One client publishes with ids and many messages outstanding; after each kill it sends again what was not acknowledged, with
the same ids. Another consumes with a durable pull consumer, acknowledges, and waits until each acknowledgement is confirmed. The
server is killed with SIGKILL after a random number of acknowledgements, or while it recovers. Checked at all times:

- the acknowledgement of an id never changes its sequence;
- a sequence never has another message than before;
- a message whose acknowledgement was confirmed is not delivered again;

and after the last kill: each acknowledged message is in the stream once, at the acknowledged sequence; no id is there twice; every
message was delivered and acknowledged; the consumer's state agrees.

SIGKILL loses nothing that the system has been given. Lost power is simulated by the tests of `broker-streams`.
"""

import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
import traceback

KILLS = int(os.environ.get("KILLS", "20"))
SEED = int(os.environ.get("SEED", "1"))
# Published and not yet acknowledged: what a kill can lose.
OUTSTANDING = 500
# Acknowledgements between the start and a kill.
LIFE = (100, 1500)
BATCH = 200
# Short, because messages delivered before a kill come again only then.
ACK_WAIT_NS = 1_000_000_000
# Seconds for one start, one life or the end; reached only by a failure.
DEADLINE = 60.0


class Wrong(Exception):
    """A broken promise."""


class Client:
    """A connection. Each inbox has a handler, and is the id of its own subscription."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.handlers = {}
        self.answers = {}
        self.count = 0
        self.handlers[b"_R"] = self.answered

    @classmethod
    async def open(cls, port, *inboxes):
        client = cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))
        await client.reader.readline()
        options = {"verbose": False, "headers": True, "no_responders": True}
        client.send(b"CONNECT %s\r\n" % json.dumps(options).encode())
        client.send(b"".join(b"SUB %s.> %s\r\n" % (inbox, inbox) for inbox in inboxes))
        return client

    def send(self, data):
        if not self.writer.is_closing():
            self.writer.write(data)

    async def request(self, subject, body=None):
        self.count += 1
        payload = b"" if body is None else json.dumps(body).encode()
        answer = self.answers[b"_R.%d" % self.count] = asyncio.get_running_loop().create_future()
        self.send(b"PUB $JS.API.%s _R.%d %d\r\n%s\r\n" % (subject.encode(), self.count, len(payload), payload))
        answer = json.loads(await answer)
        if "error" in answer:
            raise Wrong(f"{subject}: {answer['error']}")
        return answer

    def answered(self, subject, _reply, _head, payload):
        self.answers.pop(subject).set_result(payload)

    async def run(self):
        """Reads until the connection ends."""
        try:
            while True:
                await self.step()
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    async def step(self):
        line = await self.reader.readuntil(b"\r\n")
        words = line.split()
        if words[0] in (b"MSG", b"HMSG"):
            with_headers = words[0] == b"HMSG"
            size = int(words[-1])
            data = (await self.reader.readexactly(size + 2))[:size]
            head = int(words[-2]) if with_headers else 0
            # The operation, the subject, the number, perhaps a reply, the sizes.
            reply = words[3] if len(words) == (6 if with_headers else 5) else b""
            self.handlers[words[2]](words[1], reply, data[:head], data[head:])
        elif words[0] == b"PING":
            self.send(b"PONG\r\n")
        elif words[0] == b"-ERR":
            raise Wrong(line.decode())

    def close(self):
        self.writer.transport.abort()


class Publisher:
    """Publishes numbered messages; what is not acknowledged is sent again in the next life."""

    def __init__(self, draw):
        self.draw = draw
        self.acknowledged = {}
        self.waiting = {}
        self.next = 0
        self.again = 0
        self.open = True

    def begin(self, client):
        self.client = client
        client.handlers[b"_P"] = self.answered
        self.again += len(self.waiting)
        for number in self.waiting:
            self.put(number)
        self.fill()

    def fill(self):
        while self.open and len(self.waiting) < OUTSTANDING:
            # Of several sizes, a few of them large.
            self.waiting[self.next] = self.draw.choice((8, 128, 128, 512, 4096))
            self.put(self.next)
            self.next += 1

    def put(self, number):
        head = b"NATS/1.0\r\nNats-Msg-Id: %d\r\n\r\n" % number
        body = b"%d " % number + b"x" * self.waiting[number]
        sizes = (number % 10, number, len(head), len(head) + len(body))
        self.client.send(b"HPUB kill.%d _P.%d %d %d\r\n" % sizes + head + body + b"\r\n")

    def answered(self, subject, _reply, head, payload):
        number = int(subject[3:])
        if not payload:
            raise Wrong(f"no acknowledgement of {number}: {head}")
        answer = json.loads(payload)
        if "error" in answer:
            raise Wrong(f"message {number} was refused: {answer}")
        before = self.acknowledged.setdefault(number, answer["seq"])
        if before != answer["seq"]:
            raise Wrong(f"message {number} was acknowledged as {before}, then as {answer['seq']}")
        self.waiting.pop(number, None)
        self.fill()


class Worker:
    """Consumes by pulling; acknowledges with confirmation."""

    def __init__(self, draw):
        self.draw = draw
        self.seen = {}
        self.confirmed = set()
        # Acknowledged, and perhaps known to the server: a kill took the confirmation.
        self.sent = set()
        self.repeated = 0
        self.refused = 0

    def pending(self):
        """The number of acknowledgements in this life whose confirmation is awaited."""
        return len(self.asked - self.confirmed)

    def begin(self, client):
        self.asked = set()
        self.client = client
        client.handlers[b"_D"] = self.delivered
        client.handlers[b"_A"] = self.answered
        self.left = 0
        self.pulls = 0
        self.pull()

    def pull(self):
        self.left = BATCH
        self.pulls += 1
        body = b'{"batch":%d,"expires":5000000000}' % BATCH
        self.client.send(b"PUB $JS.API.CONSUMER.MSG.NEXT.KILL.worker _D.%d %d\r\n%s\r\n" % (self.pulls, len(body), body))

    def delivered(self, subject, reply, head, payload):
        if not reply:
            # The end of a pull; one of an earlier pull needs no other.
            if not head.startswith((b"NATS/1.0 408", b"NATS/1.0 404")):
                raise Wrong(f"a pull ended with {head}")
            if subject == b"_D.%d" % self.pulls:
                self.pull()
            return
        words = reply.split(b".")
        sequence = int(words[5] if len(words) == 9 else words[7])
        number = int(payload.split(b" ", 1)[0])
        if sequence in self.confirmed:
            raise Wrong(f"sequence {sequence}, which was acknowledged and confirmed, was delivered again")
        self.repeated += sequence in self.seen
        if self.seen.setdefault(sequence, number) != number:
            raise Wrong(f"sequence {sequence} was message {self.seen[sequence]}, now {number}")
        # Some are refused at first, so that they come again.
        if self.draw.random() < 0.02:
            self.refused += 1
            self.client.send(b"PUB %s 4\r\n-NAK\r\n" % reply)
        else:
            self.sent.add(sequence)
            self.asked.add(sequence)
            self.client.send(b"PUB %s _A.%d 4\r\n+ACK\r\n" % (reply, sequence))
        self.left -= 1
        if self.left == 0:
            self.pull()

    def answered(self, subject, _reply, head, _payload):
        if head:
            raise Wrong(f"an acknowledgement was answered with {head}")
        self.confirmed.add(int(subject[3:]))


class Server:
    """The server, in one directory."""

    def __init__(self, program, directory):
        self.program, self.directory = program, directory
        self.process = None
        self.reading = None

    async def start(self, lines=None):
        """Starts it; returns its port, or `None` if it was killed after that many lines of its log."""
        self.process = await asyncio.create_subprocess_exec(
            self.program, "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", self.directory,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        log = []
        port = None
        while line := (await self.process.stderr.readline()).decode():
            log.append(line)
            if "[ERR]" in line or "panicked" in line:
                raise Wrong(f"the server reports: {line.strip()}")
            if "Listening for client connections on " in line:
                port = int(line.rsplit(":", 1)[1])
            if lines is not None and len(log) > lines:
                return await self.kill()
            if "Server is ready" in line:
                self.reading = asyncio.ensure_future(self.process.stderr.read())
                return port
        raise Wrong("the server did not start:\n" + "".join(log))

    async def kill(self):
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        if self.reading is not None:
            log, self.reading = (await self.reading).decode(), None
            if "[ERR]" in log or "panicked" in log:
                raise Wrong(f"the server reports:\n{log[-2000:]}")


class Play:
    """One scenario."""

    def __init__(self, program, directory, retention):
        self.server = Server(program, directory)
        self.retention = retention
        self.draw = random.Random(SEED)
        self.publisher = Publisher(self.draw)
        self.worker = Worker(self.draw)

    async def run(self):
        try:
            for life in range(KILLS):
                if life % 5 == 4:
                    # During the recovery.
                    lines = self.draw.randrange(8)
                    await asyncio.wait_for(self.server.start(lines), DEADLINE)
                    await self.server.kill()
                else:
                    await asyncio.wait_for(self.live(life == 0), DEADLINE)
            return await asyncio.wait_for(self.finish(), DEADLINE + KILLS)
        finally:
            await self.server.kill()

    async def live(self, first):
        port = await self.server.start()
        clients = [await Client.open(port, b"_R", b"_P", b"_X"), await Client.open(port, b"_D", b"_A")]
        readers = [asyncio.ensure_future(client.run()) for client in clients]
        if first:
            await self.create(clients[0], readers)
        target = len(self.publisher.acknowledged) + self.draw.randint(*LIFE)
        least = len(self.worker.confirmed) + 50
        self.begin(clients)
        await self.until(
            readers, lambda: len(self.publisher.acknowledged) >= target and len(self.worker.confirmed) >= least
        )
        await self.server.kill()
        # What was written before the kill is read to the end.
        await asyncio.gather(*readers)
        for client in clients:
            client.close()

    def begin(self, clients):
        self.publisher.begin(clients[0])
        self.worker.begin(clients[1])

    async def create(self, client, readers):
        config = {"name": "KILL", "subjects": ["kill.*"], "storage": "file", "retention": self.retention}
        # Longer than the test: an id is never forgotten.
        await self.asked(readers, client.request("STREAM.CREATE.KILL", config | {"duplicate_window": 3600 * 10**9}))
        config = {"durable_name": "worker", "ack_policy": "explicit", "ack_wait": ACK_WAIT_NS, "max_ack_pending": 10 * BATCH}
        body = {"stream_name": "KILL", "config": config}
        await self.asked(readers, client.request("CONSUMER.DURABLE.CREATE.KILL.worker", body))

    async def asked(self, readers, request):
        request = asyncio.ensure_future(request)
        await asyncio.wait([request, *readers], return_when=asyncio.FIRST_COMPLETED)
        for reader in readers:
            if reader.done():
                reader.result()
                raise Wrong("the server closed a connection")
        return request.result()

    async def until(self, readers, holds):
        while not holds():
            await asyncio.wait(readers, timeout=0.005, return_when=asyncio.FIRST_COMPLETED)
            for reader in readers:
                if reader.done():
                    reader.result()
                    raise Wrong("the server closed a connection")

    async def finish(self):
        """Publishes and consumes the rest, then compares everything."""
        port = await self.server.start()
        clients = [await Client.open(port, b"_R", b"_P", b"_X"), await Client.open(port, b"_D", b"_A")]
        readers = [asyncio.ensure_future(client.run()) for client in clients]
        self.publisher.open = False
        self.begin(clients)
        await self.until(readers, lambda: not self.publisher.waiting)
        state = (await self.asked(readers, clients[0].request("STREAM.INFO.KILL")))["state"]
        last = state["last_seq"]
        while True:
            info = await self.asked(readers, clients[0].request("CONSUMER.INFO.KILL.worker"))
            if (info["num_pending"], info["num_ack_pending"]) == (0, 0):
                break
            await asyncio.sleep(0.02)
        if info["ack_floor"]["stream_seq"] != last:
            raise Wrong(f"the consumer has {info}")
        # The server has answered the last acknowledgement before; the answer may be under way.
        await self.until(readers, lambda: self.worker.pending() == 0)
        skipped = [sequence for sequence in range(1, last + 1) if sequence not in self.worker.sent]
        if skipped:
            raise Wrong(f"{len(skipped)} of {last} were not acknowledged, such as {skipped[:10]}, but are not delivered")
        self.compare(last)
        if self.retention == "limits":
            await self.read(clients[0], readers, last)
        else:
            await self.emptied(clients[0], readers)
        for client in clients:
            client.close()
        for reader in readers:
            reader.cancel()
        return f"{KILLS} kills, {last} messages, {self.publisher.again} sent again, {self.worker.repeated} delivered again"

    def compare(self, last):
        """Compares what was acknowledged with what was consumed."""
        seen = self.worker.seen
        for number, sequence in self.publisher.acknowledged.items():
            if seen.get(sequence) != number:
                raise Wrong(f"message {number}, acknowledged as {sequence}, is {seen.get(sequence)}")
        if sorted(seen) != list(range(1, last + 1)):
            raise Wrong("sequences were skipped")
        # An acknowledged and deleted message takes its id along in a restart.
        if self.retention == "limits" and len(set(seen.values())) != last:
            raise Wrong(f"{last - len(set(seen.values()))} messages are in the stream twice")

    async def emptied(self, client, readers):
        state = (await self.asked(readers, client.request("STREAM.INFO.KILL")))["state"]
        if state["messages"]:
            raise Wrong(f"the consumed messages are still there: {state}")

    async def read(self, client, readers, last):
        """Reads the whole stream again, in parts, so that a server that is faster than this reader does not close it as a slow consumer."""
        found = {}

        def fetch():
            body = b'{"batch":%d,"expires":60000000000}' % min(5 * BATCH, last - len(found))
            client.send(b"PUB $JS.API.CONSUMER.MSG.NEXT.KILL.reader _X.0 %d\r\n%s\r\n" % (len(body), body))

        def delivered(_subject, reply, head, payload):
            if not reply:
                raise Wrong(f"reading ended with {head} after {len(found)}")
            words = reply.split(b".")
            found[int(words[5] if len(words) == 9 else words[7])] = int(payload.split(b" ", 1)[0])
            if len(found) % (5 * BATCH) == 0 and len(found) < last:
                fetch()

        body = {"stream_name": "KILL", "config": {"name": "reader", "ack_policy": "none"}}
        await self.asked(readers, client.request("CONSUMER.CREATE.KILL.reader", body))
        client.handlers[b"_X"] = delivered
        fetch()
        await self.until(readers, lambda: len(found) >= last)
        if found != self.worker.seen:
            raise Wrong("the stream has other messages than were delivered")


SCENARIOS = [
    ("a_stream_keeps_its_promises_when_the_server_is_killed", "limits"),
    ("a_work_queue_keeps_its_promises_when_the_server_is_killed", "workqueue"),
]


def main():
    program = sys.argv[1]
    print(f"1..{len(SCENARIOS)}", flush=True)
    failed = False
    for name, retention in SCENARIOS:
        directory = tempfile.mkdtemp(prefix="streams-kill-")
        try:
            told = asyncio.run(Play(program, directory, retention).run())
            print(f"# {told}\nok {name}", flush=True)
            shutil.rmtree(directory)
        except Exception as error:
            traceback.print_exc()
            print(f"# the store is kept in {directory}, seed {SEED}")
            print(f"not ok {name}: {type(error).__name__} {str(error).splitlines()[:1]}", flush=True)
            failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()
