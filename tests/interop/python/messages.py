"""Publish, subscribe and request with the official Python client."""

import asyncio
import json

import nats
from nats.errors import MaxPayloadError, NoRespondersError, TimeoutError

from harness import flushed, main, raises, scenario, Server, until

MAX_PAYLOAD = 1024 * 1024


@scenario
async def the_server_sends_info():
    with Server("-n", "interop") as server:
        client = await nats.connect(server.url)
        # Test suites of clients enable tests by this version.
        assert client._server_info["version"] == "2.14.5", client._server_info
        assert client.max_payload == MAX_PAYLOAD
        assert client._server_info["server_name"] == "interop"
        assert client._server_info["headers"] is True
        assert client.client_id > 0
        await client.close()


@scenario
async def a_subscriber_gets_published_messages():
    with Server() as server:
        client = await nats.connect(server.url)
        sub = await client.subscribe("greetings")
        await client.publish("greetings", b"Hello World!", reply="answers")
        await client.publish("greetings", b"")
        await client.publish("greetings", bytes(range(256)))
        message = await sub.next_msg()
        assert (message.subject, message.reply, message.data) == ("greetings", "answers", b"Hello World!")
        assert (await sub.next_msg()).data == b""
        assert (await sub.next_msg()).data == bytes(range(256))
        await client.close()


@scenario
async def wildcards_match_tokens():
    with Server() as server:
        client = await nats.connect(server.url)
        got = {}
        for pattern in ["foo.*", "foo.>", "*.bar", "foo.*.baz", ">", "foo.bar"]:
            seen = got.setdefault(pattern, [])

            async def keep(message, seen=seen):
                seen.append(message.subject)

            await client.subscribe(pattern, cb=keep)
        for subject in ["foo", "foo.bar", "foo.bar.baz", "other.bar"]:
            await client.publish(subject, b"")
        await until("all arrive at >", lambda: len(got[">"]) == 4)
        await flushed(client)
        assert got["foo.*"] == ["foo.bar"]
        assert got["foo.>"] == ["foo.bar", "foo.bar.baz"]
        assert got["*.bar"] == ["foo.bar", "other.bar"]
        assert got["foo.*.baz"] == ["foo.bar.baz"]
        assert got["foo.bar"] == ["foo.bar"]
        await client.close()


@scenario
async def each_queue_group_gets_each_message_once():
    with Server() as server:
        clients = [await nats.connect(server.url) for _ in range(4)]
        got = {"workers": [], "auditors": [], "": []}
        by_member = [0] * 3

        def handler(group, member=None):
            async def keep(message):
                got[group].append(message.data)
                if member is not None:
                    by_member[member] += 1

            return keep

        for member in range(3):
            await clients[member].subscribe("jobs.*", queue="workers", cb=handler("workers", member))
        await clients[0].subscribe("jobs.*", queue="auditors", cb=handler("auditors"))
        await clients[1].subscribe("jobs.*", cb=handler(""))
        for client in clients:
            await flushed(client)
        sent = [str(number).encode() for number in range(300)]
        for data in sent:
            await clients[3].publish("jobs.new", data)
        await until("all arrive", lambda: all(len(seen) >= 300 for seen in got.values()))
        for client in clients:
            await flushed(client)
        assert sorted(got["workers"]) == sorted(sent)
        assert got["auditors"] == sent
        assert got[""] == sent
        # The odds that a fair pick omits one of three members 300 times are 1 in 10^52.
        assert all(by_member), by_member
        for client in clients:
            await client.close()


@scenario
async def a_request_is_answered():
    with Server() as server:
        service = await nats.connect(server.url)
        client = await nats.connect(server.url)

        async def answer(message):
            await message.respond(b"pong to " + message.data)

        await service.subscribe("ping", cb=answer)
        await flushed(service)
        replies = await asyncio.gather(
            *(client.request("ping", str(number).encode(), timeout=10) for number in range(100))
        )
        assert [reply.data for reply in replies] == [f"pong to {n}".encode() for n in range(100)]
        old_style = await client.request("ping", b"old", timeout=10, old_style=True)
        assert old_style.data == b"pong to old"
        await client.close()
        await service.close()


@scenario
async def a_request_without_responders_fails_at_once():
    with Server() as server:
        client = await nats.connect(server.url)
        await raises(NoRespondersError, client.request("nobody.home", b"", timeout=10))
        await client.close()


@scenario
async def a_request_that_nobody_answers_times_out():
    with Server() as server:
        client = await nats.connect(server.url)
        await client.subscribe("deaf")
        await raises(TimeoutError, client.request("deaf", b"", timeout=0.2))
        await client.close()


@scenario
async def headers_arrive_with_the_message():
    with Server() as server:
        client = await nats.connect(server.url)
        sub = await client.subscribe("with.headers")
        headers = {"Trace-Id": "42", "Empty": "", "Text": "a: b; ü"}
        await client.publish("with.headers", b"body", headers=headers)
        await client.publish("with.headers", b"", headers={"Only": "header"})
        await client.publish("with.headers", b"bare")
        message = await sub.next_msg()
        assert (message.headers, message.data) == (headers, b"body"), message.headers
        message = await sub.next_msg()
        assert (message.headers, message.data) == ({"Only": "header"}, b"")
        message = await sub.next_msg()
        assert (message.headers, message.data) == (None, b"bare")
        await client.close()


@scenario
async def a_payload_of_the_maximum_size_arrives_completely():
    with Server() as server:
        client = await nats.connect(server.url)
        sub = await client.subscribe("large")
        for size in [64 * 1024 - 1, 64 * 1024, 512 * 1024, MAX_PAYLOAD]:
            payload = bytes(position % 251 for position in range(size))
            await client.publish("large", payload)
            assert (await sub.next_msg(timeout=10)).data == payload, size
        await raises(MaxPayloadError, client.publish("large", bytes(MAX_PAYLOAD + 1)))
        await client.close()


@scenario
async def a_payload_beyond_the_limit_ends_the_connection():
    with Server() as server:
        # The client refuses to send it, so the protocol is written by hand.
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        info = await reader.readline()
        assert json.loads(info.removeprefix(b"INFO "))["max_payload"] == MAX_PAYLOAD
        writer.write(b'CONNECT {"verbose":false}\r\n')
        writer.write(b"PUB large %d\r\n" % (MAX_PAYLOAD + 1))
        assert await reader.readline() == b"-ERR 'Maximum Payload Violation'\r\n"
        assert await reader.read() == b""
        writer.close()


@scenario
async def a_subscription_ends_at_its_maximum():
    with Server() as server:
        client = await nats.connect(server.url)
        got = []

        async def keep(message):
            got.append(message.data)

        counted = await client.subscribe("few", cb=keep)
        all_of_them = await client.subscribe("few")
        await counted.unsubscribe(limit=3)
        for number in range(10):
            await client.publish("few", b"%d" % number)
        for number in range(10):
            assert (await all_of_them.next_msg()).data == b"%d" % number
        await flushed(client)
        assert got == [b"0", b"1", b"2"], got
        await client.close()


@scenario
async def an_unsubscribed_subject_is_silent():
    with Server() as server:
        client = await nats.connect(server.url)
        got = []

        async def keep(message):
            got.append(message.data)

        sub = await client.subscribe("quiet", cb=keep)
        await client.publish("quiet", b"before")
        await until("the first arrives", lambda: got)
        await sub.unsubscribe()
        await raises(NoRespondersError, client.request("quiet", b"after", timeout=10))
        assert got == [b"before"]
        await client.close()


@scenario
async def without_echo_a_client_does_not_get_its_own_messages():
    with Server() as server:
        client = await nats.connect(server.url, no_echo=True)
        other = await nats.connect(server.url)
        own, others = await client.subscribe("echo"), await other.subscribe("echo")
        await flushed(other)
        await client.publish("echo", b"own")
        assert (await others.next_msg()).data == b"own"
        await other.publish("echo", b"other's")
        assert (await own.next_msg()).data == b"other's"
        await client.close()
        await other.close()


@scenario
async def ten_thousand_messages_keep_their_order():
    with Server() as server:
        publisher = await nats.connect(server.url)
        subscribers = [await nats.connect(server.url) for _ in range(3)]
        got = [[] for _ in subscribers]

        def handler(seen):
            async def keep(message):
                seen.append(int(message.data))

            return keep

        for client, seen in zip(subscribers, got):
            await client.subscribe("ordered.>", cb=handler(seen))
            await flushed(client)
        for number in range(10_000):
            await publisher.publish(f"ordered.{number % 7}", str(number).encode())
        await flushed(publisher)
        await until("all arrive", lambda: all(len(seen) >= 10_000 for seen in got))
        assert all(seen == list(range(10_000)) for seen in got)
        for client in [publisher, *subscribers]:
            await client.close()


@scenario
async def a_draining_connection_delivers_pending_messages():
    with Server() as server:
        publisher = await nats.connect(server.url)
        closed = asyncio.Event()

        async def on_closed():
            closed.set()

        client = await nats.connect(server.url, closed_cb=on_closed)
        got = []

        async def slow(message):
            await asyncio.sleep(0)
            got.append(message.data)
            await message.respond(b"done")

        await client.subscribe("work", cb=slow)
        await flushed(client)
        replies = await publisher.subscribe("replies")
        for number in range(500):
            await publisher.publish("work", b"%d" % number, reply="replies")
        await flushed(publisher)
        await until("some arrive", lambda: got)
        await client.drain()
        await asyncio.wait_for(closed.wait(), 10)
        assert got == [b"%d" % number for number in range(500)], len(got)
        for _ in range(500):
            await replies.next_msg()
        await raises(NoRespondersError, publisher.request("work", b"", timeout=10))
        await publisher.close()


main()
