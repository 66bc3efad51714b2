"""A real Prometheus scrapes natsd, and answers what dashboards ask it.

NATSD and PROMETHEUS name the programs, PROMTOOL the one that looks for mistakes in metrics. Reports in TAP.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request

from servers import Client, Server, until

NATSD, PROMETHEUS, PROMTOOL = (os.environ[name] for name in ("NATSD", "PROMETHEUS", "PROMTOOL"))

CONFIG = "host: 127.0.0.1, port: -1, http: '127.0.0.1:-1', server_name: one, http_token: t0k\n"

# What "NATS Servers", the dashboard that comes with prometheus-nats-exporter, asks for.
DASHBOARD = """gnatsd_varz_connections gnatsd_varz_cpu gnatsd_varz_in_bytes gnatsd_varz_in_msgs gnatsd_varz_mem
    gnatsd_varz_out_bytes gnatsd_varz_out_msgs gnatsd_varz_slow_consumers gnatsd_varz_subscriptions""".split()


class Prometheus:
    """Scrapes one server every second."""

    def __init__(self, server):
        self.directory = tempfile.TemporaryDirectory()
        config = os.path.join(self.directory.name, "prometheus.yml")
        with open(config, "w", encoding="utf-8") as file:
            json.dump(
                {
                    "global": {"scrape_interval": "1s"},
                    "scrape_configs": [
                        {
                            "job_name": "nats",
                            "authorization": {"credentials": "t0k"},
                            "static_configs": [{"targets": [server.monitor]}],
                        }
                    ],
                },
                file,
            )
        # It takes no "any port"; nobody else will have this one so soon.
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = "127.0.0.1:%d" % free.getsockname()[1]
        with open(os.path.join(self.directory.name, "log"), "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [
                    PROMETHEUS,
                    "--config.file=" + config,
                    "--storage.tsdb.path=" + self.directory.name + "/data",
                    "--web.listen-address=" + self.address,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def ask(self, query):
        """The series that answer it, and their values."""
        url = f"http://{self.address}/api/v1/query?" + urllib.parse.urlencode({"query": query})
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                result = json.load(answer)["data"]["result"]
        except (urllib.error.URLError, ConnectionError):
            return []
        return [(one["metric"], float(one["value"][1])) for one in result]

    def value(self, query):
        """The one value that answers it."""
        found = self.ask(query)
        return found[0][1] if len(found) == 1 else None

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.directory.cleanup()


def the_server_is_up(server, prometheus):
    until("it is up", lambda: prometheus.value("up") == 1)


def what_the_dashboard_asks_for_is_there(server, prometheus):
    for name in DASHBOARD:
        until(name, lambda: prometheus.value(name) is not None)
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
    # 3: it would name some of the exporter's otherwise.
    assert said.returncode in (0, 3), said.stderr.decode()
    ours = [line for line in said.stderr.decode().splitlines() if line.startswith("natsd_")]
    assert ours == [], ours


SCENARIOS = [
    the_server_is_up,
    what_the_dashboard_asks_for_is_there,
    counts_follow_what_clients_do,
    counters_do_not_go_back,
    metrics_have_no_mistakes_in_them,
]


def main():
    print(f"1..{len(SCENARIOS)}", flush=True)
    server = Server(NATSD, CONFIG)
    prometheus = Prometheus(server)
    failed = 0
    try:
        for scenario in SCENARIOS:
            try:
                scenario(server, prometheus)
                print(f"ok {scenario.__name__}", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"not ok {scenario.__name__}: {error}", flush=True)
    finally:
        prometheus.stop()
        server.stop()
    sys.exit(1 if failed else 0)


main()
