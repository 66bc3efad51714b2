"""What operators see of a cluster: the `nats` command line, the system account, and monitoring."""

import asyncio
import itertools
import json
import os
import re

from nodes import Cluster, until
from party import Party, settled
from scenarios import scenario

TOP = """accounts {
    $SYS { users: [{user: sys, password: p}] }
    A { users: [{user: a, password: p}] }
}
lame_duck_grace_period: "100ms"
"""


_number = itertools.count(1)


async def _login(node, user):
    return await Party.connect(node, user=user, **{"pass": "p"})


async def _nats(node, *arguments):
    """Runs the `nats` command line as the system account, and returns what it writes."""
    environment = dict(os.environ, XDG_CONFIG_HOME="/nonexistent", NATS_URL=node.url)
    process = await asyncio.create_subprocess_exec(
        os.environ["NATS"], "--user", "sys", "--password", "p", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=environment,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, output.decode()
    return output.decode()


async def _started(cluster):
    await cluster.start(top=TOP)
    operators = [await _login(node, "sys") for node in cluster]
    for party in operators:
        await settled(party, *(other for other in operators if other is not party))
    return operators


@scenario
async def the_command_line_lists_each_server_once(kinds):
    async with Cluster(kinds) as cluster:
        await _started(cluster)
        for node in cluster:
            listed = await _nats(node, "server", "list", "3")
            for name in "abc":
                assert len(re.findall(rf"│ {name} +│", listed)) == 1, listed
            answers = await _nats(node, "server", "ping", "3")
            for name in "abc":
                assert len(re.findall(rf"^{name} ", answers, re.M)) == 1, answers


@scenario
async def the_command_line_reports_connections_of_all_servers(kinds):
    async with Cluster(kinds) as cluster:
        await _started(cluster)
        parties = [await Party.connect(node, user="a", name=f"seen-{node.name}", **{"pass": "p"}) for node in cluster]
        report = await _nats(cluster[1], "server", "report", "connections", "3")
        for node in cluster:
            assert f"seen-{node.name}" in report, report
        for party in parties:
            await party.close()


async def _answers(party, subject, payload, count):
    """The answers to a request, and that no more come before those of a second one."""
    inbox = f"_INBOX.all.{next(_number)}"
    party.sub(f"{inbox}.*")
    party.pub(subject, payload, f"{inbox}.1")
    got = [json.loads(one.payload) for one in await party.take(count, f"{inbox}.1")]
    party.pub(subject, payload, f"{inbox}.2")
    await party.take(count, f"{inbox}.2")
    assert not [one for one in party.inbox if one.subject == f"{inbox}.1"], party.inbox
    return got


@scenario
async def requests_to_all_servers_are_answered_by_each_once(kinds):
    async with Cluster(kinds) as cluster:
        operators = await _started(cluster)
        for party in operators:
            for kind in ("", ".VARZ", ".STATSZ", ".CONNZ", ".ROUTEZ", ".HEALTHZ", ".SUBSZ", ".ACCOUNTZ"):
                answers = await _answers(party, f"$SYS.REQ.SERVER.PING{kind}", "", 3)
                names = sorted(one["server"]["name"] for one in answers)
                assert names == ["a", "b", "c"], (kind, names)
        statsz = await _answers(operators[0], "$SYS.REQ.SERVER.PING", "", 3)
        for one in statsz:
            routes = one["statsz"]["routes"]
            # A 2.9 tells identities in place of names.
            assert len({route.get("name") or route["rid"] for route in routes}) >= 2, routes


@scenario
async def requests_name_one_server_from_any_other(kinds):
    async with Cluster(kinds) as cluster:
        operators = await _started(cluster)
        for party in operators:
            for node in cluster:
                answer = json.loads((await party.request(f"$SYS.REQ.SERVER.{node.id}.VARZ")).payload)
                assert answer["data"]["server_id"] == node.id, answer
            chosen = await _answers(party, "$SYS.REQ.SERVER.PING.VARZ", '{"server_name":"b"}', 1)
            assert [one["server"]["name"] for one in chosen] == ["b"]
            in_cluster = await _answers(party, "$SYS.REQ.SERVER.PING.STATSZ", '{"cluster":"C"}', 3)
            assert len(in_cluster) == 3


@scenario
async def events_reach_operators_of_all_servers_once(kinds):
    async with Cluster(kinds) as cluster:
        operators = await _started(cluster)
        for party in operators:
            party.sub("$SYS.ACCOUNT.A.*")
            party.sub("$SYS.SERVER.*.SHUTDOWN")
            await settled(party, *(other for other in operators if other is not party))
        client = await _login(cluster[1], "a")
        await client.close()
        for party in operators:
            for kind in ("CONNECT", "DISCONNECT"):
                message = await party.next(f"$SYS.ACCOUNT.A.{kind}")
                assert json.loads(message.payload)["server"]["name"] == "b"
        await settled(operators[1], operators[0], operators[2])
        for party in operators:
            await party.flush()
            again = [one for one in party.inbox if one.subject.endswith("CONNECT")]
            assert not again, again
        await cluster[2].stop()
        for party in operators[:2]:
            message = await party.next(f"$SYS.SERVER.{cluster[2].id}.SHUTDOWN")
            assert json.loads(message.payload)["name"] == "c", message


@scenario
async def connections_of_an_account_are_told_by_each_server(kinds):
    async with Cluster(kinds) as cluster:
        operators = await _started(cluster)
        clients = [await _login(node, "a") for node in cluster for _ in range(2)]
        answers = await _answers(operators[0], "$SYS.REQ.ACCOUNT.A.CONNZ", "", 3)
        assert [len(one["data"]["connections"]) for one in answers] == [2, 2, 2], answers
        assert sorted(one["server"]["name"] for one in answers) == ["a", "b", "c"]
        for client in clients:
            await client.close()


def shape(value, path=""):
    """The types of all members by their path."""
    if isinstance(value, dict):
        found = {}
        for name, member in value.items():
            found.update(shape(member, f"{path}.{name}" if path else name))
        return found
    if isinstance(value, list):
        found = {path: "list"}
        for member in value:
            found.update(shape(member, f"{path}[]"))
        return found
    kind = {bool: "bool", int: "number", float: "number", str: "string"}
    return {path: kind.get(type(value), "null")}


# Members that depend on the machine or on what just happened.
TIMED = re.compile(r"^routes\[\]\.(pending_size|rtt|last_activity|start|uptime|idle|tls|import|export)")


async def _shapes(kinds):
    limits = """
        authorization { user: r, password: s, timeout: 2 }
        ping_interval: "200ms"
    """
    async with Cluster(kinds) as cluster:
        routes = [node.route.replace("://", "://r:s@") for node in cluster]
        await cluster.start(cluster=limits, routes=routes, top=TOP)
        parties = [await _login(node, "a") for node in cluster]
        for party in parties:
            party.sub("x.>"), party.sub("y", "q")
        for party in parties:
            await settled(party, *(other for other in parties if other is not party))
        seen = {}
        for path in ("/routez", "/routez?subs=1", "/routez?subs=detail"):
            found = await cluster[0].get(path)
            # All have measured by then what they ping.
            async def measured(path=path):
                return all(route.get("rtt") for route in (await cluster[0].get(path))["routes"])

            await until("all routes are measured", measured)
            found = await cluster[0].get(path)
            seen[path] = shape(found)
        seen["/varz"] = shape({"cluster": (await cluster[0].get("/varz"))["cluster"]})
        return seen


@scenario
async def monitoring_has_the_members_of_nats_server(kinds):
    kind = "natsd" if "natsd" in kinds else "reference"
    expected, found = await _shapes(["reference"] * 3), await _shapes([kind] * 3)
    for path, members in expected.items():
        missing = {name: kind for name, kind in members.items() if found[path].get(name) != kind}
        more = {name: kind for name, kind in found[path].items() if name not in members}
        missing = {name: kind for name, kind in missing.items() if not TIMED.match(name)}
        more = {name: kind for name, kind in more.items() if not TIMED.match(name)}
        assert not missing and not more, f"{path}: missing {missing}, more {more}"


@scenario
async def routez_of_all_servers_agrees(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()

        async def same():
            counts = [((await node.get("/varz"))["routes"], len(await node.routes())) for node in cluster]
            return all(told == listed for told, listed in counts)

        await until("the pools are complete", same)
        seen = {node.name: await node.get("/routez") for node in cluster}
        for node in cluster:
            routez = seen[node.name]
            assert routez["server_id"] == node.id
            assert routez["num_routes"] == len(routez["routes"])
            assert {route["remote_id"] for route in routez["routes"]} == {
                other.id for other in cluster if other is not node
            }
            varz = await node.get("/varz")
            assert varz["routes"] == routez["num_routes"], (varz["routes"], routez["num_routes"])
            assert (await node.get("/healthz"))["status"] == "ok"
