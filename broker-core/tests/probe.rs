//! A probe observes accepted messages and decides their fate.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use broker_core::auth::{Grant, Permissions};
use broker_core::probe::{Fate, Held, Passing, Probe};
use broker_core::{Broker, Client, Options, RequestError, SubjectFilter};
use futures_executor::block_on;

/// Records subjects; loses `lose.>`, doubles `double.>`, holds `keep.>`.
#[derive(Clone, Default)]
struct Recorder {
    seen: Arc<Mutex<Vec<String>>>,
    kept: Arc<Mutex<Vec<Held>>>,
}

impl Probe for Recorder {
    fn pass(&self, message: &Passing<'_>) -> Fate {
        let subject = message.to_message().subject;
        self.seen.lock().unwrap().push(subject.to_string());
        let is = |filter| message.matches(&SubjectFilter::parse(filter).unwrap());
        if is("keep.>") {
            self.kept.lock().unwrap().push(message.hold());
        }
        match () {
            () if is("lose.>") || is("keep.>") => Fate::LOSE,
            () if is("double.>") => Fate { copies: 2, then: Vec::new() },
            () => Fate::DELIVER,
        }
    }
}

fn watched() -> (Broker, Recorder) {
    let (broker, watch) =
        (Broker::new(Options::default(), (Instant::now, SystemTime::now)), Recorder::default());
    assert!(broker.set_probe(watch.clone()));
    (broker, watch)
}

fn publish(client: &Client, subject: &str) -> bool {
    block_on(client.publish(subject, "1".into())).is_ok()
}

#[test]
fn a_probe_sees_accepted_messages_only() {
    let (broker, watch) = watched();
    let permissions = Permissions::builder().publish_deny(["secret"]).build().unwrap();
    let client = broker.client_as(Grant::user("a").with_account("A").with_permissions(permissions));
    assert!(publish(&client, "open") && !publish(&client, "secret"));
    assert_eq!(*watch.seen.lock().unwrap(), ["open"]);
}

#[test]
fn at_most_one_probe_is_installed() {
    let (broker, _) = watched();
    assert!(!broker.set_probe(Recorder::default()));
}

#[test]
fn a_lost_message_reaches_no_receiver_and_a_doubled_one_arrives_twice() {
    let (broker, _) = watched();
    let client = broker.client();
    let mut inbox = block_on(client.subscribe(">")).unwrap();
    for subject in ["lose.1", "double.1", "other"] {
        assert!(publish(&client, subject));
    }
    let subjects: Vec<_> = std::iter::from_fn(|| inbox.try_next())
        .map(|message| message.subject.to_string())
        .collect();
    assert_eq!(subjects, ["double.1", "double.1", "other"]);
}

#[test]
fn a_doubled_request_without_responders_is_answered_once() {
    let (broker, _) = watched();
    let asked = block_on(broker.client().request("double.1", "".into()));
    assert_eq!(asked, Err(RequestError::NoResponders));
}

#[test]
fn a_held_message_arrives_when_released_and_bypasses_the_probe() {
    let (broker, watch) = watched();
    let mut inbox = block_on(broker.client().subscribe("keep.*")).unwrap();
    {
        let publisher = broker.client();
        block_on(publisher.publish_with_reply("keep.1", "answers", "one".into())).unwrap();
    }
    assert_eq!(inbox.try_next(), None);
    let kept = std::mem::take(&mut *watch.kept.lock().unwrap());
    broker.release(&kept[0]);
    let message = inbox.try_next().unwrap();
    assert_eq!((&*message.subject, message.reply.as_deref()), ("keep.1", Some("answers")));
    assert_eq!(message.payload, "one");
    assert_eq!(watch.seen.lock().unwrap().len(), 1);
}

#[test]
fn a_covering_subscription_counts_as_present() {
    let broker = Broker::new(Options::default(), (Instant::now, SystemTime::now));
    let client = broker.client_as(Grant::anonymous().with_account("A"));
    let _all = block_on(client.subscribe("orders.>")).unwrap();
    let _one = block_on(client.queue_subscribe("prices.*", "q")).unwrap();
    let is_subscribed = |text| broker.is_subscribed(&SubjectFilter::parse(text).unwrap());
    for text in ["orders.>", "orders.*", "orders.eu", "prices.*", "prices.eu", "orders.*.x"] {
        assert!(is_subscribed(text), "{text}");
    }
    for text in ["orders", ">", "prices.>", "prices.a.b", "*.eu"] {
        assert!(!is_subscribed(text), "{text}");
    }
}
