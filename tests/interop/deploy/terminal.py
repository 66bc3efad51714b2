"""A terminal in which the commands of a document are typed as they stand there."""

import os
import re
import subprocess
import threading
import time

DEADLINE = 60.0

_STARTED = {"natsd": "Server is ready", "nats-server": "Server is ready", "sub": "Subscribing on ", "reply": "Listening on ", "events": "Listening for ",
            "rider": " is ready", "stock": " is ready"}
"""What programs in the background say when they have started. A person sees it and goes on."""


class Block:
    """Commands of a document, and what they print."""

    def __init__(self, commands, expected):
        self.commands, self.expected = commands, expected


def blocks(path):
    """The blocks of a document marked `sh`, each with the block marked `text` that follows it."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    found = []
    for kind, content in re.findall(r"(?ms)^```(sh|text)\n(.*?)^```$", text):
        if kind == "sh":
            found.append(Block(content, []))
        else:
            found[-1].expected = content.splitlines()
    return found


def commands(text):
    """Splits a block into commands: one each line, and those that span lines."""
    whole = ""
    end = None
    for line in text.splitlines():
        whole += line + "\n"
        if end is None and (here := re.search(r"<<'(\w+)'", line)):
            end = here[1]
        if end is None or line == end:
            yield whole
            whole, end = "", None


class Terminal:
    """A shell in a folder."""

    def __init__(self, folder, **environment):
        self.output, self._arrived = "", threading.Condition()
        self.process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"], cwd=folder, env=os.environ | environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )
        self._count = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while text := os.read(self.process.stdout.fileno(), 65536):
            with self._arrived:
                self.output += text.decode(errors="replace")
                self._arrived.notify_all()

    def until(self, pattern, start=0):
        """Waits until the output matches the pattern, from a position on. Returns the match."""
        end = time.monotonic() + DEADLINE
        with self._arrived:
            while not (found := re.compile(pattern).search(self.output, start)):
                assert self._arrived.wait(end - time.monotonic()), f"never {pattern!r} in:\n{self.output[start:][-3000:]}"
        return found

    def type(self, command, code=0):
        """Types a command and waits until it has ended, or has started if it is in the background. Returns where its output begins. `code` is its
        exit code; `None` for any."""
        start = len(self.output)
        background = command.rstrip().endswith("&")
        self._count += 1
        self.process.stdin.write(f"{command}\necho \"<$?:{self._count}>\"\n")
        self.process.stdin.flush()
        ended = self.until(rf"<(\d+):{self._count}>", start)
        assert code in (None, int(ended[1])), f"{command} ended with {ended[1]}:\n{self.output[start:]}"
        if "--signal reload" in command:
            # It takes effect with this line.
            self.until("Reloaded server configuration", start)
        if background:
            words = command.split()
            said = next(text for word, text in _STARTED.items() if word in words)
            self.until(re.escape(said), start)
        return start

    def follow(self, block):
        """Types the commands of a block, and waits for what it says that they print, line by line in this order."""
        start = len(self.output)
        for command in commands(block.commands):
            self.type(command)
        for line in block.expected:
            pattern = ".*".join(re.escape(part.strip(" ")) for part in line.split("…"))
            start = self.until(pattern, start).end()

    def close(self):
        """Ends the shell and what it has started."""
        try:
            os.killpg(self.process.pid, 9)
        except ProcessLookupError:
            pass
        self.process.wait()
