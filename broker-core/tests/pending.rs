//! Slow decisions of authenticators: external answers, and computations at a review.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant, SystemTime};

use broker_core::auth::{
    Answer, Authenticator, Credentials, Decision, Denied, Grant, Pending, Permissions,
};
use broker_core::endpoint::Applied;
use broker_core::{Broker, CloseReason, Limits, Options};
use common::{CONNECT, Party, World};

/// Timeout of answers, shorter than the time to the first PING.
const TIMEOUT: Duration = Duration::from_secs(1);

const UNAVAILABLE: &str = "-ERR 'Connection throttling is active. Please try again later.'\r\n";

/// An authenticator whose decisions are all external.
#[derive(Clone, Default)]
struct Elsewhere(Arc<Mutex<Vec<Answer>>>);

impl Elsewhere {
    fn ask(&self) -> Decision {
        let (pending, answer) = Pending::new(TIMEOUT);
        self.0.lock().unwrap().push(answer);
        pending.into()
    }

    /// Returns the pending answer.
    fn answer(&self) -> Answer {
        self.0.lock().unwrap().pop().unwrap()
    }
}

impl Authenticator for Elsewhere {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, _: &Credentials) -> Decision {
        self.ask()
    }

    fn review(&self, _: &Grant, _: &Credentials) -> Decision {
        self.ask()
    }
}

/// Decides by a function.
struct By<F>(F);

impl<F: Fn() -> Decision + Send + Sync + 'static> Authenticator for By<F> {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, _: &Credentials) -> Decision {
        (self.0)()
    }

    fn review(&self, _: &Grant, _: &Credentials) -> Decision {
        (self.0)()
    }
}

/// Connects a client under one authenticator and begins its review by another.
fn reviewed(by: impl Authenticator) -> (World, Party, Applied) {
    let mut world = World::with_auth(By(|| Grant::user("a").into()));
    let mut party = world.join();
    world.send(&mut party, "SUB x 1\r\nSUB y 2\r\n");
    let applied = world.broker.set_authenticator(by).applied;
    world.settle(&mut party);
    (world, party, applied)
}

fn is_applied(applied: &mut Applied) -> bool {
    pin!(applied).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

fn only_x() -> Grant {
    let permissions = Permissions::builder().subscribe_allow(["x"]).build().unwrap();
    Grant::user("a").with_permissions(permissions)
}

/// Publishes to both of its subjects. Returns what the client receives.
fn received(world: &mut World, party: &Party) -> String {
    let client = world.broker.client();
    for subject in ["x", "y"] {
        futures_executor::block_on(client.publish(subject, "".into())).unwrap();
    }
    party.read()
}

#[test]
fn input_waits_at_login_for_an_answer_from_another_thread() {
    let elsewhere = Elsewhere::default();
    let mut world = World::with_auth(elsewhere.clone());
    let mut party = world.arrive();
    world.send(&mut party, format!("{CONNECT}SUB x 1\r\nPUB x 2\r\nhi\r\nPING\r\n"));
    assert_eq!((party.read(), party.closing()), (String::new(), None));
    assert!(party.session.is_unauthenticated() && !party.session.wants_input());

    let wakes = party.write_handle.wakes();
    let answer = elsewhere.answer();
    std::thread::spawn(move || answer.decide(Ok(Grant::user("a")))).join().unwrap();
    assert!(party.write_handle.wakes() > wakes, "the driver looks");
    world.settle(&mut party);
    assert!(!party.session.is_unauthenticated() && party.session.wants_input());
    world.send(&mut party, "");
    assert_eq!(party.read(), "MSG x 1 2\r\nhi\r\nPONG\r\n");
}

#[test]
fn an_immediate_answer_causes_no_wait() {
    for (result, expected) in
        [(Ok(Grant::user("a")), "PONG\r\n"), (Err(Denied::Credentials), "-ERR 'Auth")]
    {
        let mut world = World::with_auth(By(move || {
            let (pending, answer) = Pending::new(TIMEOUT);
            answer.decide(result.clone());
            pending.into()
        }));
        let mut party = world.join();
        world.settle(&mut party);
        world.send(&mut party, "PING\r\n");
        let read = party.read();
        assert!(read.starts_with(expected), "{read}");
    }
}

#[test]
fn without_an_answer_a_login_is_denied() {
    let elsewhere = Elsewhere::default();
    // A dropped answer, a late one, and one later than the authentication timeout.
    for (auth_timeout, waits, expected) in [
        (TIMEOUT * 2, Duration::ZERO, UNAVAILABLE),
        (TIMEOUT * 2, TIMEOUT, UNAVAILABLE),
        (TIMEOUT / 2, TIMEOUT / 2, "-ERR 'Authentication Timeout'\r\n"),
    ] {
        let limits = Limits { auth_timeout, ..Limits::default() };
        let clock = (Instant::now, SystemTime::now);
        let options = Options { limits, ..Options::default() };
        let mut world = World::of(Broker::with_authenticator(options, clock, elsewhere.clone()));
        let mut party = world.join();
        let answer = elsewhere.answer();
        if waits.is_zero() {
            drop(answer);
            world.settle(&mut party);
        } else {
            world.wait(&mut party, waits - Duration::from_millis(1));
            assert_eq!((party.read(), party.closing()), (String::new(), None));
            world.wait(&mut party, Duration::from_millis(1));
        }
        assert_eq!(party.read(), expected);
        assert!(party.closing().is_some());
    }
}

#[test]
fn a_client_that_leaves_while_an_answer_is_pending_costs_nothing() {
    let elsewhere = Elsewhere::default();
    let mut world = World::with_auth(elsewhere.clone());
    let party = world.join();
    let answer = elsewhere.answer();
    assert!(answer.is_wanted());
    let write_handle = party.write_handle.clone();
    drop(party);
    assert!(!answer.is_wanted());
    assert_eq!(write_handle.holders(), 1);
    answer.decide(Ok(Grant::user("a")));
    assert_eq!(world.broker.stats().connections, 0);

    let (_world, party, mut applied) = reviewed(elsewhere.clone());
    let answer = elsewhere.answer();
    assert!(!is_applied(&mut applied));
    drop(party);
    assert!(is_applied(&mut applied) && !answer.is_wanted());
}

#[test]
fn a_client_is_served_while_its_review_waits_for_an_answer() {
    let elsewhere = Elsewhere::default();
    let (mut world, mut party, mut applied) = reviewed(elsewhere.clone());
    assert_eq!(received(&mut world, &party), "MSG x 1 0\r\n\r\nMSG y 2 0\r\n\r\n");
    world.send(&mut party, "PING\r\n");
    assert_eq!(party.read(), "PONG\r\n");
    assert!(!is_applied(&mut applied));

    elsewhere.answer().decide(Ok(only_x()));
    assert!(!is_applied(&mut applied), "the session has not looked yet");
    world.settle(&mut party);
    assert!(is_applied(&mut applied));
    let revoked = "-ERR 'Permissions Violation for Subscription to \"y\" (sid \"2\")'\r\n";
    assert_eq!(party.read(), revoked);
    assert_eq!(received(&mut world, &party), "MSG x 1 0\r\n\r\n");
}

#[test]
fn a_review_without_an_answer_denies() {
    for is_dropped in [true, false] {
        let elsewhere = Elsewhere::default();
        let (mut world, mut party, mut applied) = reviewed(elsewhere.clone());
        let answer = elsewhere.answer();
        if is_dropped {
            drop(answer);
            world.settle(&mut party);
        } else {
            world.wait(&mut party, TIMEOUT - Duration::from_millis(1));
            assert_eq!((party.read(), party.closing()), (String::new(), None));
            assert!(!is_applied(&mut applied));
            world.wait(&mut party, Duration::from_millis(1));
        }
        assert_eq!(party.read(), UNAVAILABLE);
        assert_eq!(party.closing(), Some(CloseReason::MaxConnectionsExceeded));
        assert!(is_applied(&mut applied));
    }
}

#[test]
fn a_computation_at_a_review_runs_elsewhere_and_decides() {
    for (result, is_closed) in [(Ok(only_x()), false), (Err(Denied::Credentials), true)] {
        let by = By(move || {
            let result = result.clone();
            Decision::compute(move || result)
        });
        let (mut world, mut party, mut applied) = reviewed(by);
        assert_eq!(received(&mut world, &party), "MSG x 1 0\r\n\r\nMSG y 2 0\r\n\r\n");
        let check = party.session.take_check().unwrap();
        assert!(party.session.take_check().is_none(), "it runs once");
        assert!(party.session.wants_input() && !is_applied(&mut applied));
        party.session.handle_checked(check.run(), world.now, &mut world.scratch);
        assert!(is_applied(&mut applied));
        assert_eq!(party.closing().is_some(), is_closed);
        if !is_closed {
            party.read();
            assert_eq!(received(&mut world, &party), "MSG x 1 0\r\n\r\n");
        }
    }
}

#[test]
fn the_newest_of_two_authenticators_decides() {
    let (first, second) = (Elsewhere::default(), Elsewhere::default());
    let (mut world, mut party, mut applied) = reviewed(first.clone());
    let old = first.answer();
    let mut applied_too = world.broker.set_authenticator(second.clone()).applied;
    world.settle(&mut party);
    assert!(!old.is_wanted());
    old.decide(Err(Denied::Credentials));
    world.settle(&mut party);
    assert_eq!(party.closing(), None);
    assert!(!is_applied(&mut applied) && !is_applied(&mut applied_too));
    second.answer().decide(Ok(only_x()));
    world.settle(&mut party);
    assert!(is_applied(&mut applied) && is_applied(&mut applied_too));
    party.read();
    assert_eq!(received(&mut world, &party), "MSG x 1 0\r\n\r\n");
}

#[test]
fn the_answer_of_an_old_authenticator_does_not_precede_a_new_one() {
    let first = Elsewhere::default();
    let (mut world, mut party, _) = reviewed(first.clone());
    // Both answers are present when the session handles them.
    first.answer().decide(Err(Denied::Credentials));
    world.broker.set_authenticator(By(|| Grant::user("a").into()));
    world.settle(&mut party);
    assert_eq!((party.read(), party.closing()), (String::new(), None));
}

#[test]
fn the_result_of_a_superseded_computation_has_no_effect() {
    let (mut world, mut party, _) = reviewed(By(|| Decision::compute(|| Err(Denied::Credentials))));
    let old = party.session.take_check().unwrap();
    let mut applied =
        world.broker.set_authenticator(By(|| Decision::compute(|| Ok(only_x())))).applied;
    world.settle(&mut party);
    party.session.handle_checked(old.run(), world.now, &mut world.scratch);
    assert_eq!((party.read(), party.closing()), (String::new(), None));
    assert!(!is_applied(&mut applied));
    let new = party.session.take_check().unwrap();
    party.session.handle_checked(new.run(), world.now, &mut world.scratch);
    assert!(is_applied(&mut applied));
}

#[test]
fn another_connect_replaces_a_review() {
    let elsewhere = Elsewhere::default();
    let (mut world, mut party, mut applied) = reviewed(elsewhere.clone());
    let review = elsewhere.answer();
    world.send(&mut party, CONNECT);
    assert!(!review.is_wanted());
    assert!(is_applied(&mut applied), "its subscriptions have ended");
    assert_eq!(received(&mut world, &party), "");
    review.decide(Err(Denied::Credentials));
    elsewhere.answer().decide(Ok(Grant::user("b")));
    world.settle(&mut party);
    world.send(&mut party, "PING\r\n");
    assert_eq!((party.read(), party.closing()), ("PONG\r\n".to_owned(), None));
}

#[test]
fn a_login_is_decided_by_an_authenticator_set_in_the_meantime() {
    let denied = Err(Denied::Credentials);
    for (old, new) in [
        (Ok(Grant::user("a")), Err(Denied::Credentials)),
        (denied, Ok(Grant::user("a"))),
        (Ok(Grant::user("a")), Ok(Grant::user("a").with_account("MOVED"))),
    ] {
        let elsewhere = Elsewhere::default();
        let mut world = World::with_auth(elsewhere.clone());
        let mut party = world.join();
        let newest = Elsewhere::default();
        world.broker.set_authenticator(newest.clone());
        world.settle(&mut party);
        elsewhere.answer().decide(old);
        world.settle(&mut party);
        assert!(party.session.is_unauthenticated(), "it is not served by what is out of date");
        newest.answer().decide(new.clone());
        world.settle(&mut party);
        assert_eq!(party.closing().is_none(), new.is_ok());
        assert_eq!(party.session.is_unauthenticated(), new.is_err());
    }
}
