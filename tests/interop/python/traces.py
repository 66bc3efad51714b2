"""Traced messages with the official Python client: the events of both servers are equal."""

import asyncio
import gzip
import json
import os
import tempfile

import nats

from harness import Server, flushed, main, raises, scenario

CONFIG = """
accounts {
  A {
    users: [
      { user: a, password: p }
      { user: limited, password: p, permissions: { publish: [foo, "may.>"], subscribe: ">" } }
      { user: deaf, password: p, permissions: { subscribe: { deny: foo.deaf } } }
    ]
    msg_trace: { dest: may.trace.marked, sampling: "100%" }
  }
}
"""
MARK = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0"


class Traced:
    """A server with a subscriber to all traces."""

    async def __aenter__(self):
        with tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False) as config:
            config.write(CONFIG)
        self.config = config.name
        self.server = Server("-c", config.name)
        self.errors = []
        self.clients = []
        self.watcher = await self.join("a")
        self.traces = await self.watcher.subscribe("*.trace.>")
        await flushed(self.watcher)
        return self

    async def __aexit__(self, *_):
        for client in self.clients:
            await client.close()
        self.server.stop()
        os.unlink(self.config)

    async def join(self, user, **options):
        async def on_error(error):
            self.errors.append(str(error))

        client = await nats.connect(
            self.server.url, user=user, password="p", name=user, error_cb=on_error, **options
        )
        self.clients.append(client)
        return client

    async def event(self):
        event = await self.traces.next_msg(timeout=5)
        return json.loads(event.data), event

    async def hops(self):
        """Returns the hops of the next event without numbers and times, after checking their form."""
        event, _ = await self.event()
        assert list(event) == ["server", "request", "events"], event
        assert list(event["request"]) == ["header", "msgsize"], event
        lines = []
        for hop in event["events"]:
            keys = [key for key in hop if key not in ("type", "ts", "kind", "cid")]
            assert list(hop)[:2] == ["type", "ts"] and hop["ts"].startswith("20"), hop
            lines.append(" ".join([hop["type"], *(hop[key] for key in keys)]))
        return lines

    async def none(self):
        await flushed(self.watcher)
        assert self.traces.pending_msgs == 0


def to(destination, **more):
    return {"Nats-Trace-Dest": destination, **more}


@scenario
async def an_event_lists_receivers_and_reasons():
    async with Traced() as traced:
        a, quiet = await traced.join("a"), await traced.join("a", no_echo=True)
        deaf = await traced.join("deaf")
        own, mine = await a.subscribe("foo"), await quiet.subscribe("foo", queue="q")
        await deaf.subscribe("foo.*")
        for client in (a, quiet, deaf):
            await flushed(client)
        await quiet.publish("foo", b"x", headers=to("may.trace.1"))
        hops = await traced.hops()
        assert hops == [
            "in a A foo",
            "eg a foo",
            "eg a foo q Not delivered because of no echo",
        ], hops
        assert (await own.next_msg()).data == b"x"
        assert mine.pending_msgs == 0
        await a.publish("foo.deaf", b"x", headers=to("may.trace.1"))
        hops = await traced.hops()
        assert hops == [
            "in a A foo.deaf",
            "eg deaf foo.* Not delivered because subscription denies this subject",
        ], hops


@scenario
async def a_message_that_is_only_traced_is_not_delivered():
    async with Traced() as traced:
        a = await traced.join("a")
        sub = await a.subscribe("foo")
        await flushed(a)
        for yes in ("true", "1", "ON"):
            only = to("may.trace.1", **{"Nats-Trace-Only": yes})
            await a.publish("foo", b"x", headers=only)
            hops = await traced.hops()
            assert hops == ["in a A foo", "eg a foo"], hops
        await flushed(a)
        assert sub.pending_msgs == 0
        only = to("may.trace.1", **{"Nats-Trace-Only": "on"})
        await raises(nats.errors.NoRespondersError, a.request("none", b"x", headers=only))
        await traced.event()


@scenario
async def a_trace_goes_only_where_its_sender_may_publish():
    async with Traced() as traced:
        limited = await traced.join("limited")
        sub = await traced.watcher.subscribe("foo")
        await flushed(traced.watcher)
        await limited.publish("foo", b"x", headers=to("no.trace.1"))
        await flushed(limited)
        assert any('publish to "no.trace.1"' in error for error in traced.errors), traced.errors
        await traced.none()
        assert sub.pending_msgs == 0
        await limited.publish("bar", b"x", headers=to("may.trace.1"))
        hops = await traced.hops()
        assert hops == ['in limited A bar Permissions Violation for Publish to "bar"'], hops


@scenario
async def marked_messages_go_to_the_destination_of_the_account():
    async with Traced() as traced:
        a = await traced.join("a")
        await a.publish("foo", b"x", headers={"TraceParent": MARK + "1"})
        event, message = await traced.event()
        assert message.subject == "may.trace.marked"
        assert event["request"]["header"] == {"TraceParent": [MARK + "1"]}
        await a.publish("foo", b"x", headers={"traceparent": MARK + "0"})
        await flushed(a)
        await traced.none()


@scenario
async def an_event_is_compressed_as_asked():
    async with Traced() as traced:
        a = await traced.join("a")
        for accepted, encoding in (("gzip", "gzip"), ("snappy", "snappy"), ("br", "identity")):
            headers = to("may.trace.1", **{"Accept-Encoding": accepted})
            await a.publish("foo", b"x", headers=headers)
            event = await traced.traces.next_msg(timeout=5)
            assert event.headers == {"Content-Encoding": encoding}, event.headers
            if encoding == "gzip":
                assert json.loads(gzip.decompress(event.data))["events"][0]["subj"] == "foo"
            elif encoding == "snappy":
                assert event.data.startswith(b"\xff\x06\x00\x00sNaPpY")
            else:
                assert json.loads(event.data)["request"]["header"]["Accept-Encoding"] == ["br"]


@scenario
async def an_outdated_header_disables_the_trace():
    async with Traced() as traced:
        a = await traced.join("a")
        sub = await a.subscribe("foo")
        await flushed(a)
        await a.publish("foo", b"x", headers=to("may.trace.1", **{"Nats-Trace-Origin-Account": "A"}))
        headers = (await sub.next_msg()).headers
        assert headers["Nats-Trace-Dest"] == "trace disabled", headers
        await traced.none()


main()
