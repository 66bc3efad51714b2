"""Sends the same random requests to two servers and compares the answers.

    random_requests.py NATSD REFERENCE [SEED [COUNT]]

Configurations of streams and consumers are made of a few values for each member, so that many combinations are refused, and many
are accepted. Prints the requests whose answers differ.
"""

import json
import random
import sys

from main import Connection, Server, masked

# nats-server reports the first sequence 1 for a stream that was purged before its first message, and 0 for others without messages.
FIRST_OF_NOTHING = ('"first_seq":1,"first_ts":"0001', '"first_seq":0,"first_ts":"0001')
SECOND = 1_000_000_000
STREAMS = ["A", "B", "C"]
SUBJECTS = ["A", "a.*", "a.b", "b.>", "b.c", ">", "$JS.x", "$SYS.x", "x..y", "*"]
NUMBERS = [-2, -1, 0, 1, 5, 1000]
DURATIONS = [-1, 0, 1, SECOND // 10, SECOND, 3 * SECOND, 200 * SECOND]
STREAM = {
    "description": ["", "text"],
    "subjects": [[], ["a.*"], ["b.>"], ["a.b", "b.c"], ["a.*", "a.b"], ["c", "c"], [">"], ["$JS.x"], ["$SYS.x"], ["x..y"]],
    "retention": ["limits", "interest", "workqueue"],
    "max_consumers": NUMBERS,
    "max_msgs": NUMBERS,
    "max_bytes": NUMBERS,
    "max_age": DURATIONS,
    "max_msgs_per_subject": NUMBERS,
    "max_msg_size": NUMBERS,
    "discard": ["old", "new"],
    "storage": ["file", "memory"],
    "num_replicas": [0, 1, 3, 6, -1],
    "no_ack": [True, False],
    "duplicate_window": DURATIONS,
    "placement": [{}, {"cluster": "x"}, {"preferred": "x"}],
    "compression": ["none", "s2"],
    "first_seq": [0, 1, 100],
    "subject_transform": [{"src": "a.*", "dest": "d.$1"}, {"src": "x..", "dest": "y"}, {"src": "a.*", "dest": "d.{{partition(3,2)}}"}],
    "republish": [{"dest": "r.>"}, {"src": "a.*", "dest": "r.$1"}, {"src": ">", "dest": ">"}, {"src": "a", "dest": "x..y"}],
    "allow_direct": [True, False],
    "mirror_direct": [True, False],
    "discard_new_per_subject": [True, False],
    "sealed": [True, False],
    "deny_delete": [True, False],
    "deny_purge": [True, False],
    "allow_rollup_hdrs": [True, False],
    "consumer_limits": [{}, {"max_ack_pending": 5}, {"inactive_threshold": SECOND}],
    "allow_msg_ttl": [True, False],
    "subject_delete_marker_ttl": DURATIONS,
    "allow_msg_counter": [True, False],
    "allow_atomic": [True, False],
    "allow_msg_schedules": [True, False],
    "persist_mode": ["default", "async", ""],
    "allow_batched": [True, False],
    "metadata": [{}, {"k": "v"}, {"_nats.ver": "x"}],
    "pedantic": [True, False],
}
CONSUMER = {
    "durable_name": ["c", "d", "a.b", ""],
    "name": ["c", "d"],
    "description": ["text"],
    "deliver_policy": ["all", "last", "new", "by_start_sequence", "by_start_time", "last_per_subject", "undefined"],
    "opt_start_seq": [0, 1, 7],
    "opt_start_time": ["2024-01-01T00:00:00Z"],
    "ack_policy": ["none", "all", "explicit", "flow_control"],
    "ack_wait": DURATIONS,
    "max_deliver": NUMBERS,
    "backoff": [[], [SECOND], [SECOND, 2 * SECOND], [-1]],
    "filter_subject": ["", "a.b", "b.>", "x..y", "z"],
    "filter_subjects": [[], ["a.b"], ["a.b", "b.c"], ["a.*", "a.b"], [""]],
    "replay_policy": ["instant", "original"],
    "rate_limit_bps": [0, 1000],
    "sample_freq": ["", "50%", "x", "-1"],
    "max_waiting": NUMBERS,
    "max_ack_pending": NUMBERS,
    "flow_control": [True, False],
    "headers_only": [True, False],
    "max_batch": NUMBERS,
    "max_expires": DURATIONS,
    "max_bytes": NUMBERS,
    "deliver_subject": ["", "x", "x.*", "a.b", "x..y"],
    "deliver_group": ["q"],
    "idle_heartbeat": DURATIONS,
    "inactive_threshold": [-1, 0, 200 * SECOND],
    "num_replicas": [0, 1, 3, -1],
    "mem_storage": [True, False],
    "direct": [True, False],
    "metadata": [{}, {"k": "v"}],
    "priority_groups": [[], ["g"], [""], ["a b"]],
    "priority_policy": ["none", "overflow", "pinned_client", "prioritized"],
    "priority_timeout": [-1, 0, SECOND],
}


def choose(choice, members, most):
    names = choice.sample(sorted(members), choice.randint(0, most))
    return {name: choice.choice(members[name]) for name in names}


def stream_request(choice):
    name = choice.choice(STREAMS)
    config = {"name": name, "subjects": [name]} | choose(choice, STREAM, 4)
    if choice.random() < 0.1:
        source = {"name": choice.choice([*STREAMS, "", "x.y"])} | choose(
            choice, {"filter_subject": SUBJECTS, "opt_start_seq": [1], "subject_transforms": [[{"src": "a.*", "dest": "d.$1"}]]}, 2
        )
        config |= choice.choice([{"mirror": source, "subjects": []}, {"sources": [source]}])
    kind = choice.choice(["CREATE", "CREATE", "UPDATE"])
    return f"STREAM.{kind}.{name}", config


def consumer_request(choice):
    stream, name = choice.choice(STREAMS), choice.choice(["c", "d", "e"])
    config = {"durable_name": name} | choose(choice, CONSUMER, 4)
    request = {"stream_name": stream, "config": config} | choose(
        choice, {"action": ["create", "update", ""], "pedantic": [True, False]}, 1
    )
    return f"CONSUMER.CREATE.{stream}.{name}", request


def request_of(choice):
    kind = choice.random()
    if kind < 0.45:
        return stream_request(choice)
    if kind < 0.85:
        return consumer_request(choice)
    stream, name = choice.choice(STREAMS), choice.choice(["c", "d"])
    return choice.choice(
        [
            (f"STREAM.INFO.{stream}", None),
            (f"STREAM.DELETE.{stream}", None),
            (f"STREAM.PURGE.{stream}", None),
            ("STREAM.NAMES", None),
            ("STREAM.LIST", None),
            (f"CONSUMER.LIST.{stream}", None),
            (f"CONSUMER.INFO.{stream}.{name}", None),
            (f"CONSUMER.DELETE.{stream}.{name}", None),
            (f"CONSUMER.PAUSE.{stream}.{name}", {"pause_until": "2100-01-01T00:00:00Z"}),
            (f"STREAM.MSG.GET.{stream}", {"seq": 1}),
            ("INFO", None),
        ]
    )


def main(natsd, reference, seed="1", count="2000"):
    choice = random.Random(int(seed))
    differing = 0
    with Server(natsd, []) as ours, Server(reference, []) as theirs:
        connections = [Connection(ours.port()), Connection(theirs.port())]
        for _ in range(int(count)):
            subject, request = request_of(choice)
            payload = "" if request is None else json.dumps(request)
            answers = [
                masked(connection.request("$JS.API." + subject, payload, timeout=5)).replace(*FIRST_OF_NOTHING)
                for connection in connections
            ]
            if answers[0] != answers[1]:
                differing += 1
                print(f"> {subject} {payload}\n    natsd     {answers[0]}\n    reference {answers[1]}")
    print(f"{count} requests, {differing} answered differently")
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
