"""All servers of a cluster replaced one by one, from nats-server to natsd and back, with clients connected throughout."""

import asyncio
import os

import nats
from nodes import Cluster, until
from party import Party
from scenarios import scenario

LAME_DUCK = 'lame_duck_grace_period: "100ms"\nlame_duck_duration: "30s"\n'


class Roamers:
    """Clients in Go, Rust and Python that answer requests, each of which prefers another server."""

    def __init__(self, cluster):
        self.cluster, self.processes, self.python = cluster, {}, None

    async def __aenter__(self):
        urls = [node.url for node in self.cluster]
        for turn, name in enumerate(("go", "rust")):
            program = os.environ["ROAMER" if name == "go" else "ROAMER_RUST"]
            own = ",".join(urls[turn:] + urls[:turn])
            process = await asyncio.create_subprocess_exec(
                program, name, own, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )
            self.processes[name] = process
            line = await asyncio.wait_for(process.stdout.readline(), 30)
            assert line == b"ready\n", line

        async def ignore(_):
            """Reconnections are expected."""

        self.python = await nats.connect(
            servers=urls[2:] + urls[:2], reconnect_time_wait=0.02, max_reconnect_attempts=-1, error_cb=ignore,
        )

        async def answer(message):
            await message.respond(b"python")

        await self.python.subscribe("roam.python", cb=answer)
        await self.python.flush()
        return self

    async def __aexit__(self, *_):
        for process in self.processes.values():
            if process.returncode is None:
                process.kill()
                await process.wait()
        if self.python:
            await self.python.close()

    async def are_reached_from(self, nodes):
        """Each answers requests of a client of each server."""
        for node in nodes:
            party = await Party.connect(node)
            for name in ("go", "rust", "python"):

                async def answers(name=name, party=party):
                    answer = await party.request(f"roam.{name}")
                    return answer.payload == name.encode()

                await until(f"{name} is reached from {node}", answers)
            await party.close()

    def were_never_given_up(self):
        """None has ended."""
        assert not self.python.is_closed
        for name, process in self.processes.items():
            assert process.returncode is None, f"{name} ended with {process.returncode}"


async def _replace(cluster, node, kind, roamers):
    node.signal(12)  # SIGUSR2: lame duck mode
    await until(f"{node} ends", lambda: node.process.poll() is not None)
    rest = cluster.running()
    await cluster.is_formed()
    await roamers.are_reached_from(rest)
    node.kind = kind
    await node.start()
    await cluster.is_formed()
    await roamers.are_reached_from(cluster)
    roamers.were_never_given_up()


@scenario
async def all_servers_are_replaced_one_by_one_and_back(kinds):
    new = "natsd" if "natsd" in kinds else kinds[-1]
    async with Cluster(["reference"] * 3) as cluster:
        await cluster.start(top=LAME_DUCK)
        async with Roamers(cluster) as roamers:
            await roamers.are_reached_from(cluster)
            for kind in (new, "reference"):
                for node in cluster:
                    await _replace(cluster, node, kind, roamers)
