"""A test cluster of the library, with a server as a process among its members."""

import asyncio
import os

from nodes import DEADLINE, PROGRAMS
from scenarios import scenario


@scenario
async def a_test_cluster_of_the_library_takes_the_server_as_a_member(kinds):
    program = os.environ[PROGRAMS[kinds[-1]]]
    process = await asyncio.create_subprocess_exec(
        os.environ["MIXED_CLUSTER"],
        env=os.environ | {"NATS_SERVER": program},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        said, errors = await asyncio.wait_for(process.communicate(), DEADLINE)
    finally:
        if process.returncode is None:
            process.kill()
    # It succeeds, too, if it finds no such program.
    assert said == b"a mixed cluster has passed on all messages\n", (process.returncode, said, errors)
