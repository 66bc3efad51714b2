#!/usr/bin/env python3
"""Fills the disk of a server, and checks that its streams refuse, give room back, and go on.

    full.py SERVER        as root: it mounts a disk of 8 MB in memory

Checked: each message is acknowledged or refused with error 10077; after a refusal, all acknowledged messages are read; messages of a stream in memory
are stored meanwhile; once messages are purged, publishing works again; after a kill and a start, the acknowledged messages are there.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

from main import DEADLINE, Client, Server, Wrong  # noqa: E402

PAYLOAD = b"x" * 4000
FULL = 10077
# A stream that is refused tries again each second.
PATIENCE = 15


class Forgiving(Server):
    """A server whose log may have errors: those of the full disk."""

    async def kill(self):
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        if self.reading is not None:
            log, self.reading = (await self.reading).decode(), None
            if "panicked" in log:
                raise Wrong(f"the server reports:\n{log[-2000:]}")


class Fill:
    """The scenario."""

    def __init__(self, program, directory):
        self.server = Forgiving(program, directory)
        self.inboxes = 0

    async def run(self):
        try:
            await self.open()
            for name, storage in (("FILE", "file"), ("MEMORY", "memory")):
                await self.client.request(f"STREAM.CREATE.{name}", {"name": name, "subjects": [name], "storage": storage})
            stored = await self.fill()
            await self.publish("MEMORY", expected=1)
            await self.read(stored)
            await self.client.request("STREAM.PURGE.FILE")
            later = await self.publish_again()
            for _ in range(20):
                later = await self.publish("FILE", later + 1)
            await self.server.kill()
            await self.reading
            await self.open()
            state = (await self.client.request("STREAM.INFO.FILE"))["state"]
            if state["last_seq"] < later or state["messages"] < 20:
                raise Wrong(f"after a kill: {state}, {later} was acknowledged")
            return f"{stored} messages filled the disk; {later} was acknowledged afterwards"
        finally:
            await self.server.kill()

    async def open(self):
        port = await self.server.start()
        self.client = await Client.open(port, b"_R", b"_P")
        self.reading = asyncio.ensure_future(self.client.run())

    async def ask(self, subject, payload):
        self.inboxes += 1
        answer = asyncio.get_running_loop().create_future()
        self.client.handlers[b"_P"] = lambda _subject, _reply, _head, payload: answer.set_result(payload)
        self.client.send(b"PUB %s _P.%d %d\r\n%s\r\n" % (subject.encode(), self.inboxes, len(payload), payload))
        return json.loads(await answer)

    async def fill(self):
        for number in range(1, 10_000):
            answer = await self.ask("FILE", PAYLOAD)
            if "error" in answer:
                if answer["error"]["err_code"] != FULL:
                    raise Wrong(f"a full disk: {answer}")
                return number - 1
            if answer["seq"] != number:
                raise Wrong(f"message {number} is {answer}")
        raise Wrong("the disk is never full")

    async def publish(self, subject, expected):
        answer = await self.ask(subject, PAYLOAD)
        if answer.get("seq", 0) < expected:
            raise Wrong(f"published to {subject}: {answer}")
        return answer["seq"]

    async def publish_again(self):
        for _ in range(PATIENCE * 10):
            answer = await self.ask("FILE", PAYLOAD)
            if "error" not in answer:
                return answer["seq"]
            await asyncio.sleep(0.1)
        raise Wrong(f"the disk has room again: {answer}")

    async def read(self, last):
        for sequence in (1, last // 2, last):
            message = (await self.client.request("STREAM.MSG.GET.FILE", {"seq": sequence}))["message"]
            if message["seq"] != sequence:
                raise Wrong(f"message {sequence} is {message['seq']}")


def main():
    program = os.path.abspath(sys.argv[1])
    if os.geteuid() != 0:
        print("1..0\n# only root mounts a disk")
        return
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", directory], check=True)
        try:
            told = asyncio.run(asyncio.wait_for(Fill(program, directory).run(), DEADLINE))
            print(f"1..1\n# {told}\nok a_stream_on_a_full_disk_refuses_and_goes_on")
        finally:
            subprocess.run(["umount", directory], check=True)


if __name__ == "__main__":
    main()
