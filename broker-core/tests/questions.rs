//! Decisions of services that are asked over the broker itself.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::time::Duration;

use broker_core::auth::{Authenticator, Credentials, Decision, Denied, Grant, Question};
use broker_core::limits::OPEN_QUESTIONS;
use broker_core::{CloseReason, QuestionStats, Subject};
use common::{CONNECT, Party, World};

/// Longer than the time to authenticate, shorter than that to the first PING.
const TIMEOUT: Duration = Duration::from_millis(2900);

/// Lets the user `service` in, and asks it about all others.
struct Asking;

fn question(credentials: &Credentials) -> Question {
    let user = credentials.user.clone();
    Question::new("$G", Subject::parse("may.login").unwrap(), user.clone())
        .with_headers(*b"NATS/1.0\r\nasked-by: broker\r\n\r\n")
        .with_timeout(TIMEOUT)
        .judged_by(move |answer, _| match answer {
            b"yes" => Ok(Grant::user(user)),
            _ => Err(Denied::Credentials),
        })
}

impl Authenticator for Asking {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        match &*credentials.user {
            "service" => Grant::user("service").into(),
            // A computation comes first, as with a password.
            "computed" => {
                let question = question(credentials);
                Decision::compute(|| Err(Denied::Credentials)).and_then(|_| question.into())
            }
            _ => question(credentials).into(),
        }
    }
}

fn connect(user: &str) -> String {
    format!("CONNECT {{\"verbose\":false,\"user\":\"{user}\"}}\r\n")
}

/// A broker with a service that is connected and subscribed.
fn served() -> (World, Party) {
    let mut world = World::with_auth(Asking);
    let mut service = world.join_as(&CONNECT.replace('{', "{\"user\":\"service\","));
    world.send(&mut service, "SUB may.login 1\r\n");
    (world, service)
}

/// Returns the reply subject of the request that the service has received.
fn asked(service: &Party, user: &str) -> String {
    let read = service.read();
    let (head, rest) = read.split_once("\r\n").unwrap();
    assert!(rest.contains("asked-by: broker") && rest.ends_with(&format!("{user}\r\n")), "{read}");
    head.split(' ').nth(3).unwrap().to_owned()
}

fn answer(world: &mut World, service: &mut Party, reply: &str, text: &str) {
    world.send(service, format!("PUB {reply} {}\r\n{text}\r\n", text.len()));
}

fn counts(stats: QuestionStats) -> (usize, u64, u64, u64, u64) {
    (stats.open, stats.granted, stats.denied, stats.unanswered, stats.refused)
}

#[test]
fn a_service_on_the_broker_decides_about_a_client() {
    for (user, text, expected) in [
        ("bob", "yes", "PONG\r\n"),
        ("computed", "yes", "PONG\r\n"),
        ("bob", "no", "-ERR 'Authorization Violation'\r\n"),
        ("bob", "", "-ERR 'Authorization Violation'\r\n"),
    ] {
        let (mut world, mut service) = served();
        let mut client = world.join_as(&connect(user));
        world.send(&mut client, "PING\r\n");
        assert_eq!((client.read(), client.closing()), (String::new(), None));
        assert!(client.session.is_unauthenticated());
        let reply = asked(&service, user);
        assert!(reply.starts_with("$SYS._INBOX."), "{reply}");
        answer(&mut world, &mut service, &reply, text);
        world.settle(&mut client);
        world.send(&mut client, "");
        assert_eq!(client.read(), expected);
        let denied = u64::from(text != "yes");
        assert_eq!(counts(world.broker.question_stats()), (0, 1 - denied, denied, 0, 0));
        assert_eq!(world.broker.question_stats().answer_times.count(), 1);
        // Only the first answer counts, and nothing is left of the question.
        answer(&mut world, &mut service, &reply, "yes");
        assert_eq!(world.broker.stats().subscriptions, 1);
    }
}

#[test]
fn without_a_service_a_client_waits_until_its_time_is_over_and_delays_nobody() {
    let mut world = World::with_auth(Asking);
    let mut waiting: Vec<Party> = (0..50).map(|_| world.join_as(&connect("bob"))).collect();
    let mut other = world.join_as(&connect("service"));
    world.send(&mut other, "PING\r\n");
    assert_eq!(other.read(), "PONG\r\n");
    assert_eq!(counts(world.broker.question_stats()), (50, 0, 0, 0, 0));
    for client in &mut waiting {
        world.settle(client);
        assert_eq!((client.read(), client.closing()), (String::new(), None));
    }
    let mut last = waiting.pop().unwrap();
    drop(waiting);
    assert_eq!(counts(world.broker.question_stats()), (1, 0, 0, 49, 0), "who leaves is forgotten");
    // The time to authenticate has ended with CONNECT; now that of the question counts.
    world.wait(&mut last, TIMEOUT - Duration::from_millis(1));
    assert_eq!((last.read(), last.closing()), (String::new(), None));
    world.wait(&mut last, Duration::from_millis(1));
    assert_eq!(last.read(), "-ERR 'Authorization Violation'\r\n");
    assert_eq!(last.closing(), Some(CloseReason::AuthenticationViolation));
    drop(last);
    assert_eq!(counts(world.broker.question_stats()), (0, 0, 0, 50, 0));
    assert_eq!(world.broker.stats().subscriptions, 0);
}

#[test]
fn a_client_is_served_while_the_service_is_asked_again() {
    let (mut world, mut service) = served();
    let mut client = world.join_as(&connect("bob"));
    let reply = asked(&service, "bob");
    answer(&mut world, &mut service, &reply, "yes");
    world.settle(&mut client);
    for (text, expected) in [("yes", "PONG\r\n"), ("no", "-ERR 'Authorization Violation'\r\n")] {
        let _ = world.broker.set_authenticator(Asking);
        world.settle(&mut client);
        world.send(&mut client, "PING\r\n");
        assert_eq!(client.read(), "PONG\r\n");
        let reply = asked(&service, "bob");
        answer(&mut world, &mut service, &reply, text);
        world.settle(&mut client);
        world.send(&mut client, "PING\r\n");
        assert_eq!(client.read(), expected);
    }
}

#[test]
fn the_number_of_open_questions_is_bounded() {
    let mut world = World::with_auth(Asking);
    let waiting: Vec<Party> = (0..OPEN_QUESTIONS).map(|_| world.join_as(&connect("bob"))).collect();
    let one_more = world.join_as(&connect("bob"));
    assert_eq!(
        one_more.read(),
        "-ERR 'Connection throttling is active. Please try again later.'\r\n"
    );
    assert_eq!(counts(world.broker.question_stats()), (OPEN_QUESTIONS, 0, 0, 0, 1));
    drop(waiting);
    let _first = world.join_as(&connect("bob"));
    assert_eq!(world.broker.question_stats().open, 1);
}
