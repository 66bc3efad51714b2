"""Plays the dialogues with a server and compares each answer with the recorded one.

    main.py SERVER...              plays all dialogues with each of these programs
    main.py --record SERVER        writes the answers of a program into the dialogues
    main.py --only NAME SERVER     plays one dialogue

A dialogue is a list of requests to the API of streams. Each begins with a new server:

    > STREAM.CREATE.A {"name":"A"}     a request to $JS.API.STREAM.CREATE.A
    < {"type":...}                     its answer: all members, in order; `none` for no answer; a status and headers
    PUB a.b text                       a message, whose acknowledgement is waited for
    HDR Name: value                    headers of the next request
    REPLY tokens                       tokens at the end of the reply subject of the next request
    ALSO subject                       another message that the next request causes: recorded behind its answer
    PULL S.c                           a message of the consumer c of the stream S, with its reply subject
    ACK payload                        acknowledges the message pulled last
    CONF text                          a line of the configuration, before the first request
    USER name                          the user of the requests that follow, with the password "p"

Times, ids and names that servers choose are masked. `differences.txt` lists answers that natsd gives deliberately, with reasons.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PREFIX = "$JS.API."
# Answers come within milliseconds; subjects without an answer are waited for this long.
NO_ANSWER = 0.4
ZERO_TIME = "0001-01-01T00:00:00Z"
MASKS = [
    (re.compile(r'"(created|ts|time|first_ts|last_ts|last_active|pinned_ts)":"(?!%s)[^"]*"' % ZERO_TIME), r'"\1":"TIME"'),
    (re.compile(r'"pause_remaining":\d+'), '"pause_remaining":1'),
    (re.compile(r'"leader":"[^"]*"'), '"leader":"SERVER"'),
    (re.compile(r'"deliver_subject":"(\$JS\.SNAPSHOT\.RESTORE\.\w+)\.\w+"'), r'"deliver_subject":"\1.ID"'),
    (re.compile(r"Nats-Time-Stamp: \S+"), "Nats-Time-Stamp: TIME"),
    (re.compile(r"(\$JS\.ACK\.\S+?)\.\d{19}\."), r"\1.TIME."),
    (re.compile(r'"server":\{.*?\},"request"'), '"server":"SERVER","request"'),
    (re.compile(r'"cid":\d+'), '"cid":1'),
]


class Connection:
    """A client that requests and waits."""

    def __init__(self, port, user=None):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.buffer = b""
        self.count = 0
        self.pulled = None
        self.line()
        options = {"verbose": False, "headers": True, "no_responders": True}
        if user is not None:
            options |= {"user": user, "pass": "p"}
        self.socket.sendall(b"CONNECT " + json.dumps(options).encode() + b"\r\nSUB _R.> 1\r\nPING\r\n")
        while self.line() != b"PONG":
            pass

    def read(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError("the server closed the connection")
        self.buffer += data

    def line(self):
        while b"\r\n" not in self.buffer:
            self.read()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def exactly(self, size):
        while len(self.buffer) < size + 2:
            self.read()
        data, self.buffer = self.buffer[:size], self.buffer[size + 2 :]
        return data

    def message(self):
        while True:
            words = self.line().split(b" ")
            if words[0] == b"MSG":
                self.pulled = words[3] if len(words) == 5 else None
                return words[1], b"", self.exactly(int(words[-1]))
            if words[0] == b"HMSG":
                self.pulled = words[3] if len(words) == 6 else None
                length, data = int(words[-2]), self.exactly(int(words[-1]))
                return words[1], data[:length], data[length:]
            if words[0] == b"PING":
                self.socket.sendall(b"PONG\r\n")
            if words[0] == b"-ERR":
                raise RuntimeError(b" ".join(words).decode())

    def pull(self, consumer):
        """Returns a message of a consumer: its subjects in place of headers, and its payload."""
        self.count += 1
        inbox = b"_Q.%d" % self.count
        request = b'{"no_wait":true}'
        name = consumer.encode()
        ask = (inbox, 100 + self.count, name, inbox, len(request), request)
        self.socket.sendall(b"SUB %s %d\r\nPUB $JS.API.CONSUMER.MSG.NEXT.%s %s %d\r\n%s\r\n" % ask)
        self.socket.settimeout(5)
        subject, block, payload = self.message()
        self.socket.settimeout(None)
        pulled = b"%s %s" % (subject, self.pulled) if self.pulled else b""
        return pulled + (b"\r\n" if pulled and block else b"") + block, payload

    def request(self, subject, payload, headers=None, timeout=NO_ANSWER, tokens="", also=None):
        """Returns headers and payload of the answer, or None; and of the message to `also`, if it is given."""
        self.count += 1
        reply = b"_R.%d" % self.count
        if tokens:
            reply += b"." + tokens.encode()
        also = also and also.encode()
        answers = {}
        subject, payload = subject.encode(), payload.encode()
        if headers is None:
            head = b"PUB %s %s %d\r\n" % (subject, reply, len(payload))
        else:
            block = b"NATS/1.0\r\n" + headers.encode() + b"\r\n\r\n"
            head = b"HPUB %s %s %d %d\r\n" % (subject, reply, len(block), len(block) + len(payload))
            payload = block + payload
        self.socket.sendall(head + payload + b"\r\n")
        self.socket.settimeout(timeout)
        try:
            while True:
                to, block, answer = self.message()
                if to in (reply, also):
                    answers[to] = block, answer
                if reply in answers and (also is None or also in answers):
                    break
        except TimeoutError:
            pass
        finally:
            self.socket.settimeout(None)
        return answers.get(reply) if also is None else (answers.get(reply), answers.get(also))


class Server:
    """A server of its own, in a directory of its own."""

    def __init__(self, program, configuration):
        self.directory = tempfile.mkdtemp(prefix="streams-")
        arguments = ["-js", "-sd", self.directory, "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", self.directory]
        if configuration:
            path = Path(self.directory) / "server.conf"
            path.write_text("\n".join(configuration) + "\n")
            arguments += ["-c", str(path)]
        self.process = subprocess.Popen(
            [program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def port(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            for path in Path(self.directory).glob("*.ports"):
                try:
                    return int(json.loads(path.read_text())["nats"][0].rsplit(":", 1)[1])
                except (ValueError, KeyError, IndexError):
                    pass  # It is being written.
            time.sleep(0.02)
        raise RuntimeError("the server does not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def masked(answer):
    """Returns an answer as one line, without what differs from run to run."""
    if answer is None:
        return "none"
    block, payload = answer
    text = payload.decode(errors="backslashreplace")
    if block:
        lines = block.decode(errors="backslashreplace").strip().split("\r\n")
        text = " | ".join(lines) + (" | " + text if text else "")
    for pattern, replacement in MASKS:
        text = pattern.sub(replacement, text)
    return text


def play(path, program):
    """Yields each line of a dialogue with the answer to it, which is None for lines that are no requests."""
    headers, tokens, also = None, "", None
    lines = path.read_text().splitlines()
    with Server(program, [line[5:] for line in lines if line.startswith("CONF ")]) as server:
        connection = None
        for line in lines:
            if line.startswith("< "):
                continue
            answer = None
            if line.startswith("USER "):
                connection = Connection(server.port(), line[5:])
            elif connection is None and line.startswith(("> ", "PUB ", "ALSO ", "PULL ")):
                connection = Connection(server.port())
            if line.startswith("HDR "):
                headers = line[4:] if headers is None else headers + "\r\n" + line[4:]
            elif line.startswith("PUB "):
                subject, _, payload = line[4:].partition(" ")
                if connection.request(subject, payload, timeout=5) is None:
                    raise RuntimeError(f"no acknowledgement: {line}")
            elif line.startswith("REPLY "):
                tokens = line[6:]
            elif line.startswith("ALSO "):
                also = line[5:]
                connection.socket.sendall(b"SUB %s 3\r\n" % also.encode())
            elif line.startswith("PULL "):
                answer = masked(connection.pull(line[5:]))
                acknowledged = connection.pulled
            elif line.startswith("ACK "):
                answer = masked(connection.request(acknowledged.decode(), line[4:]))
            elif line.startswith("> "):
                subject, _, payload = line[2:].partition(" ")
                is_whole = subject.startswith("$") or subject[0].islower()
                subject = subject if is_whole else PREFIX + subject
                answer = connection.request(subject, payload, headers, tokens=tokens, also=also)
                answer = masked(answer) if also is None else " + ".join(map(masked, answer))
                headers, tokens, also = None, "", None
            yield line, answer


def record(path, program):
    lines = []
    for line, answer in play(path, program):
        lines.append(line)
        if answer is not None:
            lines.append("< " + answer)
    path.write_text("\n".join(lines) + "\n")


def recorded(path):
    lines = path.read_text().splitlines()
    return [answer[2:] for answer in lines if answer.startswith("< ")]


def deliberate():
    """Returns the pairs of dialogue and request whose answers may differ."""
    path = HERE / "differences.txt"
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {tuple(line.split(" ", 1)) for line in lines}


def compare(path, program, allowed):
    passed, failures = 0, []
    expected = iter(recorded(path))
    for line, answer in play(path, program):
        if answer is None:
            continue
        want = next(expected, "not recorded")
        if answer == want or (path.stem, line[2:]) in allowed:
            passed += 1
        else:
            failures.append(f"{path.stem}: {line}\n    expected {want}\n    received {answer}")
    return passed, failures


def main(arguments):
    recording = "--record" in arguments
    names = []
    if "--only" in arguments:
        at = arguments.index("--only")
        names = arguments[at + 1 : at + 2]
        arguments = arguments[:at] + arguments[at + 2 :]
    programs = [argument for argument in arguments if argument != "--record"]
    paths = sorted((HERE / "dialogues").glob("*.txt"))
    paths = [path for path in paths if not names or path.stem in names]
    if recording:
        for path in paths:
            record(path, programs[0])
        return 0
    status = 0
    for program in programs:
        allowed = set() if os.path.basename(program) == "nats-server" else deliberate()
        total, failures = 0, []
        for path in paths:
            try:
                passed, failed = compare(path, program, allowed)
            except (RuntimeError, EOFError, OSError) as error:
                passed, failed = 0, [f"{path.stem}: {error}"]
            total += passed
            failures += failed
        # A line for each scenario, and their number, as the runner counts them.
        for number in range(total):
            print(f"ok {number + 1} - a request to {os.path.basename(program)}")
        for failure in failures:
            print(f"not ok {failure}")
        print(f"1..{total + len(failures)}")
        status |= bool(failures)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
