"""A server that restarts, with the official Python client."""

import asyncio

import nats
from nats.errors import NoRespondersError

from harness import flushed, main, raises, scenario, Server


class Watched:
    """A client that records events of its connection."""

    def __init__(self):
        self.lost = asyncio.Event()
        self.back = asyncio.Event()
        self.errors = []

    async def connect(self, url):
        async def on_disconnected():
            self.lost.set()

        async def on_reconnected():
            self.back.set()

        async def on_error(error):
            self.errors.append(str(error))

        return await nats.connect(
            url,
            disconnected_cb=on_disconnected,
            reconnected_cb=on_reconnected,
            error_cb=on_error,
            reconnect_time_wait=0.05,
            max_reconnect_attempts=-1,
        )


@scenario
async def subscriptions_and_unsent_messages_survive_a_restart():
    with Server() as server:
        watched = Watched()
        client = await watched.connect(server.url)
        plain = await client.subscribe("news.*")
        queued = await client.subscribe("jobs", queue="workers")
        gone = await client.subscribe("gone")
        await gone.unsubscribe()
        await flushed(client)
        first_id = client._server_info["server_id"]

        server.stop()
        await asyncio.wait_for(watched.lost.wait(), 10)
        await client.publish("news.today", b"sent while it was down")
        server.start_again()
        await asyncio.wait_for(watched.back.wait(), 10)

        assert (await plain.next_msg(timeout=10)).data == b"sent while it was down"
        await client.publish("jobs", b"work")
        assert (await queued.next_msg(timeout=10)).data == b"work"
        await raises(NoRespondersError, client.request("gone", b"", timeout=10))
        assert client._server_info["server_id"] != first_id
        await client.close()


@scenario
async def a_hundred_clients_reconnect_at_once():
    with Server() as server:
        watched = [Watched() for _ in range(100)]
        clients = [await each.connect(server.url) for each in watched]
        subs = [await client.subscribe(f"to.{number}") for number, client in enumerate(clients)]
        for client in clients:
            await flushed(client)
        server.stop()
        await asyncio.wait_for(asyncio.gather(*(each.lost.wait() for each in watched)), 10)
        server.start_again()
        await asyncio.wait_for(asyncio.gather(*(each.back.wait() for each in watched)), 10)
        for client in clients:
            await flushed(client)
        for number in range(100):
            await clients[0].publish(f"to.{number}", b"%d" % number)
        for number, sub in enumerate(subs):
            assert (await sub.next_msg(timeout=10)).data == b"%d" % number
        for client in clients:
            await client.close()


main()
