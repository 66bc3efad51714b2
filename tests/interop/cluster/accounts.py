"""Accounts over routes: isolation, imports and exports, mappings, permissions of users and of routes, limits."""

import asyncio

from nodes import Cluster, until
from party import Party, settled
from scenarios import scenario

TWO = """accounts {
    A { users: [{user: a, password: p}] }
    B { users: [{user: b, password: p}] }
}"""


async def _login(node, user):
    return await Party.connect(node, user=user, **{"pass": "p"})


@scenario
async def accounts_are_separate_over_routes(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start(top=TWO)
        parties = {(node.name, user): await _login(node, user) for node in cluster for user in "ab"}
        for user in "ab":
            own = [party for (_, name), party in parties.items() if name == user]
            for party in own:
                party.sub(">")
            for party in own:
                await settled(party, *(other for other in own if other is not party))
        for party in parties.values():
            await party.flush()
            party.inbox.clear()
        for (name, user), party in parties.items():
            for _ in range(10):
                party.pub("x", f"{user} of {name}")
        for (_, user), party in parties.items():
            got = await party.take(30, "x")
            assert {one.payload.decode() for one in got} == {f"{user} of {name}" for name in "abc"}
        for party in parties.values():
            await party.flush()
            assert [one for one in party.inbox if one.subject == "x"] == []


SHARED = """accounts {
    A {
        users: [{user: a, password: p}]
        exports: [
            {stream: "news.>"}
            {service: "time.*", response: stream}
            {service: "date"}
        ]
    }
    B {
        users: [{user: b, password: p}]
        imports: [
            {stream: {account: A, subject: "news.>"}, prefix: from}
            {stream: {account: A, subject: "news.sport"}, to: "games"}
            {service: {account: A, subject: "time.zone"}, to: "clock"}
            {service: {account: A, subject: "date"}}
        ]
    }
}"""


@scenario
async def streams_are_imported_over_routes(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start(top=SHARED)
        sources = [await _login(node, "a") for node in cluster]
        sinks = [await _login(node, "b") for node in cluster]
        for sink in sinks:
            sink.sub("from.>")
            sink.sub("games")
            sink.sub("from.news.*", "q")
            await sink.flush()

        async def known():
            """Each publisher reaches each importer: probes stop when all have arrived."""
            for source in sources:
                source.pub("news.probe", "probe")
                await source.flush()
            await asyncio.sleep(0.05)
            return all(len([one for one in sink.inbox if one.sid == 1]) >= 3 for sink in sinks)

        await until("imports are known everywhere", known)
        for source in sources:
            await source.flush()
        for sink in sinks:
            await settled(sink, *(other for other in sinks if other is not sink))
        for sink in sinks:
            sink.inbox.clear(), sink.counts.clear()
        for source in sources:
            source.pub("news.sport", "goal")
            source.pub("other.sport", "no")
            await source.flush()
        for sink in sinks:
            got = await sink.take(3, "games") + await sink.take(3, "from.news.sport")
            assert all(one.payload == b"goal" for one in got)
        # The group gets each message once beside the plain subscriptions.
        count = lambda sid: sum(sink.counts[sid] for sink in sinks)
        await until("all arrive", lambda: (count(1), count(2), count(3)) >= (9, 9, 3))
        assert (count(1), count(2), count(3)) == (9, 9, 3), (count(1), count(2), count(3))


@scenario
async def services_are_imported_over_routes(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start(top=SHARED)
        service = await _login(cluster[0], "a")
        service.answers("time.*")
        service.sub("date")
        helper = [await _login(node, "a") for node in cluster.nodes[1:]]
        await settled(service, *helper)
        for node in cluster:
            client = await _login(node, "b")
            assert (await client.request("clock", node.name)).payload.decode() == f"a:{node.name}"
            assert (await client.request("date", node.name)).payload.decode() == f"a:{node.name}"
            # Not imported, hence nobody is there.
            answer = await client.request("time.zone", "x")
            assert answer.headers.startswith(b"NATS/1.0 503"), answer
        answer = await client.request("clock", "x", "A: b")
        assert answer.payload == b"a:x", answer
        await service.close()
        # 2.9 tells nobody of that.
        client = await _login(next(node for node in cluster if not node.is_old), "b")

        async def gone():
            return not await client.has_responders("clock")

        await until("no responders over an import", gone)


@scenario
async def a_service_of_many_answers_is_imported_over_routes(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start(top=SHARED)
        services = [await _login(node, "a") for node in cluster]
        for service in services:
            service.answers("time.zone")
        for service in services:
            await settled(service, *(other for other in services if other is not service))
        client = await _login(cluster[2], "b")
        client.sub("answers")
        client.pub("clock", "x", "answers")
        got = {one.payload for one in await client.take(3, "answers")}
        assert got == {b"a:x", b"b:x", b"c:x"}, got


MAPPED = """mappings {
    old: new
    "in.*.*": "out.$2.$1"
    split: [{destination: left, weight: 50}, {destination: right, weight: 50}]
}"""


@scenario
async def mappings_apply_once_on_the_server_of_the_publisher(kinds):
    async with Cluster(kinds) as cluster:
        # The last server maps nothing.
        await cluster.start(top=lambda node: "" if node is cluster[2] else MAPPED)
        near, far, plain = [await Party.connect(node) for node in cluster]
        for party in (far, plain):
            for subject in ("old", "new", "out.>", "in.>", "left", "right", "split"):
                party.sub(subject)
            await settled(party, near, *(other for other in (far, plain) if other is not party))
        near.pub("old", "1")
        near.pub("in.a.b", "2")
        plain.pub("old", "3")
        for _ in range(1000):
            near.pub("split", "x")
        for party in (far, plain):
            got = {(one.subject, one.payload) for one in await party.take(3) if one.subject not in ("left", "right")}
            await party.take(1000 - (3 - len(got)) if len(got) < 3 else 1000)
            assert party.counts[7] == 0, party.counts
            assert abs(party.counts[5] - 500) < 120, party.counts
        await near.flush()


@scenario
async def messages_to_mapped_subjects_arrive_as_their_destination(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start(top=MAPPED)
        near, far, other = [await Party.connect(node) for node in cluster]
        far.sub(">")
        await settled(far, near, other)
        await settled(far, near, other)
        far.inbox.clear()
        near.pub("old", "1")
        other.pub("in.a.b", "2", "reply")
        got = {one.payload: one for one in await far.take(2)}
        assert got[b"1"].subject == "new", got
        assert (got[b"2"].subject, got[b"2"].reply) == ("out.b.a", "reply"), got


@scenario
async def permissions_of_users_hold_over_routes(kinds):
    top = """authorization {
        users: [
            {user: all, password: p}
            {user: some, password: p, permissions: {
                publish: {allow: ["ok.>", "probe.>"]}, subscribe: {allow: ["ok.>", "probe.>"], deny: "ok.secret"},
                allow_responses: true}}
        ]
    }"""
    async with Cluster(kinds) as cluster:
        await cluster.start(top=top)
        some = await _login(cluster[0], "some")
        others = [await _login(node, "all") for node in cluster.nodes[1:]]
        some.sub("ok.*")
        await settled(some, *others)
        others[0].pub("ok.secret", "no")
        others[0].pub("ok.open", "yes")
        assert [(await some.next()).payload] == [b"yes"]
        # A response to a subject that it may not publish to otherwise.
        others[1].sub("answer.x")
        await settled(others[1], others[0])
        await settled(some, *others)
        others[1].pub("ok.request", "?", "answer.x")
        request = await some.next("ok.request")
        some.pub(request.reply, "!")
        assert (await others[1].next("answer.x")).payload == b"!"
        some.pub("answer.x", "again")
        await some.flush()
        assert some.errors and "Permissions Violation" in some.errors[0], some.errors


@scenario
async def permissions_of_routes_filter_interest_and_messages(kinds):
    async with Cluster(kinds) as cluster:
        one, two, three = cluster
        limits = """permissions {
            import: {allow: ["in.>", "both.>", "probe.>", "_INBOX.>"], deny: "in.secret"}
            export: {allow: ["out.>", "both.>", "probe.>", "_INBOX.>"], deny: "out.secret"}
        }"""
        await cluster.start(cluster=lambda node: limits if node is one else "")
        inside, left, right = [await Party.connect(node) for node in cluster]
        inside.sub(">")
        inside.sub("in.*")
        left.sub("out.*"), left.sub("both.x"), left.sub("in.x"), left.sub("other")
        await settled(inside, left, right)
        await settled(left, inside, right)
        inside.inbox.clear()
        for subject in ("in.x", "in.secret", "both.x", "out.x", "other"):
            right.pub(subject, subject)
        for subject in ("in.x", "out.x", "out.secret", "both.x", "other"):
            inside.pub(subject, f"own {subject}")
        await right.flush()
        await settled(left, inside, right)
        got = sorted(set(left.payloads()))
        assert got == ["both.x", "in.x", "other", "out.x", "own both.x", "own out.x"], got
        await settled(inside, left, right)
        foreign = sorted({text for text in inside.payloads() if text and not text.startswith(("own", "probe"))})
        # The interest is filtered, not each message: a wildcard lets the denied subject in, and ">" is no interest.
        assert foreign == ["in.secret", "in.x"], foreign


@scenario
async def connections_of_an_account_are_limited_in_the_whole_cluster(kinds):
    top = """accounts {
        $SYS { users: [{user: sys, password: p}] }
        A { users: [{user: a, password: p}], limits: {max_connections: 4} }
    }"""
    async with Cluster(kinds) as cluster:
        await cluster.start(top=top)
        operator = await _login(cluster[0], "sys")
        operator.sub("$SYS.SERVER.ACCOUNT.A.CONNS")
        await operator.flush()
        parties = [await _login(node, "a") for node in cluster]

        async def refused():
            party = await Party.open(cluster[2])
            party.send('CONNECT {"user":"a","pass":"p","verbose":false}\r\n')
            try:
                await party.flush()
            except ConnectionError:
                return any("Maximum" in error or "maximum" in error for error in party.errors)
            # The others have not told yet.
            parties.append(party)
            return False

        await until("a login is refused", refused)
        assert len(parties) <= 7, len(parties)
