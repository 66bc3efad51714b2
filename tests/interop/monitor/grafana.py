"""The dashboards in deploy/grafana: a real Prometheus that scrapes a cluster of natsd answers each of their queries. Reports in TAP.

NATSD and PROMETHEUS name the programs.
"""

import glob
import json
import os
import tempfile

from report import run
from scraper import Prometheus
from servers import Client, Server, free_port, until

NATSD, PROMETHEUS = os.environ["NATSD"], os.environ["PROMETHEUS"]
HERE = os.path.dirname(os.path.abspath(__file__))
PARTS = os.path.join(HERE, "../../config/options/parts")

# Streams, a certificate, and the seed of the cluster.
ONE = """host: 127.0.0.1, port: -1, http: '127.0.0.1:-1', server_name: one
tls {{ cert_file: '{parts}/server.pem', key_file: '{parts}/server-key.pem' }}
allow_non_tls: true
no_auth_user: a
accounts {{ A {{ jetstream: enabled, users: [ {{ user: a, password: a }} ] }} }}
jetstream {{ store_dir: '{store}' }}
cluster {{ name: c, host: 127.0.0.1, port: {port} }}
"""

TWO = """host: 127.0.0.1, port: -1, http: '127.0.0.1:-1', server_name: two
accounts {{ A {{ users: [ {{ user: a, password: a }} ] }} }}
no_auth_user: a
cluster {{ name: c, host: 127.0.0.1, port: -1, routes: ["nats://127.0.0.1:{port}"] }}
"""


def board(name):
    with open(name, encoding="utf-8") as file:
        return json.load(file)


BOARDS = {os.path.basename(name): board(name) for name in sorted(glob.glob(os.path.join(HERE, "../../../deploy/grafana/*.json")))}


def queries(one):
    """The queries of a dashboard as Grafana sends them."""
    for panel in one["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$instance", ".*").replace("$__rate_interval", "1m")


def dashboards_are_well_formed(_):
    assert sorted(BOARDS) == ["cluster.json", "connections.json", "servers.json", "streams.json"], sorted(BOARDS)
    uids = [one["uid"] for one in BOARDS.values()]
    assert len(set(uids)) == len(uids), uids
    for name, one in BOARDS.items():
        numbers = [panel["id"] for panel in one["panels"]]
        assert len(set(numbers)) == len(numbers), name
        places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in one["panels"]}
        assert len(places) == len(numbers), name
        assert {variable["name"] for variable in one["templating"]["list"]} == {"datasource", "instance"}, name
        assert all(panel["datasource"]["uid"] == "${datasource}" for panel in one["panels"]), name


def answers(prometheus, name):
    """Waits until each query of a dashboard has an answer."""
    for title, query in queries(BOARDS[name]):
        until(f"{title}: {query}", lambda query=query: prometheus.ask(query))


def the_board_of_servers_has_data(prometheus):
    answers(prometheus, "servers.json")


def the_board_of_connections_has_data(prometheus):
    answers(prometheus, "connections.json")


def the_board_of_the_cluster_has_data(prometheus):
    answers(prometheus, "cluster.json")


def the_board_of_streams_has_data(prometheus):
    answers(prometheus, "streams.json")


def work(one, two):
    """Something of everything that is counted."""
    client, other = Client(one), Client(two)
    for subject, request in (
        ("STREAM.CREATE.S", '{"name":"S"}'),
        ("CONSUMER.DURABLE.CREATE.S.c", '{"stream_name":"S","config":{"durable_name":"c","ack_policy":"explicit"}}'),
    ):
        client.tell(f"PUB $JS.API.{subject} {len(request)}\r\n{request}\r\n")
    client.say("SUB a 1\r\nPUB S _R 1\r\nx\r\nPUB a 1\r\nx\r\n")
    other.say("PUB a 1\r\nx\r\n")
    wrong = Client(one, is_let_in=False, user="a", **{"pass": "wrong"})
    while wrong.file.readline():
        pass
    wrong.leave()
    return client, other


def main():
    port = free_port()
    with tempfile.TemporaryDirectory() as store:
        one = Server(NATSD, ONE.format(port=port, store=store, parts=PARTS))
        two = Server(NATSD, TWO.format(port=port))
        prometheus = Prometheus(PROMETHEUS, {"one": one.monitor, "two": two.monitor})
        clients = work(one, two)
        try:
            run(
                [
                    dashboards_are_well_formed,
                    the_board_of_servers_has_data,
                    the_board_of_connections_has_data,
                    the_board_of_the_cluster_has_data,
                    the_board_of_streams_has_data,
                ],
                prometheus,
            )
        finally:
            for client in clients:
                client.leave()
            prometheus.stop()
            two.stop()
            one.stop()


main()
