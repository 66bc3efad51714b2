//! Services that accounts import from each other.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::time::{Duration, Instant, SystemTime};

use broker_core::account::{
    AccountConfig, Export, ExportAccess, Import, ResponseType, Sampling, ServiceLatency,
};
use broker_core::auth::{User, Users};
use broker_core::endpoint::Scratch;
use broker_core::{Broker, Options, ServerMessage, Subject, SubjectFilter};
use common::{Party, World};

fn filter(text: &str) -> SubjectFilter {
    SubjectFilter::parse(text).unwrap()
}

fn service(text: &str) -> Export {
    Export::service(filter(text))
}

fn import(account: &str, text: &str) -> Import {
    Import::service(account, filter(text))
}

/// A broker in which each user `a` to `d` is in the account of the same letter.
fn world(accounts: Vec<AccountConfig>) -> World {
    let accounts = accounts.into_iter().map(Into::into).collect();
    let options = Options { accounts, ..Options::default() };
    let mut users = Users::builder();
    for (name, account) in [("a", "A"), ("b", "B"), ("c", "C"), ("d", "D")] {
        users = users.user(User::new(name, "").account(account));
    }
    let clock = (Instant::now, SystemTime::now);
    World::of(Broker::with_authenticator(options, clock, users.build().unwrap()))
}

fn join(world: &mut World, user: &str) -> Party {
    world.join_as(&format!(
        "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true,\"user\":\"{user}\",\
         \"pass\":\"\",\"name\":\"n\",\"lang\":\"l\",\"version\":\"v\"}}\r\n"
    ))
}

/// A request as a service gets it.
struct Request {
    subject: String,
    reply: String,
    headers: String,
    payload: String,
}

impl Request {
    fn read(party: &Party) -> Self {
        let text = party.read();
        let (line, rest) = text.split_once("\r\n").unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[0], "HMSG", "{text}");
        let sizes = &words[words.len() - 2..];
        let [headers, size] = [sizes[0], sizes[1]].map(|size| size.parse::<usize>().unwrap());
        assert_eq!(rest.len(), size + 2, "{text}");
        Self {
            subject: words[1].into(),
            reply: if words.len() == 6 { words[3].into() } else { String::new() },
            headers: rest[..headers].into(),
            payload: rest[headers..size].into(),
        }
    }

    /// Returns the description of the sender, without its round trip.
    fn info(&self) -> String {
        let mut lines = self.headers.lines();
        let info = lines.find_map(|line| line.strip_prefix("Nats-Request-Info: ")).unwrap();
        let Some((before, rest)) = info.split_once(",\"rtt\":") else { return info.into() };
        let rest = rest.trim_start_matches(|letter: char| letter.is_ascii_digit());
        format!("{before}{rest}")
    }
}

#[test]
fn a_request_reaches_the_service_of_another_account_and_its_response_the_requester() {
    let mut world = world(vec![
        AccountConfig::new("A").with_export(service("add.*")),
        AccountConfig::new("B").with_import(import("A", "add.*").with_to("calc.$1")),
    ]);
    let (mut a, mut b) = (join(&mut world, "a"), join(&mut world, "b"));
    world.send(&mut a, "SUB add.* 1\r\n");
    world.send(&mut b, "SUB _INBOX.x 5\r\nPUB calc.one _INBOX.x 3\r\n1+1\r\n");
    let request = Request::read(&a);
    assert_eq!((&*request.subject, &*request.payload), ("add.one", "1+1"));
    assert!(request.headers.starts_with("NATS/1.0\r\nNats-Request-Info: {"), "{}", request.headers);
    assert!(request.headers.ends_with("}\r\n\r\n"));
    assert_eq!(request.info(), "{\"acc\":\"B\"}");
    let reply = request.reply;
    assert!(reply.starts_with("_R_.") && reply.len() == 17, "{reply}");
    assert_eq!(world.broker.shares("A", 10).unwrap().responses[0].0, reply);
    world.send(&mut a, format!("PUB {reply} 1\r\n2\r\n"));
    assert_eq!(b.read(), "MSG _INBOX.x 5 1\r\n2\r\n");
    world.send(&mut a, format!("SUB r 2\r\nPUB {reply} r 1\r\n2\r\n"));
    assert_eq!(b.read(), "", "there is one response");
    assert!(a.read().contains("503"), "the responder is told");
    assert!(world.broker.shares("A", 10).unwrap().responses.is_empty());
}

/// A stream reads the number of a message of a fast batch from the reply subject of its publisher.
#[test]
fn the_reply_subject_of_a_fast_batch_is_told_by_each_service() {
    let mut world = world(vec![
        AccountConfig::new("A").with_export(service("add")),
        AccountConfig::new("B").with_import(import("A", "add")).with_export(service("add")),
        AccountConfig::new("C").with_import(import("B", "add")),
    ]);
    let mut a = join(&mut world, "a");
    world.send(&mut a, "SUB add 1\r\n");
    for (user, info) in [("b", r#"{"acc":"B""#), ("c", r#"{"acc":"C","svc":"B""#)] {
        let mut party = join(&mut world, user);
        let mut of = |reply: &str| {
            world.send(&mut party, format!("PUB add {reply} 0\r\n\r\n"));
            let request = Request::read(&a);
            assert!(request.reply.starts_with("_R_."));
            request.info()
        };
        let told = format!(r#"{info},"reply":"x.id.1.ok.1.0.$FI"}}"#);
        assert_eq!(of("x.id.1.ok.1.0.$FI"), told);
        assert_eq!(of("x"), format!("{info}}}"));
        world.send(&mut party, "PUB add x 0\r\n\r\nPUB add y.$FI 0\r\n\r\nPUB add z 0\r\n\r\n");
        let text = a.read();
        assert_eq!(
            (text.matches("Request-Info").count(), text.matches(r#""reply":"y.$FI""#).count()),
            (3, 1)
        );
        let own = "NATS/1.0\r\nNats-Request-Info: {\"reply\":\"own.$FI\"}\r\n\r\n";
        let len = own.len();
        world.send(&mut party, format!("HPUB add x {len} {len}\r\n{own}\r\n"));
        assert_eq!(Request::read(&a).info(), format!("{info}}}"), "that of the sender is removed");
    }
}

/// Consecutive requests are passed on together: each as if it were alone.
#[test]
fn requests_in_one_read_are_passed_on_in_order() {
    let mut world = world(vec![
        AccountConfig::new("A").with_export(service("add.*")),
        AccountConfig::new("B").with_import(import("A", "add.*").with_to("calc.$1")),
    ]);
    let (mut a, mut b) = (join(&mut world, "a"), join(&mut world, "b"));
    world.send(&mut a, "SUB add.* 1\r\n");
    world.send(&mut b, "SUB in.* 5\r\n");
    let headers = "NATS/1.0\r\nk: v\r\n\r\n";
    let request = |number: usize| {
        let payload = format!("{number}{}", "x".repeat(number * 7 % 900));
        let (head, size) = (headers.len(), payload.len());
        match number % 3 {
            0 => format!("PUB calc.one in.{number} {size}\r\n{payload}\r\n"),
            1 => format!("PUB calc.one {size}\r\n{payload}\r\n"),
            _ => format!(
                "HPUB calc.one in.{number} {head} {}\r\n{headers}{payload}\r\n",
                head + size
            ),
        }
    };
    world.send(&mut b, (0..200).map(request).collect::<String>());
    let text = a.read();
    let mut rest = &*text;
    let mut responses = String::new();
    for number in 0..200 {
        let (line, behind) = rest.split_once("\r\n").unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let has_reply = number % 3 != 1;
        assert_eq!(
            (words[0], words[1], words.len()),
            ("HMSG", "add.one", 5 + usize::from(has_reply))
        );
        let [head, size] = [words.len() - 2, words.len() - 1].map(|at| words[at].parse().unwrap());
        let fields = &behind[..head];
        assert_eq!(fields.contains("\r\nk: v\r\n"), number % 3 == 2, "{fields}");
        assert!(fields.contains("Nats-Request-Info: {\"acc\":\"B\""), "{fields}");
        let payload: &str = &behind[head..size];
        assert_eq!(payload, format!("{number}{}", "x".repeat(number * 7 % 900)));
        rest = &behind[size + 2..];
        if has_reply {
            responses += &format!("PUB {} 2\r\nok\r\n", words[3]);
        }
    }
    assert_eq!(rest, "");
    world.send(&mut a, responses);
    let expected =
        (0..200).filter(|number| number % 3 != 1).map(|n| format!("MSG in.{n} 5 2\r\nok\r\n"));
    assert_eq!(b.read(), expected.collect::<String>());
    assert!(world.broker.shares("A", 10).unwrap().responses.is_empty());
}

#[test]
fn the_requests_behind_the_last_one_of_a_service_have_no_responders() {
    let mut world = world(vec![
        AccountConfig::new("A").with_export(service("add")),
        AccountConfig::new("B").with_import(import("A", "add")),
    ]);
    let (mut a, mut b) = (join(&mut world, "a"), join(&mut world, "b"));
    world.send(&mut a, "SUB add 1\r\nUNSUB 1 2\r\n");
    let requests: String = (0..5).map(|number| format!("PUB add in.{number} 0\r\n\r\n")).collect();
    world.send(&mut b, format!("SUB in.* 5\r\n{requests}"));
    assert_eq!(a.read().matches("HMSG add ").count(), 2);
    let told = b.read();
    let refused: Vec<&str> =
        told.lines().filter_map(|line| line.strip_prefix("HMSG in.")?.split(' ').next()).collect();
    assert_eq!(refused, ["2", "3", "4"], "{told}");
    assert_eq!(world.broker.shares("A", 10).unwrap().responses.len(), 2);
}

#[test]
fn a_service_without_responders_is_reported_at_once() {
    let mut world = world(vec![
        AccountConfig::new("A").with_export(service("add")),
        AccountConfig::new("B").with_import(import("A", "add").with_to("plus")),
    ]);
    let mut b = join(&mut world, "b");
    world.send(&mut b, "SUB in 5\r\nPUB plus in 0\r\n\r\n");
    assert_eq!(b.read(), "HMSG in 5 36 36\r\nNATS/1.0 503\r\nNats-Subject: plus\r\n\r\n\r\n");
    assert!(world.broker.shares("A", 10).unwrap().responses.is_empty());
}

#[test]
fn local_subscribers_get_a_request_beside_the_service() {
    let mut world = world(vec![
        AccountConfig::new("A").with_export(service("add")),
        AccountConfig::new("B").with_import(import("A", "add")),
    ]);
    let (mut a, mut b) = (join(&mut world, "a"), join(&mut world, "b"));
    world.send(&mut a, "SUB add q 1\r\nSUB add q 2\r\n");
    world.send(&mut b, "SUB > 5\r\nPUB add 0\r\n\r\nPUB add 0\r\n\r\n");
    assert_eq!(b.count(), 2);
    assert_eq!(a.read().matches("HMSG add ").count(), 2, "one member of the group each");
}

#[test]
fn a_description_that_the_sender_makes_up_is_removed() {
    let mut world = world(vec![
        AccountConfig::new("A").with_export(service("add")),
        AccountConfig::new("B").with_import(import("A", "add").with_share(true)),
    ]);
    let (mut a, mut b) = (join(&mut world, "a"), join(&mut world, "b"));
    world.send(&mut a, "SUB add 1\r\n");
    let headers = "NATS/1.0\r\nk: v\r\nNats-Request-Info: {}\r\nnats-request-info: {}\r\n\
                   NATS-REQUEST-INFO : {}\r\n\r\n";
    let size = headers.len();
    world.send(&mut b, format!("HPUB add {size} {}\r\n{headers}p\r\n", size + 1));
    let request = Request::read(&a);
    assert_eq!(request.payload, "p");
    let names = request.headers.to_ascii_lowercase();
    assert_eq!(names.matches("nats-request-info").count(), 1, "{names}");
    assert!(request.headers.starts_with("NATS/1.0\r\nk: v\r\nNats-Request-Info: {\"start\":\""));
    let info = request.info();
    for part in [
        "\"id\":2,\"acc\":\"B\",\"user\":\"b\",\"name\":\"n\",\"lang\":\"l\",\"ver\":\"v\"",
        "\"server\":\"N",
        "\"kind\":\"Client\",\"client_type\":\"nats\"}",
    ] {
        assert!(info.contains(part), "{info}");
    }
}

#[test]
fn services_are_chained() {
    let mut world = world(vec![
        AccountConfig::new("A").with_export(service("a.*")),
        AccountConfig::new("B")
            .with_import(import("A", "a.*").with_to("b.$1"))
            .with_export(service("b.*")),
        AccountConfig::new("C").with_import(import("B", "b.*").with_to("c.$1")),
    ]);
    let (mut a, mut c) = (join(&mut world, "a"), join(&mut world, "c"));
    world.send(&mut c, "SUB in 5\r\nPUB c.1 in 0\r\n\r\n");
    assert!(c.read().contains(" 503\r\n"), "nobody serves at the end of the chain");
    world.send(&mut a, "SUB a.1 1\r\n");
    world.send(&mut c, "PUB c.1 in 0\r\n\r\n");
    let request = Request::read(&a);
    assert_eq!(request.info(), "{\"acc\":\"C\",\"svc\":\"B\"}");
    world.send(&mut a, format!("PUB {} 2\r\nok\r\n", request.reply));
    assert_eq!(c.read(), "MSG in 5 2\r\nok\r\n");
    for account in ["A", "B"] {
        assert!(world.broker.shares(account, 10).unwrap().responses.is_empty(), "{account}");
    }
}

#[test]
fn the_interest_in_a_response_is_that_of_the_requester() {
    let streamed = |text| service(text).with_response_type(ResponseType::Streamed);
    let mut world = world(vec![
        AccountConfig::new("A").with_export(streamed("a.*")),
        AccountConfig::new("B")
            .with_import(import("A", "a.*").with_to("b.$1"))
            .with_export(streamed("b.*")),
        AccountConfig::new("C").with_import(import("B", "b.*").with_to("c.$1")),
    ]);
    let (mut a, mut b, mut c) =
        (join(&mut world, "a"), join(&mut world, "b"), join(&mut world, "c"));
    let mut publisher = world.broker.server_publisher("A");
    world.send(&mut a, "SUB a.1 1\r\n");
    for (party, subject) in [(&mut b, "b.1"), (&mut c, "c.1")] {
        world.send(party, format!("SUB in 5\r\nPUB {subject} in 0\r\n\r\n"));
        let reply = Request::read(&a).reply;
        let reply = reply.as_bytes();
        assert!(publisher.has_interest(reply, None), "{subject}");
        assert!(!publisher.has_interest(reply, Some(b"q")), "{subject}");
        world.send(party, "UNSUB 5\r\n");
        assert!(!publisher.has_interest(reply, None), "{subject}");
        let answer = ServerMessage { to: reply, subject: reply, ..ServerMessage::default() };
        let mut scratch = Scratch::new();
        world.broker.begin(&mut scratch);
        assert!(!publisher.publish(&answer, &mut scratch), "{subject}");
        world.broker.flush(&mut scratch);
    }
}

#[test]
fn several_accounts_may_export_one_service() {
    let mut world = world(vec![
        AccountConfig::new("A").with_export(service("add")),
        AccountConfig::new("B").with_export(service("add")),
        AccountConfig::new("C").with_import(import("A", "add")).with_import(import("B", "add")),
    ]);
    let (mut a, mut b) = (join(&mut world, "a"), join(&mut world, "b"));
    let mut c = join(&mut world, "c");
    world.send(&mut a, "SUB add 1\r\n");
    world.send(&mut b, "SUB add 1\r\n");
    world.send(&mut c, "SUB in 5\r\nPUB add in 0\r\n\r\n");
    for party in [&mut a, &mut b] {
        let reply = Request::read(party).reply;
        world.send(party, format!("PUB {reply} 0\r\n\r\n"));
    }
    assert_eq!(c.count(), 2);
}

#[test]
fn streamed_responses_end_with_an_empty_message_or_the_threshold() {
    let export = service("list")
        .with_response_type(ResponseType::Streamed)
        .with_response_threshold(Duration::from_secs(1));
    let mut world = world(vec![
        AccountConfig::new("A").with_export(export),
        AccountConfig::new("B").with_import(import("A", "list")),
    ]);
    let (mut a, mut b) = (join(&mut world, "a"), join(&mut world, "b"));
    world.send(&mut a, "SUB list 1\r\n");
    let request = |world: &mut World, a: &mut Party, b: &mut Party| {
        world.send(b, "SUB in 5\r\nPUB list in 0\r\n\r\n");
        Request::read(a).reply
    };
    let reply = request(&mut world, &mut a, &mut b);
    world.send(&mut a, format!("PUB {reply} 1\r\n1\r\n").repeat(3));
    world.send(&mut a, format!("PUB {reply} 0\r\n\r\nPUB {reply} 1\r\n4\r\n"));
    assert_eq!(b.count(), 4, "nothing follows the empty message");

    let reply = request(&mut world, &mut a, &mut b);
    for _ in 0..3 {
        world.now += Duration::from_millis(900);
        world.send(&mut a, format!("PUB {reply} 1\r\n1\r\n"));
    }
    world.now += Duration::from_millis(1100);
    world.send(&mut a, format!("PUB {reply} 1\r\n1\r\n"));
    assert_eq!(b.count(), 3, "the last one was too late");
    world.broker.do_periodic(world.now);
    assert!(world.broker.shares("A", 10).unwrap().responses.is_empty());

    let reply = request(&mut world, &mut a, &mut b);
    world.send(&mut b, "UNSUB 5\r\n");
    world.send(&mut a, format!("PUB {reply} 1\r\n1\r\n"));
    assert_eq!(b.count(), 0);
    assert!(world.broker.shares("A", 10).unwrap().responses.is_empty(), "nobody waits");
}

#[test]
fn a_response_may_ask_back() {
    let mut world = world(vec![
        AccountConfig::new("A").with_export(service("add")),
        AccountConfig::new("B").with_import(import("A", "add")),
    ]);
    let (mut a, mut b) = (join(&mut world, "a"), join(&mut world, "b"));
    world.send(&mut a, "SUB add 1\r\nSUB more 2\r\n");
    world.send(&mut b, "SUB in 5\r\nPUB add in 0\r\n\r\n");
    let reply = Request::read(&a).reply;
    world.send(&mut a, format!("PUB {reply} more 0\r\n\r\n"));
    let text = b.read();
    let back = text.split(' ').nth(3).unwrap();
    assert!(back.starts_with("_R_.") && back != reply, "{text}");
    world.send(&mut b, format!("PUB {back} 1\r\nx\r\n"));
    assert_eq!(a.read(), "MSG more 2 1\r\nx\r\n");
}

#[test]
fn only_accounts_that_may_import_a_service_reach_it() {
    let only_b = ExportAccess::Accounts(vec!["B".into()]);
    let mut world = world(vec![
        AccountConfig::new("A")
            .with_export(service("s").with_access(only_b))
            .with_export(service("t.*").with_access(ExportAccess::TokenPosition(2))),
        AccountConfig::new("B").with_import(import("A", "s")).with_import(import("A", "t.C")),
        AccountConfig::new("C").with_import(import("A", "s")).with_import(import("A", "t.C")),
    ]);
    let mut a = join(&mut world, "a");
    let (mut b, mut c) = (join(&mut world, "b"), join(&mut world, "c"));
    world.send(&mut a, "SUB > 1\r\n");
    world.send(&mut b, "PUB s 0\r\n\r\nPUB t.C 0\r\n\r\n");
    assert_eq!(a.read().matches("HMSG").count(), 1);
    world.send(&mut c, "PUB s 0\r\n\r\nPUB t.C 0\r\n\r\n");
    assert_eq!(Request::read(&a).subject, "t.C");
}

#[test]
fn requests_of_a_service_do_not_leave_by_a_stream() {
    let mut world = world(vec![
        AccountConfig::new("A").with_export(service("s")).with_export(Export::stream(filter("s"))),
        AccountConfig::new("B").with_import(import("A", "s")),
        AccountConfig::new("C").with_import(Import::stream("A", filter("s"))),
    ]);
    let mut a = join(&mut world, "a");
    let (mut b, mut c) = (join(&mut world, "b"), join(&mut world, "c"));
    world.send(&mut c, "SUB s 1\r\nSUB s q 2\r\n");
    world.send(&mut b, "SUB in 5\r\nPUB s in 0\r\n\r\n");
    assert!(b.read().contains("503"));
    world.send(&mut a, "PUB s 0\r\n\r\n");
    assert_eq!(c.count(), 2);
}

#[test]
fn a_reload_changes_services() {
    let exporter = || AccountConfig::new("A").with_export(service("*"));
    let importer = |text: &str| AccountConfig::new("B").with_import(import("A", text));
    let mut world = world(vec![exporter(), importer("s")]);
    let (mut a, mut b) = (join(&mut world, "a"), join(&mut world, "b"));
    world.send(&mut a, "SUB > 1\r\n");
    let both = "PUB s 0\r\n\r\nPUB t 0\r\n\r\n";
    world.send(&mut b, both);
    assert_eq!(Request::read(&a).subject, "s");
    for (accounts, expected) in [
        (vec![exporter(), importer("t")], 1),
        (vec![exporter(), AccountConfig::new("B")], 0),
        (vec![exporter(), importer("s").with_import(import("A", "t"))], 2),
        (vec![AccountConfig::new("A"), importer("s")], 0),
    ] {
        let accounts = accounts.into_iter().map(Into::into).collect();
        world.broker.apply(Options { accounts, ..Options::default() }, None);
        world.send(&mut b, both);
        assert_eq!(a.read().matches("HMSG").count(), expected);
    }
}

#[test]
fn response_times_are_published() {
    let latency = ServiceLatency::new(Subject::parse("latency").unwrap(), Sampling::Percent(100));
    let export = service("add").with_latency(latency);
    let mut world = world(vec![
        AccountConfig::new("A").with_export(export),
        AccountConfig::new("B").with_import(import("A", "add")),
    ]);
    let (mut a, mut b) = (join(&mut world, "a"), join(&mut world, "b"));
    let mut watcher = join(&mut world, "a");
    world.send(&mut watcher, "SUB latency 1\r\n");
    let event = |watcher: &Party| {
        let text = watcher.read();
        text.lines().nth(1).unwrap_or_default().to_owned()
    };
    world.send(&mut b, "SUB in 5\r\nPUB add in 0\r\n\r\n");
    let unavailable = event(&watcher);
    assert!(unavailable.contains("\"status\":503,\"description\":\"Service Unavailable\""));

    world.send(&mut a, "SUB add 1\r\n");
    world.send(&mut b, "PUB add in 0\r\n\r\n");
    let reply = Request::read(&a).reply;
    world.send(&mut a, format!("PUB {reply} 0\r\n\r\n"));
    let answered = event(&watcher);
    assert!(
        answered.starts_with("{\"type\":\"io.nats.server.metric.v1.service_latency\",\"id\":\""),
        "{answered}"
    );
    assert!(answered.contains("\"status\":200,\"requestor\":{\"acc\":\"B\""), "{answered}");
    assert!(answered.contains("\"responder\":{\"start\":\""), "{answered}");

    world.send(&mut b, "PUB add 0\r\n\r\n");
    assert!(event(&watcher).contains("\"status\":400,\"description\":\"Bad Request\""));

    world.send(&mut b, "PUB add in 0\r\n\r\n");
    world.send(&mut b, "UNSUB 5\r\n");
    world.broker.do_periodic(world.now);
    assert!(event(&watcher).contains("\"status\":408,\"description\":\"Request Timeout\""));

    world.send(&mut b, "SUB in 6\r\nPUB add in 0\r\n\r\n");
    world.broker.do_periodic(world.now + Duration::from_secs(121));
    assert!(event(&watcher).contains("\"status\":504,\"description\":\"Service Timeout\""));
}

#[test]
fn a_handler_may_serve_and_request_across_accounts() {
    let world = world(vec![
        AccountConfig::new("A").with_export(service("add")),
        AccountConfig::new("B").with_import(import("A", "add").with_to("plus")),
    ]);
    let grant = |account: &str| broker_core::auth::Grant::user("x").with_account(account);
    let served = world.broker.handle(grant("A"), "add", None, |message, context| {
        context.respond(message, message.payload()).unwrap();
    });
    let served = served.unwrap();
    let client = world.broker.client_as(grant("B"));
    let answer = futures_executor::block_on(client.request("plus", "x".into()));
    assert_eq!(answer.unwrap().payload, "x");
    drop(served);
    let answer = futures_executor::block_on(client.request("plus", "x".into()));
    assert!(answer.is_err());
}
