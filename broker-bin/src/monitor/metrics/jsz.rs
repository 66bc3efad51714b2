//! The exporter's metrics of `/jsz`: JetStream in the server. Those of accounts, streams and consumers are in
//! `super::streams`.

use super::writer::Writer;
use crate::monitor::{JszOptions, Observer};
use crate::options::MetricsPrefix;

pub(super) fn write(
    writer: &Writer,
    prefix: MetricsPrefix,
    observer: &Observer,
    server_name: &str,
) {
    // Fails only if the leader is asked for.
    let Ok(jsz) = observer.jsz(&JszOptions::default()) else { return };
    let system = match prefix {
        MetricsPrefix::Gnatsd => "jetstream",
        MetricsPrefix::Nats => "nats",
    };
    // Streams are not replicated: there is no cluster of them, and each server leads its own.
    let labels = [
        ("server_name", server_name),
        ("cluster", ""),
        ("domain", &*jsz.config.domain),
        ("meta_leader", ""),
        ("is_meta_leader", "true"),
    ];
    for (name, help, value) in [
        ("jetstream_disabled", "JetStream disabled or not", u64::from(jsz.disabled)),
        ("max_memory", "JetStream Max Memory", jsz.config.max_memory),
        ("max_storage", "JetStream Max Storage", jsz.config.max_storage),
        ("total_streams", "Total number of streams in JetStream", jsz.streams as u64),
        ("total_consumers", "Total number of consumers in JetStream", jsz.consumers as u64),
        ("total_messages", "Total number of stored messages in JetStream", jsz.messages),
        ("total_message_bytes", "Total number of bytes stored in JetStream", jsz.bytes),
    ] {
        writer.gauge(&format!("{system}_server_{name}"), help, &labels, value as f64);
    }
    #[cfg(feature = "streams")]
    if let Some(viewer) = observer.streams() {
        super::streams::write(writer, system, viewer, &labels);
    }
}
