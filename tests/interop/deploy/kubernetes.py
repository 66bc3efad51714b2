"""The manifests in deploy/kubernetes: references between them, and their containers, hooks and probes, run as the kubelet runs them. A
rolling upgrade under load. Reports in TAP.

NATSD names the program, UPGRADES=20 makes more of them. Needs root.
"""

import asyncio
import json
import os
import sys

import yaml

from load import Load
from pods import Node, restarted_with_a_message, until
from report import run

NATSD = os.environ["NATSD"]
HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "../../../deploy/kubernetes")


def manifest(name):
    """The objects of a file by kind; one of each kind is named `kind/name`."""
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        objects = [one for one in yaml.safe_load_all(file) if one]
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}


def config_maps(objects):
    """Their files by name."""
    return {name: one["data"] for (kind, name), one in objects.items() if kind == "ConfigMap"}


def selects(selector, labels):
    """Returns true if all labels of the selector are there."""
    return selector.items() <= labels.items()


def objects_refer_to_each_other(*_):
    for name, service in (("natsd.yaml", "natsd"), ("streams.yaml", "natsd-streams")):
        objects = manifest(name)
        stateful_set = objects[("StatefulSet", service)]
        spec, template = stateful_set["spec"], stateful_set["spec"]["template"]
        labels = template["metadata"]["labels"]
        assert selects(spec["selector"]["matchLabels"], labels), name
        assert ("Service", spec["serviceName"]) in objects, spec["serviceName"]
        ports = {port["containerPort"]: port["name"] for port in template["spec"]["containers"][0]["ports"]}
        for (kind, _), one in objects.items():
            if kind == "Service":
                assert selects(one["spec"]["selector"], labels), one
                assert all(ports[port["port"]] == port["name"] for port in one["spec"]["ports"]), one
            if kind == "PodDisruptionBudget":
                assert selects(one["spec"]["selector"]["matchLabels"], labels), one
            if kind == "NetworkPolicy":
                assert selects(one["spec"]["podSelector"]["matchLabels"], labels), one
                allowed = {port["port"] for rule in one["spec"]["ingress"] for port in rule["ports"]}
                assert allowed == set(ports), allowed
        # Longer than lame duck mode takes.
        assert template["spec"]["terminationGracePeriodSeconds"] >= 10 + 30
    services = manifest("natsd.yaml")
    (monitor,) = manifest("service-monitor.yaml").values()
    (found,) = [
        one for (kind, _), one in services.items()
        if kind == "Service" and selects(monitor["spec"]["selector"]["matchLabels"], one["metadata"]["labels"])
    ]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in found["spec"]["ports"]}, endpoint


class Cluster:
    """The pods of natsd.yaml."""

    def __init__(self, node):
        self.objects = manifest("natsd.yaml")
        stateful_set = self.objects[("StatefulSet", "natsd")]
        self.pods = [node.add(stateful_set, number, config_maps(self.objects)) for number in range(stateful_set["spec"]["replicas"])]
        self.urls = [f"nats://{pod.address}:4222" for pod in self.pods]

    def start(self):
        """All at once: podManagementPolicy is Parallel."""
        for pod in self.pods:
            pod.start()
        for pod in self.pods:
            pod.is_ready()

    def is_formed(self):
        """Waits until each has a route to all others."""
        for pod in self.pods:
            until(f"{pod.name} has its routes", lambda pod=pod: self._peers(pod) == {one.name for one in self.pods} - {pod.name})

    @staticmethod
    def _peers(pod):
        _, body = pod.get("/routez")
        return {route["remote_name"] for route in json.loads(body)["routes"]} if body else None


def probes_wait_for_the_server(node, cluster):
    for pod in cluster.pods:
        assert pod.probe("readinessProbe") is None
    cluster.start()
    for pod in cluster.pods:
        assert pod.probe("livenessProbe") == 200


def servers_find_each_other_by_their_names(node, cluster):
    cluster.is_formed()


def a_container_has_the_name_and_the_rights_of_its_manifest(node, cluster):
    pod = cluster.pods[1]
    assert json.loads(pod.get("/varz")[1])["server_name"] == "natsd-1"
    with open(f"/proc/{pod.main_process()}/status", encoding="ascii") as file:
        status = dict(line.split(":\t", 1) for line in file.read().splitlines())
    assert status["Uid"].split()[0] == "65532" and status["CapEff"] == "0" * 16 and status["NoNewPrivs"] == "1", status
    status, body = pod.get("/metrics")
    assert status == 200 and "gnatsd_varz_connections" in body


def an_upgrade_of_all_pods_loses_no_request_and_keeps_the_order(node, cluster):
    async def upgrade():
        async with Load(cluster.urls) as load:
            await load.works()
            # The controller replaces the highest number first, and goes on when the new pod has been ready for minReadySeconds. The
            # routes that it gets in this time take the place of the time.
            for pod in list(reversed(cluster.pods)) * int(os.environ.get("UPGRADES", "1")):
                code = await asyncio.to_thread(pod.terminate)
                assert code == 0, f"{pod.name}: {code}: " + "".join(pod.log)
                pod.start()
                await asyncio.to_thread(pod.is_ready)
                await asyncio.to_thread(cluster.is_formed)
                await load.works()
            await load.received_all()
        assert all(client.moves for client in load.clients()), [client.moves for client in load.clients()]
        answers = sum(one.answers for one in load.requesters)
        print(f"# {answers} requests, {load.publisher.sent.total()} messages", file=sys.stderr)
        assert load.lost() == [], load.lost()[:10]

    asyncio.run(upgrade())


def streams_are_in_the_volume(node, _):
    objects = manifest("streams.yaml")
    pod = node.add(objects[("StatefulSet", "natsd-streams")], 0, config_maps(objects))
    pod.start()
    pod.is_ready()
    jsz = restarted_with_a_message(pod)
    assert jsz["messages"] == 1 and jsz["config"]["store_dir"].startswith("/data"), jsz
    assert pod.probe("livenessProbe") == 200
    assert pod.terminate() == 0, pod.log


def main():
    node = Node(NATSD)
    try:
        run(
            [
                objects_refer_to_each_other,
                probes_wait_for_the_server,
                servers_find_each_other_by_their_names,
                a_container_has_the_name_and_the_rights_of_its_manifest,
                an_upgrade_of_all_pods_loses_no_request_and_keeps_the_order,
                streams_are_in_the_volume,
            ],
            node,
            Cluster(node),
        )
    finally:
        node.close()


main()
