"""The servers of a cluster: natsd, nats-server 2.14 and nats-server 2.9, mixed as a scenario asks."""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request

DEADLINE = 30.0
"""Seconds until a condition must hold; reached only by a failure."""

PROGRAMS = {"natsd": "NATSD", "reference": "REFERENCE", "reference-2.9": "REFERENCE_29"}
"""The environment variables that name the programs."""

OLD = "reference-2.9"

_given = set()


def free_port():
    """A port that nobody uses, below those that the kernel gives to outgoing connections."""
    while True:
        port = random.randrange(15000, 32000)
        if port in _given:
            continue
        _given.add(port)
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


async def until(what, holds):
    """Polls a condition of a server, which nothing reports. The condition may be a coroutine function."""
    end = asyncio.get_running_loop().time() + DEADLINE
    pause = 0.0005
    while True:
        held = holds()
        if asyncio.iscoroutine(held):
            held = await held
        if held:
            return held
        if asyncio.get_running_loop().time() > end:
            raise AssertionError(f"never: {what}")
        await asyncio.sleep(pause)
        pause = min(2 * pause, 0.02)


class Node:
    """A server, and its ports, which it keeps when it is started again."""

    def __init__(self, kind, name, host="127.0.0.1"):
        self.kind, self.name, self.host = kind, name, host
        self.port, self.route_port, self.http_port = free_port(), free_port(), free_port()
        self.text, self.id = "", ""
        self.process = None
        self.log = []
        self._directory = tempfile.TemporaryDirectory(prefix="natsd-cluster-")

    @property
    def url(self):
        """The address for clients."""
        return f"nats://{self.host}:{self.port}"

    @property
    def route(self):
        """The address for routes."""
        return f"nats-route://{self.host}:{self.route_port}"

    @property
    def is_old(self):
        """Returns true if the server knows no pools, account routes and compression."""
        return self.kind == OLD

    @property
    def path(self):
        """The configuration file."""
        return os.path.join(self._directory.name, "server.conf")

    def configure(self, text):
        """Replaces the configuration file."""
        self.text = text
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)

    async def start(self, *flags):
        """Starts the server, with its configuration file if it has one, and waits until it is ready."""
        arguments = [os.environ[PROGRAMS[self.kind]], *flags]
        if self.text:
            arguments += ["-c", self.path]
        self.log = []
        ready = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, args=(self.process, self.log, ready, loop), daemon=True).start()
        try:
            await asyncio.wait_for(ready.wait(), DEADLINE)
        except asyncio.TimeoutError:
            pass
        if self.process.poll() is not None or not ready.is_set():
            raise AssertionError(f"{self} did not start:\n" + "".join(self.log[-20:]))
        self.id = (await self.get("/varz"))["server_id"]

    @staticmethod
    def _read(process, log, ready, loop):
        for line in process.stderr:
            log.append(line)
            if "Server is ready" in line:
                loop.call_soon_threadsafe(ready.set)
        try:
            loop.call_soon_threadsafe(ready.set)
        except RuntimeError:
            pass  # The scenario is over.

    async def says(self, *parts):
        """Waits until a line of the log has all these parts."""
        found = lambda: any(all(part in line for part in parts) for line in self.log)
        await until(f"{self} logs {parts}", found)

    async def get(self, path):
        """Returns JSON of the server's monitoring."""
        return await asyncio.to_thread(self._get, path)

    def _get(self, path):
        with urllib.request.urlopen(f"http://{self.host}:{self.http_port}{path}", timeout=DEADLINE) as answer:
            return json.load(answer)

    async def routes(self, options=""):
        """Returns the routes, the server at the other end by its identity: 2.9 tells no names."""
        return (await self.get(f"/routez{options}")).get("routes", [])

    async def has_peers(self, *nodes):
        """Waits until it has routes to exactly these."""

        async def holds():
            return {route["remote_id"] for route in await self.routes()} == {node.id for node in nodes}

        await until(f"{self} has routes to {[node.name for node in nodes]}", holds)

    def signal(self, number):
        """Sends a signal to the process."""
        self.process.send_signal(number)

    async def reload(self, text):
        """Replaces the configuration and waits until the server uses it, or has refused it."""
        before = len(self.log)
        self.configure(text)
        self.signal(signal.SIGHUP)
        answers = ("Reloaded server configuration", "Failed to reload server configuration")
        last = lambda: next((line for line in self.log[before:] if any(one in line for one in answers)), None)
        return await until(f"{self} reloads", last)

    async def stop(self):
        """Ends the server properly."""
        await self._end(signal.SIGTERM)

    async def kill(self):
        """Ends the server at once."""
        await self._end(signal.SIGKILL)

    async def _end(self, number):
        if self.process and self.process.poll() is None:
            self.signal(number)
            try:
                await asyncio.to_thread(self.process.wait, DEADLINE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"{self} does not end") from None

    def __str__(self):
        return f"{self.name} ({self.kind})"


class Cluster:
    """Some servers, ended with the scenario. Names are a, b, c and so on."""

    def __init__(self, kinds):
        self.nodes = [Node(kind, name) for kind, name in zip(kinds, "abcdefgh")]

    def __iter__(self):
        return iter(self.nodes)

    def __getitem__(self, index):
        return self.nodes[index]

    def add(self, kind):
        """One more server, not started yet."""
        self.nodes.append(Node(kind, "abcdefgh"[len(self.nodes)]))
        return self.nodes[-1]

    def text(self, node, routes=None, cluster="", top="", name="C"):
        """The configuration of one server; by default with routes to all."""
        routes = self.nodes if routes is None else routes
        listed = "\n".join(f'    "{route.route if isinstance(route, Node) else route}"' for route in routes)
        named = f"name: {name}" if name else ""
        return f"""
server_name: {node.name}
listen: "{node.host}:{node.port}"
http: "{node.host}:{node.http_port}"
{top}
cluster {{
  {named}
  listen: "{node.host}:{node.route_port}"
  {cluster}
  routes: [
{listed}
  ]
}}
"""

    async def start(self, **options):
        """Writes the configuration of all, starts all, and waits for the full mesh.

        Options are those of `text`; each may be a function of the server.
        """
        for node in self.nodes:
            own = {key: value(node) if callable(value) else value for key, value in options.items()}
            node.configure(self.text(node, **own))
        await asyncio.gather(*(node.start() for node in self.nodes))
        await self.is_formed()
        return self

    async def is_formed(self):
        """Waits until each server that runs has a route to all others."""
        for node in self.running():
            await node.has_peers(*(other for other in self.running() if other is not node))

    def running(self):
        """The servers whose process runs."""
        return [node for node in self.nodes if node.process and node.process.poll() is None]

    async def __aenter__(self):
        return self

    async def __aexit__(self, kind, *_):
        if kind is not None:
            for node in self.nodes:
                print(f"log of {node}:\n" + "".join(node.log[-15:]), file=sys.stderr)
        for node in self.nodes:
            if node.process and node.process.poll() is None:
                node.process.kill()
                node.process.wait()
