"""The image without a container engine: its files are assembled by deploy/image/root, and what the Dockerfile starts is started
with nothing but these files, as the user and as process 1, as an engine would do. Reports in TAP.

NATSD names the program. Needs root.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request

import own_network
from report import run
from servers import DEADLINE, Client

NATSD = os.environ["NATSD"]
HERE = os.path.dirname(os.path.abspath(__file__))
IMAGE = os.path.join(HERE, "../../../deploy/image")

# What the official images set.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

# Without a debug build's libraries.
FILES = """/etc/group /etc/nats/nats-server.conf /etc/passwd /nats-server /nats-server.conf /natsd /usr/local/bin/nats-server
/usr/local/bin/natsd""".split()


class Dockerfile:
    """The last stage: what an image is made of without `--target`."""

    def __init__(self):
        with open(os.path.join(IMAGE, "Dockerfile"), encoding="utf-8") as file:
            lines = [line.strip() for line in file if line.strip() and not line.startswith("#")]
        start = max(number for number, line in enumerate(lines) if line.startswith("FROM "))
        stage = dict(line.split(" ", 1) for line in lines[start:])
        self.base, self.user, self.ports = stage["FROM"], stage["USER"], stage["EXPOSE"].split()
        self.entry_point, self.arguments = json.loads(stage["ENTRYPOINT"]), json.loads(stage["CMD"])
        self.health = json.loads(stage["HEALTHCHECK"].split(" CMD ", 1)[1])


DOCKERFILE = Dockerfile()


class Container:
    """The image, started with these arguments and these more files."""

    def __init__(self, root, *arguments):
        self.root = root
        self.address, self.monitor = "127.0.0.1:4222", "127.0.0.1:8222"
        command = [*DOCKERFILE.entry_point, *(arguments or DOCKERFILE.arguments)]
        # Process 1 has no default reaction to signals.
        self.outer = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", *self.inside(command)],
            env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        self.log = []
        for line in self.outer.stderr:
            self.log.append(line)
            if "Server is ready" in line:
                break
        else:
            raise AssertionError("it did not start: " + "".join(self.log))
        self.process = self._natsd()

    def inside(self, command):
        """The command in the image, as its user."""
        user = DOCKERFILE.user
        return ["chroot", f"--userspec={user}", f"--groups={user.split(':')[1]}", self.root, *command]

    def _natsd(self):
        """The only child of `unshare`."""
        with open(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children", encoding="ascii") as file:
            (process,) = file.read().split()
        return int(process)

    def run(self, *command):
        """Runs a command as `docker exec` does."""
        inside = ["nsenter", "--pid", f"--target={self.process}", "--", *self.inside(command)]
        if self.outer.poll() is not None:
            inside = self.inside(command)
        return subprocess.run(inside, env=ENVIRONMENT, capture_output=True, text=True, timeout=DEADLINE)

    def health(self):
        """The exit code of the health check."""
        return self.run(*DOCKERFILE.health).returncode

    def status(self, name):
        """A line of the process's state."""
        with open(f"/proc/{self.process}/status", encoding="ascii") as file:
            return next(line for line in file if line.startswith(name)).split()[1:]

    def info(self):
        """INFO of the server."""
        with socket.create_connection(("127.0.0.1", 4222), DEADLINE) as connection:
            return json.loads(connection.makefile("rb").readline().split(b" ", 1)[1])

    def stop(self, number=signal.SIGTERM):
        """Ends it, and returns the exit code."""
        os.kill(self.process, number)
        self.log += self.outer.stderr.readlines()
        return self.outer.wait(DEADLINE)


def the_image_has_no_other_file(root):
    found = {
        os.path.join(folder, name).removeprefix(root) for folder, _, names in os.walk(root) for name in names
    }
    libraries = {name for name in found if ".so" in name}
    assert sorted(found - libraries) == sorted(FILES), found
    assert DOCKERFILE.base == "scratch" and DOCKERFILE.ports == ["4222", "8222", "6222"], vars(DOCKERFILE)


def a_binary_that_is_not_static_is_refused(root):
    with tempfile.TemporaryDirectory() as folder:
        said = subprocess.run([os.path.join(IMAGE, "root"), NATSD, folder + "/x"], capture_output=True, text=True)
    assert said.returncode == 1 and "is not static" in said.stderr, said


def it_serves_with_the_default_configuration(root):
    container = Container(root)
    assert container.status("NSpid:") == [str(container.process), "1"], container.status("NSpid:")
    assert container.status("Uid:") == ["65532"] * 4 and container.status("Gid:") == ["65532"] * 4
    assert container.status("Groups:") == ["65532"]
    with urllib.request.urlopen("http://127.0.0.1:8222/healthz", timeout=DEADLINE) as answer:
        assert answer.status == 200
    assert container.health() == 0
    client = Client(container)
    client.say("SUB a 1\r\nPUB a 2\r\nhi\r\n")
    assert container.stop() == 0, container.log
    client.leave()


def without_a_server_the_health_check_fails(root):
    container = Container(root)
    container.stop()
    assert container.health() == 1


def a_server_in_lame_duck_mode_is_left_to_end(root):
    with placed(root, "/etc/nats/own.conf", "lame_duck_grace_period: 10s\nlame_duck_duration: 30s\npid_file: /var/run/nats/nats.pid\n"):
        container = Container(root, "-c", "/etc/nats/own.conf")
        client = Client(container, protocol=1)
        said = container.run("nats-server", "-sl=ldm=/var/run/nats/nats.pid")
        assert said.returncode == 0, said
        await_line(client, b'"ldm":true')
        # The engine's signal, while the hook's effect lasts.
        os.kill(container.process, signal.SIGTERM)
        client.say("PUB a 2\r\nhi\r\n")
        client.leave()
        assert container.outer.wait(DEADLINE) == 0


def await_line(client, part):
    """Reads until a line has this part."""
    while part not in (line := client.file.readline()):
        assert line, f"closed without {part}"


class placed:
    """A file in the image, as a volume mounts it."""

    def __init__(self, root, path, text):
        self.path, self.text = root + path, text

    def __enter__(self):
        self.before = None
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as file:
                self.before = file.read()
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(self.text)

    def __exit__(self, *_):
        if self.before is None:
            os.remove(self.path)
            return
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(self.before)


def command_lines_of_the_official_image_work(root):
    for arguments, expected in (
        (["-js"], {"jetstream": True}),
        (["--js", "--sd", "/data", "-m", "8222"], {"jetstream": True}),
        (["--name", "x"], {"server_name": "x"}),
        (["-c", "/nats-server.conf", "--name", "y"], {"server_name": "y"}),
        (["--config", "/etc/nats/nats-server.conf", "-DV"], {"port": 4222}),
        (["--cluster_name", "NATS", "--cluster", "nats://0.0.0.0:6222", "--http_port", "8222"], {"cluster": "NATS"}),
        (["--cluster_name", "NATS", "--cluster", "nats://0.0.0.0:6222", "--routes=nats://ruser:T0pS3cr3t@127.0.0.1:6222"], {"cluster": "NATS"}),
        (["--user", "a", "--pass", "b"], {"auth_required": True}),
        (["--auth", "token"], {"auth_required": True}),
    ):
        container = Container(root, *arguments)
        info = container.info()
        assert expected.items() <= info.items(), (arguments, info)
        health = container.run(*DOCKERFILE.health)
        assert health.returncode == 0, (arguments, health)
        assert container.stop() == 0, (arguments, container.log)
        shutil.rmtree(root + "/tmp/nats", ignore_errors=True)


def a_file_takes_the_place_of_the_configuration(root):
    for path in ("/nats-server.conf", "/etc/nats/nats-server.conf"):
        with placed(root, path, "server_name: mounted\n"):
            container = Container(root, "-c", path)
            assert container.info()["server_name"] == "mounted"
            container.stop()


def streams_in_the_volume_outlive_the_container(root):
    container = Container(root, "-js", "-sd", "/data", "-m", "8222")
    client = Client(container)
    request = '{"name":"S","subjects":["s.>"]}'
    client.tell(f"SUB _R.* 1\r\nPUB $JS.API.STREAM.CREATE.S _R.1 {len(request)}\r\n{request}\r\n")
    await_line(client, b"stream_create_response")
    client.tell("PUB s.1 _R.2 5\r\nhello\r\n")
    await_line(client, b'"seq":1')
    client.leave()
    assert container.stop() == 0
    container = Container(root, "-js", "-sd", "/data", "-m", "8222")
    with urllib.request.urlopen("http://127.0.0.1:8222/jsz", timeout=DEADLINE) as answer:
        assert json.load(answer)["messages"] == 1
    container.stop()


def the_entry_point_with_a_shell_takes_flags_and_programs(root):
    with tempfile.TemporaryDirectory() as folder:
        stub = os.path.join(folder, "nats-server")
        with open(stub, "w", encoding="utf-8") as file:
            file.write('#!/bin/sh\necho nats-server "$@"\n')
        os.chmod(stub, 0o755)
        for given, started in (
            ([], "nats-server --config /etc/nats/nats-server.conf"),
            (["-js", "-m", "8222"], "nats-server -js -m 8222"),
            (["nats-server", "-js"], "nats-server -js"),
            (["echo", "a b"], "a b"),
        ):
            said = subprocess.run(
                ["sh", os.path.join(IMAGE, "entrypoint"), *given], capture_output=True, text=True,
                env={"PATH": f"{folder}:/usr/bin:/bin"}, timeout=DEADLINE,
            )
            assert said.stdout == started + "\n", (given, said)


def main():
    own_network.enter()
    with tempfile.TemporaryDirectory() as folder:
        root = os.path.join(folder, "root")
        option = [] if "--static" in sys.argv else ["--libraries"]
        subprocess.run([os.path.join(IMAGE, "root"), *option, NATSD, root], check=True)
        scenarios = [
            the_image_has_no_other_file,
            a_binary_that_is_not_static_is_refused,
            it_serves_with_the_default_configuration,
            without_a_server_the_health_check_fails,
            a_server_in_lame_duck_mode_is_left_to_end,
            command_lines_of_the_official_image_work,
            a_file_takes_the_place_of_the_configuration,
            streams_in_the_volume_outlive_the_container,
            the_entry_point_with_a_shell_takes_flags_and_programs,
        ]
        if "--static" in sys.argv:
            scenarios.remove(a_binary_that_is_not_static_is_refused)
        run(scenarios, root)


main()
