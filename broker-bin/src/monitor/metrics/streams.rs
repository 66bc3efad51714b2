//! The exporter's metrics of accounts with streams, of streams and of consumers.
//!
//! Their number is limited, because each has many series: those that are left out are counted. One account is read at a
//! time, and no stream waits for longer than it takes to read a few of its consumers.

use broker_streams::config::StreamConfig;
use broker_streams::consumer::SequenceInfo;
use broker_streams::service::{
    AccountReport, AccountSelection, ConsumerReport, ReportRoom, StreamReport, Viewer,
};
use broker_streams::stream::FeedInfo;

use super::writer::{LabelText, Labels, Writer};

/// The most streams. With the consumers below and names of usual length they take 20 MiB, and a scrape of them takes
/// a fraction of a second.
const MAX_STREAMS: usize = 1024;

/// The most consumers of all streams together.
const MAX_CONSUMERS: usize = 4096;

/// The most bytes, because names and descriptions may be long: half of what all large responses of the monitoring
/// listener may take together.
const MAX_BYTES: usize = 32 << 20;

/// The series of one stream, without its mirror and sources.
const SERIES_OF_STREAM: usize = 8;

/// The series of a mirror or a source.
const SERIES_OF_FEED: usize = 2;

/// The bytes of a series apart from its labels: the longest name, the longest number, and what separates them.
const SERIES_BYTES: usize = 80;

const SELECTION: AccountSelection =
    AccountSelection { streams: true, consumers: true, direct_consumers: false, config: true };

pub(super) fn write(writer: &Writer, system: &'static str, viewer: &Viewer, server: Labels<'_>) {
    let room = ReportRoom::new(MAX_STREAMS, MAX_CONSUMERS);
    let mut streams = Streams { writer, system, server, room, bytes: MAX_BYTES };
    for account in viewer.account_names() {
        if let Some(report) = viewer.account_within(&account, SELECTION, &mut streams.room) {
            streams.account(&account, &report);
        }
    }
    let ReportRoom { omitted_streams, omitted_consumers, .. } = streams.room;
    for (kind, count) in [("stream", omitted_streams), ("consumer", omitted_consumers)] {
        let help = "Streams and consumers without series of their own, because there are too many.";
        writer.gauge("natsd_metrics_omitted", help, &[("kind", kind)], count as f64);
    }
}

/// See the module documentation.
struct Streams<'a> {
    writer: &'a Writer,
    system: &'static str,
    server: Labels<'a>,
    room: ReportRoom,
    /// Those that may still be written.
    bytes: usize,
}

impl Streams<'_> {
    fn account(&mut self, name: &str, report: &AccountReport) {
        // The exporter has the name twice.
        let account = [("account", name), ("account_name", name), ("account_id", name)];
        let labels = [self.server, &account].concat();
        let text = self.writer.label_text(&labels);
        let usage = &report.usage;
        for (name, help, value) in [
            ("max_storage", "JetStream Account Max Storage in bytes", usage.reserved_storage),
            ("max_memory", "JetStream Account Max Memory in bytes", usage.reserved_memory),
            ("storage_used", "Total number of bytes used by JetStream storage", usage.storage),
            ("memory_used", "Total number of bytes used by JetStream memory", usage.memory),
        ] {
            self.series("account", name, help, &text, value as f64);
        }
        for stream in &report.streams {
            self.stream(&labels, stream);
        }
    }

    fn stream(&mut self, account: Labels<'_>, report: &StreamReport) {
        let leader = report.leader();
        let is_leader = self.server.contains(&("server_name", leader)).to_string();
        let stream = [
            ("stream_name", &*report.name),
            ("stream_leader", leader),
            ("is_stream_leader", &is_leader),
            ("stream_raft_group", ""),
        ];
        let labels = [account, &stream].concat();
        let text = self.writer.label_text(&labels);
        if !self.fits(&text, SERIES_OF_STREAM) {
            self.room.omitted_streams += 1;
            self.room.omitted_consumers += report.consumers.len();
            return;
        }
        self.state(&text, report);
        if let Some(config) = &report.config {
            self.limits(&text, config);
        }
        for source in report.sources() {
            self.feed("source", &labels, source);
        }
        if let Some(mirror) = report.mirror() {
            self.feed("mirror", &labels, mirror);
        }
        for consumer in &report.consumers {
            self.consumer(&labels, consumer);
        }
    }

    fn state(&self, labels: &LabelText, report: &StreamReport) {
        let (messages, bytes) = report.messages();
        let (first, last) = report.sequences();
        for (name, help, value) in [
            ("total_messages", "Total number of messages from a stream", messages),
            ("total_bytes", "Total stored bytes from a stream", bytes),
            ("first_seq", "First sequence from a stream", first),
            ("last_seq", "Last sequence from a stream", last),
            ("consumer_count", "Total number of consumers from a stream", report.consumer_count()),
            ("subject_count", "Total number of subjects in a stream", report.subjects()),
        ] {
            self.series("stream", name, help, labels, value as f64);
        }
    }

    fn limits(&self, labels: &LabelText, config: &StreamConfig) {
        for (name, help, value) in [
            ("limit_bytes", "Configured limit of bytes of a stream; -1 for none", config.max_bytes),
            (
                "limit_messages",
                "Configured limit of messages of a stream; -1 for none",
                config.max_messages,
            ),
        ] {
            self.series("stream", name, help, labels, value as f64);
        }
    }

    /// A mirror or a source.
    fn feed(&mut self, kind: &str, stream: Labels<'_>, feed: &FeedInfo) {
        let [name, api, deliver] = match kind {
            "mirror" => ["mirror_name", "mirror_api", "mirror_deliver"],
            _ => ["source_name", "source_api", "source_deliver"],
        };
        let external = feed.external.as_ref();
        let labels = [
            (name, &*feed.name),
            (api, external.map_or("", |external| &external.api_prefix)),
            (deliver, external.map_or("", |external| &external.deliver_prefix)),
        ];
        let text = self.writer.label_text(&[stream, &labels].concat());
        if !self.fits(&text, SERIES_OF_FEED) {
            return;
        }
        let help = "Number of messages a mirror or source is behind";
        self.series("stream", &format!("{kind}_lag"), help, &text, feed.lag as f64);
        let help = "Nanoseconds since the other stream was heard of; -1 if it never was";
        let name = format!("{kind}_active_duration_ns");
        self.series("stream", &name, help, &text, feed.active as f64);
    }

    fn consumer(&mut self, stream: Labels<'_>, report: &ConsumerReport) {
        let description = report.config.as_ref().map_or("", |config| &config.description);
        // The reference names no leader of a consumer that is not replicated.
        let consumer = [
            ("consumer_name", &*report.name),
            ("consumer_leader", ""),
            ("is_consumer_leader", "true"),
            ("consumer_desc", description),
        ];
        let labels = self.writer.label_text(&[stream, &consumer].concat());
        let (counts, ages) = (counts(report), ages(report));
        if !self.fits(&labels, counts.len() + ages.len()) {
            self.room.omitted_consumers += 1;
            return;
        }
        for (name, help, value) in counts {
            self.series("consumer", name, help, &labels, value as f64);
        }
        for (name, help, seconds) in ages {
            self.series("consumer", name, help, &labels, seconds);
        }
    }

    /// Takes the bytes of a number of series with these labels. Returns false if there are too many.
    fn fits(&mut self, labels: &LabelText, series: usize) -> bool {
        let rest = self.bytes.checked_sub((labels.len() + SERIES_BYTES) * series);
        self.bytes = rest.unwrap_or(self.bytes);
        rest.is_some()
    }

    fn series(&self, of: &str, name: &str, help: &str, labels: &LabelText, value: f64) {
        self.writer.line(&format!("{}_{of}_{name}", self.system), help, labels, value);
    }
}

fn counts(report: &ConsumerReport) -> [(&'static str, &'static str, u64); 8] {
    let ConsumerReport { delivered, ack_floor, .. } = report;
    [
        (
            "delivered_consumer_seq",
            "Latest sequence number of a stream consumer",
            delivered.consumer,
        ),
        ("delivered_stream_seq", "Latest sequence number of a stream", delivered.stream),
        ("num_ack_pending", "Number of pending acks from a consumer", report.num_ack_pending),
        (
            "num_redelivered",
            "Number of redelivered messages from a consumer",
            report.num_redelivered,
        ),
        (
            "num_waiting",
            "Number of inflight fetch requests from a pull consumer",
            report.num_waiting,
        ),
        ("num_pending", "Number of pending messages from a consumer", report.num_pending),
        (
            "ack_floor_stream_seq",
            "Number of ack floor stream seq from a consumer",
            ack_floor.stream,
        ),
        (
            "ack_floor_consumer_seq",
            "Number of ack floor consumer seq from a consumer",
            ack_floor.consumer,
        ),
    ]
}

/// Returns the seconds since the last delivery and the last acknowledgement, if there were any.
fn ages(report: &ConsumerReport) -> Vec<(&'static str, &'static str, f64)> {
    let seconds = |change: SequenceInfo| Some(report.timestamp.since(change.last?) as f64 / 1e9);
    let delivery = seconds(report.delivered).map(|seconds| {
        let help = "Seconds since last message delivery to consumer";
        ("last_delivery_seconds", help, seconds)
    });
    let ack = seconds(report.ack_floor)
        .map(|seconds| ("last_ack_seconds", "Seconds since last ack from consumer", seconds));
    delivery.into_iter().chain(ack).collect()
}
