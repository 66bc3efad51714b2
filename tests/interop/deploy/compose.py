"""The files in deploy/compose: their command lines are run with their volumes and the names of their services. Reports in TAP.

NATSD names the program. Needs root.
"""

import asyncio
import json
import os
import ssl

import nats
import yaml

from pods import Node, until
from report import run

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "../../../deploy/compose")
PARTS = os.path.join(HERE, "../../config/options/parts")


def content(name):
    """The content of a file."""
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        return yaml.safe_load(file)


class Project:
    """The containers of a file, by service."""

    def __init__(self, node, name):
        self.file = content(name)
        self.containers = {service: self._container(node, service, given) for service, given in self.file["services"].items()}
        for container in self.containers.values():
            container.start()
        for service, container in self.containers.items():
            container.is_ready()
            # The health check of the image.
            assert container.execute("/natsd", "--healthcheck").returncode == 0, service

    def _container(self, node, service, given):
        """The service as a pod with one container."""
        assert given["image"] == "natsd" and set(given) <= {"image", "command", "ports", "volumes"}, given
        inside = [{"containerPort": int(port.split(":")[1])} for port in given["ports"]]
        assert {port["containerPort"] for port in inside} == {4222, 8222}, given["ports"]
        probe = {"httpGet": {"path": "/healthz", "port": 8222}}
        container = {"args": given["command"], "ports": inside, "startupProbe": probe, "readinessProbe": probe, "volumeMounts": []}
        claims, maps, volumes = [], {}, []
        for number, line in enumerate(given.get("volumes", [])):
            source, path, *_ = line.split(":")
            container["volumeMounts"].append({"name": f"v{number}", "mountPath": path})
            if source.startswith("."):
                # A folder of the host.
                maps[source] = {name: self._read(name) for name in ("server.pem", "server-key.pem")}
                volumes.append({"name": f"v{number}", "configMap": {"name": source}})
            else:
                assert source in self.file["volumes"], line
                claims.append({"metadata": {"name": f"v{number}"}})
        pod = {
            "spec": {
                "containers": [container],
                "volumes": volumes,
                # A named volume gets the owner of the folder in the image.
                "securityContext": {"fsGroup": 65532},
            }
        }
        stateful_set = {"metadata": {"name": service}, "spec": {"serviceName": service, "template": pod, "volumeClaimTemplates": claims}}
        return node.add(stateful_set, 0, maps)

    @staticmethod
    def _read(name):
        with open(os.path.join(PARTS, name), encoding="utf-8") as file:
            return file.read()

    def close(self):
        """Ends all."""
        for container in self.containers.values():
            container.node.remove(container)


class opened:
    """A project that is closed at the end."""

    def __init__(self, node, name):
        self.project = Project(node, name)

    def __enter__(self):
        return self.project.containers

    def __exit__(self, *_):
        self.project.close()


def one(node):
    with opened(node, "one.yml") as containers:
        asyncio.run(echo(f"nats://{containers['nats'].address}:4222"))


async def echo(url, **options):
    """Publishes a message to itself."""
    client = await nats.connect(url, **options)
    subscription = await client.subscribe("a")
    await client.publish("a", b"hello")
    message = await subscription.next_msg(timeout=30)
    assert message.data == b"hello"
    await client.close()


def cluster(node):
    with opened(node, "cluster.yml") as containers:
        for name, container in containers.items():
            until(f"{name} has two routes", lambda container=container: json.loads(container.get("/varz")[1]).get("remotes") == 2)
            assert json.loads(container.get("/varz")[1])["cluster"]["name"] == "demo"
        ports = [port for service in content("cluster.yml")["services"].values() for port in service["ports"]]
        assert len({port.split(":")[0] for port in ports}) == len(ports), ports


def streams(node):
    with opened(node, "streams.yml") as containers:
        container = containers["nats"]

        async def publish():
            client = await nats.connect(f"nats://{container.address}:4222")
            await client.jetstream().add_stream(name="S", subjects=["s"])
            await client.jetstream().publish("s", b"hello")
            await client.close()

        asyncio.run(publish())
        assert container.stop() == 0, container.log
        container.start()
        container.is_ready()
        assert json.loads(container.get("/jsz")[1])["messages"] == 1


def tls(node):
    with opened(node, "tls.yml") as containers:
        context = ssl.create_default_context(cafile=os.path.join(PARTS, "server.pem"))
        address = containers["nats"].address
        asyncio.run(echo(f"tls://{address}:4222", tls=context, tls_hostname="localhost"))


def main():
    node = Node(os.environ["NATSD"])
    try:
        run([one, cluster, streams, tls], node)
    finally:
        node.close()


main()
