"""Common parts of the programs here: a server, and the report of results.

The server is the program named by the environment variable SERVER. Results are lines on standard
output, as tests/interop/run counts them: "1..N" first, then "ok NAME" or "not ok NAME" for each.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback

DEADLINE = 20.0
"""Seconds per scenario; reached only by a failure."""

IS_REFERENCE = os.path.basename(os.environ.get("SERVER", "")) == "nats-server"
ATTEMPTS = 3 if IS_REFERENCE else 1
"""Runs of a scenario until one succeeds. nats-server is there to show that an expectation is true of it.

It does not order everything that one connection gets: a consumer's state can arrive before messages
that it no longer counts, and nats-py then takes a bucket for empty. natsd must succeed at once.
"""

SCENARIOS = []


def scenario(function):
    """Marks a coroutine function as a scenario; its name is its description."""
    SCENARIOS.append(function)
    return function


class Server:
    """A server for one scenario, on any free port by default."""

    def __init__(self, *flags, port=-1):
        self._flags = flags
        self._start(port)

    def _start(self, port):
        self._process = subprocess.Popen(
            [os.environ["SERVER"], "-a", "127.0.0.1", "-p", str(port), *self._flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        # A server that never becomes ready is killed, which ends the loop below.
        watchdog = threading.Timer(DEADLINE, self._process.kill)
        watchdog.daemon = True
        watchdog.start()
        said = []
        for line in self._process.stderr:
            said.append(line)
            if "Listening for client connections on " in line:
                self.address = line.split()[-1]
            if "Listening for websocket clients on " in line:
                self.websocket = line.split()[-1]
            if "Server is ready" in line:
                break
        else:
            raise RuntimeError("the server did not start:\n" + "".join(said))
        watchdog.cancel()
        threading.Thread(target=self._process.stderr.read, daemon=True).start()

    @property
    def port(self):
        return int(self.address.rsplit(":", 1)[1])

    @property
    def url(self):
        return f"nats://{self.address}"

    def stop(self):
        """Stops the server, and checks its exit code."""
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(DEADLINE)
        assert code == 0, f"exit code {code}"

    def kill(self):
        """Kills the server, which cannot finish anything."""
        self._process.kill()
        self._process.wait(DEADLINE)

    def start_again(self):
        """Starts the server on its previous port."""
        self._start(self.port)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            self._process.kill()
            self._process.wait()


async def flushed(client):
    """Waits until the server has processed everything from this client.

    nats-py writes the PING of a flush at once, before commands that still wait in its buffer; those are
    written while it waits for the answer, so that the second PING follows them.
    """
    await client.flush()
    await client.flush()


async def until(what, holds):
    """Polls a condition that no client reports."""
    for _ in range(int(DEADLINE * 100)):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"never: {what}")


async def raises(kind, awaitable):
    """Returns the error of this kind with which `awaitable` must end."""
    try:
        await awaitable
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def main():
    """Runs all scenarios of the calling program in sequence."""
    print(f"1..{len(SCENARIOS)}", flush=True)
    failed = [function.__name__ for function in SCENARIOS if not succeeds(function)]
    sys.exit(1 if failed else 0)


def succeeds(function):
    """Runs a scenario, and reports its result."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            asyncio.run(asyncio.wait_for(function(), DEADLINE))
            print(f"ok {function.__name__}", flush=True)
            return True
        except Exception:
            final = attempt == ATTEMPTS
            print(f"{'not ok' if final else 'again after a failure:'} {function.__name__}", flush=True)
            traceback.print_exc(file=sys.stderr)
    return False
