//! Messages of the server whose receivers are found by one subject and see another, as streams send them.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::time::{Instant, SystemTime};

use broker_core::endpoint::Scratch;
use broker_core::{Broker, Options, ServerMessage};
use common::World;
use futures_executor::block_on;

const REPLY: &[u8] = b"$JS.ACK.S.C.1.2.3.4.5";

fn message<'a>(to: &'a str, subject: &'a str, payload: &'a str) -> ServerMessage<'a> {
    let (to, subject, payload) = (to.as_bytes(), subject.as_bytes(), payload.as_bytes());
    ServerMessage { to, subject, reply: REPLY, headers: b"", payload }
}

fn publish(broker: &Broker, message: &ServerMessage<'_>) -> bool {
    let mut publisher = broker.server_publisher("$G");
    let mut scratch = Scratch::new();
    broker.begin(&mut scratch);
    let is_delivered = publisher.publish(message, &mut scratch);
    broker.flush(&mut scratch);
    is_delivered
}

#[test]
fn in_process_clients_see_the_other_subject() {
    let broker = Broker::new(Options::default(), (Instant::now, SystemTime::now));
    let client = broker.client();
    let mut plain = block_on(client.subscribe("inbox.*")).unwrap();
    let mut member = block_on(client.queue_subscribe("inbox.1", "q")).unwrap();
    let mut other = block_on(client.subscribe("orders.*")).unwrap();
    assert!(publish(&broker, &message("inbox.1", "orders.eu", "a")));
    for subscriber in [&mut plain, &mut member] {
        let seen = subscriber.try_next().unwrap();
        assert_eq!((&*seen.subject, &seen.payload[..]), ("orders.eu", &b"a"[..]));
        assert_eq!(seen.reply.unwrap().as_bytes(), REPLY);
    }
    assert!(other.try_next().is_none(), "the subject that is seen finds nobody");
    assert!(!publish(&broker, &message("inbox.x.y", "orders.eu", "a")));
}

#[test]
fn clients_of_the_wire_see_the_other_subject() {
    let mut world = World::new();
    let mut client = world.join();
    world.send(&mut client, "SUB inbox.* 7\r\nSUB inbox.1 q 8\r\nSUB orders.* 9\r\n");
    client.read();
    let mut sent = message("inbox.1", "orders.eu", "abc");
    assert!(publish(&world.broker, &sent));
    sent.headers = b"NATS/1.0\r\nA: b\r\n\r\n";
    assert!(publish(&world.broker, &sent));
    let reply = std::str::from_utf8(REPLY).unwrap();
    let (plain, with_headers) = (
        |sid| format!("MSG orders.eu {sid} {reply} 3\r\nabc\r\n"),
        |sid| format!("HMSG orders.eu {sid} {reply} 18 21\r\nNATS/1.0\r\nA: b\r\n\r\nabc\r\n"),
    );
    let expected = [plain(7), plain(8), with_headers(7), with_headers(8)].concat();
    assert_eq!(client.read(), expected);
}

#[test]
fn interest_is_that_of_the_subject_that_finds_receivers() {
    let broker = Broker::new(Options::default(), (Instant::now, SystemTime::now));
    let client = broker.client();
    let mut publisher = broker.server_publisher("$G");
    assert!(!publisher.has_interest(b"inbox.1", None));
    let _plain = block_on(client.subscribe("inbox.*")).unwrap();
    assert!(publisher.has_interest(b"inbox.1", None));
    assert!(!publisher.has_interest(b"inbox.1", Some(b"q")));
    assert!(!publisher.has_literal_interest(b"inbox.1", None));
    let _member = block_on(client.queue_subscribe("inbox.1", "q")).unwrap();
    assert!(publisher.has_interest(b"inbox.1", Some(b"q")));
    assert!(!publisher.has_interest(b"inbox.1", Some(b"r")));
    assert!(publisher.has_literal_interest(b"inbox.1", Some(b"q")));
    assert!(!publisher.has_literal_interest(b"inbox.1", Some(b"r")));
    assert!(!publisher.has_literal_interest(b"inbox.1", None), "members of a group are not plain");
    assert!(!publisher.has_literal_interest(b"inbox.2", Some(b"q")));
    let _literal = block_on(client.subscribe("inbox.1")).unwrap();
    assert!(publisher.has_literal_interest(b"inbox.1", None));
}

#[test]
fn a_handler_of_the_server_ends_single_subscriptions() {
    let broker = Broker::new(Options::default(), (Instant::now, SystemTime::now));
    let handler = broker.handle_as_server("$G", |message, context| {
        context.respond(message, message.subject()).unwrap();
    });
    let numbers = ["a", "b"].map(|filter| handler.subscribe(filter, Some("_sys_")).unwrap());
    let client = broker.client();
    let answer = block_on(client.request("a", "".into())).unwrap();
    assert_eq!(answer.payload, "a");
    assert!(handler.unsubscribe(numbers[0]));
    assert!(!handler.unsubscribe(numbers[0]));
    assert!(block_on(client.request("a", "".into())).is_err());
    assert_eq!(block_on(client.request("b", "".into())).unwrap().payload, "b");
}
