//! A message with arbitrary headers, to a service of another account and perhaps into a trace. Used by the fuzz target
//! `headers` as well.

use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use broker_core::account::{AccountConfig, Export, Import, TraceDestination};
use broker_core::auth::{Grant, Permissions};
use broker_core::{Broker, HandlerSubscription, Options, RawMessage, Subject, SubjectFilter};
use serde_json::Value;

/// The parts of headers that something depends on. Other bytes of the input stand for themselves.
const PIECES: [&str; 32] = [
    "NATS/1.0\r\n",
    "\r\n",
    "\r",
    "\n",
    ":",
    ": ",
    " ",
    "\t",
    "Nats-Request-Info",
    "nats-request-info",
    "NATS-REQUEST-INFO",
    "Nats-Trace-Dest",
    "nats-trace-dest",
    "Nats-Trace-Only",
    "Nats-Trace-Hop",
    "Nats-Trace-Origin-Account",
    "Accept-Encoding",
    "traceparent",
    "TraceParent",
    "00-a-b-01",
    "00-a-b-00",
    "may.be",
    "no.way",
    "may.*",
    "trace disabled",
    "true",
    "1",
    "gzip",
    "s2",
    "br",
    "A: b\r\n",
    "Nats-Trace-Dest: may.be\r\n",
];

/// The subject, the headers and the payload of a message.
type Received = (String, Vec<u8>, Vec<u8>);

/// The messages that one account receives.
type Seen = Arc<Mutex<Vec<Received>>>;

/// Publishes a message whose headers are composed of [`PIECES`] by the bytes of the input, and checks what all receivers get.
pub(crate) fn play(data: &[u8]) {
    let [how, data @ ..] = data else { return };
    let mut block = Vec::new();
    if how & 1 == 0 {
        block.extend_from_slice(b"NATS/1.0\r\n");
    }
    for byte in data.iter().take(512) {
        match PIECES.get(usize::from(*byte)) {
            Some(piece) => block.extend_from_slice(piece.as_bytes()),
            None => block.push(*byte),
        }
    }
    if how & 2 == 0 {
        block.extend_from_slice(b"\r\n\r\n");
    }
    publish(&block, how & 4 == 0, how & 8 == 0);
}

fn publish(block: &[u8], may_trace: bool, has_destination: bool) {
    let filter = |text| SubjectFilter::parse(text).unwrap();
    let exporter = AccountConfig::new("E")
        .with_export(Export::service(filter("svc")).with_allow_trace(may_trace));
    let mut importer = AccountConfig::new("I").with_import(Import::service("E", filter("svc")));
    if has_destination {
        let destination = TraceDestination::new(Subject::parse("may.mark").unwrap());
        importer = importer.with_trace_destination(destination);
    }
    let accounts = vec![exporter.into(), importer.into()];
    let options = Options { accounts, ..Options::default() };
    let broker = Broker::new(options, (Instant::now, SystemTime::now));
    let (service, _of_service) = watch(&broker, "E");
    let (own, _of_own) = watch(&broker, "I");
    let permissions = Permissions::builder().publish_allow(["svc", "may.>"]).build().unwrap();
    let grant = Grant::anonymous().with_account("I").with_permissions(permissions);
    let subject = Subject::parse("svc").unwrap();
    let sent = RawMessage::new(&subject, b"x").with_headers(block);
    let _ = broker.client_as(grant).publish_raw(&sent);

    let (service, own) = (service.lock().unwrap(), own.lock().unwrap());
    let is_message = |(_, _, payload): &&Received| payload == b"x";
    assert!(service.iter().filter(is_message).count() <= 1, "{service:?}");
    for (subject, headers, payload) in &*service {
        // The client may have its trace sent to the service.
        let is_trace = own.iter().any(|(subject, _, trace)| subject == "svc" && trace == payload);
        assert!(subject == "svc" && (payload == b"x" || is_trace));
        let infos = values(headers, "nats-request-info");
        assert!(matches!(&infos[..], [one] if one == "{\"acc\":\"I\"}"), "{infos:?}");
    }
    let is_delivered = service.iter().chain(&*own).any(|received| is_message(&received));
    let events: Vec<_> = own.iter().filter(|received| !is_message(received)).collect();
    assert!(events.len() <= 1, "{events:?}");
    for (subject, _, payload) in events {
        assert!(
            subject.starts_with("may.") || subject == "svc",
            "a trace without permission: {subject}"
        );
        let Ok(event) = serde_json::from_slice::<Value>(payload) else {
            // Compressed.
            assert!(payload.starts_with(b"\x1f\x8b") || payload.starts_with(b"\xff\x06"));
            continue;
        };
        let header = |name: &str| event["request"]["header"][name][0].as_str();
        let only = header("Nats-Trace-Only").map(str::to_lowercase).unwrap_or_default();
        if header("Nats-Trace-Dest").is_some() {
            assert_eq!(header("Nats-Trace-Dest"), Some(&**subject));
            let is_only = ["1", "true", "on"].contains(&&*only);
            assert_eq!(is_delivered, !is_only, "{event}");
        } else {
            assert!(is_delivered && has_destination && subject == "may.mark", "{event}");
        }
        let services = event["events"].as_array().unwrap();
        let behind = services.iter().filter(|hop| hop["acc"] == "E" && hop["type"] == "eg");
        assert_eq!(behind.count(), usize::from(may_trace), "{event}");
    }
}

/// Returns all that an account receives.
fn watch(broker: &Broker, account: &str) -> (Seen, HandlerSubscription) {
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    let grant = Grant::anonymous().with_account(account);
    let handler = broker
        .handle(grant, ">", None, move |message, _| {
            let subject = String::from_utf8_lossy(message.subject()).into_owned();
            let parts = (subject, message.headers().to_vec(), message.payload().to_vec());
            noted.lock().unwrap().push(parts);
        })
        .unwrap();
    (seen, handler)
}

/// Returns the values of a header, as the most lenient reader finds them.
fn values(block: &[u8], name: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(block);
    let lines = text.split(['\r', '\n']).filter(|line| !line.starts_with([' ', '\t']));
    lines
        .filter_map(|line| line.split_once(':'))
        .filter(|(found, _)| found.trim().eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
        .collect()
}
