//! Advisories: events that tell about requests and what they change.
// NATS 2.14: jetstream_events.go.

use broker_core::go_json;
use serde::Serialize;
use serde_json::Value;

use super::call::Call;
use crate::config::Time;

const AUDIT: &str = "$JS.EVENT.ADVISORY.API";

#[derive(Serialize)]
struct Event<'a, B> {
    #[serde(rename = "type")]
    kind: &'static str,
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
    client: Option<Value>,
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

/// Tells about a request and its answer.
pub(super) fn audit(call: &mut Call<'_>, answer: &[u8]) {
    if !call.out.has_interest(AUDIT.as_bytes(), None) {
        return;
    }
    let identity = call.identity.clone();
    let request = String::from_utf8_lossy(call.request.payload);
    let body = Audit {
        server: &identity.server,
        client: client(call.request.client),
        subject: call.request.subject,
        request: &request,
        response: &String::from_utf8_lossy(answer),
    };
    publish(call, AUDIT, "io.nats.jetstream.advisory.v1.api_audit", body);
}

/// Returns what advisories say about a client: all but its credentials.
// NATS 2.14: events.go forAdvisory.
fn client(json: &[u8]) -> Option<Value> {
    let mut client: Value = serde_json::from_slice(json).ok()?;
    let members = client.as_object_mut()?;
    members.remove("jwt");
    members.remove("alts");
    Some(client)
}

/// What happened to a stream.
#[derive(Clone, Copy)]
pub(super) enum Action {
    Create,
    Modify,
    Delete,
}

/// Tells about a change of a stream.
pub(super) fn stream_action(call: &mut Call<'_>, stream: &str, action: Action) {
    let (token, action) = match action {
        Action::Create => ("CREATED", "create"),
        Action::Modify => ("UPDATED", "modify"),
        Action::Delete => ("DELETED", "delete"),
    };
    let subject = format!("$JS.EVENT.ADVISORY.STREAM.{token}.{stream}");
    if call.out.has_interest(subject.as_bytes(), None) {
        let body = StreamAction { stream, action };
        publish(call, &subject, "io.nats.jetstream.advisory.v1.stream_action", body);
    }
}

fn publish(call: &mut Call<'_>, subject: &str, kind: &'static str, body: impl Serialize) {
    let identity = call.identity.clone();
    let (id, timestamp) = (call.host.unique_id(), call.now);
    let event = Event { kind, id, timestamp, body, domain: &identity.domain };
    if let Ok(json) = go_json::compact(&event) {
        super::call::send_to(call.out, subject.as_bytes(), &json);
    }
}
