"""What servers tell clients and each other about addresses: `connect_urls` at each change, and what is advertised."""

import nats
from nodes import Cluster, until
from party import Party
from scenarios import modern, scenario


def _addresses(*nodes):
    return sorted(f"{node.host}:{node.port}" for node in nodes)


async def _is_told(party, expected):
    told = lambda: sorted(party.info.get("connect_urls", []))
    await until(f"INFO says {expected}, says {told()}", lambda: told() == expected)


@scenario
async def clients_are_told_of_each_change(kinds):
    async with Cluster(kinds) as cluster:
        one, two, three = cluster
        await cluster.start()
        parties = [await Party.connect(node) for node in cluster]
        for party in parties:
            await _is_told(party, _addresses(*cluster))
        late = cluster.add(kinds[1])
        late.configure(cluster.text(late, routes=[one]))
        await late.start()
        await cluster.is_formed()
        for party in parties:
            await _is_told(party, _addresses(*cluster))
        await late.stop()
        for party in parties:
            await _is_told(party, _addresses(one, two, three))
        await two.kill()
        for party in (parties[0], parties[2]):
            await _is_told(party, _addresses(one, three))
        await two.start()
        await cluster.is_formed()
        for party in (parties[0], parties[2]):
            await _is_told(party, _addresses(one, two, three))


@scenario
async def clients_of_protocol_zero_are_told_once(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        current = await Party.connect(cluster[0])
        await _is_told(current, _addresses(*cluster))
        party = await Party.connect(cluster[0], protocol=0)
        assert sorted(party.info["connect_urls"]) == _addresses(*cluster), party.info
        await cluster[2].kill()
        await _is_told(current, _addresses(*cluster.nodes[:2]))
        await party.flush()
        assert len(party.infos) == 1, party.infos


@scenario
async def a_client_library_discovers_all_servers(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        client = await nats.connect(cluster[0].url)
        await until("all are known", lambda: len(client.servers) == 3)
        assert sorted(f"{url.hostname}:{url.port}" for url in client.servers) == _addresses(*cluster)
        await client.close()


@scenario
async def servers_that_do_not_advertise_are_not_told(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start(cluster="no_advertise: true")
        for node in cluster:
            party = await Party.connect(node)
            assert party.info.get("connect_urls", []) in ([], _addresses(node)), party.info


@scenario
async def one_server_that_does_not_advertise_is_unknown_to_clients_of_others(kinds):
    async with Cluster(kinds) as cluster:
        hidden = cluster[2]
        await cluster.start(cluster=lambda node: "no_advertise: true" if node is hidden else "")
        for node in cluster.nodes[:2]:
            party = await Party.connect(node)
            await _is_told(party, _addresses(*cluster.nodes[:2]))


@scenario
async def another_address_is_advertised_to_clients(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start(top=lambda node: f'client_advertise: "{node.name}.example.com:4333"')
        party = await Party.connect(cluster[1])
        await _is_told(party, [f"{node.name}.example.com:4333" for node in cluster])


@scenario
async def another_address_is_advertised_to_servers(kinds):
    async with Cluster(kinds) as cluster:
        seed = cluster[0]
        await cluster.start(
            routes=lambda node: [] if node is seed else [seed],
            cluster=lambda node: f'cluster_advertise: "localhost:{node.route_port}"',
        )
        for node in cluster:
            told = (await node.get("/varz"))["cluster"]
            assert told["cluster_port"] == node.route_port, told


@scenario
async def an_address_of_all_interfaces_is_told_as_real_ones(kinds):
    async with Cluster(kinds) as cluster:
        for node in cluster:
            node.configure(cluster.text(node, routes=[cluster[0]]).replace(
                f'listen: "{node.host}:{node.port}"', f"port: {node.port}"))
            await node.start()
        await cluster.is_formed()
        party = await Party.connect(cluster[0])

        def real():
            told = party.info.get("connect_urls", [])
            ports = {int(url.rsplit(":", 1)[1]) for url in told}
            return ports == {node.port for node in cluster} and not any("0.0.0.0" in url for url in told)

        await until("real addresses are told", real)


@modern
async def a_leaving_server_is_told_with_lame_duck_mode(kinds):
    async with Cluster(kinds) as cluster:
        one, two, three = cluster
        await cluster.start(top='lame_duck_grace_period: "300ms"\nlame_duck_duration: "30s"')
        leaving, staying = await Party.connect(two), await Party.connect(one)
        for party in (leaving, staying):
            await _is_told(party, _addresses(*cluster))
        two.signal(12)  # SIGUSR2
        await until("its client is told", lambda: leaving.info.get("ldm"))
        # It tells its own clients the others only.
        assert sorted(leaving.info.get("connect_urls", [])) == _addresses(one, three), leaving.info
        await _is_told(staying, _addresses(one, three))
        assert not any(info.get("ldm") for info in staying.infos)
        await until("its client is cut", lambda: leaving.closed)
