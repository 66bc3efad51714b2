"""The queries of the two dashboards of prometheus-nats-exporter: "NATS Servers" and "NATS
JetStream", with the variables that Grafana sets. The dashboards of the Helm chart use the same queries with the prefix `nats`."""

SERVERS = [
    "gnatsd_varz_" + name
    for name in "connections cpu in_bytes in_msgs mem out_bytes out_msgs slow_consumers subscriptions".split()
]

_SERVER = '{server_id=~".*"}'
_STREAM = '{server_id=~".*",stream_name=~".*"}'
_CONSUMER = '{server_id=~".*",stream_name=~".*",consumer_name=~".*"}'


def _sum(name, labels):
    return f"sum({name}{labels})"


def _of_streams():
    used = {"storage": "gnatsd_varz_jetstream_stats_storage", "memory": "gnatsd_varz_jetstream_stats_memory"}
    for kind, name in used.items():
        most = _sum(f"gnatsd_varz_jetstream_config_max_{kind}", _SERVER)
        yield _sum(name, _SERVER) + "/" + most
        yield _sum(name, _SERVER)
        yield most
    yield _sum("gnatsd_varz_connections", _SERVER)
    yield _sum("jetstream_server_total_consumers", _SERVER)
    # The lists in the dashboard's selectors.
    yield "jetstream_server_total_streams"
    yield "jetstream_stream_last_seq"
    yield "jetstream_consumer_num_pending"
    for name in ("total_bytes", "total_messages"):
        yield f"sum(jetstream_stream_{name}) by (stream_name)"
    yield f"sum(rate(jetstream_stream_last_seq{_STREAM}[1m])) by (stream_name)"
    delivered = f"rate(jetstream_consumer_delivered_consumer_seq{_CONSUMER}[1m])"
    yield f"sum(rate(jetstream_consumer_num_pending{_CONSUMER}[1m])+{delivered}) by (consumer_name)"
    yield f"- sum({delivered}) by (consumer_name)"
    for name in ("delivered_consumer_seq", "num_pending", "num_ack_pending"):
        yield f"sum(jetstream_consumer_{name}{_CONSUMER}) by (consumer_name)"


STREAMS = list(_of_streams())


def helm(query):
    """The same for the dashboards of the Helm chart."""
    return query.replace("gnatsd_", "nats_").replace("jetstream_server_", "nats_server_").replace(
        "jetstream_stream_", "nats_stream_"
    ).replace("jetstream_consumer_", "nats_consumer_")
