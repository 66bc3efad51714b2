"""The registry of scenarios, and their report in TAP."""

import asyncio
import os
import sys
import time
import traceback

from nodes import OLD

LONGEST = float(os.environ.get("LONGEST", "120"))
"""Seconds of a scenario; reached only by a failure."""

TOGETHER = 4
"""The scenarios that run at the same time: most of them wait most of the time."""

SCENARIOS = []


def scenario(function):
    """Registers a coroutine function of the list of kinds; its name says what it shows."""
    SCENARIOS.append((function, False))
    return function


def modern(function):
    """Registers a scenario about what nats-server 2.9 does not know; it is no part of runs with that."""
    SCENARIOS.append((function, True))
    return function


async def _run(function, kinds, slots, failed):
    name = function.__name__
    async with slots:
        begin = time.monotonic()
        try:
            await asyncio.wait_for(function(kinds), LONGEST)
        except Exception as error:  # pylint: disable=broad-except
            if not isinstance(error, AssertionError):
                traceback.print_exc()
            else:
                traceback.print_tb(error.__traceback__)
            failed.append(name)
            print(f"not ok {name}: {str(error)[:2000]!r}", flush=True)
        else:
            print(f"ok {name} # {time.monotonic() - begin:.1f} s", flush=True)


async def _run_all(kinds, names):
    chosen = [
        function
        for function, is_modern in SCENARIOS
        if not (is_modern and OLD in kinds) and (not names or any(name in function.__name__ for name in names))
    ]
    print(f"1..{len(chosen)}", flush=True)
    slots, failed = asyncio.Semaphore(TOGETHER), []
    await asyncio.gather(*(_run(function, kinds, slots, failed) for function in chosen))
    return failed


def main():
    """Runs the scenarios, or those whose name has a part named by an argument, for the KINDS of servers."""
    kinds = os.environ["KINDS"].split()
    sys.exit(1 if asyncio.run(_run_all(kinds, sys.argv[1:])) else 0)
