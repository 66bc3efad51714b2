//! Snapshots of a broker.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::time::Duration;

use broker_core::auth::{Permissions, User, Users};
use broker_core::snapshot::AuthFailure;
use broker_core::{CloseReason, Limits, Subject};
use common::{CONNECT, World};

#[test]
fn a_snapshot_of_a_connection_has_its_metadata_and_traffic() {
    let mut world = World::new();
    let connect = CONNECT.replace('}', ",\"name\":\"n\",\"lang\":\"rust\",\"version\":\"1.2\"}");
    let mut party = world.join_as(&connect);
    let came = world.now;
    world.now += Duration::from_secs(3);
    world.send(&mut party, "SUB a 1\r\nSUB b q 2\r\nPUB a 5\r\nhello\r\nPUB none 1\r\nx\r\n");
    let seen = &world.broker.connections()[0];
    assert_eq!(
        (&*seen.client_info.name, &*seen.client_info.lang, &*seen.client_info.version),
        ("n", "rust", "1.2")
    );
    assert_eq!((seen.client_info.user.as_deref(), seen.account.as_deref()), (None, Some("$G")));
    assert_eq!((seen.since, seen.last_activity), (came, came + Duration::from_secs(3)));
    assert_eq!((seen.traffic.in_messages, seen.traffic.in_bytes), (2, 6));
    assert_eq!((seen.traffic.out_messages, seen.traffic.out_bytes), (1, 5));
    assert_eq!((seen.subscriptions, seen.pending_bytes), (2, 0));
    assert!(seen.rtt.is_some(), "CONNECT measures it");
    assert_eq!(world.broker.connection(seen.id).map(|again| again.id), Some(seen.id));
    assert!(world.broker.connection(seen.id + 1).is_none());
}

#[test]
fn a_delivery_is_activity_and_a_ping_is_not() {
    let mut world = World::new();
    let (mut a, mut b) = (world.join(), world.join());
    world.send(&mut a, "SUB x 1\r\n");
    let subscribed = world.now;
    world.now += Duration::from_secs(5);
    world.send(&mut a, "PING\r\n");
    assert_eq!(world.broker.connections()[0].last_activity, subscribed);
    world.send(&mut b, "PUB x 1\r\n1\r\n");
    assert_eq!(world.broker.connections()[0].last_activity, world.now);
}

#[test]
fn pending_bytes_of_a_connection_are_reported() {
    let mut world = World::new();
    let (mut slow, mut publisher) = (world.join(), world.join());
    world.send(&mut slow, "SUB x 1\r\n");
    slow.write_handle.set_room(Some(0));
    world.send(&mut publisher, "PUB x 3\r\nabc\r\n");
    assert_eq!(world.broker.connections()[0].pending_bytes, "MSG x 1 3\r\nabc\r\n".len());
}

#[test]
fn a_closed_connection_is_remembered_with_its_last_state() {
    let mut world = World::new();
    let mut party = world.join();
    world.send(&mut party, "SUB a 1\r\nSUB b 2\r\nPUB a 2\r\nhi\r\n");
    drop(party);
    let closed = &world.broker.closed_connections()[0];
    assert_eq!(closed.reason, CloseReason::ClientClosed);
    assert_eq!(closed.connection.subscriptions, 2);
    assert_eq!((closed.connection.traffic.in_bytes, closed.connection.traffic.out_bytes), (2, 2));
    let filters: Vec<&str> = closed.subscriptions.iter().map(|one| &*one.filter).collect();
    assert_eq!(filters, ["a", "b"]);
    assert!(world.broker.connections().is_empty());
    assert_eq!(world.broker.closed_by_reason(), [(CloseReason::ClientClosed, 1)]);
}

#[test]
fn only_the_last_closed_connections_are_remembered() {
    let mut world = World::with_limits(Limits { max_closed_connections: 3, ..Limits::default() });
    let ids: Vec<u64> = (0..5)
        .map(|_| {
            let party = world.join();
            party.session.id()
        })
        .collect();
    let remembered: Vec<u64> =
        world.broker.closed_connections().iter().map(|closed| closed.connection.id).collect();
    assert_eq!(remembered, ids[2..]);
    assert_eq!(world.broker.closed_by_reason(), [(CloseReason::ClientClosed, 5)], "all count");
}

#[test]
fn names_of_closed_connections_take_limited_memory() {
    let mut world =
        World::with_limits(Limits { max_control_line_bytes: 1 << 20, ..Limits::default() });
    for _ in 0..40 {
        let name = "n".repeat(1_000_000);
        let party = world.join_as(&CONNECT.replace('}', &format!(",\"name\":\"{name}\"}}")));
        drop(party);
    }
    let remembered = world.broker.closed_connections();
    let bytes: usize =
        remembered.iter().map(|closed| closed.connection.client_info.name.len()).sum();
    assert!((10_000_000..17_000_000).contains(&bytes), "{bytes}");
}

#[test]
fn counters_never_decrease_when_a_connection_ends() {
    let mut world = World::new();
    let (mut a, mut b) = (world.join(), world.join());
    world.send(&mut a, "SUB x 1\r\n");
    world.send(&mut b, "PUB x 3\r\nabc\r\n");
    let before = world.broker.stats();
    drop((a, b));
    let after = world.broker.stats();
    assert_eq!((after.in_messages, after.in_bytes), (before.in_messages, before.in_bytes));
    assert_eq!((after.out_messages, after.out_bytes), (before.out_messages, before.out_bytes));
    assert_eq!((after.out_messages, after.out_bytes), (1, 3));
}

fn two_accounts() -> Users {
    let users = ["A", "B"].map(|account| User::new(account.to_lowercase(), "pw").account(account));
    Users::builder().users(users).build().unwrap()
}

fn connect_as(user: &str) -> String {
    format!("CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"pw\"}}\r\n")
}

#[test]
fn accounts_include_the_traffic_of_ended_connections() {
    let mut world = World::with_auth(two_accounts());
    let (mut a, mut b) = (world.join_as(&connect_as("a")), world.join_as(&connect_as("b")));
    world.send(&mut a, "SUB x 1\r\nPUB x 2\r\nhi\r\n");
    world.send(&mut b, "PUB x 3\r\nabc\r\n");
    drop(b);
    let accounts = world.broker.accounts();
    let names: Vec<&str> = accounts.iter().map(|account| &*account.name).collect();
    assert_eq!(names, ["$G", "$SYS", "A", "B"]);
    let (a, b) = (&accounts[2], &accounts[3]);
    assert_eq!((a.connections, a.interest.subscriptions), (1, 1));
    assert_eq!((a.traffic.in_bytes, a.traffic.out_bytes), (2, 2));
    assert_eq!((b.connections, b.interest.subscriptions), (0, 0));
    assert_eq!((b.traffic.in_bytes, b.traffic.out_bytes), (3, 0));
    assert!(accounts[1].is_system);
}

#[test]
fn a_client_that_changes_the_account_leaves_its_counts() {
    let mut world = World::with_auth(two_accounts());
    let mut party = world.join_as(&connect_as("a"));
    world.send(&mut party, "PUB x 2\r\nhi\r\n");
    world.send(&mut party, connect_as("b"));
    world.send(&mut party, "PUB x 3\r\nabc\r\n");
    let accounts = world.broker.accounts();
    assert_eq!((accounts[2].connections, accounts[2].traffic.in_bytes), (0, 2));
    assert_eq!((accounts[3].connections, accounts[3].traffic.in_bytes), (1, 3));
    let seen = &world.broker.connections()[0];
    assert_eq!((seen.client_info.user.as_deref(), seen.account.as_deref()), (Some("b"), Some("B")));
    assert_eq!(world.broker.stats().in_bytes, 5);
}

#[test]
fn a_slow_consumer_counts_for_its_account() {
    let mut world = World::with_limits(Limits { max_pending_bytes: 1000, ..Limits::default() });
    let (mut slow, mut publisher) = (world.join(), world.join());
    world.send(&mut slow, "SUB x 1\r\n");
    slow.write_handle.set_room(Some(0));
    world.send(&mut publisher, format!("PUB x 2000\r\n{}\r\n", "x".repeat(2000)));
    drop(slow);
    assert_eq!(world.broker.accounts()[0].slow_consumers, 1);
    assert_eq!(world.broker.stats().slow_consumers, 1);
}

#[test]
fn failed_authentications_are_counted_by_cause() {
    let mut world = World::with_auth(two_accounts());
    drop(world.join_as("CONNECT {\"user\":\"a\",\"pass\":\"wrong\"}\r\n"));
    drop(world.join_as("PING\r\n"));
    let mut late = world.arrive();
    world.now += Duration::from_secs(3);
    late.session.handle_timeout(world.now, &mut world.scratch);
    assert_eq!(
        world.broker.auth_failures(),
        [(AuthFailure::Credentials, 1), (AuthFailure::BeforeConnect, 1), (AuthFailure::Timeout, 1)]
    );
}

#[test]
fn snapshots_contain_no_secret() {
    let mut world = World::new();
    let _with_token = world.join_as("CONNECT {\"auth_token\":\"s3cr3t\"}\r\n");
    let _with_user = world.join_as("CONNECT {\"user\":\"u\",\"pass\":\"s3cr3t\"}\r\n");
    let seen = world.broker.connections();
    assert!(!format!("{seen:?}").contains("s3cr3t"));
    let users: Vec<_> = seen.iter().map(|one| one.client_info.user.as_deref()).collect();
    assert_eq!(users, [Some("[REDACTED]"), Some("u")]);
}

#[test]
fn subscriptions_are_listed_a_page_at_a_time() {
    let mut world = World::new();
    let (mut a, mut b) = (world.join(), world.join());
    world.send(&mut a, "SUB a.1 1\r\nSUB a.* q 2\r\nSUB > 10\r\nUNSUB 10 7\r\n");
    world.send(&mut b, "SUB b 1\r\nPUB a.1 1\r\nx\r\n");
    let page = |offset, limit| {
        let page = world.broker.subscriptions(None, None, offset, limit);
        let filters: Vec<String> =
            page.subscriptions.iter().map(|one| one.filter.clone().into_string()).collect();
        (page.total, filters.join(" "))
    };
    assert_eq!(page(0, 10), (4, "a.1 a.* > b".into()));
    assert_eq!(page(1, 2), (4, "a.* >".into()));
    assert_eq!(page(3, usize::MAX), (4, "b".into()));
    assert_eq!(page(4, 1), (4, String::new()));
    assert_eq!(page(usize::MAX, usize::MAX), (4, String::new()));

    let all = world.broker.subscriptions_of(a.session.id(), usize::MAX);
    let shown =
        |at: usize| (all[at].queue.as_deref(), &*all[at].sid, all[at].delivered, all[at].max);
    assert_eq!(shown(0), (None, "1", 1, None));
    assert_eq!(shown(1), (Some("q"), "2", 1, None));
    assert_eq!(shown(2), (None, "10", 1, Some(7)));

    let subject = Subject::try_from("a.1").unwrap();
    let page = world.broker.subscriptions(Some("$G"), Some(&subject), 0, 10);
    assert_eq!(page.total, 3);
    assert_eq!(world.broker.subscriptions(Some("other"), None, 0, 10).total, 0);
}

#[test]
fn in_process_clients_are_no_connections_but_their_subscriptions_are_listed() {
    let world = World::new();
    let client = world.broker.client();
    let subscriber = futures_executor::block_on(client.subscribe("x")).unwrap();
    assert!(world.broker.connections().is_empty());
    let page = world.broker.subscriptions(None, None, 0, 10);
    assert_eq!((&*page.subscriptions[0].filter, &*page.subscriptions[0].sid), ("x", "1"));
    drop(subscriber);
    assert_eq!(world.broker.subscriptions(None, None, 0, 10).total, 0);
}

#[test]
fn the_interest_reports_its_lookups() {
    let mut world = World::new();
    let mut party = world.join();
    world.send(&mut party, "SUB a 1\r\nSUB a q 2\r\nSUB a q 3\r\nSUB b 4\r\nUNSUB 4\r\n");
    // Two subjects alternating, four times.
    world.send(&mut party, "PUB a 0\r\n\r\nPUB c 0\r\n\r\n".repeat(4));
    let interest = world.broker.accounts()[0].interest;
    assert_eq!((interest.subscriptions, interest.inserts, interest.removes), (3, 4, 1));
    assert_eq!((interest.look_ups, interest.cache_hits), (8, 6));
    assert_eq!(interest.cached, 2);
    assert_eq!((interest.max_fan_out, interest.total_fan_out), (2, 2), "one, and one of the group");
    drop(party);
    let interest = world.broker.accounts()[0].interest;
    assert_eq!((interest.look_ups, interest.cached, interest.total_fan_out), (8, 0, 0));
    assert_eq!((interest.subscriptions, interest.removes), (0, 4));
}

#[test]
fn permissions_do_not_affect_snapshots() {
    let permissions = Permissions::builder().publish_deny([">"]).build().unwrap();
    let users = Users::builder().user(User::new("u", "pw").permissions(permissions)).build();
    let mut world = World::with_auth(users.unwrap());
    let mut party = world.join_as(&connect_as("u"));
    world.send(&mut party, "PUB x 2\r\nhi\r\n");
    assert_eq!(world.broker.stats().in_messages, 1, "it was sent, if in vain");
}
