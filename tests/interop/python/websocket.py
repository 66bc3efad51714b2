"""The official Python client over WebSocket, with TLS and without."""

import os
import ssl
import tempfile

import nats

from harness import flushed, main, raises, scenario, Server

CERTIFICATE = os.environ["CERTIFICATE"]
"""A self-signed certificate of localhost."""

TLS = f'tls {{ cert_file: "{CERTIFICATE}", key_file: "{os.environ["KEY"]}" }}'


def websocket(settings):
    """A server with a WebSocket port."""
    file = tempfile.NamedTemporaryFile("w", suffix=".conf")
    file.write(f'websocket {{ host: "127.0.0.1", port: -1, {settings} }}\n')
    file.flush()
    server = Server("-c", file.name)
    # Exists as long as the server.
    server.file = file
    return server


def trust():
    return ssl.create_default_context(cafile=CERTIFICATE)


async def converse(server, **options):
    """Typical traffic between WebSocket and plain connections."""
    web = await nats.connect(server.websocket, **options)
    other = await nats.connect(server.url)
    for one, another in [(web, other), (other, web), (web, web)]:
        sub = await another.subscribe("greetings.*")
        await flushed(another)
        data = b"0123456789" * 10_000
        await one.publish("greetings.world", data, headers={"A": "b"})
        await one.publish("greetings.empty", b"")
        message = await sub.next_msg()
        assert message.data == data and message.headers == {"A": "b"}, message
        assert (await sub.next_msg()).data == b""

        async def double(message):
            await message.respond(message.data * 2)

        service = await another.subscribe("double", cb=double)
        await flushed(another)
        assert (await one.request("double", b"ab")).data == b"abab"
        await sub.unsubscribe()
        await service.unsubscribe()
    await web.close()
    await other.close()


@scenario
async def over_ws():
    with websocket("no_tls: true") as server:
        await converse(server)


@scenario
async def over_wss():
    with websocket(TLS) as server:
        await converse(server, tls=trust())


@scenario
async def a_token_is_required():
    with websocket("no_tls: true, authorization { token: s3cret }") as server:
        connecting = nats.connect(server.websocket, token="wrong", allow_reconnect=False)
        await raises(nats.errors.Error, connecting)
        await converse(server, token="s3cret")


main()
