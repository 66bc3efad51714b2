//! Accounts, what they share, and traces, over routes.

use std::time::Duration;

use broker_core::account::{AccountConfig, Export, Import, Sampling, ServiceLatency};
use broker_core::auth::Grant;
use broker_core::system::{ServiceRequest, SystemEvent, SystemListener};
use broker_core::{Client, HeaderMap, Options, Subject, Subscriber};
use futures_executor::block_on;

use super::mesh::{Mesh, options};

fn with_accounts(node: usize, dials: &[usize], accounts: &[AccountConfig]) -> Options {
    let accounts = accounts.iter().cloned().map(Into::into).collect();
    Options { accounts, ..options(node, dials) }
}

fn client(mesh: &Mesh, node: usize, account: &str) -> Client {
    mesh.nodes[node].broker.client_as(Grant::anonymous().with_account(account))
}

fn payloads(subscriber: &mut Subscriber) -> Vec<String> {
    let messages = std::iter::from_fn(|| subscriber.try_next());
    messages.map(|message| String::from_utf8_lossy(&message.payload).into_owned()).collect()
}

#[test]
fn nothing_crosses_accounts() {
    let accounts = ["A", "B"].map(AccountConfig::new);
    let mut mesh =
        Mesh::start(vec![with_accounts(0, &[], &accounts), with_accounts(1, &[0], &accounts)]);
    let mut of_b = block_on(client(&mesh, 1, "B").subscribe(">")).unwrap();
    let mut of_a = block_on(client(&mesh, 1, "A").subscribe(">")).unwrap();
    mesh.settle();
    block_on(client(&mesh, 0, "A").publish("x", "one".into())).unwrap();
    mesh.settle();
    assert_eq!((payloads(&mut of_a), payloads(&mut of_b)), (vec!["one".into()], vec![]));
}

#[test]
fn an_imported_service_answers_from_another_server() {
    let accounts = [
        AccountConfig::new("S").with_export(Export::service("time.*".parse().unwrap())),
        AccountConfig::new("C").with_import(Import::service("S", "time.*".parse().unwrap())),
    ];
    let mut mesh =
        Mesh::start(vec![with_accounts(0, &[], &accounts), with_accounts(1, &[0], &accounts)]);
    let asking = client(&mesh, 0, "C");
    let mut inbox = block_on(asking.subscribe("answers")).unwrap();
    let answering = client(&mesh, 1, "S");
    let mut requests = block_on(answering.subscribe("time.*")).unwrap();
    mesh.settle();
    block_on(asking.publish_with_reply("time.eu", "answers", "now".into())).unwrap();
    mesh.settle();
    let request = requests.try_next().unwrap();
    block_on(answering.publish(request.reply.as_deref().unwrap(), "noon".into())).unwrap();
    mesh.settle();
    assert_eq!(payloads(&mut inbox), ["noon"]);
    assert!(requests.try_next().is_none(), "the request is passed on by one server only");
}

/// A program that takes no events.
struct Listener;

impl SystemListener for Listener {
    fn notice(&self, _: SystemEvent<'_>) {}

    fn serve(&self, _: &ServiceRequest<'_>) -> bool {
        false
    }
}

#[test]
fn the_response_time_of_a_service_on_another_server_is_measured_there() {
    let latency = ServiceLatency::new(Subject::parse("latency").unwrap(), Sampling::Percent(100));
    let service = Export::service("time".parse().unwrap()).with_latency(latency);
    let accounts = [
        AccountConfig::new("S").with_export(service),
        AccountConfig::new("C").with_import(Import::service("S", "time".parse().unwrap())),
    ];
    let mut mesh =
        Mesh::start(vec![with_accounts(0, &[], &accounts), with_accounts(1, &[0], &accounts)]);
    let asked = mesh.nodes[0].broker.clone();
    asked.set_system_listener(Some(Box::new(Listener)));
    let system = client(&mesh, 0, "$SYS");
    let mut reports = block_on(system.subscribe(asked.remote_latency_subject())).unwrap();
    let asking = client(&mesh, 0, "C");
    let mut inbox = block_on(asking.subscribe("answers")).unwrap();
    let mut measured = block_on(client(&mesh, 0, "S").subscribe("latency")).unwrap();
    let answering = client(&mesh, 1, "S");
    let mut requests = block_on(answering.subscribe("time")).unwrap();
    mesh.settle();
    for comes_first in ["response", "report"] {
        block_on(asking.publish_with_reply("time", "answers", "now".into())).unwrap();
        mesh.settle();
        mesh.pass(Duration::from_millis(30));
        let reply = requests.try_next().unwrap().reply.unwrap().to_string();
        assert!(reply.ends_with(".T"), "{reply}");
        // Another route carries the system account, and may be faster.
        if comes_first == "report" {
            let responder = r#""responder":{"acc":"S","rtt":0},"service":30000000"#;
            let report = format!(r#"{{"account":"S","req_id":"{reply}","m2":{{{responder}}}}}"#);
            asked.take_remote_latency(report.as_bytes()).unwrap();
        }
        block_on(answering.publish(&*reply, "noon".into())).unwrap();
        mesh.settle();
        assert_eq!(payloads(&mut inbox), ["noon"]);
        let report = reports.try_next().unwrap();
        if comes_first == "response" {
            assert_eq!(payloads(&mut measured).len(), 0, "the other half is missing");
            asked.take_remote_latency(&report.payload).unwrap();
        }
        let events = payloads(&mut measured);
        assert_eq!(events.len(), 1, "{comes_first}");
        let event: serde_json::Value = serde_json::from_str(&events[0]).unwrap();
        assert_eq!(event["type"], "io.nats.server.metric.v1.service_latency");
        assert_eq!((&event["status"], &event["requestor"]["acc"]), (&200.into(), &"C".into()));
        assert_eq!(event["responder"]["acc"], "S");
        if comes_first == "response" {
            assert_eq!(event["responder"]["cluster"], "C");
        }
        assert_eq!(event["service"], 30_000_000);
        assert_eq!(event["total"], 30_000_000);
    }
    assert!(asked.take_remote_latency(b"{").is_err());
    asked.take_remote_latency(br#"{"account":"S","req_id":"_R_.a.b.c.T","m2":{}}"#).unwrap();
    assert_eq!(payloads(&mut measured).len(), 0);
}

#[test]
fn an_imported_stream_arrives_from_another_server_whichever_came_first() {
    let accounts = [
        AccountConfig::new("P").with_export(Export::stream("news.>".parse().unwrap())),
        AccountConfig::new("R").with_import(Import::stream("P", "news.>".parse().unwrap())),
    ];
    let mut mesh = Mesh::start(vec![with_accounts(0, &[], &accounts)]);
    let mut early = block_on(client(&mesh, 0, "R").subscribe("news.*")).unwrap();
    mesh.add(with_accounts(1, &[0], &accounts));
    let mut late = block_on(client(&mesh, 0, "R").subscribe("news.eu")).unwrap();
    mesh.settle();
    block_on(client(&mesh, 1, "P").publish("news.eu", "hello".into())).unwrap();
    mesh.settle();
    assert_eq!(
        (payloads(&mut early), payloads(&mut late)),
        (vec!["hello".into()], vec!["hello".into()])
    );
}

#[test]
fn a_trace_goes_on_at_the_next_server() {
    let mut mesh = Mesh::of(2);
    let [near, far] = [0, 1].map(|node| mesh.nodes[node].broker.client());
    let mut events = block_on(near.subscribe("traces")).unwrap();
    let mut messages = block_on(far.subscribe("orders")).unwrap();
    mesh.settle();
    for (only, delivered) in [(None, 1), (Some("true"), 0)] {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Trace-Dest", "traces");
        if let Some(only) = only {
            headers.insert("Nats-Trace-Only", only);
        }
        block_on(near.publish_with_headers("orders", headers, "x".into())).unwrap();
        mesh.settle();
        assert_eq!(payloads(&mut messages).len(), delivered);
        let events = payloads(&mut events);
        let first: Vec<serde_json::Value> =
            events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
        assert_eq!(first.len(), 2, "{events:?}");
        assert_eq!((&first[0]["server"]["name"], &first[0]["hops"]), (&"n0".into(), &1.into()));
        assert_eq!(first[0]["events"][1]["hop"], "1");
        assert_eq!(first[0]["events"][1]["name"], "n1");
        assert_eq!(first[1]["server"]["name"], "n1");
        assert_eq!(first[1]["request"]["header"]["Nats-Trace-Hop"][0], "1");
        let ingress = &first[1]["events"][0];
        assert_eq!((&ingress["kind"], &ingress["name"]), (&1.into(), &"n0".into()));
        assert_eq!(first[1]["events"][1]["type"], "eg");
    }
}
