"""Compares prometheus-nats-exporter on natsd and on nats-server with natsd's own /metrics: the series must be
equal, and the dashboards work with each. Reports in TAP.

NATSD and REFERENCE name the servers, EXPORTER and PROMETHEUS the programs.
"""

import os
import re
import subprocess
import tempfile
import urllib.error
import urllib.request

from dashboards import SERVERS, STREAMS, helm
from report import run
from scraper import Prometheus
from servers import DEADLINE, Server, System, free_port, until

NATSD, REFERENCE, EXPORTER, PROMETHEUS = (
    os.environ[name] for name in ("NATSD", "REFERENCE", "EXPORTER", "PROMETHEUS")
)

CONFIG = """host: 127.0.0.1, port: -1, http: '127.0.0.1:-1', server_name: one
    accounts { A { users: [{user: a, password: pw}] }, B { users: [{user: b, password: pw}] } }\n"""
WHO = {"a": {"user": "a", "pass": "pw"}, "b": {"user": "b", "pass": "pw"}}

ALL = "-varz -connz -subz -routez -healthz -accstatz -accountz -leafz -gatewayz -jsz=all".split()

# Series of the exporter itself.
OWN = re.compile("go_|process_|promhttp_|nats_exporter_")

# Values that change by themselves.
MOVES = re.compile("_(mem|cpu|uptime|idle|rtt|last_activity)$|_http_req_stats")

# Labels whose values are specific to each server.
EACH_S_OWN = ("server_id", "cid", "port", "value")


class Exporter:
    """The exporter in front of one server."""

    def __init__(self, server, *more):
        self.address = f"127.0.0.1:{free_port()}"
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [EXPORTER, "-a", "127.0.0.1", "-p", self.address.split(":")[1]]
            + [*ALL, *more, f"http://{server.monitor}"],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        until("the exporter listens", lambda: self.scrape() is not None)

    def scrape(self):
        try:
            return scrape(self.address)
        except (urllib.error.URLError, ConnectionError):
            return None

    def stop(self):
        self.process.terminate()
        self.process.wait(DEADLINE)


def scrape(address):
    """Types by name, and values by series."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=DEADLINE) as answer:
        return read(answer.read().decode())


def read(text):
    types, values = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            types[name] = kind
        elif line and not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            name, _, labels = series.partition("{")
            labels = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)
            values[name, tuple(sorted(labels))] = float(value)
    keep = lambda name: not OWN.match(name) and not name.startswith("natsd_")
    return (
        {name: kind for name, kind in types.items() if keep(name)},
        {series: value for series, value in values.items() if keep(series[0])},
    )


def shape(scraped):
    """Removes labels and series specific to each server."""
    types, values = scraped
    found = set()
    for name, labels in values:
        # Each server counts its own requests.
        if "http_req_stats" in name:
            continue
        known = tuple((key, "" if key in EACH_S_OWN else value) for key, value in labels)
        found.add((name, types[name], known))
    return found


def both_ways(ours, theirs):
    assert ours == theirs, {"only ours": sorted(ours - theirs), "only theirs": sorted(theirs - ours)}


class Place:
    def __init__(self):
        self.ours = Server(NATSD, CONFIG)
        self.theirs = Server(REFERENCE, CONFIG)
        self.systems = [System(server, WHO) for server in (self.ours, self.theirs)]

    def stop(self):
        for system in self.systems:
            system.leave()
        self.ours.stop()
        self.theirs.stop()


def exported(server, *more):
    exporter = Exporter(server, *more)
    try:
        return exporter.scrape()
    finally:
        exporter.stop()


def it_exports_the_same_series_of_both(place):
    both_ways(*(shape(exported(one)) for one in (place.ours, place.theirs)))


def it_exports_the_same_series_of_each_connection(place):
    both_ways(*(shape(exported(one, "-connz_detailed")) for one in (place.ours, place.theirs)))


def it_exports_what_clients_did_with_the_same_values(place):
    found = []
    for server in (place.ours, place.theirs):
        _, values = exported(server)
        alike = re.compile("gnatsd_varz_(in|out|slow|stale|connections|total_c|max_)|gnatsd_connz|gnatsd_acc.*A")
        found.append(
            {
                (name, tuple(label for label in labels if label[0] not in EACH_S_OWN)): value
                for (name, labels), value in values.items()
                if alike.match(name)
                # nats-server has internal subscriptions.
                and not re.search("acc.*_subscriptions", name)
                and ("account_id", "$SYS") not in labels
            }
        )
    assert found[0] == found[1], set(found[0].items()) ^ set(found[1].items())


def natsd_gives_the_same_without_it(place):
    compare_with_metrics(place.ours)


def compare_with_metrics(server, *more):
    exporter = Exporter(server, *more)
    try:
        # The first scrape counts requests that were not there before.
        types, values = exporter.scrape()
        own_types, own_values = scrape(server.monitor)
        assert types == own_types, set(types.items()) ^ set(own_types.items())
        both_ways(set(own_values), set(values))
        differing = {
            series: (own_values[series], value)
            for series, value in values.items()
            if own_values[series] != value and not MOVES.search(series[0])
        }
        assert differing == {}, differing
    finally:
        exporter.stop()


def natsd_gives_the_names_of_the_helm_chart_without_it(_):
    config = CONFIG + "metrics_prefix: nats, metrics_server_id: id\n"
    with_other_names(config, "-prefix=nats", "-use_internal_server_id")


def natsd_names_itself_by_its_name_without_it(_):
    with_other_names(CONFIG + "metrics_server_id: name\n", "-use_internal_server_name")


def with_other_names(config, *more):
    server = Server(NATSD, config)
    system = System(server, WHO)
    try:
        compare_with_metrics(server, *more)
    finally:
        system.leave()
        server.stop()


def dashboards_see_the_same(place):
    see_the_same(place.ours, place.theirs, lambda query: query)


def dashboards_of_the_helm_chart_see_the_same(place):
    server = Server(NATSD, CONFIG + "metrics_prefix: nats, metrics_server_id: id\n")
    try:
        see_the_same(server, place.theirs, helm, "-prefix=nats", "-use_internal_server_id")
    finally:
        server.stop()


def see_the_same(ours, theirs, renamed, *more):
    exporter = Exporter(theirs, *more)
    prometheus = Prometheus(PROMETHEUS, {"ours": ours.monitor, "theirs": exporter.address})
    try:
        for job in ("ours", "theirs"):
            until(f"{job} is up", lambda: prometheus.value(f'up{{job="{job}"}}') == 1)
        answered = 0
        for query in map(renamed, SERVERS + STREAMS):
            seen = [labels_of(prometheus, query, job) for job in ("ours", "theirs")]
            assert seen[0] == seen[1], (query, seen)
            answered += bool(seen[0])
        assert answered >= len(SERVERS) + 3, answered
    finally:
        prometheus.stop()
        exporter.stop()


def labels_of(prometheus, query, job):
    """Returns the labels of the series that a query selects for one job."""
    query = query.replace("{", f'{{job="{job}",') if "{" in query else re.sub(
        r"\b((?:gnatsd|jetstream|nats)_\w+)", rf'\1{{job="{job}"}}', query
    )
    return sorted(
        sorted((key, "" if key in ("server_id", "instance", "job") else value) for key, value in one.items())
        for one, _ in prometheus.ask(query)
    )


def main():
    place = Place()
    try:
        run(
            [
                it_exports_the_same_series_of_both,
                it_exports_the_same_series_of_each_connection,
                it_exports_what_clients_did_with_the_same_values,
                natsd_gives_the_same_without_it,
                natsd_gives_the_names_of_the_helm_chart_without_it,
                natsd_names_itself_by_its_name_without_it,
                dashboards_see_the_same,
                dashboards_of_the_helm_chart_see_the_same,
            ],
            place,
        )
    finally:
        place.stop()


main()
