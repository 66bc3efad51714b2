"""A cluster behind HAProxy: no server advertises its address, and clients know that of HAProxy only."""

import os
import subprocess
import tempfile

import nats
from nodes import DEADLINE, Cluster, free_port, until
from party import Party, settled
from scenarios import scenario


class Haproxy:
    """HAProxy in front of clients, with the check of the book: /varz answers 200."""

    host = "127.0.0.1"

    def __init__(self, nodes):
        self.port = free_port()
        self._directory = tempfile.TemporaryDirectory()
        servers = "\n".join(
            f"    server {node.name} {node.host}:{node.port} check port {node.http_port} inter 50ms fall 1 rise 1"
            for node in nodes
        )
        path = os.path.join(self._directory.name, "haproxy.cfg")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"""defaults
    mode tcp
    timeout connect 2s
    timeout client 1m
    timeout server 1m
listen nats
    bind 127.0.0.1:{self.port}
    balance roundrobin
    option httpchk GET /varz
    http-check expect status 200
{servers}
""")
        environment = dict(os.environ, LD_LIBRARY_PATH=os.environ.get("HAPROXY_LIBRARIES", ""))
        self._process = subprocess.Popen(
            [os.environ["HAPROXY"], "-db", "-f", path], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait(DEADLINE)


async def _client(haproxy):
    """A client, as soon as HAProxy has a server for it."""
    while True:
        try:
            return await Party.connect(haproxy)
        except (OSError, AssertionError, ConnectionError):
            continue


@scenario
async def three_nodes_behind_haproxy_do_not_advertise(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start(cluster="no_advertise: true")
        with Haproxy(cluster) as haproxy:
            parties = []

            async def all_serve():
                party = await _client(haproxy)
                parties.append(party)
                return {one.infos[0]["server_id"] for one in parties} == {node.id for node in cluster}

            await until("HAProxy reaches all servers", all_serve)
            for party in parties:
                # An own address at most; no other servers.
                assert len(party.info.get("connect_urls", [])) <= 1, party.info
            for party in parties:
                party.sub("all")
            for party in parties:
                await settled(party, *(other for other in parties if other is not party))
            for party in parties:
                party.pub("all", "x")
            for party in parties:
                await party.take(len(parties), "all")
            # A library that knows only HAProxy gets another server when its own ends.
            client = await nats.connect(
                f"nats://127.0.0.1:{haproxy.port}", reconnect_time_wait=0.05, max_reconnect_attempts=-1)
            heard = []

            async def note(message):
                heard.append(message.data)

            await client.subscribe("after", cb=note)
            await client.flush()
            victim = next(node for node in cluster if client.connected_server_version and
                          node.id == client._server_info["server_id"])  # pylint: disable=protected-access
            await victim.kill()
            publisher = await Party.connect(next(iter(cluster.running())))

            async def hears():
                publisher.pub("after", "x")
                await publisher.flush()
                return heard

            await until("the client is at another server", hears)
            await client.close()
