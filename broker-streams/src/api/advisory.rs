//! Advisories: events about requests and about changes of streams.
// NATS 2.14: jetstream_events.go.

use broker_core::go_json;
use serde::Serialize;

use super::client::ClientInfo;
use super::host::{ApiRequest, Origin};
use super::response::{StreamState, send_to};
use crate::config::Time;
use crate::outbox::Outbox;

const AUDIT: &str = "$JS.EVENT.ADVISORY.API";

#[derive(Serialize)]
struct Event<'a, B> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: String,
    timestamp: Time,
    #[serde(flatten)]
    body: B,
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'a str,
}

#[derive(Serialize)]
struct Audit<'a> {
    server: &'a str,
    client: ClientInfo<'a>,
    subject: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    request: &'a str,
    response: &'a str,
}

#[derive(Serialize)]
struct StreamAction<'a> {
    stream: &'a str,
    action: &'static str,
}

/// Publishes the audit advisory of a request and its answer.
pub(super) fn audit(
    origin: &mut dyn Origin,
    request: &ApiRequest<'_>,
    answer: &[u8],
    now: Time,
    out: &mut dyn Outbox,
) {
    if !out.has_interest(AUDIT.as_bytes(), None) {
        return;
    }
    let server = &origin.identity().server;
    let body = Audit {
        server,
        client: ClientInfo::of(request, server),
        subject: request.subject,
        request: &String::from_utf8_lossy(request.payload),
        response: &String::from_utf8_lossy(answer),
    };
    publish(origin, AUDIT, ("io.nats.jetstream.advisory.v1.api_audit", body), now, out);
}

/// A change of a stream.
#[derive(Clone, Copy)]
pub(super) enum Action {
    Create,
    Modify,
    Delete,
}

/// Publishes the advisory of a change of a stream.
pub(super) fn stream_action(
    origin: &mut dyn Origin,
    stream: &str,
    action: Action,
    now: Time,
    out: &mut dyn Outbox,
) {
    let (token, action) = match action {
        Action::Create => ("CREATED", "create"),
        Action::Modify => ("UPDATED", "modify"),
        Action::Delete => ("DELETED", "delete"),
    };
    let subject = format!("$JS.EVENT.ADVISORY.STREAM.{token}.{stream}");
    if out.has_interest(subject.as_bytes(), None) {
        let body = StreamAction { stream, action };
        let kind = "io.nats.jetstream.advisory.v1.stream_action";
        publish(origin, &subject, (kind, body), now, out);
    }
}

#[derive(Serialize)]
struct LimitReached<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    timestamp: Time,
    server: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'a str,
    dropped: u64,
}

/// Returns the advisory that requests were dropped by a server with a name in a domain.
pub(crate) fn limit_reached(
    (server, domain): (&str, &str),
    id: String,
    dropped: u64,
    timestamp: Time,
) -> Vec<u8> {
    let kind = "io.nats.jetstream.advisory.v1.api_limit_reached";
    let event = LimitReached { kind, id, timestamp, server, domain, dropped };
    go_json::compact(&event).unwrap_or_default()
}

/// An event of a backup, for an advisory.
#[derive(Clone, Debug)]
pub(crate) enum BackupEvent {
    /// A backup begins.
    SnapshotCreate(StreamState),
    /// A backup has ended.
    SnapshotComplete { start: Time },
    /// The restoration of a backup begins.
    RestoreCreate,
    /// The restoration has ended, after that many bytes.
    RestoreComplete { start: Time, bytes: u64 },
}

#[derive(Serialize)]
struct Backup<'a> {
    stream: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a StreamState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    client: ClientInfo<'a>,
}

/// Tells about a backup.
pub(crate) fn tell_backup(
    origin: &mut dyn Origin,
    request: &ApiRequest<'_>,
    stream: &str,
    event: &BackupEvent,
    now: Time,
    out: &mut dyn Outbox,
) {
    let (token, kind) = match event {
        BackupEvent::SnapshotCreate(_) => ("SNAPSHOT_CREATE", "snapshot_create"),
        BackupEvent::SnapshotComplete { .. } => ("SNAPSHOT_COMPLETE", "snapshot_complete"),
        BackupEvent::RestoreCreate => ("RESTORE_CREATE", "restore_create"),
        BackupEvent::RestoreComplete { .. } => ("RESTORE_COMPLETE", "restore_complete"),
    };
    let subject = format!("$JS.EVENT.ADVISORY.STREAM.{token}.{stream}");
    if !out.has_interest(subject.as_bytes(), None) {
        return;
    }
    let (state, start, bytes) = match event {
        BackupEvent::SnapshotCreate(state) => (Some(state), None, None),
        BackupEvent::SnapshotComplete { start } => (None, Some(*start), None),
        BackupEvent::RestoreCreate => (None, None, None),
        BackupEvent::RestoreComplete { start, bytes } => (None, Some(*start), Some(*bytes)),
    };
    let end = start.map(|_| now);
    let identity = origin.identity();
    let client = ClientInfo::of(request, &identity.server);
    let body = Backup { stream, state, start, end, bytes, client };
    let kind = format!("io.nats.jetstream.advisory.v1.{kind}");
    publish(origin, &subject, (&kind, body), now, out);
}

fn publish(
    origin: &mut dyn Origin,
    subject: &str,
    (kind, body): (&str, impl Serialize),
    timestamp: Time,
    out: &mut dyn Outbox,
) {
    let identity = origin.identity();
    let event = Event { kind, id: origin.unique_id(), timestamp, body, domain: &identity.domain };
    if let Ok(json) = go_json::compact(&event) {
        send_to(out, subject.as_bytes(), &json);
    }
}
