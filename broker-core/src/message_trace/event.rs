//! The hops of a traced message, as its trace event lists them.

use serde::Serialize;

use crate::timestamp::Timestamp;

/// One hop of a message within this server.
// NATS 2.14: msgtrace.go. The order of the members is that of the reference.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "type")]
pub(crate) enum Hop {
    /// The message has entered the server.
    #[serde(rename = "in")]
    Ingress {
        ts: Timestamp,
        kind: u8,
        cid: u64,
        #[serde(skip_serializing_if = "String::is_empty")]
        name: String,
        #[serde(rename = "acc")]
        account: String,
        #[serde(rename = "subj")]
        subject: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A mapping of the account has replaced its subject.
    #[serde(rename = "sm")]
    SubjectMapping { ts: Timestamp, to: String },
    /// It goes to a subscription of another account, which imports the stream.
    #[serde(rename = "se")]
    StreamExport {
        ts: Timestamp,
        #[serde(rename = "acc")]
        account: String,
        to: String,
    },
    /// It goes to another account, which exports the service.
    #[serde(rename = "si")]
    ServiceImport {
        ts: Timestamp,
        #[serde(rename = "acc")]
        account: String,
        from: String,
        to: String,
    },
    /// It goes into a stream.
    #[serde(rename = "js")]
    JetStream {
        ts: Timestamp,
        stream: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        subject: String,
        #[serde(rename = "nointerest", skip_serializing_if = "std::ops::Not::not")]
        no_interest: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// It has left the server, or could not.
    #[serde(rename = "eg")]
    Egress {
        ts: Timestamp,
        kind: u8,
        cid: u64,
        #[serde(skip_serializing_if = "String::is_empty")]
        name: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        hop: String,
        #[serde(rename = "acc", skip_serializing_if = "String::is_empty")]
        account: String,
        #[serde(rename = "sub", skip_serializing_if = "String::is_empty")]
        subscription: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        queue: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'static str>,
    },
}

/// The reason why a subscription did not get a traced message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NotDelivered {
    NoEcho,
    SubscriptionDenied,
    SubscriptionClosed,
    ClientClosed,
    MaxReached,
    /// Another member of the queue group took the message, because this one does not keep up.
    Crowded,
    /// The message is only to be traced, and the peer would deliver it.
    PeerCannotTrace,
    /// The peer gets the message, but sends no event.
    PeerDoesNotTrace,
}

impl NotDelivered {
    /// Returns the text in the event.
    // NATS 2.14: msgtrace.go errMsgTrace….
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::NoEcho => "Not delivered because of no echo",
            Self::SubscriptionDenied => "Not delivered because subscription denies this subject",
            Self::SubscriptionClosed => "Not delivered because subscription is closed",
            Self::ClientClosed => "Not delivered because client is closed",
            Self::PeerCannotTrace => {
                "Not delivered because remote does not support message tracing"
            }
            Self::PeerDoesNotTrace => {
                "Message delivered but remote does not support message tracing so no trace event \
                 generated from there"
            }
            Self::Crowded => "Not delivered because fast producer not stalled and consumer is slow",
            Self::MaxReached => "Not delivered because auto-unsubscribe exceeded",
        }
    }
}
