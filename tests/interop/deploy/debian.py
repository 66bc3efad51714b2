"""The Debian package, in a new root with only the programs that its scripts run: it is installed, upgraded, removed and purged. The
service, its unit, and log rotation. Reports in TAP.

NATSD names the program, LOGROTATE logrotate, LOGROTATE_LIBRARIES where its libraries are. DEB names a package that exists, in place of one that is made of NATSD. Needs root.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile

from report import run
from servers import DEADLINE, until

NATSD, LOGROTATE, LIBRARIES = os.environ["NATSD"], os.environ["LOGROTATE"], os.environ.get("LOGROTATE_LIBRARIES", "")
TOP = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.."))

# What the scripts of the package run, and their shell. No systemctl: as in a container.
PROGRAMS = "sh chown getent grep useradd rm".split()

FILES = """/etc/default/natsd /etc/logrotate.d/natsd /etc/natsd/natsd.conf /lib/systemd/system/natsd.service /usr/bin/natsd
/usr/share/bash-completion/completions/natsd /usr/share/doc/natsd/config.md /usr/share/doc/natsd/copyright
/usr/share/doc/natsd/operations.md /usr/share/doc/natsd/troubleshooting.md /usr/share/fish/vendor_completions.d/natsd.fish
/usr/share/man/man1/natsd.1.gz /usr/share/zsh/vendor-completions/_natsd""".split()

CONFFILES = [name for name in FILES if name.startswith("/etc/")]


def said(*command):
    """What a command prints."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240)
    assert result.returncode == 0, (command, result.stdout)
    return result.stdout


class Root:
    """A new system."""

    def __init__(self, folder):
        self.folder, self.root = folder, os.path.join(folder, "root")
        self.package = os.environ.get("DEB") or self.build("0.1.0")
        for name in ("etc", "var/lib/dpkg/info", "var/lib/dpkg/updates", "usr/bin", "usr/sbin", "tmp", "dev"):
            os.makedirs(os.path.join(self.root, name))
        for name in ("bin", "sbin", "lib"):
            os.makedirs(os.path.join(self.root, "usr", name), exist_ok=True)
            os.symlink("usr/" + name, os.path.join(self.root, name))
        for name, text in (
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("etc/group", "root:x:0:\n"), ("etc/shadow", "root:*:19000::::::\n"),
            ("etc/gshadow", "root:*::\n"), ("etc/login.defs", "SYS_UID_MIN 100\nSYS_UID_MAX 999\n"), ("var/lib/dpkg/status", ""),
            ("dev/null", ""),
        ):
            with open(os.path.join(self.root, name), "w", encoding="ascii") as file:
                file.write(text)
        for program in PROGRAMS:
            self._take(shutil.which(program))

    def _take(self, program):
        """Copies a program of this system, with its libraries."""
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        shutil.copy(program, self.root + os.path.join("/usr/bin", os.path.basename(program)))
        for word in listed.split():
            if word.startswith("/"):
                os.makedirs(os.path.dirname(self.root + word), exist_ok=True)
                shutil.copy(word, self.root + word)

    def build(self, version):
        """Builds the package with this version, and returns its path."""
        out = os.path.join(self.folder, version)
        path = said(f"{TOP}/deploy/debian/build", "--binary", NATSD, "--out", out).splitlines()[-1]
        return path

    def dpkg(self, *arguments):
        """Runs dpkg for this system. What the package depends on is there, and unknown to dpkg."""
        return said("dpkg", f"--root={self.root}", "--force-depends", "--force-not-root", *arguments)

    def text(self, path):
        """The content of a file."""
        with open(self.root + path, encoding="utf-8") as file:
            return file.read()

    def status(self):
        """The state of the package."""
        return said("dpkg-query", f"--admindir={self.root}/var/lib/dpkg", "-W", "-f=${Status}", "natsd")


def it_installs(root):
    root.dpkg("--install", root.package)
    assert root.status() == "install ok installed"
    for name in FILES:
        assert os.path.isfile(root.root + name), name
    listed = root.dpkg("--listfiles", "natsd").split()
    assert sorted(name for name in listed if not os.path.isdir(root.root + name)) == FILES, listed
    assert said("dpkg", f"--root={root.root}", "--verify", "natsd") == ""


def the_service_has_a_user_who_reads_the_configuration(root):
    (user,) = [line.split(":") for line in root.text("/etc/passwd").splitlines() if line.startswith("natsd:")]
    assert user[5:] == ["/var/lib/natsd", "/usr/sbin/nologin"] and 100 <= int(user[2]) <= 999, user
    state = os.stat(root.root + "/etc/natsd/natsd.conf")
    assert (state.st_uid, state.st_gid, state.st_mode & 0o777) == (0, int(user[3]), 0o640), state


def the_configuration_is_valid_and_the_flags_name_it(root):
    (flags,) = [line for line in root.text("/etc/default/natsd").splitlines() if line.startswith("NATSD_FLAGS=")]
    assert flags == "NATSD_FLAGS=--config /etc/natsd/natsd.conf", flags
    said(root.root + "/usr/bin/natsd", "-c", root.root + "/etc/natsd/natsd.conf", "-t")
    # With what is commented out, too.
    text = root.text("/etc/natsd/natsd.conf")
    enabled = [line.removeprefix("# ") if line.startswith(("# jetstream", "#   store_dir", "# }", "# log_file")) else line for line in text.splitlines()]
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write("\n".join(enabled) + "\n")
        file.flush()
        said(NATSD, "-c", file.name, "-t")
    assert sum(line.startswith(("jetstream", "log_file")) for line in enabled) == 2, enabled


def the_unit_starts_what_the_package_has(root):
    lines = root.text("/lib/systemd/system/natsd.service").splitlines()
    programs = {line.split("=", 1)[1].split()[0] for line in lines if line.startswith("Exec")}
    assert programs == {"/usr/bin/natsd"}, programs
    for line in ("EnvironmentFile=-/etc/default/natsd", "LogsDirectory=natsd", "StateDirectory=natsd", "DynamicUser=yes"):
        assert line in lines, line
    if shutil.which("systemd-analyze"):
        with tempfile.TemporaryDirectory() as folder:
            unit = os.path.join(folder, "natsd.service")
            with open(unit, "w", encoding="utf-8") as file:
                file.write("\n".join(lines).replace("/usr/bin/natsd", "/bin/true") + "\n")
            said("systemd-analyze", "verify", "--man=no", unit)
            # 0 is safe, 10 is not.
            rated = subprocess.run(
                ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit], capture_output=True, text=True
            )
            assert rated.returncode == 0, rated


def an_upgrade_keeps_what_the_administrator_changed(root):
    with open(root.root + "/etc/natsd/natsd.conf", "a", encoding="utf-8") as file:
        file.write("server_name: mine\n")
    root.dpkg("--install", root.package)
    assert "server_name: mine" in root.text("/etc/natsd/natsd.conf")
    assert root.text("/etc/passwd").count("\nnatsd:") == 1


def a_removal_keeps_the_configuration_and_a_purge_does_not(root):
    for folder in ("/var/log/natsd", "/var/lib/natsd"):
        os.makedirs(root.root + folder)
    with open(root.root + "/var/log/natsd/natsd.log", "w", encoding="ascii") as file:
        file.write("a line\n")
    root.dpkg("--remove", "natsd")
    left = [name for name in FILES if os.path.exists(root.root + name)]
    assert left == CONFFILES, left
    root.dpkg("--purge", "natsd")
    left = [name for name in FILES if os.path.exists(root.root + name)]
    assert left == [] and not os.path.exists(root.root + "/var/log/natsd"), left
    # Streams are not the package's.
    assert os.path.isdir(root.root + "/var/lib/natsd")


def the_log_is_rotated_and_reopened(root):
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "natsd.log")
        server = subprocess.Popen(
            [NATSD, "-a", "127.0.0.1", "-p", "-1", "-l", log], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            until("it logs", lambda: os.path.exists(log) and "Server is ready" in open(log, encoding="utf-8").read())
            with open(f"{TOP}/deploy/debian/natsd.logrotate", encoding="utf-8") as file:
                text = file.read()
            text = text.replace("/var/log/natsd", folder)
            changed = text.replace("systemctl kill --signal=USR1 natsd.service", f"kill -USR1 {server.pid}")
            assert changed != text
            config = os.path.join(folder, "rotate.conf")
            with open(config, "w", encoding="utf-8") as file:
                file.write(changed)
            os.chmod(config, 0o644)
            said("env", f"LD_LIBRARY_PATH={LIBRARIES}", LOGROTATE, "--force", "--state", os.path.join(folder, "state"), config)
            until("it has a new file", lambda: os.path.exists(log))
            assert "Server is ready" in open(log + ".1", encoding="utf-8").read()
            server.send_signal(signal.SIGTERM)
            server.wait(DEADLINE)
            new = open(log, encoding="utf-8").read()
            assert "Server Exiting" in new and "Server is ready" not in new, new
        finally:
            server.kill()
            server.wait()


def main():
    assert pwd.getpwuid(os.getuid()).pw_uid == 0, "needs root"
    with tempfile.TemporaryDirectory(prefix="natsd-debian-") as folder:
        run(
            [
                it_installs,
                the_service_has_a_user_who_reads_the_configuration,
                the_configuration_is_valid_and_the_flags_name_it,
                the_unit_starts_what_the_package_has,
                an_upgrade_keeps_what_the_administrator_changed,
                a_removal_keeps_the_configuration_and_a_purge_does_not,
                the_log_is_rotated_and_reopened,
            ],
            Root(folder),
        )


main()
