"""Tokens, users and passwords with the official Python client."""

import asyncio
import json

import nats
from nats.errors import Error

from harness import Server, main, raises, scenario

# bcrypt, cost 4, of "s3cret".
HASH = "$2a$04$R22F9chC8.OFvOebp/h8yuY9Fn8/HnVCzc7FH.XjfcI4e8WcFJPJ2"


async def refused(url, **credentials):
    """Returns the error that the client gets for insufficient credentials."""
    said = []

    async def on_error(error):
        said.append(str(error))

    await raises(
        Error,
        nats.connect(
            url, error_cb=on_error, allow_reconnect=False, max_reconnect_attempts=0, **credentials
        ),
    )
    assert any("authorization violation" in text.lower() for text in said), said


async def works(client):
    sub = await client.subscribe("in")
    await client.publish("in", b"!")
    assert (await sub.next_msg()).data == b"!"
    await client.close()


@scenario
async def a_token_is_accepted():
    with Server("--auth", "s3cret") as server:
        await works(await nats.connect(server.url, token="s3cret"))
        await works(await nats.connect(f"nats://s3cret@{server.address}"))


@scenario
async def another_token_is_rejected():
    with Server("--auth", "s3cret") as server:
        await refused(server.url, token="secret")
        await refused(server.url, token="")
        await refused(server.url)
        await refused(server.url, user="s3cret", password="s3cret")


@scenario
async def a_user_with_the_password_is_accepted():
    with Server("--user", "derek", "--pass", "s3cret") as server:
        await works(await nats.connect(server.url, user="derek", password="s3cret"))
        await works(await nats.connect(f"nats://derek:s3cret@{server.address}"))


@scenario
async def a_wrong_user_or_password_is_rejected():
    with Server("--user", "derek", "--pass", "s3cret") as server:
        await refused(server.url, user="derek", password="secret")
        await refused(server.url, user="derek", password="")
        await refused(server.url, user="Derek", password="s3cret")
        await refused(server.url, token="s3cret")
        await refused(server.url)


@scenario
async def a_hashed_password_is_checked_against_the_plain_one():
    with Server("--user", "derek", "--pass", HASH) as server:
        await works(await nats.connect(server.url, user="derek", password="s3cret"))
        await refused(server.url, user="derek", password="secret")
        await refused(server.url, user="derek", password=HASH)


async def by_hand(server, connect):
    """Returns the server's response to this CONNECT until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    info = json.loads((await reader.readline()).removeprefix(b"INFO "))
    assert info["auth_required"] is True
    writer.write(connect)
    said = await reader.read()
    writer.close()
    return said


@scenario
async def a_rejected_client_gets_an_error_and_is_closed():
    with Server("--auth", "s3cret") as server:
        said = await by_hand(server, b'CONNECT {"verbose":false,"auth_token":"x"}\r\nPING\r\n')
        assert said == b"-ERR 'Authorization Violation'\r\n", said
        said = await by_hand(server, b"SUB > 1\r\n")
        assert said == b"-ERR 'Authorization Violation'\r\n", said


@scenario
async def a_silent_client_is_closed_too():
    with Server("--auth", "s3cret") as server:
        said = await asyncio.wait_for(by_hand(server, b""), 10)
        assert said == b"-ERR 'Authentication Timeout'\r\n", said


main()
