"""Queue groups over routes: each message to exactly one member, all members equally likely."""

import asyncio
import collections
import os
import random

from nodes import Cluster, until
from party import Party, settled
from scenarios import scenario

MESSAGES = int(os.environ.get("MESSAGES", "50000"))

# A share of 4,000 messages strays from its mean by less than this part of all, but once in many millions of runs.
SLACK = 0.06


async def _shares(cluster, publisher, members, count=4000):
    """Publishes so many messages; returns the share of each member."""
    for party in members:
        party.counts.clear()
    for index in range(count):
        publisher.pub("jobs", index)
    total = lambda: sum(sum(party.counts.values()) for party in members)
    await until(f"all {count} arrive, have {total()}", lambda: total() >= count)
    for party in members:
        party.inbox.clear()
    assert total() == count, total()
    return [sum(party.counts.values()) / count for party in members]


@scenario
async def all_members_of_the_cluster_are_equally_likely(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        parties = [await Party.connect(node) for node in cluster]
        for party in parties:
            party.sub("jobs", "q")
        for party in parties:
            await settled(party, *(other for other in parties if other is not party))
        for publisher in parties:
            shares = await _shares(cluster, publisher, parties)
            assert all(abs(share - 1 / 3) < SLACK for share in shares), shares


@scenario
async def two_local_members_count_twice_as_much_as_one_elsewhere(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        near = [await Party.connect(cluster[0]) for _ in range(2)]
        far = await Party.connect(cluster[1])
        for party in (*near, far):
            party.sub("jobs", "q")
        await settled(far, near[0])
        await settled(near[1], far)
        for publisher in (near[0], far):
            shares = await _shares(cluster, publisher, [*near, far])
            assert all(abs(share - 1 / 3) < SLACK for share in shares), shares


@scenario
async def remote_members_are_chosen_by_their_number(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        publisher = await Party.connect(cluster[0])
        lone = await Party.connect(cluster[1])
        many = [await Party.connect(cluster[2]) for _ in range(3)]
        for party in (lone, *many):
            party.sub("jobs", "q")
            await settled(party, publisher)
        shares = await _shares(cluster, publisher, [lone, *many])
        assert all(abs(share - 0.25) < SLACK for share in shares), shares
        # The number follows members that leave.
        for party in many[1:]:
            await party.close()
        await settled(many[0], publisher, lone)

        async def is_known():
            shares = await _shares(cluster, publisher, [lone, many[0]])
            return abs(shares[0] - 0.5) < SLACK

        await until("one member each counts as much", is_known)


@scenario
async def groups_and_plain_subscribers_on_all_servers(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        parties = [await Party.connect(node) for node in cluster]
        groups, plain = collections.defaultdict(list), []
        for party in parties:
            for queue, subject in (("one", "jobs"), ("two", "jobs"), ("three", "*")):
                groups[queue].append((party, party.sub(subject, queue)))
            plain.append((party, party.sub("jobs")))
        for party in parties:
            await settled(party, *(other for other in parties if other is not party))
            party.counts.clear()
        for index in range(900):
            parties[index % 3].pub("jobs", index)
        await until("all arrive", lambda: sum(sum(party.counts.values()) for party in parties) >= 900 * 6)
        for party in parties:
            await party.flush()
        for party, sid in plain:
            assert party.counts[sid] == 900, party.counts
        for members in groups.values():
            assert sum(party.counts[sid] for party, sid in members) == 900


class Group:
    """Members that come and go, and how often each message arrived."""

    def __init__(self):
        self.seen = collections.Counter()
        self.members = []

    async def join(self, node):
        party = await Party.connect(node)
        party.receives = lambda body: self.seen.update((body,))
        party.sub("jobs.*", "workers")
        await party.flush()
        self.members.append(party)
        return party

    async def leave(self, party):
        """Ends the subscription, and reads what was sent before."""
        self.members.remove(party)
        party.unsub(1)
        await party.flush()
        await party.close()


@scenario
async def each_message_reaches_exactly_one_member_while_members_come_and_go(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        group = Group()
        # Two servers keep a member; the third has some at times, so that its messages go both ways.
        staying = [await group.join(node) for node in cluster.nodes[:2]]
        publishers = [await Party.connect(node) for node in cluster]
        for party in staying:
            await settled(party, *publishers)
        chance = random.Random(1)
        done, changes = False, 0

        async def change():
            nonlocal changes
            visitors = []
            while not done:
                changes += 1
                if visitors and chance.random() < 0.5:
                    await group.leave(visitors.pop(chance.randrange(len(visitors))))
                elif len(visitors) < 6:
                    visitors.append(await group.join(chance.choice(cluster.nodes)))
                await asyncio.sleep(0.002)

        changing = asyncio.create_task(change())
        sent, batch = 0, 500
        while sent < MESSAGES or changes < 100:
            for publisher in publishers:
                lines = [f"PUB jobs.{n % 10} {len(str(n))}\r\n{n}\r\n" for n in range(sent, sent + batch)]
                publisher.send("".join(lines))
                sent += batch
            # Members may not become slow consumers.
            await asyncio.gather(*(publisher.flush() for publisher in publishers))
            await asyncio.sleep(0)
        done = True
        await changing
        await until(f"all {sent} arrive, {len(group.seen)} did", lambda: len(group.seen) >= sent)
        twice = [body for body, times in group.seen.items() if times > 1]
        assert not twice, f"{len(twice)} of {sent} arrived twice, such as {twice[:5]}"


@scenario
async def members_that_leave_a_server_without_others_cause_no_copies(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        group = Group()
        publisher = await Party.connect(cluster[0])
        last = await group.join(cluster[1])
        await settled(last, publisher)
        sent = 0
        for turn in range(30):
            member = await group.join(cluster[1 + turn % 2])
            for number in range(sent, sent + 300):
                publisher.pub("jobs.x", number)
            sent += 300
            leaving, last = last, member
            await group.leave(leaving)
            await publisher.flush()
        # What was on its way to a server whose last member left goes on to another, or is lost: at most once.
        publisher.pub("jobs.x", "end")
        await settled(last, publisher)
        assert max(group.seen.values()) == 1
        assert len(group.seen) > sent / 2, (len(group.seen), sent)


@scenario
async def requests_to_a_group_are_answered_once(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        parties = [await Party.connect(node) for node in cluster]
        workers = [await Party.connect(node) for node in cluster.nodes[1:]]
        for worker in workers:
            worker.answers("service", "q")
        for worker in workers:
            await settled(worker, *parties)
        answers = collections.Counter()
        for index in range(300):
            answers[(await parties[0].request("service", index)).payload.decode().split(":")[0]] += 1
        assert set(answers) == {"b", "c"} and sum(answers.values()) == 300, answers
        await settled(parties[0], parties[1])
        assert parties[0].inbox == []
