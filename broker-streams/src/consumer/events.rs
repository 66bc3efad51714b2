//! The advisories and metrics of consumers.

use broker_core::go_json;
use serde::Serialize;

use super::Consumer;
use crate::config::Time;
use crate::outbox::Outbox;

/// Any event; fields that an event does not have are not written.
// NATS 2.14: jetstream_events.go.
#[derive(Debug, Default, Serialize)]
pub(super) struct Event<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) id: String,
    pub(super) timestamp: Time,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) account: &'a str,
    pub(super) stream: &'a str,
    pub(super) consumer: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) paused: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pause_until: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) consumer_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stream_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ack_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deliveries: Option<u64>,
    #[serde(rename = "reason", skip_serializing_if = "str::is_empty")]
    pub(super) term_reason: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) domain: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pinned_id: Option<&'a str>,
    #[serde(rename = "reason", skip_serializing_if = "str::is_empty")]
    pub(super) unpin_reason: &'a str,
}

/// A kind of event.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Created,
    Deleted,
    Paused,
    Acked,
    MaxDeliveries,
    Naked,
    Terminated,
    Pinned,
    Unpinned,
}

impl Kind {
    /// Returns the subject, without the names that follow.
    fn subject(self) -> &'static str {
        match self {
            Self::Created => "$JS.EVENT.ADVISORY.CONSUMER.CREATED",
            Self::Deleted => "$JS.EVENT.ADVISORY.CONSUMER.DELETED",
            Self::Paused => "$JS.EVENT.ADVISORY.CONSUMER.PAUSE",
            Self::Acked => "$JS.EVENT.METRIC.CONSUMER.ACK",
            Self::MaxDeliveries => "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES",
            Self::Naked => "$JS.EVENT.ADVISORY.CONSUMER.MSG_NAKED",
            Self::Terminated => "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED",
            Self::Pinned => "$JS.EVENT.ADVISORY.CONSUMER.PINNED",
            Self::Unpinned => "$JS.EVENT.ADVISORY.CONSUMER.UNPINNED",
        }
    }

    /// Returns the type of the event.
    fn type_name(self) -> &'static str {
        match self {
            Self::Created | Self::Deleted => "io.nats.jetstream.advisory.v1.consumer_action",
            Self::Paused => "io.nats.jetstream.advisory.v1.consumer_pause",
            Self::Acked => "io.nats.jetstream.metric.v1.consumer_ack",
            Self::MaxDeliveries => "io.nats.jetstream.advisory.v1.max_deliver",
            Self::Naked => "io.nats.jetstream.advisory.v1.nak",
            Self::Terminated => "io.nats.jetstream.advisory.v1.terminated",
            Self::Pinned => "io.nats.jetstream.advisory.v1.consumer_group_pinned",
            Self::Unpinned => "io.nats.jetstream.advisory.v1.consumer_group_unpinned",
        }
    }
}

impl Consumer {
    /// Sends an event if its subject has a subscriber.
    pub(super) fn event(&mut self, kind: Kind, event: &Event<'_>, now: Time, out: &mut dyn Outbox) {
        let scope = &self.scope;
        let subject = format!("{}.{}.{}", kind.subject(), scope.stream, scope.name);
        let event = Event {
            kind: kind.type_name(),
            id: self.random.id(),
            timestamp: now,
            stream: &scope.stream,
            consumer: &scope.name,
            domain: &scope.domain,
            ..*event
        };
        out.event(subject.as_bytes(), &mut || go_json::compact(&event).unwrap_or_default());
    }

    /// Sends an event about one message.
    pub(super) fn message_event(
        &mut self,
        kind: Kind,
        message: Message<'_>,
        now: Time,
        out: &mut dyn Outbox,
    ) {
        let event = Event {
            consumer_seq: message.delivery,
            stream_seq: Some(message.sequence),
            deliveries: Some(message.deliveries),
            ack_time: message.ack_time,
            term_reason: message.reason,
            ..Event::default()
        };
        self.event(kind, &event, now, out);
    }
}

/// The message that an event is about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Message<'a> {
    pub(super) sequence: u64,
    pub(super) delivery: Option<u64>,
    pub(super) deliveries: u64,
    pub(super) ack_time: Option<i64>,
    pub(super) reason: &'a str,
}
