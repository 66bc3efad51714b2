"""How clusters form: by flags, files and seeds; names, pools, compression, and routes to oneself or twice."""

from nodes import Cluster, until
from party import Party, settled
from scenarios import modern, scenario


async def everybody_reaches_everybody(nodes):
    """A message of each server's client arrives at those of all others, once."""
    nodes = list(nodes)
    parties = [await Party.connect(node) for node in nodes]
    for party in parties:
        party.sub("hello.*")
    for party in parties:
        await settled(party, *(other for other in parties if other is not party))
    for node, party in zip(nodes, parties):
        party.pub(f"hello.{node.name}", node.name)
        await party.flush()
    for party in parties:
        await until("all arrive", lambda party=party: len(party.inbox) >= len(nodes))
        assert sorted(party.payloads()) == sorted(node.name for node in nodes), party.payloads()
    for party in parties:
        await party.close()


@scenario
async def three_nodes_form_by_flags(kinds):
    async with Cluster(kinds) as cluster:
        # Each server gets the same list, its own address included, as in the book.
        routes = ",".join(node.route for node in cluster)
        for node in cluster:
            await node.start(
                "-a", node.host, "-p", str(node.port), "-m", str(node.http_port), "--name", node.name,
                "--cluster", f"nats://{node.host}:{node.route_port}", "--cluster_name", "book", "--routes", routes,
            )
        await cluster.is_formed()
        await everybody_reaches_everybody(cluster)
        for node in cluster:
            varz = await node.get("/varz")
            assert varz["cluster"]["name"] == "book", varz["cluster"]


@scenario
async def three_nodes_form_by_file(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        await everybody_reaches_everybody(cluster)


@scenario
async def three_nodes_form_by_one_seed(kinds):
    async with Cluster(kinds) as cluster:
        seed = cluster[0]
        await cluster.start(routes=lambda node: [] if node is seed else [seed])
        await everybody_reaches_everybody(cluster)


@scenario
async def a_chain_of_routes_becomes_a_full_mesh(kinds):
    async with Cluster(kinds) as cluster:
        one, two, three = cluster
        await cluster.start(routes=lambda node: {"a": [two], "b": [three], "c": []}[node.name])
        await everybody_reaches_everybody(cluster)


@scenario
async def a_fourth_server_is_found_by_all(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        late = cluster.add(kinds[0])
        late.configure(cluster.text(late, routes=[cluster[2]]))
        await late.start()
        await cluster.is_formed()
        await everybody_reaches_everybody(cluster)
        await late.kill()
        await cluster.is_formed()


@scenario
async def routes_to_oneself_and_twice_are_dropped(kinds):
    async with Cluster(kinds) as cluster:
        everything = [node.route for node in cluster] + [
            f"nats://localhost:{node.route_port}" for node in cluster
        ]
        await cluster.start(routes=everything)
        await everybody_reaches_everybody(cluster)
        for node in cluster:
            # A pool and a route of the system account at most, for each of the two others.
            routes = await node.routes()
            assert len(routes) <= 8, routes


@scenario
async def other_cluster_names_are_refused(kinds):
    async with Cluster(kinds) as cluster:
        one, two, three = cluster
        one.configure(cluster.text(one, routes=[]))
        two.configure(cluster.text(two, routes=[one]))
        three.configure(cluster.text(three, routes=[one], name="OTHER"))
        for node in cluster:
            await node.start()
        await one.has_peers(two)
        await one.says("Rejecting connection, cluster name \"OTHER\" does not match \"C\"")
        await three.says("cluster name")
        assert await three.routes() == []
        await one.has_peers(two)


@modern
async def a_name_is_taken_from_another_without_one(kinds):
    # Of several nats-servers without a name some may keep their own.
    async with Cluster(kinds[:2]) as cluster:
        one, two = cluster
        one.configure(cluster.text(one, routes=[]))
        two.configure(cluster.text(two, routes=[one], name=None))
        await one.start()
        # A nats-server may keep its own name: it gets another chance.
        for _ in range(10):
            await two.start()
            await cluster.is_formed()
            if (await two.get("/varz"))["cluster"].get("name") == "C":
                break
            await two.kill()
        await everybody_reaches_everybody(cluster)
        party = await Party.connect(two)
        assert party.info["cluster"] == "C", party.info


@scenario
async def servers_without_a_name_form_a_cluster(kinds):
    # The names of nats-servers do not always become equal: they may be exchanged crosswise.
    async with Cluster(kinds) as cluster:
        await cluster.start(name=None)
        await everybody_reaches_everybody(cluster)


async def _with_pools(kinds, size):
    async with Cluster(kinds) as cluster:
        own = lambda node: "" if node.is_old or size(node) is None else f"pool_size: {size(node)}"
        users = "accounts {\n" + "".join(f"A{i} {{ users: [{{user: u{i}, password: p}}] }}\n" for i in range(6)) + "}"
        await cluster.start(cluster=own, top=users)
        for index in range(6):
            login = {"user": f"u{index}", "pass": "p"}
            parties = [await Party.connect(node, **login) for node in cluster]
            parties[0].sub("x")
            await settled(parties[0], parties[1], parties[2])
            for number in range(50):
                parties[1].pub("x", f"b{number}")
                parties[2].pub("x", f"c{number}")
            got = [one.payload.decode() for one in await parties[0].take(100)]
            for sender in "bc":
                order = [text for text in got if text[0] == sender]
                assert order == [f"{sender}{number}" for number in range(50)], order
            for party in parties:
                await party.close()


@scenario
async def pools_of_all_sizes_carry_all_accounts(kinds):
    for size in (-1, 1, 3, 5):
        await _with_pools(kinds, lambda _, size=size: size)


@modern
async def the_pool_has_the_routes_that_are_configured(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start(cluster="pool_size: 5")

        async def full():
            all_routes = [await node.routes() for node in cluster]
            # Five of the pool and that of the system account.
            return all(len(routes) == 12 for routes in all_routes)

        await until("all routes are there", full)


@scenario
async def pools_of_different_sizes_agree(kinds):
    await _with_pools(kinds, lambda node: {"a": 5, "b": None, "c": 1}[node.name])


@scenario
async def a_server_without_pools_is_a_member(kinds):
    await _with_pools(kinds, lambda node: {"a": -1, "b": 3, "c": None}[node.name])


@modern
async def an_account_has_its_own_route(kinds):
    async with Cluster(kinds) as cluster:
        users = """accounts {
            A { users: [{user: a, password: p}] }
            B { users: [{user: b, password: p}] }
        }"""
        await cluster.start(cluster="accounts: [A]", top=users)

        async def routed():
            all_routes = [await node.routes() for node in cluster]
            return all(sum(route.get("account") == "A" for route in routes) == 2 for routes in all_routes)

        await until("each has two routes of the account", routed)
        for user in "ab":
            parties = [await Party.connect(node, user=user, **{"pass": "p"}) for node in cluster]
            parties[2].sub("x.>")
            await settled(parties[2], parties[0], parties[1])
            parties[0].pub("x.1", user)
            assert (await parties[2].next()).payload == user.encode()


COMPRESSION = "off accept s2_auto s2_fast s2_better s2_best".split()


async def _compressed(kinds, mode):
    async with Cluster(kinds) as cluster:
        own = lambda node: "" if node.is_old else f"compression: {mode(node)}"
        await cluster.start(cluster=own)
        parties = [await Party.connect(node) for node in cluster]
        parties[1].sub("big")
        await settled(parties[1], parties[0], parties[2])
        bodies = [b"natsd " * 30000, bytes(range(256)) * 500, b"", b"x"]
        for body in bodies:
            parties[0].pub("big", body)
            parties[2].pub("big", body)
        got = [one.payload for one in await parties[1].take(2 * len(bodies))]
        assert sorted(got) == sorted(bodies * 2)
        names = {node.id: node.name for node in cluster}
        return [
            {(node.name, names[route["remote_id"]]): route.get("compression", "") for route in await node.routes()}
            for node in cluster
        ]


@scenario
async def messages_pass_in_each_mode_of_compression(kinds):
    told = {}
    for mode in COMPRESSION:
        seen = await _compressed(kinds, lambda _, mode=mode: mode)
        told[mode] = {value for one in seen for value in one.values()}
    if "reference-2.9" in kinds:
        return
    for mode in ("off", "s2_fast", "s2_better", "s2_best"):
        assert told[mode] == {mode}, told
    # Two that only accept do not compress. A busy machine has routes with a long RTT.
    assert told["accept"] == {"off"}, told
    assert all(value.startswith("s2_") for value in told["s2_auto"]), told


@modern
async def modes_of_compression_are_negotiated(kinds):
    modes = {"a": "s2_best", "b": "accept", "c": "off"}
    seen = await _compressed(kinds, lambda node: modes[node.name])
    told = {pair: value for one in seen for pair, value in one.items()}
    assert told[("a", "b")] == told[("b", "a")] == "s2_best", told
    for pair, value in told.items():
        if "c" in pair:
            assert value == "off", told


@scenario
async def a_cluster_of_one_is_healthy_and_grows(kinds):
    async with Cluster(kinds) as cluster:
        for node in cluster:
            node.configure(cluster.text(node))
        await cluster[0].start()
        assert (await cluster[0].get("/healthz"))["status"] == "ok"
        party = await Party.connect(cluster[0])
        assert "connect_urls" not in party.info or len(party.info["connect_urls"]) == 1
        for node in cluster.nodes[1:]:
            await node.start()
        await cluster.is_formed()
        await everybody_reaches_everybody(cluster)
