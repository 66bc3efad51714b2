"""Pods without Kubernetes: containers of a manifest as processes, with the volumes, the user, the environment and the addresses that the
manifest gives them. Only the image is ours. Needs root."""

import asyncio
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import nats

import own_network

HERE = os.path.dirname(os.path.abspath(__file__))
IMAGE = os.path.join(HERE, "../../../deploy/image")
DEADLINE = 30.0
"""Seconds until a condition must hold; reached only by a failure."""

_SUBNET = "10.244.0"

# What a container gets: its own processes, volumes at their places, nothing else to write to, and no way to more rights.
_START = """
mount --bind "$ROOT" "$ROOT"
%s
exec setpriv --no-new-privs chroot --userspec="$OWNER" --groups="$GROUPS_" "$ROOT" "$@"
"""


def until(what, holds):
    """Polls a condition of a server, which nothing reports."""
    end = time.monotonic() + DEADLINE
    while not (held := holds()):
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)
    return held


def restarted_with_a_message(pod):
    """Stores a message in a pod with streams, replaces the pod, and returns /jsz of the new one."""
    async def publish():
        client = await nats.connect(f"nats://{pod.address}:4222")
        await client.jetstream().add_stream(name="S", subjects=["s"])
        await client.jetstream().publish("s", b"hello")
        await client.close()

    asyncio.run(publish())
    assert pod.terminate() == 0, pod.log
    pod.start()
    pod.is_ready()
    return json.loads(pod.get("/jsz")[1])


def _run(*command):
    subprocess.run(command, check=True)


class Node:
    """A machine with a bridge to which pods are connected, and the files of the image."""

    def __init__(self, natsd):
        own_network.enter()
        self._directory = tempfile.TemporaryDirectory(prefix="natsd-pods-")
        self.folder = self._directory.name
        self.image = os.path.join(self.folder, "image")
        self.pods, self._made = {}, 0
        stripped = os.path.join(self.folder, "natsd")
        _run("strip", "-o", stripped, natsd)
        _run(os.path.join(IMAGE, "root"), "--libraries", stripped, self.image)
        _run("ip", "link", "add", "pods", "type", "bridge", "forward_delay", "0")
        _run("ip", "address", "add", f"{_SUBNET}.1/24", "dev", "pods")
        _run("ip", "link", "set", "pods", "up")

    def next_index(self):
        """A number for the address of a pod."""
        self._made += 1
        return self._made

    def names(self):
        """The DNS of the cluster, as a file of hosts."""
        lines = ["127.0.0.1 localhost"]
        for pod in self.pods.values():
            lines.append(f"{pod.address} {pod.name} {pod.name}.{pod.service} {pod.name}.{pod.service}.default.svc.cluster.local {pod.service}")
        return "\n".join(lines) + "\n"

    def add(self, stateful_set, number, config_maps):
        """Makes a pod of the set, not started yet."""
        pod = Pod(self, stateful_set, number, config_maps)
        self.pods[pod.name] = pod
        for other in self.pods.values():
            other.write("/etc/hosts", self.names())
        return pod

    def remove(self, pod):
        """Ends a pod."""
        pod.close()
        del self.pods[pod.name]

    def close(self):
        """Ends all."""
        for pod in self.pods.values():
            pod.close()
        self._directory.cleanup()


class Pod:
    """One pod of a StatefulSet: its network, its volumes and its container named first."""

    def __init__(self, node, stateful_set, number, config_maps):
        self.node, self.spec = node, stateful_set["spec"]["template"]["spec"]
        self.name = f"{stateful_set['metadata']['name']}-{number}"
        self.service = stateful_set["spec"]["serviceName"]
        index = node.next_index()
        self.address = f"{_SUBNET}.{index + 10}"
        self.container = self.spec["containers"][0]
        self.process, self.log = None, []
        self.folder = os.path.join(node.folder, self.name)
        self.root = os.path.join(self.folder, "root")
        os.mkdir(self.folder)
        # Linked, not copied: a container does not write to its image.
        _run("cp", "-al", node.image, self.root)
        self.volumes = self._make_volumes(stateful_set, config_maps)
        # The process that holds the network. It ends with its input.
        self.holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self._connect(index)

    def _make_volumes(self, stateful_set, config_maps):
        claims = {claim["metadata"]["name"] for claim in stateful_set["spec"].get("volumeClaimTemplates") or []}
        volumes = {name: self._directory(f"claim-{name}", self._group()) for name in claims}
        for volume in self.spec.get("volumes", []):
            if "configMap" in volume:
                folder = self._directory(f"config-{volume['name']}", 0)
                for name, text in config_maps[volume["configMap"]["name"]].items():
                    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                        file.write(text)
            else:
                assert volume["emptyDir"] == {}, volume
                folder = self._directory(f"empty-{volume['name']}", self._group())
                os.chmod(folder, 0o777)
            volumes[volume["name"]] = folder
        return volumes

    def _group(self):
        return self.spec.get("securityContext", {}).get("fsGroup", 0)

    def _directory(self, name, group):
        """A volume: root's, and writable to the group that the pod names."""
        folder = os.path.join(self.folder, name)
        os.mkdir(folder)
        os.chown(folder, 0, group)
        os.chmod(folder, 0o2775)
        return folder

    def _connect(self, number):
        outer, inner = f"pod{number}", f"in{number}"
        holder = str(self.holder.pid)
        own = os.readlink("/proc/self/ns/net")
        until("the pod has a network", lambda: os.readlink(f"/proc/{holder}/ns/net") != own)
        _run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
        _run("ip", "link", "set", inner, "netns", holder)
        _run("ip", "link", "set", outer, "master", "pods", "up")
        for command in (f"address add {self.address}/24 dev {inner}", f"link set {inner} up", "link set lo up"):
            _run("nsenter", "--net", "--target", holder, "ip", *command.split())

    def write(self, path, text):
        """Replaces a file of the container, which the engine manages."""
        path = self.root + path
        if os.path.exists(path):
            os.remove(path)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def environment(self):
        """The variables of the manifest; later ones may refer to earlier ones."""
        values = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        for variable in self.container.get("env", []):
            if "value" in variable:
                text = re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], variable["value"])
            else:
                assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}, variable
                text = self.name
            values[variable["name"]] = text
        return values

    def _mounts(self):
        """The volumes at their places, then the image read-only if the manifest says so."""
        lines = []
        for mount in self.container.get("volumeMounts", []):
            place = self.root + mount["mountPath"]
            os.makedirs(place, exist_ok=True)
            lines.append(f"mount --bind '{self.volumes[mount['name']]}' '{place}'")
        if self.container.get("securityContext", {}).get("readOnlyRootFilesystem"):
            lines.insert(0, 'mount -o remount,bind,ro "$ROOT"')
        return "\n".join(lines)

    def _given(self, program):
        """The program as the user of the image or of the manifest."""
        context = self.spec.get("securityContext", {})
        user, group = context.get("runAsUser", 65532), context.get("runAsGroup", 65532)
        own = {"ROOT": self.root, "OWNER": f"{user}:{group}", "GROUPS_": ",".join({str(group), str(self._group())})}
        shell = ["sh", "-ec", _START % self._mounts(), "sh", *program]
        return shell, os.environ | own | self.environment()

    def start(self):
        """Starts the container, and returns at once, as the kubelet does."""
        shell, environment = self._given(["/nats-server", *self.container["args"]])
        self.log = []
        self.process = subprocess.Popen(
            ["nsenter", "--net", "--target", str(self.holder.pid), "unshare", "--mount", "--pid", "--fork", "--kill-child", *shell],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        threading.Thread(target=self._read, args=(self.process, self.log), daemon=True).start()

    def _read(self, process, log):
        for line in process.stderr:
            log.append(line)

    def main_process(self):
        """The process 1 of the container, outside of it."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as file:
            return int(file.read().split()[0])

    def execute(self, *command):
        """Runs a command in the container, as hooks and `kubectl exec` do."""
        target = str(self.main_process())
        context = self.spec.get("securityContext", {})
        user, group = str(context.get("runAsUser", 65532)), str(context.get("runAsGroup", 65532))
        inside = ["nsenter", "--net", "--pid", "--mount", "--target", target, "--", "chroot", f"--userspec={user}:{group}", self.root]
        return subprocess.run(inside + list(command), env=self.environment(), capture_output=True, text=True, timeout=DEADLINE)

    def probe(self, name):
        """The status of a probe of the manifest, or None if there is no connection."""
        action = self.container[name]["httpGet"]
        port = action["port"]
        if isinstance(port, str):
            (port,) = [one["containerPort"] for one in self.container["ports"] if one["name"] == port]
        return self.get(action["path"], port)[0]

    def get(self, path, port=8222):
        """Status and body of a path."""
        connection = http.client.HTTPConnection(self.address, port, timeout=self.container["readinessProbe"].get("timeoutSeconds", 5))
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return None, ""
        finally:
            connection.close()

    def is_ready(self):
        """Waits as the kubelet does: the start, then readiness."""
        for name in ("startupProbe", "readinessProbe"):
            until(f"{name} of {self.name}", lambda name=name: self.probe(name) == 200 or self._must_run())

    def _must_run(self):
        assert self.process.poll() is None, f"{self.name} ended:\n" + "".join(self.log)
        return False

    def stop(self):
        """Ends the container as `docker stop` does. Returns the exit code."""
        os.kill(self.main_process(), signal.SIGTERM)
        return self.process.wait(DEADLINE)

    def terminate(self):
        """Ends the container as the kubelet does: the hook, then SIGTERM, then the grace period. Returns the exit code."""
        hook = self.execute(*self.container["lifecycle"]["preStop"]["exec"]["command"])
        assert hook.returncode == 0, hook
        if self.process.poll() is None:
            try:
                os.kill(self.main_process(), signal.SIGTERM)
            except (IndexError, ProcessLookupError):
                pass  # It has ended meanwhile.
        return self.process.wait(self.spec["terminationGracePeriodSeconds"])

    def close(self):
        """Ends the container without its hook."""
        if self.process and self.process.poll() is None:
            # Process 1: with it end all processes of the container. It does not end with the one that started it, because it has
            # changed its user.
            try:
                os.kill(self.main_process(), signal.SIGKILL)
            except (IndexError, ProcessLookupError):
                self.process.kill()
            self.process.wait()
        self.holder.stdin.close()
        self.holder.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
