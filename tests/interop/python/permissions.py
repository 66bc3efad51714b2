"""Permissions on every path of a message, over real connections: what each client receives is what a naive model says.

Each scenario publishes to every subject of a small universe, from publishers and to receivers with random
permissions and subscriptions. SEED selects others.
"""

import itertools
import json
import os
import random
import socket
import tempfile

from harness import DEADLINE, IS_REFERENCE, Server, main, scenario

GROUPS, RECEIVERS = 6, 6
QUEUES = ["a", "b", "a.b"]


def universe(tokens):
    every = itertools.chain.from_iterable(itertools.product(tokens, repeat=count) for count in (1, 2, 3))
    return [".".join(one) for one in every if ">" not in one[:-1]]


FILTERS = universe("ab*>")
LITERALS = universe("abc")
SUBJECTS = sorted({*FILTERS, *LITERALS})

# The model.


def matches(filter, subject):
    filter, subject = filter.split("."), subject.split(".")
    for at, token in enumerate(filter):
        if token == ">":
            return len(subject) > at
        if at >= len(subject) or token not in ("*", subject[at]):
            return False
    return len(filter) == len(subject)


def includes(whole, part):
    whole, part = whole.split("."), part.split(".")
    for at, token in enumerate(whole):
        if token == ">":
            return len(part) > at
        if at >= len(part) or part[at] == ">" or token not in ("*", part[at]):
            return False
    return len(whole) == len(part)


def names(entry, queue):
    return entry[1] is not None and (entry[1] == queue or includes(entry[1], queue))


def listed(entries, subject, queue):
    return any(
        matches(one[0], subject) and (one[1] is None or queue is not None and names(one, queue)) for one in entries
    )


def may_publish(rules, subject):
    allowed = rules["allow"] is None or listed(rules["allow"], subject, None)
    return allowed and not listed(rules["deny"], subject, None)


def may_deliver(rules, subject, queue):
    allowed = rules["allow"] is None or listed(rules["allow"], subject, queue)
    return allowed and not listed(rules["deny"], subject, queue)


def may_subscribe(rules, filter, queue):
    if listed(rules["deny"], filter, queue):
        return False
    if rules["allow"] is None:
        return True
    relevant = [one for one in rules["allow"] if matches(one[0], filter)]
    if queue is not None and any(one[1] is not None for one in relevant):
        return any(names(one, queue) for one in relevant)
    return any(one[1] is None for one in relevant)


# The parties.


def rules(chance, with_queues):
    def entries(least):
        queue = lambda: chance.choice([None, *QUEUES]) if with_queues else None
        return [(chance.choice(FILTERS), queue()) for _ in range(chance.randint(least, 3))]

    return {"allow": entries(1) if chance.random() < 0.6 else None, "deny": entries(0)}


def written(rules):
    one = lambda entry: json.dumps(entry[0] if entry[1] is None else f"{entry[0]} {entry[1]}")
    lists = {key: entries for key, entries in rules.items() if entries}
    return "{ " + ", ".join(f"{key}: [{', '.join(map(one, all))}]" for key, all in lists.items()) + " }"


class Client:
    def __init__(self, server, user):
        host, port = server.address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), DEADLINE)
        self.rest = b""
        connect = {"user": user, "pass": "x", "verbose": False, "pedantic": False, "headers": True}
        self.say(f"CONNECT {json.dumps(connect)}\r\n")

    def say(self, text):
        """Returns the errors and the messages up to the answer to a PING."""
        self.socket.sendall(text.encode() + b"PING\r\n")
        errors, messages = [], []
        while True:
            line = self.line()
            if line == "PONG":
                return errors, messages
            if line.startswith("-ERR"):
                errors.append(line)
            elif line.startswith(("MSG ", "HMSG ")):
                size = int(line.split()[-1])
                messages.append((line.split()[1], self.bytes(size + 2)[:-2].decode()))

    def line(self):
        while b"\r\n" not in self.rest:
            self.read()
        line, self.rest = self.rest.split(b"\r\n", 1)
        return line.decode()

    def bytes(self, count):
        while len(self.rest) < count:
            self.read()
        bytes, self.rest = self.rest[:count], self.rest[count:]
        return bytes

    def read(self):
        more = self.socket.recv(1 << 16)
        assert more, "the connection ended"
        self.rest += more


class Group:
    """A publisher and its receivers, in accounts of their own."""

    def __init__(self, chance, number):
        self.number, self.chance, self.responses = number, chance, ""
        self.publish = rules(chance, False)
        self.receivers = [self.receiver(FILTERS) for _ in range(RECEIVERS)]

    def receiver(self, filters):
        while True:
            one = {
                "rules": rules(self.chance, True),
                "filter": self.chance.choice(filters),
                "queue": self.chance.choice([None, *QUEUES]),
            }
            # With `a.*` allowed, nats-server delivers all of `a.>` to who subscribes to that.
            allow = one["rules"]["allow"]
            if allow is None or all(includes(it[0], one["filter"]) for it in allow if matches(it[0], one["filter"])):
                return one

    def users(self, of_receivers):
        """Returns the users of the receivers, or the publisher and a client that may do everything."""
        if of_receivers:
            lines = [
                f"{{ user: r{self.number}_{at}, password: x, permissions {{ subscribe {written(one['rules'])} }} }}"
                for at, one in enumerate(self.receivers)
            ]
        else:
            lines = [
                f"{{ user: p{self.number}, password: x, permissions {{ publish {written(self.publish)}{self.responses} }} }}",
                f"{{ user: all{self.number}, password: x }}",
            ]
        return "\n".join(lines)

    def connect(self, server):
        self.server = server
        self.publisher = Client(server, f"p{self.number}")
        for at, one in enumerate(self.receivers):
            one["client"] = Client(server, f"r{self.number}_{at}")
            errors, _ = one["client"].say(f"SUB {one['filter']} {one['queue'] or ''} 1\r\n")
            one["in"] = may_subscribe(one["rules"], one["filter"], one["queue"])
            assert (errors == []) == one["in"], (one, errors)

    def check(self, expected):
        """Checks what was received: by mark, the subject under which a message must arrive, or None."""
        got = [one["client"].say("")[1] for one in self.receivers]
        for mark, subject in expected.items():
            groups = {}
            for one, messages in zip(self.receivers, got):
                own = [where for where, payload in messages if mark_of(payload) == mark]
                gets = (
                    one["in"]
                    and subject is not None
                    and matches(one["filter"], subject)
                    and may_deliver(one["rules"], subject, one["queue"])
                )
                about = (mark, subject, own, {key: one[key] for key in ("rules", "filter", "queue")})
                assert set(own) <= {subject} and (gets or not own), about
                if one["queue"] is None:
                    assert len(own) == gets, about
                else:
                    group = groups.setdefault(one["queue"], [False, 0])
                    groups[one["queue"]] = [group[0] or gets, group[1] + len(own)]
            for queue, (gets, count) in groups.items():
                assert count == gets, (mark, subject, queue, count)


def mark_of(payload):
    return payload.rsplit("\r\n", 1)[-1]


def denied(subject):
    return f"-ERR 'Permissions Violation for Publish to \"{subject}\"'"


def start(config):
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(config)
        file.flush()
        return Server("-c", file.name)


def groups(path):
    seed = os.environ.get("SEED", "1")
    return [Group(random.Random(f"{seed} {path} {number}"), number) for number in range(GROUPS)]


def publish_all(group, subjects, destination=lambda subject: subject, arrives=lambda subject: subject):
    """Publishes to all subjects, and checks the errors and what was received."""
    marks = {str(at): subject for at, subject in enumerate(subjects)}
    errors, _ = group.publisher.say("".join(f"PUB {one} {len(mark)}\r\n{mark}\r\n" for mark, one in marks.items()))
    mapped = {mark: destination(subject) for mark, subject in marks.items()}
    may = {mark: may_publish(group.publish, subject) for mark, subject in mapped.items()}
    assert errors == [denied(mapped[mark]) for mark in marks if not may[mark]], errors
    group.check({mark: arrives(subject) if may[mark] else None for mark, subject in mapped.items()})


def play(groups, accounts, act):
    """`accounts` returns the name, the users and the rest of each account of a group."""
    blocks = [f"{name} {{ users: [\n{users}\n]\n{rest} }}" for one in groups for name, users, rest in accounts(one)]
    with start("accounts {\n" + "\n".join(blocks) + "\n}\n") as server:
        for group in groups:
            group.connect(server)
            act(group)


def one_account(group, rest=""):
    return [(f"A{group.number}", group.users(True) + "\n" + group.users(False), rest)]


@scenario
async def on_the_live_path():
    play(groups("live"), one_account, lambda group: publish_all(group, SUBJECTS))


@scenario
async def on_the_path_of_a_mapping():
    mappings = [("a.*", "b.$1"), ("*.*", "$2.$1"), ("a.>", "c.>"), ("b", "a.b"), (">", "a.>"), ("*.a.*", "$2.$1")]

    def mapped(source, destination, subject):
        # NATS 2.14: a subject with a `>` is matched by the source of a mapping only where that has one.
        tokens = subject.split(".")
        full = source.split(".").index(">") if ">" in source else len(tokens)
        if not matches(source, subject) or ">" in tokens[:full]:
            return subject
        stars = [token for at, token in zip(source.split("."), tokens) if at == "*"]
        rest = tokens[full:]
        place = lambda one: rest if one == ">" else [stars[int(one[1:]) - 1] if one[0] == "$" else one]
        return ".".join(itertools.chain.from_iterable(place(one) for one in destination.split(".")))

    def account(one):
        source, destination = mappings[one.number]
        return one_account(one, f'mappings {{ "{source}": "{destination}" }}')

    act = lambda one: publish_all(one, SUBJECTS, lambda subject: mapped(*mappings[one.number], subject))
    play(groups("mapping"), account, act)


@scenario
async def on_the_path_of_a_reply():
    def act(group):
        # Who may answer may publish to nothing else by default.
        if group.publish["allow"] is None:
            group.publish["allow"] = []
        group.publisher.say("SUB service 1\r\n")
        asker = Client(group.server, f"all{group.number}")
        asker.say("".join(f"PUB service {subject} 1\r\nr\r\n" for subject in SUBJECTS))
        assert len(group.publisher.say("")[1]) == len(SUBJECTS)
        texts, expected, errors = [], {}, []
        for at, subject in enumerate(SUBJECTS):
            # The first answer is allowed whatever the lists say, the second one is not.
            for answer, may in enumerate([True, may_publish(group.publish, subject)]):
                mark = f"{at}_{answer}"
                texts.append(f"PUB {subject} {len(mark)}\r\n{mark}\r\n")
                expected[mark] = subject if may else None
                errors += [] if may else [denied(subject)]
        said, _ = group.publisher.say("".join(texts))
        assert said == errors, (said, errors)
        group.check(expected)

    all = groups("reply")
    for group in all:
        group.responses = ", allow_responses: { max: 1, expires: 1h }"
    play(all, one_account, act)


@scenario
async def on_the_path_of_an_imported_stream():
    def accounts(one):
        prefix = ", prefix: a" if one.number % 2 else ""
        stream = f"imports: [ {{ stream: {{ account: A{one.number}, subject: '>' }}{prefix} }} ]"
        exports = "exports: [ { stream: '>' } ]"
        return [(f"A{one.number}", one.users(False), exports), (f"B{one.number}", one.users(True), stream)]

    def act(one):
        prefix = "a." if one.number % 2 else ""
        publish_all(one, LITERALS, arrives=lambda subject: prefix + subject)

    # A subscription that an import covers only in part gets nothing from nats-server.
    all = groups("stream")
    for group in all[1::2]:
        filters = [one for one in FILTERS if one.startswith("a.")]
        group.receivers = [group.receiver(filters) for _ in range(RECEIVERS)]
        # nats-server compares what is denied with the subject in the exporting account.
        for receiver in group.receivers if IS_REFERENCE else []:
            receiver["rules"]["deny"] = []
    play(all, accounts, act)


@scenario
async def on_the_path_of_a_request_to_an_imported_service():
    services = ["a.>", "*.b", "a.*", "b", "*.*.*", "a.b"]

    def accounts(one):
        subject = services[one.number]
        service = f"imports: [ {{ service: {{ account: A{one.number}, subject: '{subject}' }} }} ]"
        exports = f"exports: [ {{ service: '{subject}' }} ]"
        return [(f"A{one.number}", one.users(True), exports), (f"B{one.number}", one.users(False), service)]

    def act(one):
        publish_all(one, LITERALS, arrives=lambda subject: subject if matches(services[one.number], subject) else None)

    play(groups("service"), accounts, act)


@scenario
async def on_the_path_of_a_trace():
    def act(group):
        # The events are not sought here: they follow later.
        expected, texts, errors = {}, [], []
        for at, subject in enumerate(SUBJECTS):
            traces, is_only = group.chance.choice(LITERALS), group.chance.random() < 0.5
            only = "Nats-Trace-Only: true\r\n" if is_only else ""
            block = f"NATS/1.0\r\nNats-Trace-Dest: {traces}\r\n{only}\r\n"
            mark = str(at)
            texts.append(f"HPUB {subject} {len(block)} {len(block) + len(mark)}\r\n{block}{mark}\r\n")
            may, may_trace = may_publish(group.publish, subject), may_publish(group.publish, traces)
            expected[mark] = subject if may and may_trace and not is_only else None
            errors += [denied(traces)] if not may_trace else [] if may else [denied(subject)]
        said, _ = group.publisher.say("".join(texts))
        assert said == errors, (said, errors)
        group.check(expected)

    play(groups("trace"), one_account, act)


main()
