//! Requests for messages, and their statuses.

use super::*;
use crate::consumer::ahead::Ahead;

/// Returns the headers of the only message that was sent.
fn only_headers(bench: &mut Bench) -> String {
    let sent = bench.sent();
    assert_eq!(sent.len(), 1, "{sent:?}");
    sent[0].headers.clone()
}

#[test]
fn a_request_receives_its_batch_with_subjects_for_acknowledgements() {
    let mut bench = Bench::new(pull_config(), &["a", "b", "a"]);
    bench.request("r", "2");
    let sent = bench.sent();
    assert_eq!(sent.len(), 2);
    let time = START.0;
    let first = Sent {
        to: "r".into(),
        subject: "a".into(),
        reply: format!("$JS.ACK.S.C.1.1.1.{time}.2"),
        headers: String::new(),
        payload: "message 1".into(),
    };
    assert_eq!(sent[0], first);
    assert_eq!(sent[1].numbers(), (1, 2, 2, 1));

    let info = bench.info();
    assert_eq!((info.delivered.consumer, info.delivered.stream), (2, 2));
    assert_eq!((info.num_pending, info.num_ack_pending, info.num_waiting), (1, 2, 0));
    bench.request("r", "");
    bench.request("later", "");
    bench.publish(&["c"]);
    assert_eq!(bench.texts(), ["r: a", "later: c"]);
    assert_eq!(bench.info().num_pending, 0);
}

#[test]
fn requests_take_turns() {
    let mut bench = Bench::new(pull_config(), &[]);
    bench.request("x", "3");
    bench.request("y", "2");
    bench.publish(&["1", "2", "3", "4", "5", "6"]);
    assert_eq!(bench.texts(), ["x: 1", "y: 2", "x: 3", "y: 4", "x: 5"]);
}

#[test]
fn a_request_that_does_not_wait_ends_with_the_last_message() {
    let mut bench = Bench::new(pull_config(), &[]);
    bench.request("r", "{\"batch\":5,\"no_wait\":true}");
    assert_eq!(only_headers(&mut bench), "NATS/1.0 404 No Messages\r\n\r\n");

    bench.publish(&["a", "b"]);
    bench.request("r", "{\"batch\":5,\"no_wait\":true}");
    assert_eq!(bench.texts(), ["r: a", "r: b", "r: 404 No Messages"]);

    // With an end it waits for the first message.
    bench.request("r", "{\"batch\":5,\"no_wait\":true,\"expires\":1000000000}");
    assert_eq!(bench.texts(), [""; 0]);
    bench.publish(&["c"]);
    assert_eq!(bench.texts(), ["r: c", "r: 404 No Messages"]);
}

#[test]
fn a_request_that_does_not_wait_is_refused_behind_requests_for_more() {
    let config = ConsumerConfig { max_ack_pending: 1, ..pull_config() };
    let mut bench = Bench::new(config, &["a", "b"]);
    bench.request("r", "10");
    assert_eq!(bench.texts(), ["r: a"]);
    bench.request("s", "{\"batch\":1,\"no_wait\":true}");
    assert_eq!(only_headers(&mut bench), "NATS/1.0 408 Requests Pending\r\n\r\n");
}

#[test]
fn a_request_ends_with_its_time_and_says_what_is_missing() {
    let mut bench = Bench::new(pull_config(), &["a"]);
    bench.request("r", "{\"batch\":3,\"expires\":1000000000,\"max_bytes\":1000}");
    let sent = bench.sent().remove(0);
    let left = 1000 - sent.subject.len() - sent.reply.len() - sent.payload.len();
    bench.pass(SECOND);
    assert_eq!(bench.texts(), [""; 0]);
    bench.pass(1);
    let expected = format!(
        "NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 2\r\nNats-Pending-Bytes: {left}\r\n\r\n"
    );
    assert_eq!(only_headers(&mut bench), expected);
    assert_eq!(bench.info().num_waiting, 0);
    assert_eq!(bench.consumer.deadline(), Some(START.plus(30 * SECOND + MILLI)));
}

#[test]
fn a_request_that_has_ended_receives_no_message() {
    let mut bench = Bench::new(pull_config(), &[]);
    bench.request("r", "{\"batch\":3,\"expires\":1000000000}");
    bench.now = bench.now.plus(2 * SECOND);
    bench.publish(&["a"]);
    assert_eq!(bench.texts(), ["r: 408 Request Timeout"]);
    bench.request("s", "{\"batch\":1,\"expires\":-5}");
    assert_eq!(bench.texts(), ["s: 408 Request Timeout"]);
}

#[test]
fn an_idle_request_receives_heartbeats() {
    let mut bench = Bench::new(pull_config(), &["a"]);
    bench.request("r", "{\"batch\":3,\"expires\":1000000000,\"idle_heartbeat\":300000000}");
    assert_eq!(bench.texts(), ["r: a"]);
    bench.pass(301 * MILLI);
    let expected =
        "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\nNats-Last-Stream: 1\r\n\r\n";
    assert_eq!(only_headers(&mut bench), expected);
    bench.pass(100 * MILLI);
    bench.publish(&["b"]);
    assert_eq!(bench.texts(), ["r: b"]);
    // A message stands for a heartbeat.
    bench.pass(250 * MILLI);
    assert_eq!(bench.texts(), [""; 0]);
    bench.pass(51 * MILLI);
    assert_eq!(bench.texts(), ["r: 100 Idle Heartbeat"]);
}

#[test]
fn a_request_limits_bytes() {
    let mut bench = Bench::new(pull_config(), &["a", "a", "a", "a"]);
    bench.request("r", "1");
    let sent = bench.sent();
    let size = sent[0].subject.len() + sent[0].reply.len() + sent[0].payload.len();
    bench.request("r", &format!("{{\"batch\":10,\"max_bytes\":{}}}", 2 * size - 1));
    let sent = bench.sent();
    assert_eq!(sent.len(), 2);
    let expected = format!(
        "NATS/1.0 409 Message Size Exceeds MaxBytes\r\nNats-Pending-Messages: 9\r\nNats-Pending-Bytes: {}\r\n\r\n",
        size - 1
    );
    assert_eq!(sent[1].headers, expected);

    // Exactly as many bytes end the request without a status; fewer messages leave bytes.
    bench.request("r", &format!("{{\"batch\":10,\"max_bytes\":{size}}}"));
    assert_eq!(bench.texts(), ["r: a"]);
    bench.request("r", "{\"batch\":1,\"max_bytes\":1000}");
    let sent = bench.sent();
    let expected = format!(
        "NATS/1.0 409 Batch Completed\r\nNats-Pending-Messages: 0\r\nNats-Pending-Bytes: {}\r\n\r\n",
        1000 - size
    );
    assert_eq!(sent[1].headers, expected);
    assert_eq!(bench.info().num_waiting, 0);
}

#[test]
fn requests_beyond_the_limits_of_the_consumer_are_refused() {
    let config = ConsumerConfig {
        max_batch: 5,
        max_expires: 50 * MILLI,
        max_bytes: 100,
        max_waiting: 2,
        ..pull_config()
    };
    let mut bench = Bench::new(config, &[]);
    for (payload, status) in [
        ("6", "409 Exceeded MaxRequestBatch of 5"),
        ("{\"batch\":1,\"expires\":50000001}", "409 Exceeded MaxRequestExpires of 50ms"),
        ("{\"batch\":1,\"max_bytes\":101}", "409 Exceeded MaxRequestMaxBytes of 100"),
        (
            "{\"batch\":1,\"expires\":3,\"idle_heartbeat\":2}",
            "400 Bad Request - heartbeat value too large",
        ),
    ] {
        bench.request("r", payload);
        assert_eq!(only_headers(&mut bench), format!("NATS/1.0 {status}\r\n\r\n"));
    }
    bench.request("r", "{");
    assert!(only_headers(&mut bench).starts_with("NATS/1.0 400 Bad Request - "));
    bench.request("", "1");
    bench.request("r", "1");
    bench.request("r", "1");
    assert_eq!(bench.texts(), [""; 0]);
    bench.request("r", "1");
    assert_eq!(only_headers(&mut bench), "NATS/1.0 409 Exceeded MaxWaiting\r\n\r\n");
    // A client that expects heartbeats gets no status.
    bench.request("r", "{\"batch\":1,\"expires\":50000000,\"idle_heartbeat\":10000000}");
    assert_eq!(bench.texts(), [""; 0]);
}

#[test]
fn full_waiting_requests_make_room_for_others_when_nobody_receives_them() {
    let config = ConsumerConfig { max_waiting: 1, ..pull_config() };
    let mut bench = Bench::new(config, &[]);
    bench.request("gone", "1");
    bench.out.deaf.insert("gone".into());
    bench.now = bench.now.plus(2 * SECOND);
    bench.request("r", "1");
    bench.publish(&["a"]);
    assert_eq!(bench.texts(), ["r: a"]);
}

#[test]
fn a_request_that_nobody_receives_costs_no_message() {
    let mut bench = Bench::new(pull_config(), &[]);
    bench.request("gone", "1");
    bench.request("r", "1");
    bench.out.deaf.insert("gone".into());
    bench.publish(&["a"]);
    let sent = bench.sent();
    assert_eq!((&*sent[0].to, sent[0].numbers()), ("r", (1, 1, 1, 0)));

    bench.request("gone", "1");
    bench.publish(&["b"]);
    assert_eq!(bench.info().num_pending, 1);
    bench.request("r", "1");
    assert_eq!(bench.sent()[0].numbers(), (1, 2, 2, 0));
}

#[test]
fn a_push_consumer_refuses_requests() {
    let mut bench = Bench::new(push_config(), &[]);
    bench.request("r", "1");
    assert_eq!(only_headers(&mut bench), "NATS/1.0 409 Consumer is push based\r\n\r\n");
}

#[test]
fn waiting_requests_learn_that_the_consumer_is_deleted() {
    let mut bench = Bench::new(pull_config(), &[]);
    bench.request("r", "1");
    bench.consumer.close(bench.now, &mut bench.out);
    assert_eq!(bench.sent()[0].headers, "NATS/1.0 409 Consumer Deleted\r\n\r\n");
    assert_eq!(bench.events(), ["DELETED"]);
}

#[test]
fn only_visible_messages_are_delivered() {
    let mut bench = Bench::new(pull_config(), &["a", "b"]);
    let Bench { storage, consumer, out, now } = &mut bench;
    let mut view = View { storage, visible: 1 };
    consumer.request(view, b"r", b"5", *now, out);
    consumer.deliver(view, *now, out, 10);
    assert_eq!(out.sent.len(), 1);
    view.visible = 2;
    consumer.deliver(view, *now, out, 10);
    assert_eq!(out.sent.len(), 2);
}

#[test]
fn a_request_that_does_not_wait_waits_for_acknowledgements_until_a_heartbeat() {
    let config = ConsumerConfig { max_ack_pending: 2, ..pull_config() };
    let mut bench = Bench::new(config, &["a", "b", "c"]);
    let times = "\"expires\":1000000000,\"idle_heartbeat\":300000000";
    bench.request("r", &format!("{{\"batch\":9,\"no_wait\":true,{times}}}"));
    assert_eq!(bench.texts(), ["r: a", "r: b"]);
    bench.pass(300 * MILLI);
    assert_eq!(bench.texts(), [""; 0]);
    bench.pass(1);
    assert_eq!(only_headers(&mut bench), "NATS/1.0 404 No Messages\r\n\r\n");
    assert_eq!(bench.info().num_waiting, 0);
}

#[test]
fn the_heartbeat_of_another_request_ends_one_that_does_not_wait() {
    let config = ConsumerConfig { max_ack_pending: 1, ..pull_config() };
    let mut bench = Bench::new(config, &["a", "b", "c"]);
    bench.request("r", "{\"batch\":2,\"no_wait\":true}");
    assert_eq!(bench.texts(), ["r: a"]);
    bench.request("s", "{\"batch\":1,\"expires\":1000000000,\"idle_heartbeat\":300000000}");
    bench.pass(301 * MILLI);
    assert_eq!(bench.texts(), ["r: 404 No Messages", "s: 100 Idle Heartbeat"]);
    assert_eq!(bench.info().num_waiting, 1);
}

#[test]
fn requests_end_with_the_server() {
    let mut bench = Bench::new(pull_config(), &[]);
    bench.request("r", "{\"batch\":3,\"max_bytes\":100}");
    bench.consumer.announce_end(&mut bench.out);
    assert_eq!(
        only_headers(&mut bench),
        "NATS/1.0 409 Server Shutdown\r\nNats-Pending-Messages: 3\r\nNats-Pending-Bytes: 100\r\n\r\n"
    );
    bench.publish(&["a"]);
    assert_eq!(bench.texts(), [""; 0]);
}

#[test]
fn a_consumer_that_follows_knows_its_next_message_without_a_search() {
    let config = ConsumerConfig { filter_subject: "a.>".into(), ..pull_config() };
    let mut bench = Bench::new(config, &["a.1", "b.1"]);
    bench.request("r", "3");
    assert_eq!((bench.texts().len(), &bench.consumer.ahead), (1, &Ahead::Nothing));
    bench.publish(&["b.2", "a.2", "b.3", "a.3"]);
    assert_eq!((bench.texts().len(), &bench.consumer.ahead), (2, &Ahead::Nothing));

    // Nobody asks for the next ones, and the first of them is removed.
    bench.publish(&["b.4", "a.4", "a.5"]);
    let (first, last) = (8, 9);
    assert_eq!(bench.consumer.ahead, Ahead::Some(first, last));
    bench.remove(first);
    bench.request("r", "2");
    assert_eq!((bench.texts(), &bench.consumer.ahead), (vec!["r: a.5".into()], &Ahead::Nothing));

    let view = View { storage: &bench.storage, visible: last };
    bench.consumer.reset(view, 0).unwrap();
    assert_eq!(bench.consumer.ahead, Ahead::Unknown, "it starts again at an earlier message");
    bench.request("r", "9");
    assert_eq!(bench.texts().len(), 4);
    let filter_subject = "b.>".into();
    bench.update(ConsumerConfig { filter_subject, ..bench.consumer.config().clone() });
    bench.publish(&["a.6", "b.5"]);
    assert_eq!(bench.texts(), ["r: b.5"]);
}
