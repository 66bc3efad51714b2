"""Messages over routes: subjects, headers, requests, and what a subscription that ends receives."""

import itertools

from nodes import Cluster, until
from party import Party, settled
from scenarios import scenario


async def _parties(cluster, **options):
    return [await Party.connect(node, **options) for node in cluster]


@scenario
async def wildcards_match_over_routes(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        near, far, other = await _parties(cluster)
        wanted = {"foo.*.quux": 2, "foo.*": 1, "foo.>": 4, ">": 6, "foo.bar": 1, "*.bar.*": 3}
        sids = {subject: far.sub(subject) for subject in wanted}
        await settled(far, near, other)
        far.counts.clear()
        subjects = "foo.bar foo.hello.quux foo.bar.baz foo.bar.quux x.bar.y y"
        for subject in subjects.split():
            near.pub(subject, subject)
        await far.take(sum(wanted.values()))
        await settled(far, near)
        counts = {subject: far.counts[sid] for subject, sid in sids.items() if subject != ">"}
        assert counts == {key: value for key, value in wanted.items() if key != ">"}, counts


@scenario
async def a_message_crosses_one_hop_only(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        parties = await _parties(cluster)
        for party in parties:
            party.sub("x")
        for party in parties:
            await settled(party, *(other for other in parties if other is not party))
        for index in range(100):
            for party in parties:
                party.pub("x", index)
        for party in parties:
            await party.take(300)
        for party in parties:
            await settled(party, *(other for other in parties if other is not party))
            assert party.inbox == [], party.inbox
        for node in cluster:
            routed = sum(route["out_msgs"] for route in await node.routes())
            # To two servers each, and no more than some internal messages beside.
            assert 200 <= routed < 300, routed


@scenario
async def several_subscriptions_of_one_subject_cost_one_copy_on_the_route(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        near, far, other = await _parties(cluster)
        more = [await Party.connect(cluster[1]) for _ in range(4)]
        for party in more:
            party.sub("x.y")
        far.sub("x.y"), far.sub("x.*"), far.sub("x.y", "q")
        await settled(far, near, other)
        before = sum(route["out_msgs"] for route in await cluster[0].routes())
        for _ in range(1000):
            near.pub("x.y", "1")
        await far.take(3000)
        for party in more:
            await party.take(1000)
        after = sum(route["out_msgs"] for route in await cluster[0].routes())
        assert 1000 <= after - before < 1100, after - before


@scenario
async def headers_and_payloads_arrive_unchanged(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        near, far, other = await _parties(cluster)
        far.sub("h.>")
        await settled(far, near, other)
        bodies = [b"", b"\r\n", bytes(range(256)), b"x" * 1000000]
        for body in bodies:
            near.pub("h.plain", body)
            near.pub("h.reply", body, reply="answer.here")
            near.pub("h.headers", body, headers="A: 1\r\nB:2\r\nA: three")
            near.pub("h.both", body, reply="answer.here", headers="Nats-Msg-Id: 5")
        got = await far.take(4 * len(bodies))
        for body in bodies:
            plain, reply, headers, both, *got = got
            assert {one.payload for one in (plain, reply, headers, both)} == {body}
            assert (plain.reply, plain.headers) == ("", b"")
            assert (reply.reply, reply.headers) == ("answer.here", b"")
            assert (headers.reply, headers.headers) == ("", b"NATS/1.0\r\nA: 1\r\nB:2\r\nA: three\r\n\r\n")
            assert (both.reply, both.headers) == ("answer.here", b"NATS/1.0\r\nNats-Msg-Id: 5\r\n\r\n")
        old = await Party.connect(cluster[2], headers=False, no_responders=False)
        old.sub("h.>")
        await settled(old, near)
        near.pub("h.headers", "body", headers="A: 1")
        message = await old.next("h.headers")
        assert (message.headers, message.payload) == (b"", b"body"), message


@scenario
async def a_subscription_ends_after_its_number_of_messages(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        near, far, other = await _parties(cluster)
        sid = far.sub("x")
        far.unsub(sid, 5)
        await settled(far, near, other)
        far.counts.clear()
        for index in range(20):
            near.pub("x", index)
        await near.flush()
        assert [one.payload for one in await far.take(5)] == [b"0", b"1", b"2", b"3", b"4"]
        await settled(far, near, other)
        assert far.counts[sid] == 5, far.counts
        # The interest is gone: a request is told so.
        assert (await near.request("x")).headers.startswith(b"NATS/1.0 503")


@scenario
async def an_ended_subscription_is_forgotten_everywhere(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        parties = near, far, other = await _parties(cluster)
        sids = [far.sub(f"gone.{index}") for index in range(500)]
        await settled(far, near, other)
        for sid in sids:
            far.unsub(sid)
        await settled(far, near, other)
        for node in (cluster[0], cluster[2]):
            for route in await node.routes("?subs=1"):
                assert not [one for one in route.get("subscriptions_list", []) if one.startswith("gone.")]
        far.sub("closed.x")
        await settled(far, near, other)
        await parties[1].close()

        async def gone():
            return not await near.has_responders("closed.x")

        await until("the interest of a closed client is gone", gone)


@scenario
async def requests_are_answered_over_a_hop(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        parties = await _parties(cluster)
        for node, party in zip(cluster, parties):
            party.answers(f"service.{node.name}")
        for party in parties:
            await settled(party, *(other for other in parties if other is not party))
        for node, (index, party) in itertools.product(cluster, enumerate(parties)):
            answer = await party.request(f"service.{node.name}", f"r{index}")
            assert answer.payload.decode() == f"{node.name}:r{index}", answer


@scenario
async def old_style_requests_of_an_own_inbox_each_are_answered(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        server, client, other = await _parties(cluster)
        server.answers("service")
        await settled(server, client, other)
        # The inbox is known on its own server only when the request is sent: the answer comes back on the route
        # whose interest was sent before.
        for index in range(200):
            answer = await client.request("service", index)
            assert answer.payload.decode() == f"a:{index}"


@scenario
async def requests_without_responders_are_told_at_once(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        near, far, other = await _parties(cluster)
        for party in (near, far, other):
            answer = await party.request("nobody.here", "x")
            assert answer.headers.startswith(b"NATS/1.0 503"), answer
        sid = far.answers("nobody.here")
        await settled(far, near, other)
        assert (await near.request("nobody.here", "x")).payload == b"b:x"
        far.unsub(sid)
        await settled(far, near, other)
        answer = await near.request("nobody.here", "x")
        assert answer.headers.startswith(b"NATS/1.0 503"), answer


@scenario
async def each_publisher_keeps_its_order(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        near, far, other = await _parties(cluster)
        far.sub("order.>")
        await settled(far, near, other)
        for index in range(5000):
            near.pub(f"order.{index % 7}", f"a {index}")
            other.pub(f"order.{index % 5}", f"c {index}")
        got = [one.payload.decode() for one in await far.take(10000)]
        for name in "ac":
            numbers = [int(text[2:]) for text in got if text[0] == name]
            assert numbers == list(range(5000))


@scenario
async def a_client_without_echo_hears_the_others(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        near = await Party.connect(cluster[0], echo=False)
        far = await Party.connect(cluster[1])
        near.sub("x")
        await settled(near, far)
        near.pub("x", "own")
        far.pub("x", "other")
        await settled(near, far)
        assert near.payloads() == ["other"], near.payloads()


@scenario
async def fan_out_reaches_all_clients_of_all_servers(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        parties = [await Party.connect(node) for node in cluster for _ in range(10)]
        for party in parties:
            party.sub("news.*")
        for party in parties:
            await settled(party, parties[0], parties[10], parties[20])
        for index in range(200):
            parties[index % len(parties)].pub("news.today", index)
        for party in parties:
            got = await party.take(200, "news.today")
            assert sorted(int(one.payload) for one in got) == list(range(200))
