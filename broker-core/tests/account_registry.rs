//! Configuration, limits, reload and removal of accounts.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::time::{Instant, SystemTime};

use broker_core::account::AccountConfig;
use broker_core::auth::{Authenticator, Credentials, Decision, Grant};
use broker_core::limits::AccountLimits;
use broker_core::{Broker, ChangeReport, CloseReason, Options};
use common::{Party, World};
use futures_executor::block_on;

/// Assigns each client to the account named like its user.
struct ByName;

impl Authenticator for ByName {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        Grant::user("x").with_account(&*credentials.user).into()
    }
}

fn connect(account: &str) -> String {
    format!(
        "CONNECT {{\"verbose\":false,\"headers\":true,\"protocol\":1,\"user\":\"{account}\"}}\r\n"
    )
}

/// Creates a broker with a limited account A and an unlimited account B.
fn world(limits: AccountLimits) -> World {
    let options = Options {
        accounts: accounts(limits).into_iter().map(Into::into).collect(),
        ..Options::default()
    };
    let clock = (Instant::now, SystemTime::now);
    World::of(Broker::with_authenticator(options, clock, ByName))
}

fn accounts(limits: AccountLimits) -> Vec<AccountConfig> {
    vec![AccountConfig::new("A").with_limits(limits), AccountConfig::new("B")]
}

fn join(world: &mut World, account: &str) -> Party {
    world.join_as(&connect(account))
}

fn configure(world: &World, accounts: Vec<AccountConfig>) -> ChangeReport {
    let accounts = accounts.into_iter().map(Into::into).collect();
    world.broker.update_options(|options| options.accounts = accounts)
}

fn shown(world: &World) -> Vec<String> {
    world.broker.accounts().iter().map(|account| account.name.to_string()).collect()
}

const FULL: &str = "-ERR 'maximum account active connections exceeded'\r\n";

#[test]
fn configured_accounts_exist_from_the_start_and_others_from_their_first_use() {
    let mut world = world(AccountLimits::default());
    assert_eq!(shown(&world), ["$G", "$SYS", "A", "B"]);
    let _party = join(&mut world, "C");
    assert_eq!(shown(&world), ["$G", "$SYS", "A", "B", "C"]);
}

#[test]
fn the_maximum_connections_of_an_account_apply_and_in_process_clients_do_not_count() {
    let limits = AccountLimits { max_connections: Some(2), ..AccountLimits::default() };
    let mut world = world(limits);
    let _locals: Vec<_> =
        (0..3).map(|_| world.broker.client_as(Grant::anonymous().with_account("A"))).collect();
    let (first, mut second) = (join(&mut world, "A"), join(&mut world, "A"));
    assert_eq!((first.read(), second.read()), Default::default());
    let third = join(&mut world, "A");
    assert_eq!(third.read(), FULL);
    let reason = third.closing().unwrap();
    assert_eq!(reason, CloseReason::MaxAccountConnectionsExceeded);
    assert_eq!(reason.to_string(), "Maximum Account Connections Exceeded");
    assert_eq!(join(&mut world, "B").closing(), None);
    // A refused client takes no place; one that changes the account or leaves frees its place.
    drop(third);
    world.send(&mut second, connect("B"));
    let fourth = join(&mut world, "A");
    assert_eq!(fourth.closing(), None);
    world.send(&mut second, connect("A"));
    assert_eq!(second.read(), FULL);
    drop(first);
    assert_eq!(join(&mut world, "A").closing(), None);
}

#[test]
fn a_client_without_credentials_gets_the_error_of_a_full_account_on_connect() {
    let limits = AccountLimits { max_connections: Some(1), ..AccountLimits::default() };
    let global = AccountConfig::new("$G").with_limits(limits);
    let options = Options { accounts: vec![global.into()], ..Options::default() };
    let mut world = World::of(Broker::new(options, (Instant::now, SystemTime::now)));
    let first = world.join();
    let second = world.join();
    assert_eq!((first.read(), second.read()), (String::new(), FULL.into()));
    drop((first, second));
    assert_eq!(world.join().read(), "");
}

#[test]
fn the_lower_of_two_limits_on_subscriptions_applies_to_each_client_of_the_account() {
    let limits = AccountLimits { max_subscriptions: Some(2), ..AccountLimits::default() };
    let mut world = world(limits);
    let (mut first, mut second, mut other) =
        (join(&mut world, "A"), join(&mut world, "A"), join(&mut world, "B"));
    let full = "-ERR 'maximum subscriptions exceeded'\r\n";
    for (party, expected) in [(&mut first, full), (&mut second, full), (&mut other, "")] {
        world.send(party, "SUB a 1\r\nSUB b 2\r\n");
        assert_eq!(party.read(), "");
        world.send(party, "SUB c 3\r\n");
        assert_eq!((party.read(), party.closing()), (expected.into(), None));
    }
    let local = world.broker.client_as(Grant::anonymous().with_account("A"));
    let subscribers: Vec<_> = (0..5).map(|_| block_on(local.subscribe("x")).unwrap()).collect();
    assert_eq!(subscribers.len(), 5, "programs inside of the process are not bound by it");
    world.broker.update_options(|options| options.limits.max_subscriptions = Some(1));
    let mut third = join(&mut world, "A");
    world.send(&mut third, "SUB a 1\r\nSUB b 2\r\n");
    assert_eq!(third.read(), full);
}

#[test]
fn the_maximum_payload_of_an_account_is_enforced_announced_and_reloaded() {
    let limits = AccountLimits { max_payload_bytes: Some(10), ..AccountLimits::default() };
    let mut world = world(limits.clone());
    let (mut first, mut second) = (join(&mut world, "A"), join(&mut world, "A"));
    world.send(&mut first, "PING\r\n");
    assert!(first.read().contains("\"max_payload\":10,"));
    world.send(&mut first, "PUB a 10\r\n0123456789\r\n");
    assert_eq!((first.read(), first.closing()), Default::default());
    let lower = AccountLimits { max_payload_bytes: Some(9), ..limits };
    configure(&world, accounts(lower));
    for party in [&mut first, &mut second] {
        world.settle(party);
        world.send(party, "PUB a 9\r\n012345678\r\n");
        assert_eq!(party.closing(), None);
    }
    world.send(&mut first, "PUB a 10\r\n0123456789\r\n");
    assert_eq!(first.read(), "-ERR 'Maximum Payload Violation'\r\n");
    assert_eq!(first.closing(), Some(CloseReason::MaxPayloadExceeded));
    configure(&world, accounts(AccountLimits::default()));
    world.settle(&mut second);
    world.send(&mut second, format!("PUB a 5000\r\n{}\r\n", "x".repeat(5_000)));
    assert_eq!(second.closing(), None);
    // The broker's limit applies even if the account's is higher.
    let higher = AccountLimits { max_payload_bytes: Some(usize::MAX), ..AccountLimits::default() };
    configure(&world, accounts(higher));
    world.broker.update_options(|options| options.limits.max_payload_bytes = 3);
    world.settle(&mut second);
    world.send(&mut second, "PUB a 4\r\n0123\r\n");
    assert_eq!(second.closing(), Some(CloseReason::MaxPayloadExceeded));
}

#[test]
fn a_reload_that_lowers_the_connections_of_an_account_closes_its_newest() {
    let mut world = world(AccountLimits::default());
    let mut parties: Vec<Party> =
        ["A", "B", "A", "A", "B"].iter().map(|name| join(&mut world, name)).collect();
    let limits = AccountLimits { max_connections: Some(1), ..AccountLimits::default() };
    let report = configure(&world, accounts(limits));
    assert_eq!((report.excess, report.removed), (2, 0));
    parties.iter_mut().for_each(|party| world.settle(party));
    let told: Vec<String> = parties.iter().map(Party::read).collect();
    assert_eq!(told, ["", "", FULL, FULL, ""]);
    drop(parties.split_off(2));
    block_on(report.applied);
}

#[test]
fn the_sessions_of_a_removed_account_are_closed_and_no_counter_decreases() {
    let mut world = world(AccountLimits::default());
    let (mut first, mut second, mut other) =
        (join(&mut world, "A"), join(&mut world, "A"), join(&mut world, "B"));
    let local = world.broker.client_as(Grant::anonymous().with_account("A"));
    let mut subscriber = block_on(local.subscribe("x")).unwrap();
    let subs: String = (0..1_000).map(|sid| format!("SUB s.{sid} {sid}\r\n")).collect();
    world.send(&mut second, subs);
    world.send(&mut first, "PUB x 2\r\nhi\r\n");
    let (before, totals) = (world.broker.stats(), world.broker.accounts()[2].clone());
    assert_eq!((&*totals.name, totals.traffic.in_messages, totals.connections), ("A", 1, 2));

    let report = configure(&world, vec![AccountConfig::new("B")]);
    assert_eq!((report.excess, report.removed), (0, 3));
    for party in [&mut first, &mut second, &mut other] {
        world.settle(party);
    }
    assert_eq!(first.closing(), Some(CloseReason::UserRemoved));
    assert_eq!(first.closing().unwrap().to_string(), "Client Closed");
    assert_eq!((first.read(), second.read(), other.read()), Default::default());
    assert_eq!(other.closing(), None);
    assert_eq!(block_on(subscriber.next()).unwrap().payload, "hi");
    assert_eq!(block_on(subscriber.next()).map(|message| message.payload), None);
    drop((first, second, subscriber, local));
    block_on(report.applied);
    assert_eq!(shown(&world), ["$G", "$SYS", "B"]);
    let after = world.broker.stats();
    assert_eq!((after.in_messages, after.in_bytes), (before.in_messages, before.in_bytes));
    assert_eq!((after.out_messages, after.subscriptions), (before.out_messages, 0));

    configure(&world, accounts(AccountLimits::default()));
    let again = world.broker.accounts()[2].clone();
    assert_eq!((again.traffic, again.connections), (totals.traffic, 0));
    assert_eq!(again.interest.inserts, totals.interest.inserts);
    assert_eq!((again.interest.subscriptions, again.interest.removes), (0, 1_001));
    let mut third = join(&mut world, "A");
    world.send(&mut third, "SUB x 1\r\nPUB x 0\r\n\r\n");
    assert_eq!(third.count(), 1);
}

#[test]
fn an_authenticator_that_names_a_removed_account_recreates_it_without_limits() {
    let limits = AccountLimits { max_connections: Some(1), ..AccountLimits::default() };
    let mut world = world(limits);
    let mut first = join(&mut world, "A");
    configure(&world, Vec::new());
    world.settle(&mut first);
    assert!(first.closing().is_some());
    let (second, third) = (join(&mut world, "A"), join(&mut world, "A"));
    assert_eq!((second.closing(), third.closing()), (None, None));
    assert_eq!(shown(&world), ["$G", "$SYS", "A"]);
}
