//! Push consumers.

use super::*;
use crate::config::ReplayPolicy;

fn set_interest(bench: &mut Bench, is_there: bool) {
    if is_there {
        bench.out.deaf.remove("push");
    } else {
        bench.out.deaf.insert("push".into());
    }
    if bench.consumer.interest_changed(bench.now, &mut bench.out) {
        bench.deliver();
    }
}

#[test]
fn messages_are_sent_while_somebody_subscribes() {
    let mut bench = Bench::new(push_config(), &["a"]);
    assert_eq!(bench.consumer.delivers_to(), Some((&b"push"[..], None)));
    bench.deliver();
    assert_eq!(bench.texts(), ["push: a"]);
    assert!(bench.info().push_bound);
    set_interest(&mut bench, false);
    assert!(!bench.info().push_bound);
    bench.publish(&["b"]);
    assert_eq!(bench.texts(), [""; 0]);
    set_interest(&mut bench, true);
    let sent = bench.sent();
    assert_eq!((&*sent[0].subject, sent[0].numbers()), ("b", (1, 2, 2, 0)));
}

#[test]
fn a_message_that_nobody_receives_is_sent_later() {
    let mut bench = Bench::new(push_config(), &[]);
    bench.out.deaf.insert("push".into());
    bench.publish(&["a"]);
    let info = bench.info();
    assert_eq!((info.push_bound, info.num_pending, info.num_ack_pending), (false, 1, 0));
    set_interest(&mut bench, true);
    assert_eq!(bench.sent()[0].numbers(), (1, 1, 1, 0));
}

#[test]
fn an_ephemeral_consumer_that_nobody_listens_to_is_unused() {
    let config = ConsumerConfig { durable: String::new(), name: "C".into(), ..push_config() };
    let mut bench = Bench::new(config, &[]);
    assert_eq!(bench.consumer.config().inactive_threshold, 5 * SECOND);
    assert!(!bench.pass(100 * SECOND));
    set_interest(&mut bench, false);
    assert!(!bench.pass(5 * SECOND));
    set_interest(&mut bench, true);
    assert!(!bench.pass(100 * SECOND));
    set_interest(&mut bench, false);
    assert!(bench.pass(6 * SECOND));
}

#[test]
fn an_idle_consumer_sends_heartbeats() {
    let mut bench = Bench::new(ConsumerConfig { heartbeat: SECOND, ..push_config() }, &["a"]);
    bench.deliver();
    bench.sent();
    bench.pass(SECOND);
    let sent = bench.sent();
    let expected =
        "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\nNats-Last-Stream: 1\r\n\r\n";
    assert_eq!((&*sent[0].to, &*sent[0].headers, sent.len()), ("push", expected, 1));
    bench.pass(SECOND / 2);
    bench.publish(&["b"]);
    bench.pass(SECOND - MILLI);
    assert_eq!(bench.texts(), ["push: b"]);
    set_interest(&mut bench, false);
    bench.pass(10 * SECOND);
    assert_eq!(bench.texts(), [""; 0]);
}

/// Stores and sends messages of a megabyte.
fn send_large(bench: &mut Bench, messages: usize) {
    for _ in 0..messages {
        let sequence = bench.storage.state().last_sequence + 1;
        let payload = vec![b'x'; 1_000_000];
        let record =
            Record { sequence, time: START, subject: b"a", payload: &payload, ..Record::default() };
        bench.storage.append(&record).unwrap();
        if bench.consumer.appended(sequence, b"a") {
            bench.deliver();
        }
    }
}

fn answer(bench: &mut Bench, subject: &str, headers: &str) -> bool {
    let Bench { storage, consumer, out, now } = bench;
    let view = View { storage, visible: storage.state().last_sequence };
    let more = consumer.flow_control(view, subject.as_bytes(), headers.as_bytes(), *now, out);
    if more {
        bench.deliver();
    }
    more
}

#[test]
fn flow_control_stops_a_consumer_until_it_is_answered() {
    let config = ConsumerConfig { flow_control: true, heartbeat: SECOND, ..push_config() };
    let mut bench = Bench::new(config, &[]);
    send_large(&mut bench, 10);
    let sent = bench.sent();
    // The first window is of 2 MiB; half of it asks for an answer.
    let texts: Vec<_> = sent.iter().map(|sent| sent.headers.as_str()).collect();
    assert_eq!(texts, ["", "", "NATS/1.0 100 FlowControl Request\r\n\r\n", ""]);
    let id = sent[2].reply.clone();
    assert!(id.starts_with("$JS.FC.S.C.") && id.len() == 15, "{id}");

    bench.pass(SECOND);
    let heartbeat = bench.sent().remove(0).headers;
    assert!(heartbeat.ends_with(&format!("Nats-Consumer-Stalled: {id}\r\n\r\n")), "{heartbeat}");

    assert!(!answer(&mut bench, "$JS.FC.S.C.zzzz", ""));
    assert!(!answer(&mut bench, "", ""));
    assert!(answer(&mut bench, &id, ""));
    assert!(!answer(&mut bench, &id, ""));
    // The window is twice as large.
    let sent = bench.sent();
    let messages = sent.iter().filter(|sent| sent.headers.is_empty()).count();
    assert_eq!(messages, 4);
}

#[test]
fn flow_control_may_name_domain_and_account() {
    let config = ConsumerConfig { flow_control: true, heartbeat: SECOND, ..push_config() };
    let mut bench = Bench::new(config, &[]);
    bench.consumer.scope.ack_form = AckForm::Long;
    send_large(&mut bench, 10);
    let id = bench.sent()[2].reply.clone();
    let expected = format!("$JS.FC._.{}.S.C.", crate::hash::hash("A"));
    assert!(id.starts_with(&expected) && id.len() == expected.len() + 4, "{id}");
    assert!(answer(&mut bench, &id, ""));
}

#[test]
fn answers_to_flow_control_can_acknowledge() {
    let config = ConsumerConfig {
        flow_control: true,
        heartbeat: SECOND,
        ack_policy: AckPolicy::FlowControl,
        ack_wait: 0,
        max_ack_pending: 3,
        ..push_config()
    };
    let mut bench = Bench::new(config, &["a", "a", "a", "a"]);
    bench.deliver();
    let sent = bench.sent();
    assert_eq!(sent.len(), 4);
    let id = sent[3].reply.clone();
    let headers = "NATS/1.0\r\nNats-Last-Consumer: 2\r\nNats-Last-Stream: 2\r\n\r\n";
    assert!(answer(&mut bench, &id, headers));
    let info = bench.info();
    assert_eq!((info.ack_floor.stream, info.num_ack_pending), (2, 2));
    assert_eq!(bench.sent()[0].numbers().1, 4);
    // At the end of the stream the heartbeat asks.
    bench.pass(SECOND);
    let texts = bench.texts();
    assert_eq!(texts.len(), 2, "{texts:?}");
    let id = String::from_utf8(bench.consumer.push.stalled().to_vec()).unwrap();
    let headers = "NATS/1.0\r\nNats-Last-Consumer: 99\r\nNats-Last-Stream: 99\r\n\r\n";
    assert!(answer(&mut bench, &id, headers));
    let info = bench.info();
    assert_eq!((info.ack_floor.consumer, info.ack_floor.stream), (4, 4));
    bench.publish(&["a"]);
    assert_eq!(bench.sent()[0].numbers(), (1, 5, 5, 0));
}

#[test]
fn a_rate_limit_spreads_messages() {
    let config = ConsumerConfig { rate_limit: 8_000, ..push_config() };
    let mut bench = Bench::new(config, &[]);
    let subjects: Vec<_> = (0..40).map(|_| "a").collect();
    bench.publish(&subjects);
    let at_once = bench.sent().len();
    assert!((10..25).contains(&at_once), "{at_once}");
    bench.pass(SECOND / 2);
    let later = bench.sent().len();
    assert!((5..15).contains(&later), "{later}");
    bench.pass(10 * SECOND);
    assert_eq!(bench.sent().len(), 40 - at_once - later);
}

#[test]
fn messages_are_sent_at_the_pace_at_which_they_were_stored() {
    for is_push in [true, false] {
        let config = if is_push { push_config() } else { pull_config() };
        let mut bench = Bench::new(ConsumerConfig::default(), &["a"]);
        for _ in 0..2 {
            bench.now = bench.now.plus(SECOND);
            store(&mut bench.storage, &["a"], bench.now);
        }
        bench.now = bench.now.plus(10 * SECOND);
        let config = ConsumerConfig { replay_policy: ReplayPolicy::Original, ..config };
        let view = View { storage: &bench.storage, visible: 3 };
        bench.consumer = Consumer::create(scope(), config, view, bench.now);
        bench.consumer.interest_changed(bench.now, &mut bench.out);
        bench.request("r", "100");
        bench.sent();
        bench.consumer.requests.first_mut();
        bench.deliver();
        bench.pass(SECOND - MILLI);
        let before = bench.sent().len();
        bench.pass(MILLI);
        assert_eq!(bench.sent().len(), 1);
        assert!(before <= 1);
        bench.pass(SECOND);
        assert_eq!(bench.sent().len(), 1);
        // Messages that are stored later are delivered at once.
        bench.now = bench.now.plus(5 * SECOND);
        bench.publish(&["a", "a"]);
        assert_eq!(bench.sent().len(), 2);
        bench.now = bench.now.plus(5 * SECOND);
        bench.publish(&["a"]);
        assert_eq!(bench.sent().len(), 1);
    }
}

#[test]
fn headers_come_without_the_payload() {
    let mut bench = Bench::new(ConsumerConfig { headers_only: true, ..push_config() }, &["a"]);
    let record = Record {
        sequence: 2,
        time: START,
        subject: b"b",
        headers: b"NATS/1.0\r\nX: y\r\n\r\n",
        payload: b"12345",
        ..Record::default()
    };
    bench.storage.append(&record).unwrap();
    bench.deliver();
    let sent = bench.sent();
    assert_eq!(sent[0].headers, "NATS/1.0\r\nNats-Msg-Size: 9\r\n\r\n");
    assert_eq!(sent[1].headers, "NATS/1.0\r\nX: y\r\nNats-Msg-Size: 5\r\n\r\n");
    assert!(sent.iter().all(|sent| sent.payload.is_empty()));
}

#[test]
fn another_deliver_subject_receives_what_is_not_acknowledged() {
    let mut bench = Bench::new(push_config(), &["a", "b"]);
    bench.deliver();
    bench.sent();
    bench.update(ConsumerConfig { deliver_subject: "other".into(), ..push_config() });
    let numbers: Vec<_> = bench.sent().iter().map(|s| (s.to.clone(), s.numbers())).collect();
    assert_eq!(numbers, [("other".into(), (2, 1, 3, 0)), ("other".into(), (2, 2, 4, 0))]);
}
