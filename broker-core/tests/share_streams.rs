//! Streams that accounts import from each other.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::time::{Instant, SystemTime};

use broker_core::account::{AccountConfig, Export, ExportAccess, Import};
use broker_core::auth::{Permissions, User, Users};
use broker_core::{Broker, Options, SubjectFilter};
use common::{Party, World};

fn filter(text: &str) -> SubjectFilter {
    SubjectFilter::parse(text).unwrap()
}

fn stream(text: &str) -> Export {
    Export::stream(filter(text))
}

fn import(account: &str, text: &str) -> Import {
    Import::stream(account, filter(text))
}

/// A broker in which each user `a` to `e` is in the account of the same letter; `d` may not receive `in.secret`.
fn world(accounts: Vec<AccountConfig>) -> World {
    let accounts = accounts.into_iter().map(Into::into).collect();
    let options = Options { accounts, ..Options::default() };
    let mut users = Users::builder();
    for (name, account) in [("a", "A"), ("b", "B"), ("c", "C"), ("e", "E")] {
        users = users.user(User::new(name, "").account(account));
    }
    let denied = Permissions::builder().subscribe_deny(["in.secret"]).build().unwrap();
    users = users.user(User::new("d", "").account("D").permissions(denied));
    let clock = (Instant::now, SystemTime::now);
    World::of(Broker::with_authenticator(options, clock, users.build().unwrap()))
}

fn join(world: &mut World, user: &str) -> Party {
    world.join_as(&format!(
        "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true,\"user\":\"{user}\",\
         \"pass\":\"\"}}\r\n"
    ))
}

#[test]
fn an_imported_stream_is_received_under_its_local_subject() {
    let mut world = world(vec![
        AccountConfig::new("A").with_export(stream("orders.>")).with_export(stream("x.*.*")),
        AccountConfig::new("B")
            .with_import(import("A", "orders.>").with_prefix("shop"))
            .with_import(import("A", "x.*.*").with_to("y.$2.$1")),
        AccountConfig::new("C").with_import(import("A", "orders.eu").with_to("eu")),
    ]);
    let mut a = join(&mut world, "a");
    let (mut b, mut c) = (join(&mut world, "b"), join(&mut world, "c"));
    world.send(&mut b, "SUB shop.orders.eu 1\r\nSUB y.1.* 2\r\nSUB orders.eu 3\r\n");
    world.send(&mut c, "SUB > 7\r\n");
    world.send(&mut a, "PUB orders.eu r 1\r\nm\r\nPUB x.0.1 0\r\n\r\nPUB x.1.0 0\r\n\r\n");
    assert_eq!(b.read(), "MSG shop.orders.eu 1 r 1\r\nm\r\nMSG y.1.0 2 0\r\n\r\n");
    assert_eq!(c.read(), "MSG eu 7 r 1\r\nm\r\n");
}

#[test]
fn a_wildcard_subscription_gets_only_the_subjects_of_the_import() {
    let mut world = world(vec![
        AccountConfig::new("A").with_export(stream("orders.>")),
        AccountConfig::new("B").with_import(import("A", "orders.*.new")),
    ]);
    let (mut a, mut b) = (join(&mut world, "a"), join(&mut world, "b"));
    world.send(&mut b, "SUB *.eu.> 1\r\nSUB > 2\r\n");
    world.send(
        &mut a,
        "PUB orders.eu.new 0\r\n\r\nPUB orders.eu.old 0\r\n\r\nPUB orders.us.new 0\r\n\r\n",
    );
    assert_eq!(
        b.read(),
        "MSG orders.eu.new 1 0\r\n\r\nMSG orders.eu.new 2 0\r\n\r\nMSG orders.us.new 2 0\r\n\r\n"
    );
}

#[test]
fn messages_do_not_flow_back_to_the_exporting_account() {
    let mut world = world(vec![
        AccountConfig::new("A").with_export(stream("s")),
        AccountConfig::new("B").with_import(import("A", "s")),
    ]);
    let (mut a, mut b) = (join(&mut world, "a"), join(&mut world, "b"));
    world.send(&mut a, "SUB s 1\r\n");
    world.send(&mut b, "SUB s 1\r\n");
    world.send(&mut b, "PUB s 0\r\n\r\n");
    assert_eq!((a.count(), b.count()), (0, 1));
}

#[test]
fn an_import_is_not_passed_on_to_a_third_account() {
    let mut world = world(vec![
        AccountConfig::new("A").with_export(stream("s")),
        AccountConfig::new("B").with_import(import("A", "s")).with_export(stream("s")),
        AccountConfig::new("C").with_import(import("B", "s")),
    ]);
    let mut a = join(&mut world, "a");
    let (mut b, mut c) = (join(&mut world, "b"), join(&mut world, "c"));
    world.send(&mut b, "SUB s 1\r\n");
    world.send(&mut c, "SUB s 1\r\n");
    world.send(&mut a, "PUB s 0\r\n\r\n");
    assert_eq!((b.count(), c.count()), (1, 0));
    world.send(&mut b, "PUB s 0\r\n\r\n");
    assert_eq!((b.count(), c.count()), (1, 1));
}

#[test]
fn only_accounts_that_may_import_a_stream_get_it() {
    let only_b = ExportAccess::Accounts(vec!["B".into()]);
    let mut world = world(vec![
        AccountConfig::new("A")
            .with_export(stream("s").with_access(only_b))
            .with_export(stream("t.*").with_access(ExportAccess::TokenPosition(2)))
            .with_export(stream("u").with_access(ExportAccess::Activation)),
        AccountConfig::new("B")
            .with_import(import("A", "s"))
            .with_import(import("A", "t.B"))
            .with_import(import("A", "u")),
        AccountConfig::new("C")
            .with_import(import("A", "s"))
            .with_import(import("A", "t.B"))
            .with_import(import("A", "u").with_activation(true)),
    ]);
    let mut a = join(&mut world, "a");
    let (mut b, mut c) = (join(&mut world, "b"), join(&mut world, "c"));
    world.send(&mut b, "SUB > 1\r\n");
    world.send(&mut c, "SUB > 1\r\n");
    world.send(&mut a, "PUB s 0\r\n\r\nPUB t.B 0\r\n\r\nPUB t.C 0\r\n\r\nPUB u 0\r\n\r\n");
    assert_eq!(b.read(), "MSG s 1 0\r\n\r\nMSG t.B 1 0\r\n\r\n");
    assert_eq!(c.read(), "MSG u 1 0\r\n\r\n");
}

#[test]
fn an_imported_subscription_ends_after_its_maximum_of_messages() {
    let mut world = world(vec![
        AccountConfig::new("A").with_export(stream("s")),
        AccountConfig::new("B").with_import(import("A", "s")),
    ]);
    let (mut a, mut b) = (join(&mut world, "a"), join(&mut world, "b"));
    world.send(&mut b, "SUB s 1\r\nUNSUB 1 3\r\n");
    world.send(&mut b, "PUB s 0\r\n\r\n");
    world.send(&mut a, "PUB s 0\r\n\r\n".repeat(5));
    assert_eq!(b.count(), 3, "messages of both accounts count");
    assert_eq!(subscriptions(&world), [0, 0]);
}

fn subscriptions(world: &World) -> [usize; 2] {
    let all = world.broker.accounts();
    ["A", "B"].map(|name| all.iter().find(|one| *one.name == *name).unwrap().interest.subscriptions)
}

#[test]
fn shadows_end_with_their_subscription() {
    let mut world = world(vec![
        AccountConfig::new("A").with_export(stream("s.*")),
        AccountConfig::new("B").with_import(import("A", "s.*")),
    ]);
    let (mut a, mut b) = (join(&mut world, "a"), join(&mut world, "b"));
    world.send(&mut b, "SUB s.1 1\r\nSUB s.> q 2\r\nSUB t 3\r\n");
    assert_eq!(subscriptions(&world), [2, 3]);
    world.send(&mut b, "UNSUB 1\r\n");
    assert_eq!(subscriptions(&world), [1, 2]);
    while b.session.depart(broker_core::CloseReason::ClientClosed) {}
    assert_eq!(subscriptions(&world), [0, 0]);
    world.send(&mut a, "PUB s.1 0\r\n\r\n");
    assert_eq!(b.read(), "");
}

#[test]
fn denied_subjects_are_those_of_the_importing_account() {
    let mut world = world(vec![
        AccountConfig::new("A").with_export(stream("out.*")),
        AccountConfig::new("D").with_import(import("A", "out.*").with_to("in.$1")),
    ]);
    let (mut a, mut d) = (join(&mut world, "a"), join(&mut world, "d"));
    world.send(&mut d, "SUB in.* 1\r\nSUB in.* q 2\r\nSUB in.secret 3\r\n");
    assert!(d.read().contains("Permissions Violation for Subscription to \"in.secret\""));
    world.send(&mut a, "PUB out.secret 0\r\n\r\nPUB out.open 0\r\n\r\n");
    assert_eq!(d.read(), "MSG in.open 1 0\r\n\r\nMSG in.open 2 0\r\n\r\n");
}

#[test]
fn a_queue_group_spans_the_accounts_that_import_a_stream() {
    let mut world = world(vec![
        AccountConfig::new("A").with_export(stream("s")),
        AccountConfig::new("B").with_import(import("A", "s").with_prefix("p")),
    ]);
    let (mut a, mut b) = (join(&mut world, "a"), join(&mut world, "b"));
    world.send(&mut a, "SUB s q 1\r\n");
    world.send(&mut b, "SUB p.s q 1\r\nSUB p.s other 2\r\n");
    world.send(&mut a, "PUB s 0\r\n\r\n".repeat(400));
    let (own, imported) = (a.count(), b.read());
    let shared = imported.matches("MSG p.s 1 ").count();
    assert_eq!(own + shared, 400);
    assert!(own > 100 && shared > 100, "{own} {shared}");
    assert_eq!(imported.matches("MSG p.s 2 ").count(), 400);
}

#[test]
fn a_client_without_echo_does_not_get_its_own_messages_by_an_import() {
    let mut world = world(vec![
        AccountConfig::new("A").with_export(stream("s")),
        AccountConfig::new("B").with_import(import("A", "s")),
    ]);
    let mut a = join(&mut world, "a");
    let mut b = join(&mut world, "b");
    world.send(&mut b, "SUB s 1\r\n");
    world.send(&mut a, "SUB in 1\r\nPUB s in 0\r\n\r\n");
    assert_eq!(b.count(), 1);
    assert_eq!(a.read(), "", "the importing account is a responder");
}

fn apply(world: &World, accounts: Vec<AccountConfig>) {
    let accounts = accounts.into_iter().map(Into::into).collect();
    world.broker.apply(Options { accounts, ..Options::default() }, None);
}

#[test]
fn a_reload_changes_the_imports_of_subscriptions_that_exist() {
    let exporter = || AccountConfig::new("A").with_export(stream("s.*"));
    let both = || import("A", "s.1");
    let mut world = world(vec![exporter(), AccountConfig::new("B").with_import(both())]);
    let (mut a, mut b) = (join(&mut world, "a"), join(&mut world, "b"));
    world.send(&mut b, "SUB > 1\r\n");
    let publish = |world: &mut World, a: &mut Party| {
        world.send(a, "PUB s.1 0\r\n\r\nPUB s.2 0\r\n\r\n");
    };
    publish(&mut world, &mut a);
    assert_eq!(b.read(), "MSG s.1 1 0\r\n\r\n");
    for (imports, expected) in [
        (vec![both(), import("A", "s.2").with_to("two")], "MSG s.1 1 0\r\n\r\nMSG two 1 0\r\n\r\n"),
        (vec![import("A", "s.2")], "MSG s.2 1 0\r\n\r\n"),
        (vec![], ""),
        (vec![both()], "MSG s.1 1 0\r\n\r\n"),
    ] {
        let mut config = AccountConfig::new("B");
        config.imports = imports;
        apply(&world, vec![exporter(), config]);
        publish(&mut world, &mut a);
        assert_eq!(b.read(), expected);
    }
    apply(&world, vec![AccountConfig::new("A"), AccountConfig::new("B").with_import(both())]);
    publish(&mut world, &mut a);
    assert_eq!(b.read(), "", "the stream is no longer exported");
    assert_eq!(subscriptions(&world), [0, 1]);
}
