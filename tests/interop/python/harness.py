"""What each program here needs: a server to talk to, and a way to say how it went.

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
"""Seconds for one scenario. Nothing takes nearly as long, unless it fails."""

SCENARIOS = []


def scenario(function):
    """Marks a coroutine function as something to run; its name says what it shows."""
    SCENARIOS.append(function)
    return function


class Server:
    """A server of its own for one scenario, on any free port unless told which."""

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
        """Asks it to end, and holds it to ending well."""
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(DEADLINE)
        assert code == 0, f"exit code {code}"

    def start_again(self):
        """Starts it on the port it had."""
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
    """Everything this client asked for has been done.

    nats-py writes the PING of a flush at once, before commands that still wait in its buffer; those are
    written while it waits for the answer. So the second PING comes behind them.
    """
    await client.flush()
    await client.flush()


async def until(what, holds):
    """Waits for what no client tells us of by itself."""
    for _ in range(int(DEADLINE * 100)):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"never: {what}")


async def raises(kind, awaitable):
    """The error of this kind that `awaitable` must end with."""
    try:
        await awaitable
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def main():
    """Runs every scenario of the calling program, one after the other."""
    print(f"1..{len(SCENARIOS)}", flush=True)
    failed = 0
    for function in SCENARIOS:
        try:
            asyncio.run(asyncio.wait_for(function(), DEADLINE))
            print(f"ok {function.__name__}", flush=True)
        except Exception:
            failed += 1
            print(f"not ok {function.__name__}", flush=True)
            traceback.print_exc(file=sys.stderr)
    sys.exit(1 if failed else 0)
