"""The official Helm chart of NATS with natsd's image: what it renders is recorded in chart.json, and its containers, hooks, probes and
the reloader's signal are run as Kubernetes runs them. Reports in TAP.

NATSD names the program. Needs root. For another version of the chart, with `values` of chart.json after deploy/kubernetes/chart-values.yaml:

    helm template nats nats/nats -f deploy/kubernetes/chart-values.yaml -f VALUES | python3 chart.py --record NAME
"""

import asyncio
import json
import os
import re
import subprocess
import sys

import nats
import yaml

from pods import DEADLINE, Node, restarted_with_a_message, until
from report import run

RECORDED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "chart.json")


def recorded():
    """What the chart rendered, by name: its values, the StatefulSet and the configuration files."""
    with open(RECORDED, encoding="utf-8") as file:
        return json.load(file)


def record(name):
    """Replaces the recorded objects by those on standard input."""
    objects = [one for one in yaml.safe_load_all(sys.stdin) if one]
    (stateful_set,) = [one for one in objects if one["kind"] == "StatefulSet"]
    # Labels have nothing to run.
    template = stateful_set["spec"]["template"]
    for metadata in (stateful_set["metadata"], template["metadata"]):
        metadata.pop("labels")
    for key in ("selector", "podManagementPolicy"):
        stateful_set["spec"].pop(key)
    all_of_them = recorded()
    all_of_them[name]["stateful_set"] = stateful_set
    all_of_them[name]["config_maps"] = {
        one["metadata"]["name"]: {file: text.splitlines() for file, text in one["data"].items()}
        for one in objects
        if one["kind"] == "ConfigMap"
    }
    with open(RECORDED, "w", encoding="utf-8") as file:
        json.dump(all_of_them, file, indent=1)
        file.write("\n")


def pods_of(node, name):
    """The pods of a StatefulSet."""
    chart = recorded()[name]
    config_maps = {
        name: {file: "\n".join(lines) + "\n" for file, lines in files.items()} for name, files in chart["config_maps"].items()
    }
    stateful_set = chart["stateful_set"]
    return [node.add(stateful_set, number, config_maps) for number in range(stateful_set["spec"]["replicas"])]


class Charts:
    """The pods of both sets of values."""

    def __init__(self):
        self.node = Node(os.environ["NATSD"])
        self.cluster = pods_of(self.node, "cluster")
        (self.streams,) = pods_of(self.node, "streams")
        self.container = {one["name"]: one for one in self.streams.spec["containers"]}


def servers(pod):
    """The names of the other servers that a pod has routes to."""
    body = pod.get("/routez")[1]
    return {route["remote_name"] for route in json.loads(body)["routes"]} if body else None


def is_formed(pods):
    """Waits until each has a route to all others."""
    for pod in pods:
        until(f"{pod.name} has its routes", lambda pod=pod: servers(pod) == {one.name for one in pods} - {pod.name})


def the_pods_of_a_cluster_become_ready_and_find_each_other(charts):
    for pod in charts.cluster:
        pod.start()
    for pod in charts.cluster:
        pod.is_ready()
        assert pod.probe("livenessProbe") == 200
    is_formed(charts.cluster)


def a_pod_ends_by_its_hook_and_comes_back(charts):
    pod = charts.cluster[2]
    assert pod.terminate() == 0, pod.log
    assert any("Entering lame duck mode" in line for line in pod.log), pod.log
    pod.start()
    pod.is_ready()
    is_formed(charts.cluster)


def the_pod_with_streams_becomes_ready(charts):
    charts.streams.start()
    charts.streams.is_ready()
    assert charts.streams.probe("livenessProbe") == 200


def streams_outlive_the_pod(charts):
    pod = charts.streams
    jsz = restarted_with_a_message(pod)
    assert jsz["messages"] == 1 and jsz["config"]["max_storage"] == 10 << 30, jsz


def websocket_listens(charts):
    async def ask():
        client = await nats.connect(f"ws://{charts.streams.address}:8080")
        await client.flush()
        await client.close()

    asyncio.run(ask())


def the_signal_of_the_reloader_reloads(charts):
    pod = charts.streams
    arguments = charts.container["reloader"]["args"]
    given = dict(zip(arguments[::2], arguments[1::2]))
    folder, name = os.path.split(given["-config"])
    mounts = {mount["mountPath"]: mount["name"] for mount in charts.container["reloader"]["volumeMounts"]}
    path = os.path.join(pod.volumes[mounts[folder]], name)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(re.sub('"port": 4222', '"port": 4222,\n  "max_payload": 2048', text))
    with open(os.path.join(pod.volumes[mounts["/var/run/nats"]], os.path.basename(given["-pid"])), encoding="ascii") as file:
        process = file.read().strip()
    # The reloader is in the same namespace of processes.
    subprocess.run(["nsenter", "--pid", "--target", str(pod.main_process()), "kill", "-HUP", process], check=True, timeout=DEADLINE)
    until("it has reloaded", lambda: json.loads(pod.get("/varz")[1])["max_payload"] == 2048)


def the_exporter_finds_its_endpoints(charts):
    arguments = charts.container["prom-exporter"]["args"]
    paths = [option.split("=")[0].strip("-") for option in arguments if option.strip("-").split("=")[0].endswith("z")]
    assert {"connz", "routez", "varz", "jsz"} <= set(paths), arguments
    for path in paths:
        # The exporter's name of /subsz.
        status, body = charts.streams.get("/" + path.replace("subz", "subsz"))
        assert status == 200 and json.loads(body), path
    # Without the exporter.
    assert charts.streams.get("/metrics")[0] == 200


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--record":
        record(sys.argv[2])
        return
    charts = Charts()
    try:
        run(
            [
                the_pods_of_a_cluster_become_ready_and_find_each_other,
                a_pod_ends_by_its_hook_and_comes_back,
                the_pod_with_streams_becomes_ready,
                streams_outlive_the_pod,
                websocket_listens,
                the_signal_of_the_reloader_reloads,
                the_exporter_finds_its_endpoints,
            ],
            charts,
        )
    finally:
        charts.node.close()


main()
