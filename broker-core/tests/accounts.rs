//! Accounts are isolated subject spaces.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use broker_core::CloseReason;
use broker_core::account::{GLOBAL, SYSTEM};
use broker_core::auth::{Authenticator, Credentials, Decision, Denied, Grant};
use broker_core::system::{ServiceRequest, SystemEvent, SystemListener};
use common::{Party, World};

/// Assigns each client to the account that it names.
struct ByName;

impl Authenticator for ByName {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        match &*credentials.user {
            "" => Denied::Credentials.into(),
            "late" => Decision::compute(|| Ok(Grant::user("late").with_account("A"))),
            account => Grant::user("x").with_account(account).into(),
        }
    }
}

fn join(world: &mut World, account: &str) -> Party {
    world.join_as(&connect(account))
}

fn connect(account: &str) -> String {
    format!(
        "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1,\
         \"user\":\"{account}\"}}\r\n"
    )
}

#[test]
fn nothing_is_delivered_from_one_account_to_another() {
    let mut world = World::with_auth(ByName);
    let accounts = ["A", "B", GLOBAL, SYSTEM];
    let mut parties: Vec<_> = accounts.iter().map(|name| join(&mut world, name)).collect();
    for party in &mut parties {
        world.send(party, "SUB > 1\r\nSUB > q 2\r\n");
        party.read();
    }
    for sender in 0..accounts.len() {
        world.send(&mut parties[sender], "PUB x 0\r\n\r\n");
        let got: Vec<usize> = parties.iter().map(Party::count).collect();
        let mut expected = vec![0; accounts.len()];
        expected[sender] = 2;
        assert_eq!(got, expected, "from {}", accounts[sender]);
    }
}

#[test]
fn a_responder_in_another_account_is_none() {
    let mut world = World::with_auth(ByName);
    let (mut client, mut other) = (join(&mut world, "A"), join(&mut world, "B"));
    world.send(&mut other, "SUB ask 1\r\n");
    world.send(&mut client, "SUB in 1\r\nPUB ask in 0\r\n\r\n");
    assert!(client.read().starts_with("HMSG in 1 35 35\r\nNATS/1.0 503\r\n"));
    assert_eq!(other.read(), "");
}

#[test]
fn an_in_process_client_lives_in_the_account_it_was_granted() {
    let mut world = World::with_auth(ByName);
    let mut wire = join(&mut world, "A");
    world.send(&mut wire, "SUB x 1\r\n");
    for (account, expected) in [("A", 1), ("B", 0)] {
        let local = world.broker.client_as(Grant::anonymous().with_account(account));
        futures_executor::block_on(local.publish("x", "hi".into())).unwrap();
        assert_eq!(wire.count(), expected, "{account}");
    }
}

#[test]
fn a_client_that_changes_the_account_leaves_its_subscriptions() {
    let mut world = World::with_auth(ByName);
    let (mut a, mut b) = (join(&mut world, "A"), join(&mut world, "B"));
    let mut mover = join(&mut world, "A");
    world.send(&mut mover, "SUB x 1\r\nPUB y 0\r\n\r\n");
    world.send(&mut mover, connect("B"));
    world.send(&mut a, "PUB x 0\r\n\r\n");
    world.send(&mut b, "PUB x 0\r\n\r\nSUB y 1\r\n");
    assert_eq!(mover.count(), 0);
    world.send(&mut a, "SUB y 1\r\n");
    world.send(&mut mover, "SUB x 1\r\nPUB y 0\r\n\r\n");
    world.send(&mut b, "PUB x 0\r\n\r\n");
    assert_eq!((a.count(), b.count(), mover.count()), (0, 1, 1));
}

#[test]
fn info_names_the_account_after_the_first_pong() {
    let mut world = World::with_auth(ByName);
    for (account, is_system) in [("A", false), (SYSTEM, true)] {
        let mut client = join(&mut world, account);
        world.send(&mut client, "PING\r\n");
        let sent = client.read();
        assert!(sent.contains(&format!("\"remote_account\":\"{account}\"")), "{sent}");
        assert_eq!(sent.contains("\"acc_is_sys\":true"), is_system, "{sent}");
    }
}

#[test]
fn a_client_has_no_account_until_its_check_is_complete() {
    let mut world = World::with_auth(ByName);
    let mut a = join(&mut world, "A");
    let mut late = world.arrive();
    let input = format!("{}SUB x 1\r\n", connect("late"));
    let received = late.session.receive(world.now, input.as_bytes(), None, &mut world.scratch);
    assert!(received.used < input.len(), "further input waits");
    world.send(&mut a, "PUB x 0\r\n\r\n");
    let check = late.session.take_check().unwrap();
    assert!(late.session.take_check().is_none(), "it is handed out once");
    late.session.handle_checked(check.run(), world.now, &mut world.scratch);
    world.send(&mut late, &input[received.used..]);
    assert_eq!(late.count(), 0);
    world.send(&mut a, "PUB x 0\r\n\r\n");
    assert_eq!(late.count(), 1);
}

#[test]
fn counters_count_all_accounts() {
    let mut world = World::with_auth(ByName);
    for account in ["A", "B"] {
        let mut party = join(&mut world, account);
        world.send(&mut party, "SUB x 1\r\nPUB x 5\r\nhello\r\n");
    }
    let stats = world.broker.stats();
    assert_eq!((stats.in_messages, stats.out_messages, stats.out_bytes), (2, 2, 10));
}

/// Records the numbers of an account's clients. The thread that brings the first one is overtaken, if another one comes.
struct Slow {
    numbers: Arc<Mutex<Vec<usize>>>,
    /// Received from when the first number has come.
    begun: mpsc::Sender<()>,
    overtaken: (Mutex<mpsc::Receiver<()>>, mpsc::Sender<()>),
    has_begun: std::sync::atomic::AtomicBool,
}

impl SystemListener for Slow {
    fn notice(&self, event: SystemEvent<'_>) {
        let SystemEvent::AccountChanged { connections, .. } = event else { return };
        let is_first = !self.has_begun.swap(true, std::sync::atomic::Ordering::SeqCst);
        if is_first {
            self.begun.send(()).unwrap();
            let _ = self.overtaken.0.lock().unwrap().recv_timeout(Duration::from_millis(200));
        }
        self.numbers.lock().unwrap().push(connections);
        if !is_first {
            self.overtaken.1.send(()).unwrap();
        }
    }

    fn serve(&self, _: &ServiceRequest<'_>) -> bool {
        false
    }
}

/// Other servers count them towards the limit of the account.
#[test]
fn the_last_number_of_an_account_that_is_reported_is_the_newest() {
    let mut world = World::with_auth(ByName);
    let [mut one, mut other] = ["A", "A"].map(|account| join(&mut world, account));
    let (begun, has_begun) = mpsc::channel();
    let (overtakes, overtaken) = mpsc::channel();
    let numbers = Arc::<Mutex<Vec<usize>>>::default();
    world.broker.set_system_listener(Some(Box::new(Slow {
        numbers: Arc::clone(&numbers),
        begun,
        overtaken: (Mutex::new(overtaken), overtakes),
        has_begun: std::sync::atomic::AtomicBool::new(false),
    })));
    std::thread::scope(|threads| {
        threads.spawn(|| one.session.depart(CloseReason::ClientClosed));
        has_begun.recv().unwrap();
        other.session.depart(CloseReason::ClientClosed);
    });
    assert_eq!(*numbers.lock().unwrap(), [1, 0]);
}
