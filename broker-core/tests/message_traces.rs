//! Traced messages (ADR-41): their events, and what reaches whom.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use broker_core::account::{AccountConfig, Export, Import, Mapping, TraceDestination};
use broker_core::auth::{Authenticator, Credentials, Decision, Grant, Permissions};
use broker_core::{
    Broker, Client, HeaderMap, Options, PublishError, RawMessage, StreamReport, Subject,
    SubjectFilter, Subscriber,
};
use common::{Party, World};
use futures_executor::block_on;

const SAMPLED: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// `limited` may publish to `foo` and `may.>` only, `deaf` may not receive `foo.deaf`.
struct Users;

impl Authenticator for Users {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        let permissions = match &*credentials.user {
            "limited" => Permissions::builder().publish_allow(["foo", "may.>"]),
            "deaf" => Permissions::builder().subscribe_deny(["foo.deaf"]),
            _ => Permissions::builder(),
        };
        let permissions = permissions.build().unwrap();
        Grant::user(&*credentials.user).with_account("A").with_permissions(permissions).into()
    }
}

struct Traces {
    world: World,
    traces: Subscriber,
}

impl Traces {
    /// Starts a broker whose account A has this destination for marked messages.
    fn new(destination: Option<TraceDestination>) -> Self {
        let mut account = AccountConfig::new("A");
        account.trace_destination = destination;
        let options = Options { accounts: vec![account.into()], ..Options::default() };
        let clock = (Instant::now, SystemTime::now);
        let world = World::of(Broker::with_authenticator(options, clock, Users));
        let inside = world.broker.client_as(Grant::anonymous().with_account("A"));
        let traces = block_on(inside.subscribe("may.trace.>")).unwrap();
        Self { world, traces }
    }

    fn join(&mut self, name: &str, more: &str) -> Party {
        self.world.join_as(&format!(
            "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1,\
             \"user\":\"{name}\",\"name\":\"{name}\"{more}}}\r\n"
        ))
    }

    /// Publishes a message with these header lines. Returns what its sender gets.
    fn publish(&mut self, party: &mut Party, subject: &str, lines: &[&str]) -> String {
        self.send(party, &hpub(subject, lines))
    }

    fn send(&mut self, party: &mut Party, text: &str) -> String {
        party.read();
        self.world.send(party, text);
        party.read()
    }

    fn event(&mut self) -> Option<serde_json::Value> {
        let event = self.traces.try_next()?;
        Some(serde_json::from_slice(&event.payload).unwrap())
    }

    /// Returns the hops of the next event, each as type, name of the connection, subscription, queue and error.
    fn hops(&mut self) -> Vec<String> {
        let event = self.event().expect("an event");
        let hops = event["events"].as_array().unwrap().iter().map(|hop| {
            assert!(hop["ts"].as_str().unwrap().ends_with('Z'));
            let parts = ["type", "name", "acc", "subj", "from", "to", "sub", "queue", "error"];
            let parts = parts.iter().filter_map(|part| hop.get(part)?.as_str());
            parts.collect::<Vec<_>>().join(" ")
        });
        hops.collect()
    }
}

fn hpub(subject: &str, lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let headers = format!("NATS/1.0\r\n{lines}\r\n");
    let (header_len, len) = (headers.len(), headers.len() + 1);
    format!("HPUB {subject} {header_len} {len}\r\n{headers}x\r\n")
}

#[test]
fn an_event_lists_each_receiver_of_a_delivered_message() {
    let mut traces = Traces::new(None);
    let (mut a, mut b) = (traces.join("a", ""), traces.join("b", ",\"echo\":false"));
    traces.world.send(&mut a, "SUB foo 1\r\nSUB foo q 2\r\n");
    traces.world.send(&mut b, "SUB foo 1\r\nSUB * qq 2\r\n");
    let answer = traces.publish(&mut b, "foo", &["Nats-Trace-Dest: may.trace.1", "X: y"]);
    assert_eq!(answer, "");
    assert_eq!(a.read().matches("HMSG foo").count(), 2);
    assert_eq!(
        traces.hops(),
        [
            "in b A foo",
            "eg a foo",
            "eg b foo Not delivered because of no echo",
            "eg a foo q",
            "eg b * qq Not delivered because of no echo",
        ]
    );
    assert!(traces.event().is_none());

    traces.publish(&mut b, "foo", &["Nats-Trace-Dest: may.trace.1", "X: y"]);
    let event = traces.event().unwrap();
    let info = traces.world.broker.info();
    assert_eq!(event["server"]["id"], *info.server_id);
    assert_eq!(event["server"]["ver"], *info.version);
    assert_eq!(event["server"]["seq"], 2);
    assert_eq!(event["request"]["msgsize"], 49);
    assert_eq!(event["request"]["header"]["X"][0], "y");
    assert_eq!(event["events"][0]["cid"], b.session.id());
    assert_eq!(event["events"][0]["kind"], 0);
}

#[test]
fn a_message_that_is_only_traced_reaches_nobody() {
    let mut traces = Traces::new(None);
    let (mut a, mut b) = (traces.join("a", ""), traces.join("b", ",\"echo\":false"));
    traces.world.send(&mut a, "SUB foo 1\r\nSUB foo q 2\r\nUNSUB 1 1\r\n");
    traces.world.send(&mut b, "SUB foo 1\r\nSUB in 2\r\n");
    let only = ["Nats-Trace-Dest: may.trace.1", "Nats-Trace-Only: true"];
    assert_eq!(traces.publish(&mut b, "foo in", &only), "", "it would have reached a responder");
    assert_eq!(a.read(), "");
    let expected =
        ["in b A foo", "eg a foo", "eg b foo Not delivered because of no echo", "eg a foo q"];
    assert_eq!(traces.hops(), expected);
    // It did not count for the maximum of the subscription.
    traces.world.send(&mut b, "PUB foo 1\r\nx\r\n");
    assert_eq!(a.read().matches("MSG foo 1 ").count(), 1);
    // There would have been no responder.
    let answer = traces.publish(&mut b, "none in", &only);
    assert!(
        answer.starts_with("HMSG in 2 36 36\r\nNATS/1.0 503\r\nNats-Subject: none\r\n"),
        "{answer}"
    );
    assert_eq!(traces.hops(), ["in b A none"]);
}

#[test]
fn a_trace_goes_only_where_its_sender_may_publish() {
    let mut traces = Traces::new(None);
    let (mut a, mut limited) = (traces.join("a", ""), traces.join("limited", ""));
    traces.world.send(&mut a, "SUB foo 1\r\nSUB other.> 2\r\nSUB _GR_.> 3\r\n");
    for destination in ["other.trace", "_GR_.x", "$NRG.x"] {
        let line = format!("Nats-Trace-Dest: {destination}");
        let answer = traces.publish(&mut limited, "foo", &[&line]);
        let expected = format!("-ERR 'Permissions Violation for Publish to \"{destination}\"'\r\n");
        assert_eq!(answer, expected);
        assert_eq!(a.read(), "", "neither the message nor the event");
    }
    assert_eq!(traces.publish(&mut a, "foo", &["Nats-Trace-Dest: $NRG.x"]).lines().count(), 1);
    assert_eq!(a.read(), "");
    // The subject of the message itself: refused, and traced where the sender may publish.
    let answer = traces.publish(&mut limited, "bar", &["Nats-Trace-Dest: may.trace.1"]);
    assert_eq!(answer, "-ERR 'Permissions Violation for Publish to \"bar\"'\r\n");
    assert_eq!(traces.hops(), ["in limited A bar Permissions Violation for Publish to \"bar\""]);
    let answer = traces.publish(&mut a, "foo _R_.x", &["Nats-Trace-Dest: may.trace.1"]);
    assert_eq!(answer, "-ERR 'Permissions Violation for Publish with Reply of \"_R_.x\"'\r\n");
    assert_eq!(
        traces.hops(),
        ["in a A foo Permissions Violation for Publish with Reply of \"_R_.x\""]
    );
}

#[test]
fn reasons_against_a_delivery_are_those_of_the_reference() {
    let mut traces = Traces::new(None);
    let (mut a, mut deaf) = (traces.join("a", ""), traces.join("deaf", ""));
    traces.world.send(&mut deaf, "SUB foo.* 1\r\nSUB foo.deaf 2\r\nSUB foo.x 3\r\n");
    deaf.read();
    traces.publish(&mut a, "foo.deaf", &["Nats-Trace-Dest: may.trace.1"]);
    assert_eq!(
        traces.hops(),
        ["in a A foo.deaf", "eg deaf foo.* Not delivered because subscription denies this subject"]
    );
    // Its queue is closed, but its session has not left yet.
    traces.world.broker.kick(deaf.session.id());
    traces.publish(&mut a, "foo.x", &["Nats-Trace-Dest: may.trace.1"]);
    let closed = "Not delivered because client is closed";
    assert_eq!(
        traces.hops(),
        ["in a A foo.x", &format!("eg deaf foo.x {closed}"), &format!("eg deaf foo.* {closed}")]
    );
}

#[test]
fn an_oversized_message_is_traced_before_its_sender_is_closed() {
    let mut traces = Traces::new(None);
    let headers = "NATS/1.0\r\nNats-Trace-Dest: may.trace.1\r\n\r\n";
    let oversized = format!("HPUB foo {} 2000000\r\n{headers}xxx", headers.len());
    let mut a = traces.join("a", "");
    let answer = traces.send(&mut a, &oversized);
    assert_eq!(answer, "-ERR 'Maximum Payload Violation'\r\n");
    let event = traces.event().unwrap();
    assert_eq!(event["request"]["msgsize"], 2_000_000);
    assert_eq!(event["events"][0]["error"], "maximum payload exceeded");
    // The payload is not searched for headers.
    let mut a = traces.join("a", "");
    traces.world.send(&mut a, format!("HPUB foo 12 2000000\r\nNATS/1.0\r\n\r\n{headers}"));
    assert!(traces.event().is_none());
    // Nor is a trace sent where the sender may not publish.
    let mut limited = traces.join("limited", "");
    let answer = traces.send(&mut limited, &oversized.replace("may.trace", "not.trace"));
    assert_eq!(
        answer,
        "-ERR 'Permissions Violation for Publish to \"not.trace.1\"'\r\n-ERR 'Maximum Payload Violation'\r\n"
    );
}

#[test]
fn marked_messages_are_traced_if_the_account_has_a_destination() {
    let destination = TraceDestination::new(Subject::parse("may.trace.marked").unwrap());
    let mut traces = Traces::new(Some(destination));
    let mut a = traces.join("a", "");
    traces.world.send(&mut a, "SUB foo 1\r\n");
    let received = traces.publish(&mut a, "foo", &[SAMPLED]);
    assert_eq!(received, "HMSG foo 1 82 83\r\n".to_owned() + &block(&[SAMPLED]) + "x\r\n");
    assert_eq!(traces.hops(), ["in a A foo", "eg a foo"]);
    traces.publish(&mut a, "foo", &[&SAMPLED.to_uppercase().replace("-01", "-00")]);
    assert!(traces.event().is_none(), "it is not sampled");
    // A destination of its own has precedence.
    traces.publish(&mut a, "foo", &[SAMPLED, "Nats-Trace-Dest: may.trace.own"]);
    assert_eq!(&*traces.traces.try_next().unwrap().subject, "may.trace.own");
    // The account's destination is subject to the permissions of the sender, too.
    let denied = TraceDestination::new(Subject::parse("denied").unwrap());
    let account = AccountConfig::new("A").with_trace_destination(denied);
    let accounts = vec![account.into()];
    traces.world.broker.update_options(|options| options.accounts = accounts);
    let mut limited = traces.join("limited", "");
    let answer = traces.publish(&mut limited, "foo", &[SAMPLED]);
    assert_eq!(answer, "-ERR 'Permissions Violation for Publish to \"denied\"'\r\n");
    // A reload removes the destination, for connected clients as well.
    let accounts = vec![AccountConfig::new("A").into()];
    traces.world.broker.update_options(|options| options.accounts = accounts);
    a.read();
    assert_eq!(traces.publish(&mut limited, "foo", &[SAMPLED]), "");
    assert!(a.read().starts_with("HMSG foo"));
    assert!(traces.event().is_none());
}

fn block(lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("NATS/1.0\r\n{lines}\r\n")
}

#[test]
fn a_marked_message_outside_of_the_sample_is_traced_by_no_other_server() {
    let destination = TraceDestination::new(Subject::parse("may.trace.marked").unwrap());
    let mut traces = Traces::new(Some(destination.with_sampling(1)));
    let mut a = traces.join("a", "");
    traces.world.send(&mut a, "SUB foo 1\r\n");
    let disabled = block(&[SAMPLED, "Nats-Trace-Dest: trace disabled"]);
    let mut count = 0;
    for _ in 0..200 {
        let received = traces.publish(&mut a, "foo", &[SAMPLED]);
        if traces.event().is_none() {
            assert_eq!(received, format!("HMSG foo 1 115 116\r\n{disabled}x\r\n"));
            count += 1;
        }
    }
    assert!(count > 150, "{count}");
}

#[test]
fn a_mapping_is_a_hop_and_the_permission_is_that_of_its_result() {
    let mut traces = Traces::new(None);
    let mut account = AccountConfig::new("A");
    account = account.with_mapping(Mapping::to("orders.*", "foo").unwrap());
    account = account.with_mapping(Mapping::to("may.trace.mapped", "elsewhere").unwrap());
    account = account.with_mapping(Mapping::to("secret", "denied").unwrap());
    traces.world.broker.update_options(|options| options.accounts = vec![account.into()]);
    let (mut a, mut limited) = (traces.join("a", ""), traces.join("limited", ""));
    traces.world.send(&mut a, "SUB > 1\r\n");
    // The event itself is not mapped.
    let answer = traces.publish(&mut limited, "orders.1", &["Nats-Trace-Dest: may.trace.mapped"]);
    assert_eq!(answer, "");
    assert!(a.read().starts_with("HMSG foo 1 "));
    assert_eq!(traces.hops(), ["in limited A orders.1", "sm foo", "eg a >"]);
    let answer = traces.publish(&mut limited, "secret", &["Nats-Trace-Dest: may.trace.1"]);
    let refusal = "Permissions Violation for Publish to \"denied\"";
    assert_eq!(answer, format!("-ERR '{refusal}'\r\n"));
    assert_eq!(traces.hops(), [&format!("in limited A secret {refusal}"), "sm denied"]);
}

#[test]
fn an_outdated_header_disables_the_trace() {
    let mut traces = Traces::new(None);
    let mut a = traces.join("a", "");
    traces.world.send(&mut a, "SUB foo 1\r\n");
    let origin = "Nats-Trace-Origin-Account: A";
    let lines = ["Nats-Trace-Dest: may.trace.1", origin, "nats-trace-dest: may.trace.2"];
    let received = traces.publish(&mut a, "foo", &lines);
    let expected = block(&[origin, "Nats-Trace-Dest: trace disabled"]);
    assert_eq!(received, format!("HMSG foo 1 75 76\r\n{expected}x\r\n"));
    let lines = ["Nats-Trace-Dest: may.trace.1", origin, "Nats-Trace-Only: 1"];
    assert_eq!(traces.publish(&mut a, "foo", &lines), "");
    assert!(traces.event().is_none());
}

#[test]
fn an_event_is_compressed_if_its_sender_accepts_that() {
    let mut traces = Traces::new(None);
    let mut a = traces.join("a", "");
    for (accepted, encoding) in
        [("gzip", Some("gzip")), ("s2", Some("snappy")), ("br", Some("identity")), ("", None)]
    {
        let accept = format!("Accept-Encoding: {accepted}");
        traces.publish(&mut a, "foo", &["Nats-Trace-Dest: may.trace.1", &accept]);
        let event = traces.traces.try_next().unwrap();
        let headers = event.headers.unwrap_or_default();
        assert_eq!(headers.get("Content-Encoding"), encoding);
        let magic: &[u8] = match encoding {
            Some("gzip") => b"\x1f\x8b",
            Some("snappy") => b"\xff\x06\0\0sNaPpY",
            _ => b"{\"server\":",
        };
        assert!(event.payload.starts_with(magic), "{encoding:?}");
    }
}

#[test]
fn in_process_clients_and_handlers_are_traced_as_connections_are() {
    let mut traces = Traces::new(None);
    let broker = traces.world.broker.clone();
    let permissions = Permissions::builder().publish_allow(["foo", "may.>"]).build().unwrap();
    let grant = Grant::anonymous().with_account("A");
    let mut all = block_on(broker.client_as(grant.clone()).subscribe("foo")).unwrap();
    let client = broker.client_as(grant.clone().with_permissions(permissions));
    let publish = |client: &Client, lines: &[(&str, &str)]| {
        let headers: HeaderMap = lines.iter().copied().collect();
        block_on(client.publish_with_headers("foo", headers, "x".into()))
    };
    publish(&client, &[("Nats-Trace-Dest", "may.trace.1")]).unwrap();
    assert!(all.try_next().is_some());
    assert_eq!(traces.hops(), ["in A foo", "eg foo"]);
    publish(&client, &[("Nats-Trace-Dest", "may.trace.1"), ("Nats-Trace-Only", "on")]).unwrap();
    assert!(all.try_next().is_none());
    assert_eq!(traces.hops(), ["in A foo", "eg foo"]);
    let denied = publish(&client, &[("Nats-Trace-Dest", "not.here")]);
    assert_eq!(denied, Err(PublishError::Denied(Subject::parse("not.here").unwrap())));
    assert!(all.try_next().is_none());

    let block = block(&["Nats-Trace-Dest: may.trace.1"]);
    let _handler = broker
        .handle(grant, "ask", None, move |_, context| {
            let subject = Subject::parse("foo").unwrap();
            context
                .publish(&RawMessage::new(&subject, b"y").with_headers(block.as_bytes()))
                .unwrap();
        })
        .unwrap();
    let mut a = traces.join("a", "");
    traces.publish(&mut a, "ask", &["Nats-Trace-Dest: may.trace.1"]);
    assert_eq!(traces.hops(), ["in a A ask", "eg ask"]);
    assert_eq!(traces.hops(), ["in A foo", "eg foo"]);
    assert!(all.try_next().is_some());
}

#[test]
fn a_trace_names_the_stream_and_waits_for_its_report() {
    let mut traces = Traces::new(None);
    let broker = traces.world.broker.clone();
    let waiting = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&waiting);
    let stream = broker.handle_as_stream("A", "S", move |message, _| {
        kept.lock().unwrap().push((message.payload().to_vec(), message.trace().cloned()));
    });
    stream.subscribe("foo", None).unwrap();
    let mut a = traces.join("a", "");
    traces.publish(&mut a, "foo", &["X: y"]);
    assert!(waiting.lock().unwrap().pop().unwrap().1.is_none(), "it is not traced");

    for (lines, is_only) in [
        (&["Nats-Trace-Dest: may.trace.1"][..], false),
        (&["Nats-Trace-Dest: may.trace.1", "Nats-Trace-Only: 1"], true),
    ] {
        assert_eq!(traces.publish(&mut a, "foo", lines), "");
        assert!(traces.event().is_none(), "the stream has not reported");
        let (_, trace) = waiting.lock().unwrap().pop().unwrap();
        let trace = trace.unwrap();
        assert_eq!(trace.is_only(), is_only);
        let report = StreamReport { subject: "bar".into(), no_interest: true, error: None };
        broker.report_traced(&trace, report);
        let event = traces.event().unwrap();
        let hop = &event["events"][1];
        assert_eq!(hop["type"], "js");
        assert_eq!(
            (&hop["stream"], &hop["subject"], &hop["nointerest"]),
            (&"S".into(), &"bar".into(), &true.into())
        );
        assert!(
            hop["error"].is_null() && event["events"].as_array().unwrap().len() == 2,
            "{event}"
        );
    }
}

#[test]
fn a_trace_waits_for_each_stream_that_gets_the_message() {
    let mut traces = Traces::new(None);
    let broker = traces.world.broker.clone();
    let waiting = Arc::new(Mutex::new(Vec::new()));
    let streams = ["S", "T"].map(|name| {
        let kept = Arc::clone(&waiting);
        let stream = broker.handle_as_stream("A", name, move |message, _| {
            kept.lock().unwrap().push((name, message.trace().cloned().unwrap()));
        });
        stream.subscribe("foo", None).unwrap();
        stream
    });
    let mut a = traces.join("a", "");
    traces.publish(&mut a, "foo", &["Nats-Trace-Dest: may.trace.1"]);
    let waiting = std::mem::take(&mut *waiting.lock().unwrap());
    for (at, (name, trace)) in waiting.iter().enumerate() {
        assert!(traces.event().is_none(), "{at}");
        let error = Some(format!("of {name}"));
        broker.report_traced(trace, StreamReport { error, ..StreamReport::default() });
    }
    let event = traces.event().unwrap();
    for hop in &event["events"].as_array().unwrap()[1..] {
        assert_eq!(hop["error"], format!("of {}", hop["stream"].as_str().unwrap()));
    }
    drop(streams);
}

/// The accounts of the users `e…`, `i…` and `j…`.
struct Sharing;

impl Authenticator for Sharing {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        let account = credentials.user[..1].to_uppercase();
        Grant::user(&*credentials.user).with_account(account).into()
    }
}

/// E exports a stream and two services, of which one may be traced. I imports all, J the stream without traces.
fn sharing() -> Traces {
    let filter = |text: &str| SubjectFilter::parse(text).unwrap();
    let subject = |text: &str| filter(text);
    let accounts = vec![
        AccountConfig::new("E")
            .with_export(Export::service(filter("svc.t.*")).with_allow_trace(true))
            .with_export(Export::service(filter("svc.n.*")))
            .with_export(Export::stream(filter("str.>"))),
        AccountConfig::new("I")
            .with_import(Import::service("E", subject("svc.t.*")).with_to("t.*"))
            .with_import(Import::service("E", subject("svc.n.*")))
            .with_import(
                Import::stream("E", subject("str.>")).with_prefix("im").with_allow_trace(true),
            ),
        AccountConfig::new("J").with_import(Import::stream("E", subject("str.>"))),
    ];
    let accounts = accounts.into_iter().map(Into::into).collect();
    let options = Options { accounts, ..Options::default() };
    let clock = (Instant::now, SystemTime::now);
    let world = World::of(Broker::with_authenticator(options, clock, Sharing));
    let inside = world.broker.client_as(Grant::anonymous().with_account("I"));
    let traces = block_on(inside.subscribe("tr.>")).unwrap();
    Traces { world, traces }
}

/// Measured on nats-server 2.14.5.
#[test]
fn a_trace_follows_a_request_into_a_service_that_allows_it() {
    let mut traces = sharing();
    let (mut e, mut i) = (traces.join("e", ""), traces.join("i", ""));
    traces.world.send(&mut e, "SUB svc.> 5\r\nSUB tr.> 6\r\n");
    traces.world.send(&mut i, "SUB in 7\r\n");
    let traced = ["Nats-Trace-Dest: tr.1"];
    let only = ["Nats-Trace-Dest: tr.1", "Nats-Trace-Only: 1"];

    assert_eq!(traces.publish(&mut i, "t.1 in", &traced), "");
    assert_eq!(traces.hops(), ["in i I t.1", "si E t.1 svc.t.1", "eg e E svc.>"]);
    let request = e.read();
    assert!(request.starts_with("HMSG svc.t.1 5 _R_."), "{request}");
    // The subject of the requester's account is not shown.
    assert!(request.contains("\r\nNats-Trace-Dest: _R_."), "{request}");
    assert!(!request.contains("tr.1"), "{request}");

    assert_eq!(traces.publish(&mut i, "t.1 in", &only), "", "it would have been answered");
    assert_eq!(traces.hops(), ["in i I t.1", "si E t.1 svc.t.1", "eg e E svc.>"]);
    assert_eq!(e.read(), "");

    assert_eq!(traces.publish(&mut i, "svc.n.1 in", &traced), "");
    assert_eq!(traces.hops(), ["in i I svc.n.1", "si E svc.n.1 svc.n.1"]);
    let request = e.read();
    assert!(request.contains("\r\nNats-Trace-Dest: trace disabled\r\n"), "{request}");

    let answer = traces.publish(&mut i, "svc.n.1 in", &only);
    assert!(answer.starts_with("HMSG in 7 39 39\r\nNATS/1.0 503\r\nNats-Subject: svc.n.1"));
    assert_eq!(traces.hops(), ["in i I svc.n.1", "si E svc.n.1 svc.n.1"]);
    assert_eq!(e.read(), "");

    traces.world.send(&mut e, "UNSUB 5\r\n");
    let answer = traces.publish(&mut i, "t.1 in", &traced);
    assert!(answer.starts_with("HMSG in 7 35 35\r\nNATS/1.0 503\r\nNats-Subject: t.1"));
    assert_eq!(traces.hops(), ["in i I t.1", "si E t.1 svc.t.1"]);
    assert_eq!(e.read(), "", "no event of another account");
}

/// Measured on nats-server 2.14.5.
#[test]
fn the_trace_of_a_response_ends_where_it_leaves_the_account() {
    let mut traces = sharing();
    let (mut e, mut i) = (traces.join("e", ""), traces.join("i", ""));
    let inside = traces.world.broker.client_as(Grant::anonymous().with_account("E"));
    traces.traces = block_on(inside.subscribe("tr.>")).unwrap();
    traces.world.send(&mut e, "SUB svc.> 5\r\n");
    for (lines, is_answered) in [
        (&["Nats-Trace-Dest: tr.e"][..], true),
        (&["Nats-Trace-Dest: tr.e", "Nats-Trace-Only: 1"][..], false),
    ] {
        traces.world.send(&mut i, "SUB in 7\r\nPUB t.1 in 1\r\nx\r\n");
        i.read();
        let request = e.read();
        let reply = request.split(' ').nth(3).unwrap().to_owned();
        assert!(reply.starts_with("_R_."), "{request}");
        assert_eq!(traces.publish(&mut e, &reply, lines), "");
        assert_eq!(traces.hops(), [format!("in e E {reply}"), format!("si I {reply} in")]);
        let answer = i.read();
        assert_eq!(answer.starts_with("HMSG in 7 "), is_answered, "{answer}");
        assert_eq!(answer.contains("\r\nNats-Trace-Dest: trace disabled\r\n"), is_answered);
        // In both cases the request has had its response.
        traces.world.send(&mut e, format!("PUB {reply} 1\r\nx\r\n"));
        assert_eq!(i.read(), "");
    }
}

/// Measured on nats-server 2.14.5.
#[test]
fn a_trace_follows_a_stream_into_the_accounts_that_allow_it() {
    let mut traces = sharing();
    let inside = traces.world.broker.client_as(Grant::anonymous().with_account("E"));
    traces.traces = block_on(inside.subscribe("tr.>")).unwrap();
    let (mut e, mut i, mut j) = (traces.join("e", ""), traces.join("i", ""), traces.join("j", ""));
    traces.world.send(&mut i, "SUB im.> 6\r\nSUB tr.> 9\r\n");
    traces.world.send(&mut j, "SUB str.> 7\r\nSUB str.> q 8\r\n");
    let expected = ["in e E str.1", "se I im.str.1", "eg i I str.>", "se J str.1", "se J str.1"];
    traces.publish(&mut e, "str.1", &["Nats-Trace-Dest: tr.1"]);
    assert_eq!(traces.hops(), expected);
    assert_eq!(i.read().matches("HMSG im.str.1 6 ").count(), 1);
    assert_eq!(j.read().matches("HMSG str.1 ").count(), 2);
    traces.publish(&mut e, "str.1", &["Nats-Trace-Dest: tr.1", "Nats-Trace-Only: 1"]);
    assert_eq!(traces.hops(), expected);
    assert_eq!((i.read(), j.read()), (String::new(), String::new()));
}

#[test]
fn the_event_itself_may_go_to_a_service_of_another_account() {
    let mut traces = sharing();
    let (mut e, mut i) = (traces.join("e", ""), traces.join("i", ",\"echo\":false"));
    traces.world.send(&mut e, "SUB svc.> 5\r\n");
    traces.world.send(&mut i, "SUB tr.> 1\r\n");
    traces.publish(&mut i, "nobody", &["Nats-Trace-Dest: t.9"]);
    let event = e.read();
    assert!(event.starts_with("HMSG svc.t.9 5 "), "{event}");
    assert!(event.contains("Nats-Request-Info: {\"acc\":\"I\""), "{event}");
    let own = traces.publish(&mut i, "nobody", &["Nats-Trace-Dest: tr.own"]);
    assert!(own.starts_with("MSG tr.own 1 "), "the server publishes it: {own}");
}
