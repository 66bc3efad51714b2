"""A real Prometheus scrapes natsd, and answers the queries of dashboards.

NATSD and PROMETHEUS name the programs, PROMTOOL the linter of metrics. Reports in TAP.
"""

import os
import re
import subprocess
import tempfile
import urllib.request

from dashboards import SERVERS, STREAMS
from report import run
from scraper import Prometheus
from servers import Client, Server, free_port, until

NATSD, PROMETHEUS, PROMTOOL = (os.environ[name] for name in ("NATSD", "PROMETHEUS", "PROMTOOL"))

HERE = os.path.dirname(os.path.abspath(__file__))
DEPLOY = os.path.join(HERE, "../../../deploy")

CONFIG = """host: 127.0.0.1, port: -1, http: '127.0.0.1:-1', server_name: one, http_token: t0k
cluster {{ name: c, host: 127.0.0.1, port: {} }}
"""

# The other server of its cluster.
OTHER = """host: 127.0.0.1, port: -1, http: '127.0.0.1:-1', server_name: two
cluster {{ name: c, host: 127.0.0.1, port: -1, routes: ["nats://127.0.0.1:{}"] }}
"""

WITH_STREAMS = """host: 127.0.0.1, port: -1, http: '127.0.0.1:-1', server_name: streams
jetstream {{ store_dir: '{}' }}
"""

# Series that the JetStream dashboard expects even without JetStream, from nats-server as well: see
# exporter.py.
WITHOUT_STREAMS = [
    'sum(gnatsd_varz_connections{server_id=~".*"})',
    'sum(jetstream_server_total_consumers{server_id=~".*"})',
    "jetstream_server_total_streams",
]


def the_server_is_up(server, prometheus):
    until("it is up", lambda: prometheus.value("up") == 1)


def what_the_dashboards_ask_for_is_there(server, prometheus):
    for query in SERVERS + WITHOUT_STREAMS:
        until(query, lambda: prometheus.value(query) is not None)
    for query in STREAMS:
        is_there = bool(prometheus.ask(query))
        assert is_there == (query in WITHOUT_STREAMS), query
    series, _ = prometheus.ask("gnatsd_varz_connections")[0]
    assert series["server_id"] == "http://" + server.monitor, series


def counts_follow_what_clients_do(server, prometheus):
    client = Client(server)
    client.say("SUB a 1\r\n" + "PUB a 5\r\nhello\r\n" * 7)
    until("one connection", lambda: prometheus.value("gnatsd_varz_connections") == 1)
    until("its messages", lambda: prometheus.value("gnatsd_varz_in_msgs") == 7)
    until("its bytes", lambda: prometheus.value("natsd_out_bytes_total") == 35)
    query = 'natsd_account_in_messages_total{account="$G"}'
    until("those of its account", lambda: prometheus.value(query) == 7)
    until("a rate", lambda: (prometheus.value("rate(natsd_in_messages_total[1m])") or 0) > 0)
    client.leave()
    closed = 'natsd_connections_closed_total{reason="Client Closed"}'
    until("why it has gone", lambda: prometheus.value(closed) == 1)


def counters_do_not_go_back(server, prometheus):
    until("none is left", lambda: prometheus.value("gnatsd_varz_connections") == 0)
    resets = prometheus.ask('resets({__name__=~"natsd_.*_total"}[5m]) > 0')
    assert resets == [], resets


def metrics_have_no_mistakes_in_them(server, _):
    connection_text = urllib.request.urlopen(
        urllib.request.Request(
            f"http://{server.monitor}/metrics", headers={"Authorization": "Bearer t0k"}
        )
    ).read()
    said = subprocess.run([PROMTOOL, "check", "metrics"], input=connection_text, capture_output=True)
    # 3: lint warnings about names, which are the exporter's.
    assert said.returncode in (0, 3), said.stderr.decode()
    ours = [line for line in said.stderr.decode().splitlines() if line.startswith("natsd_")]
    assert ours == [], ours


def what_is_in_deploy_is_right(server, prometheus):
    for command in (
        ["check", "config", os.path.join(DEPLOY, "prometheus.yml")],
        ["test", "rules", os.path.join(HERE, "alerts_test.yml"), os.path.join(HERE, "rules_test.yml")],
    ):
        said = subprocess.run([PROMTOOL, *command], capture_output=True, text=True)
        assert said.returncode == 0, said.stdout + said.stderr


def alerts_and_rules_look_at_what_there_is(server, prometheus):
    text = ""
    for name in ("natsd-alerts.yml", "natsd-rules.yml"):
        with open(os.path.join(DEPLOY, name), encoding="utf-8") as file:
            # What rules make is not there yet.
            text += re.sub("(?m)^ *#.*|record: .*", "", file.read())
    names = set(re.findall(r"\b(?:natsd|gnatsd|jetstream)_\w+", text))
    assert len(names) > 6, names
    # Without TLS there is no certificate expiry.
    names.discard("natsd_tls_certificate_expiry_timestamp_seconds")
    # The server has no streams.
    of_streams = {name for name in names if name.startswith(("natsd_streams_", "jetstream_"))}
    assert len(of_streams) > 12, of_streams
    text = metrics_with_streams()
    missing = [name for name in of_streams if f"\n{name}{{" not in text]
    assert missing == [], missing
    names -= of_streams
    other = Server(NATSD, OTHER.format(server.cluster))
    for name in names:
        until(name, lambda name=name: prometheus.ask(name))
    other.stop()


def metrics_with_streams():
    """Returns the metrics of a server with a stream, a consumer and a message."""
    with tempfile.TemporaryDirectory() as directory:
        server = Server(NATSD, WITH_STREAMS.format(directory))
        client = Client(server)
        for subject, request in (
            ("STREAM.CREATE.S", '{"name":"S"}'),
            ("CONSUMER.CREATE.S.c", '{"stream_name":"S","config":{"name":"c"}}'),
        ):
            client.say(f"PUB $JS.API.{subject} {len(request)}\r\n{request}\r\n")
        client.say("PUB S _R 1\r\nx\r\n")
        url = f"http://{server.monitor}/metrics"
        text = ""

        def has_all():
            nonlocal text
            text = urllib.request.urlopen(url).read().decode()
            return "jetstream_consumer_num_pending{" in text

        until("the consumer", has_all)
        client.leave()
        server.stop()
        return text


def main():
    port = free_port()
    server = Server(NATSD, CONFIG.format(port))
    server.cluster = port
    prometheus = Prometheus(
        PROMETHEUS, {"nats": server.monitor}, authorization={"credentials": "t0k"}
    )
    try:
        run(
            [
                the_server_is_up,
                what_the_dashboards_ask_for_is_there,
                counts_follow_what_clients_do,
                counters_do_not_go_back,
                metrics_have_no_mistakes_in_them,
                what_is_in_deploy_is_right,
                alerts_and_rules_look_at_what_there_is,
            ],
            server,
            prometheus,
        )
    finally:
        prometheus.stop()
        server.stop()


main()
