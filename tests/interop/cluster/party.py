"""A client of the wire protocol that shows all it receives: each INFO, each error, each message once or twice."""

import asyncio
import collections
import itertools
import json

from nodes import DEADLINE, until

Message = collections.namedtuple("Message", "subject sid reply headers payload")

_number = itertools.count(1)


class Party(asyncio.Protocol):
    """A client's connection."""

    def __init__(self):
        self.infos, self.errors, self.inbox = [], [], []
        self.counts = collections.Counter()
        """The number of messages by sid, also of those not kept."""
        self.receives = None
        """Called with each payload, in place of the inbox."""
        self.serves = None
        """Called with each message that has a reply subject, in place of the inbox."""
        self.closed = False
        self._buffer = b""
        self._pongs = collections.deque()
        self._sid = 0
        self._transport = None

    @classmethod
    async def connect(cls, node, **options):
        """Logs in; options are members of CONNECT."""
        party = await cls.open(node)
        defaults = {"verbose": False, "protocol": 1, "headers": True, "no_responders": True, "name": "party"}
        party.send(f"CONNECT {json.dumps(defaults | options)}\r\n")
        await party.flush()
        assert not party.errors, party.errors
        return party

    @classmethod
    async def open(cls, node, port=None):
        """Connects, and waits for INFO."""
        loop = asyncio.get_running_loop()
        _, party = await loop.create_connection(cls, node.host, port or node.port)
        await until("INFO arrives", lambda: party.infos)
        return party

    @property
    def info(self):
        """The last INFO."""
        return self.infos[-1]

    def send(self, text):
        """Sends a text or bytes."""
        self._transport.write(text if isinstance(text, bytes) else text.encode())

    async def flush(self):
        """Waits until the server has processed all that was sent."""
        pong = asyncio.get_running_loop().create_future()
        self._pongs.append(pong)
        self.send("PING\r\n")
        await asyncio.wait_for(pong, DEADLINE)

    def sub(self, subject, queue=""):
        """Subscribes; returns the sid."""
        self._sid += 1
        self.send(f"SUB {subject} {queue} {self._sid}\r\n" if queue else f"SUB {subject} {self._sid}\r\n")
        return self._sid

    def unsub(self, sid, most=0):
        """Ends a subscription, at once or after so many messages."""
        self.send(f"UNSUB {sid} {most}\r\n" if most else f"UNSUB {sid}\r\n")

    def pub(self, subject, payload=b"", reply="", headers=""):
        """Publishes; headers are lines without the first."""
        body = payload if isinstance(payload, bytes) else str(payload).encode()
        reply = f" {reply}" if reply else ""
        if not headers:
            self.send(f"PUB {subject}{reply} {len(body)}\r\n".encode() + body + b"\r\n")
            return
        block = f"NATS/1.0\r\n{headers}\r\n\r\n".encode()
        sizes = f"{len(block)} {len(block) + len(body)}"
        self.send(f"HPUB {subject}{reply} {sizes}\r\n".encode() + block + body + b"\r\n")

    async def next(self, subject=None):
        """Waits for a message, to this subject if one is named."""
        return (await self.take(1, subject))[0]

    async def take(self, count, subject=None):
        """Waits for so many messages, to this subject if one is named."""
        matching = lambda: [one for one in self.inbox if subject in (None, one.subject)]
        await until(f"{count} messages to {subject}, got {self.inbox[:5]}", lambda: len(matching()) >= count)
        taken = matching()[:count]
        for message in taken:
            self.inbox.remove(message)
        return taken

    async def request(self, subject, payload=b"", headers=""):
        """Returns the first answer."""
        inbox = f"_INBOX.{next(_number)}.{id(self)}"
        sid = self.sub(inbox)
        self.unsub(sid, 1)
        self.pub(subject, payload, inbox, headers)
        return await self.next(inbox)

    async def has_responders(self, subject):
        """Returns false if a request is told that there are none. One that gets lost on its way has no answer."""
        inbox = f"_INBOX.{next(_number)}.{id(self)}"
        self.sub(inbox)
        self.pub(subject, b"", inbox)
        end = asyncio.get_running_loop().time() + 0.5
        while asyncio.get_running_loop().time() < end:
            for message in self.inbox:
                if message.subject == inbox:
                    self.inbox.remove(message)
                    return not message.headers.startswith(b"NATS/1.0 503")
            await asyncio.sleep(0.001)
        return True

    async def close(self):
        """Ends the connection."""
        self._transport.close()
        await until("the connection ends", lambda: self.closed)

    def payloads(self):
        """The payloads in the inbox as texts."""
        return [message.payload.decode() for message in self.inbox]

    def connection_made(self, transport):
        self._transport = transport

    def connection_lost(self, exc):
        self.closed = True
        for pong in self._pongs:
            if not pong.done():
                pong.set_exception(ConnectionError(f"closed; errors: {self.errors}"))
                pong.exception()

    def data_received(self, data):
        buffer = self._buffer + data if self._buffer else data
        at = 0
        while True:
            end = buffer.find(b"\r\n", at)
            if end < 0:
                break
            line = buffer[at:end]
            if line.startswith((b"MSG ", b"HMSG ")):
                words = line.split(b" ")
                total = int(words[-1])
                after = end + 2 + total + 2
                if len(buffer) < after:
                    break
                self._message(words, buffer[end + 2 : end + 2 + total])
                at = after
                continue
            at = end + 2
            self._control(line)
        self._buffer = buffer[at:]

    def _message(self, words, body):
        self.counts[int(words[2])] += 1
        if self.receives is not None and not words[1].startswith(b"probe."):
            self.receives(body)
            return
        sizes = 2 if words[0] == b"HMSG" else 1
        headers = int(words[-2]) if sizes == 2 else 0
        reply = words[3].decode() if len(words) == 4 + sizes else ""
        message = Message(words[1].decode(), int(words[2]), reply, body[:headers], body[headers:])
        if self.serves is not None and reply:
            self.serves(message)
        else:
            self.inbox.append(message)

    def answers(self, subject, queue=""):
        """Answers each request to a subject with its name and the payload."""
        name = self.infos[0]["server_name"]
        self.serves = lambda one: self.pub(one.reply, f"{name}:{one.payload.decode()}")
        return self.sub(subject, queue)

    def _control(self, line):
        if line.startswith(b"INFO "):
            self.infos.append(json.loads(line[5:]))
        elif line == b"PING":
            self.send("PONG\r\n")
        elif line == b"PONG":
            pong = self._pongs.popleft()
            if not pong.done():
                pong.set_result(None)
        elif line.startswith(b"-ERR"):
            self.errors.append(line.decode())


async def settled(changed, *others):
    """Waits until the servers of others know the subscriptions of a party, and none that it has ended.

    A new subscription follows all changes on the same route; a message to it shows that they have arrived.
    """
    marker = f"probe.{next(_number)}.{id(changed)}"
    sid = changed.sub(marker)
    await changed.flush()
    for other in others:
        text = f"{marker}.{next(_number)}"
        arrived = lambda text=text: any(one.payload.decode() == text for one in changed.inbox)

        async def holds(other=other, text=text, arrived=arrived):
            if not arrived():
                other.pub(marker, text)
                await other.flush()
            return arrived()

        await until(f"{marker} is known everywhere", holds)
    changed.unsub(sid)
    await changed.flush()
    # Repeated markers may still be on their way.
    changed.inbox[:] = [one for one in changed.inbox if one.subject != marker]
