//! The advisory about a batch that was given up.

use broker_core::go_json;
use serde::Serialize;

use crate::config::Time;
use crate::stream::{Context, Stream};

/// The reason why a batch was given up.
// NATS 2.14: jetstream_events.go BatchAbandonReason.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reason {
    Timeout,
    Large,
    Incomplete,
    Unsupported,
}

// NATS 2.14: jetstream_events.go JSStreamBatchAbandonedAdvisory.
#[derive(Serialize)]
struct Abandoned<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    timestamp: Time,
    stream: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'a str,
    batch: &'a str,
    reason: Reason,
}

impl Stream {
    /// Reports a batch that was given up.
    // NATS 2.14: stream.go sendStreamBatchAbandonedAdvisory. It names the account in the system account only.
    pub(super) fn report_abandoned(&mut self, id: &str, reason: Reason, context: &mut Context<'_>) {
        let subject = format!("$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.{}", self.config.name);
        let event = Abandoned {
            kind: "io.nats.jetstream.advisory.v1.stream_batch_abandoned",
            id: self.random.id(),
            timestamp: context.now,
            stream: &self.config.name,
            domain: &self.options.domain,
            batch: id,
            reason,
        };
        context.out.event(subject.as_bytes(), &mut || go_json::compact(&event).unwrap_or_default());
    }
}
