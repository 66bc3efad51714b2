//! natsd's own metrics of streams: what the exporter does not have, because nats-server does not tell.

use broker_streams::service::{StreamHealth, Viewer};

use super::writer::Writer;

pub(super) fn write(writer: &Writer, viewer: &Viewer) {
    latencies_and_counts(writer, viewer);
    health(writer, viewer);
    space(writer, viewer);
}

fn latencies_and_counts(writer: &Writer, viewer: &Viewer) {
    let (counts, usage) = (viewer.counts(), viewer.usage());
    writer.histogram(
        "natsd_streams_publish_to_durable_seconds",
        "Time from a publish to a stream in files until its acknowledgement left, because the message was on the disk.",
        &counts.latencies.publish_to_durable,
    );
    writer.histogram(
        "natsd_streams_deliver_to_ack_seconds",
        "Time from the last delivery of a message by a consumer until it was acknowledged.",
        &counts.latencies.deliver_to_ack,
    );
    for (name, help, value) in [
        ("api_requests", "Requests to the JetStream API that were answered.", usage.requests),
        ("api_errors", "Those that were answered with an error.", usage.request_errors),
        (
            "api_dropped",
            "Requests to the JetStream API that were dropped because too many waited.",
            counts.dropped_requests,
        ),
        ("syncs", "Syncs of the files of streams.", counts.syncs),
        (
            "written_bytes",
            "Bytes written to the files of streams and synced.",
            counts.written_bytes,
        ),
        (
            "store_failures",
            "Failed writes and syncs, after each of which a stream refused messages.",
            counts.store_failures,
        ),
        ("damages", "Damaged places that were found in the files of streams.", counts.damages),
    ] {
        writer.counter(&format!("natsd_streams_{name}_total"), help, &[], value);
    }
    let help = "Requests to the JetStream API that wait.";
    writer.gauge("natsd_streams_api_pending", help, &[], counts.waiting_requests as f64);
}

fn health(writer: &Writer, viewer: &Viewer) {
    let (mut failed, mut lost) = (0, 0);
    for account in viewer.account_names() {
        for health in viewer.health(&account).unwrap_or_default().values() {
            failed += u32::from(matches!(health, StreamHealth::WriteFailed(_)));
            lost += u32::from(*health == StreamHealth::NotRecovered);
        }
    }
    let help = "Streams that refuse messages now, because their files cannot be written.";
    writer.gauge("natsd_streams_write_failed", help, &[], f64::from(failed));
    let help = "Streams that are not served, because their files could not be read at the start.";
    writer.gauge("natsd_streams_not_recovered", help, &[], f64::from(lost));
}

fn space(writer: &Writer, viewer: &Viewer) {
    let Some(options) = viewer.options() else { return };
    let usage = viewer.usage();
    for (storage, used, reserved, most) in [
        ("memory", usage.memory, usage.reserved_memory, options.max_memory),
        ("file", usage.storage, usage.reserved_storage, options.max_storage),
    ] {
        // No limit is no series, so that nothing is divided by 0.
        let most = most.filter(|most| *most > 0);
        for (name, help, value) in [
            ("used_bytes", "Bytes of the messages of streams, by storage.", Some(used)),
            ("reserved_bytes", "Bytes that limits of streams reserve, by storage.", Some(reserved)),
            ("max_bytes", "Bytes that streams may use and reserve, by storage.", most),
        ] {
            let Some(value) = value else { continue };
            let name = format!("natsd_streams_{name}");
            writer.gauge(&name, help, &[("storage", storage)], value as f64);
        }
    }
    if let Some((free, all)) = viewer.disk() {
        let help = "Free bytes of the disk with the files of streams.";
        writer.gauge("natsd_streams_disk_free_bytes", help, &[], free as f64);
        let help = "Bytes of the disk with the files of streams.";
        writer.gauge("natsd_streams_disk_bytes", help, &[], all as f64);
    }
}
