"""Clients that work while servers are replaced. On the announcement of lame duck mode each does what docs/operations.md says: it connects
elsewhere, waits until the old server knows of that, and drains its old connection. They count what is lost."""

import asyncio
import collections

import nats
import nats.errors

DEADLINE = 60.0

REQUESTERS, RESPONDERS = 4, 4


class Client(nats.NATS):
    """nats.py with PING behind what was queued before it.

    In nats.py 2.16 the PING of `drain` overtakes its UNSUB. Its PONG then says nothing about the subscription, which nats.py ends all the
    same: it discards the messages that come until the server has read UNSUB, and their requesters get no answer. 4 requesters and
    responders that drain one after the other lose 2 of 1,000 requests with nats-server 2.14.5 and 4 with natsd, and with this change none.
    """

    async def _send_ping(self, future=None):
        await self._flush_pending(force_flush=True)
        await super()._send_ping(future)


class Mover:
    """A client with one connection at a time."""

    def __init__(self, urls):
        self.urls, self.connection, self.moves = urls, None, 0
        self._tasks = set()

    async def start(self, first):
        """Connects, to the server of this number if it can."""
        self.connection = await self._connect(self.urls[first:] + self.urls[:first])
        await self.use(self.connection)
        await self.connection.flush()
        return self

    async def use(self, connection):
        """Subscribes, if the client does."""

    async def leave(self, connection):
        """Waits until the old connection is not needed."""

    def left(self, connection):
        """The old connection is drained."""

    async def _connect(self, urls):
        async def announced():
            # The library waits for the callback, and reads meanwhile nothing.
            task = asyncio.ensure_future(self._move(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        async def ignore(*_):
            """What is lost is counted elsewhere."""

        connection = Client()
        await connection.connect(
            servers=urls, dont_randomize=True, reconnect_time_wait=0.02, max_reconnect_attempts=-1, connect_timeout=5,
            error_cb=ignore, lame_duck_mode_cb=announced,
        )
        return connection

    async def _move(self, old):
        left = old.connected_url.netloc
        others = [url for url in self.urls if not url.endswith(left)]
        new = await self._connect(others)
        await self.use(new)
        await self._reaches(old, new)
        self.connection = new
        self.moves += 1
        await self.leave(old)
        await old.drain()
        self.left(old)

    async def _reaches(self, old, new):
        """Waits until the old server knows the subscriptions of the new connection: those made before the one of this request."""
        inbox = new.new_inbox()

        async def answer(message):
            await message.respond(b"")

        subscription = await new.subscribe(inbox, cb=answer)
        await new.flush()
        while not old.is_closed:
            try:
                await old.request(inbox, timeout=DEADLINE)
                break
            except nats.errors.NoRespondersError:
                await asyncio.sleep(0.005)
        await subscription.unsubscribe()

    async def close(self):
        """Ends the client, when a move has ended."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DEADLINE)
        await self.connection.close()


class Responder(Mover):
    """Answers requests as a member of a queue group."""

    answered = 0

    async def use(self, connection):
        async def answer(message):
            self.answered += 1
            await message.respond(message.data)

        await connection.subscribe("work", queue="workers", cb=answer)


class Requester(Mover):
    """Asks, one request after the other."""

    def __init__(self, urls):
        super().__init__(urls)
        self.answers, self.failures = 0, []
        self._open = collections.Counter()
        self._stopped = False

    async def leave(self, connection):
        while self._open[connection]:
            await asyncio.sleep(0.005)

    async def work(self):
        """Asks until it is stopped."""
        number = 0
        while not self._stopped:
            number += 1
            connection = self.connection
            self._open[connection] += 1
            try:
                answer = await connection.request("work", b"%d" % number, timeout=10)
                assert answer.data == b"%d" % number, answer
                self.answers += 1
            except Exception as error:  # pylint: disable=broad-except
                self.failures.append(f"request {number}: {error!r}")
            self._open[connection] -= 1
            await asyncio.sleep(0.002)

    def stop(self):
        """Asks nothing more."""
        self._stopped = True


class Publisher(Mover):
    """Publishes numbers, which begin anew on each connection: between connections there is no order."""

    def __init__(self, urls):
        super().__init__(urls)
        self.sent = collections.Counter()
        """The last number by move."""
        self._stopped = False

    async def work(self):
        """Publishes until it is stopped."""
        while not self._stopped:
            moves = self.moves
            self.sent[moves] += 1
            await self.connection.publish("numbers", b"%d %d" % (moves, self.sent[moves]))
            await asyncio.sleep(0.002)
        await self.connection.flush()

    def stop(self):
        """Publishes nothing more."""
        self._stopped = True


class Subscriber(Mover):
    """Receives the numbers, over two connections while it moves. What the new one receives waits until the old one is drained."""

    def __init__(self, urls):
        super().__init__(urls)
        self.received, self.mistakes = collections.Counter(), []
        self._active, self._waiting = None, collections.defaultdict(list)

    async def use(self, connection):
        async def receive(message):
            if connection is self._active:
                self._take(message.data)
            else:
                self._waiting[connection].append(message.data)

        self._active = self._active or connection
        await connection.subscribe("numbers", cb=receive)

    def _take(self, data):
        move, number = map(int, data.split())
        last = self.received[move]
        # What came over both connections is known.
        if number > last:
            self.received[move] = number
        if number > last + 1:
            self.mistakes.append(f"number {number} after {last}")

    async def leave(self, connection):
        while not self._waiting[self.connection]:
            await asyncio.sleep(0.005)

    def left(self, connection):
        self._active = self.connection
        for data in self._waiting.pop(self.connection):
            self._take(data)


class Load:
    """All of them."""

    def __init__(self, urls):
        self.responders = [Responder(urls) for _ in range(RESPONDERS)]
        self.requesters = [Requester(urls) for _ in range(REQUESTERS)]
        self.publisher, self.subscriber = Publisher(urls), Subscriber(urls)
        self._work = []

    def clients(self):
        """Each client."""
        return [*self.responders, self.subscriber, *self.requesters, self.publisher]

    async def __aenter__(self):
        for number, client in enumerate(self.clients()):
            await client.start(number % len(client.urls))
        self._work = [asyncio.ensure_future(one.work()) for one in (*self.requesters, self.publisher)]
        return self

    async def __aexit__(self, *_):
        for one in (*self.requesters, self.publisher):
            one.stop()
        await asyncio.wait_for(asyncio.gather(*self._work), DEADLINE)
        for client in self.clients():
            await client.close()

    async def works(self):
        """Waits until each client has done something more."""
        before, received = [one.answers for one in self.requesters], self.subscriber.received.total()

        async def more():
            while any(one.answers <= count for one, count in zip(self.requesters, before)) or self.subscriber.received.total() <= received:
                await asyncio.sleep(0.01)

        await asyncio.wait_for(more(), DEADLINE)

    async def received_all(self):
        """Waits for the last number."""

        async def all_are_there():
            while self.subscriber.received != self.publisher.sent:
                await asyncio.sleep(0.01)

        self.publisher.stop()
        try:
            await asyncio.wait_for(all_are_there(), DEADLINE)
        except asyncio.TimeoutError:
            raise AssertionError(f"sent {self.publisher.sent}, received {self.subscriber.received}, {self.lost()}") from None

    def lost(self):
        """What went wrong."""
        failures = [failure for one in self.requesters for failure in one.failures]
        return failures + self.subscriber.mistakes
