//! Each message reaches exactly one member of a queue group, all with equal probability.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use common::{Party, World};

fn members(world: &mut World, count: usize, subscribe: &str) -> Vec<Party> {
    (0..count)
        .map(|_| {
            let mut member = world.join();
            world.send(&mut member, subscribe);
            member
        })
        .collect()
}

fn counts(members: &[Party]) -> Vec<usize> {
    members.iter().map(Party::count).collect()
}

#[test]
fn every_member_gets_its_share() {
    let mut world = World::new();
    let members = members(&mut world, 4, "SUB jobs workers 1\r\n");
    let mut publisher = world.join();
    for _ in 0..100 {
        world.send(&mut publisher, "PUB jobs 0\r\n\r\n".repeat(40));
    }
    let counts = counts(&members);
    assert_eq!(counts.iter().sum::<usize>(), 4000);
    // Binomial with p = 1/4: four standard deviations (27 each) on either side.
    assert!(counts.iter().all(|count| (890..1110).contains(count)), "{counts:?}");
}

#[test]
fn shares_do_not_depend_on_the_publisher_or_on_the_filter_of_a_member() {
    let mut world = World::new();
    let mut all = members(&mut world, 1, "SUB jobs.eu workers 1\r\n");
    all.extend(members(&mut world, 1, "SUB jobs.* workers 1\r\n"));
    all.extend(members(&mut world, 1, "SUB > workers 1\r\n"));
    for _ in 0..300 {
        let mut publisher = world.join();
        world.send(&mut publisher, "PUB jobs.eu 0\r\n\r\n".repeat(10));
    }
    let counts = counts(&all);
    assert_eq!(counts.iter().sum::<usize>(), 3000);
    assert!(counts.iter().all(|count| (890..1110).contains(count)), "{counts:?}");
}

#[test]
fn a_member_with_two_subscriptions_has_two_shares() {
    let mut world = World::new();
    let mut all = members(&mut world, 1, "SUB jobs workers 1\r\n");
    all.extend(members(&mut world, 1, "SUB jobs workers 1\r\nSUB jobs workers 2\r\n"));
    let mut publisher = world.join();
    world.send(&mut publisher, "PUB jobs 0\r\n\r\n".repeat(3000));
    let counts = counts(&all);
    assert_eq!(counts.iter().sum::<usize>(), 3000);
    assert!((890..1110).contains(&counts[0]), "{counts:?}");
}

#[test]
fn each_group_gets_each_message_once_beside_those_in_no_group() {
    let mut world = World::new();
    let one = members(&mut world, 3, "SUB news.* one 1\r\n");
    let two = members(&mut world, 2, "SUB news.eu two 1\r\n");
    let plain = members(&mut world, 2, "SUB news.> 1\r\n");
    let mut publisher = world.join();
    world.send(&mut publisher, "PUB news.eu 0\r\n\r\n".repeat(500));
    for group in [&one, &two] {
        assert_eq!(counts(group).iter().sum::<usize>(), 500);
    }
    assert_eq!(counts(&plain), [500, 500]);
}

#[test]
fn a_member_that_leaves_gets_no_more_messages() {
    let mut world = World::new();
    let mut group = members(&mut world, 3, "SUB jobs workers 1\r\n");
    let mut publisher = world.join();
    world.send(&mut publisher, "PUB jobs 0\r\n\r\n".repeat(100));
    assert_eq!(counts(&group).iter().sum::<usize>(), 100);
    world.send(&mut group[0], "UNSUB 1\r\n");
    drop(group.remove(1));
    world.send(&mut publisher, "PUB jobs 0\r\n\r\n".repeat(100));
    assert_eq!(counts(&group), [0, 100]);
    world.send(&mut group[1], "UNSUB 1\r\n");
    world.send(&mut publisher, "PUB jobs 0\r\n\r\n".repeat(100));
    assert_eq!(counts(&group), [0, 0]);
}

#[test]
fn a_member_at_its_maximum_leaves_the_rest_to_the_others() {
    let mut world = World::new();
    let group = {
        let mut group = members(&mut world, 2, "SUB jobs workers 1\r\n");
        world.send(&mut group[0], "UNSUB 1 5\r\n");
        group
    };
    let mut publisher = world.join();
    world.send(&mut publisher, "PUB jobs 0\r\n\r\n".repeat(200));
    assert_eq!(counts(&group), [5, 195]);
}

#[test]
fn a_publisher_without_echo_is_no_member_for_its_own_messages() {
    let mut world = World::new();
    let group = members(&mut world, 1, "SUB jobs workers 1\r\n");
    let mut publisher = world.join_as("CONNECT {\"verbose\":false,\"echo\":false}\r\n");
    world.send(&mut publisher, "SUB jobs workers 1\r\n");
    world.send(&mut publisher, "PUB jobs 0\r\n\r\n".repeat(50));
    assert_eq!((counts(&group), publisher.count()), (vec![50], 0));
}

#[test]
fn messages_of_one_publisher_reach_a_member_in_order() {
    let mut world = World::new();
    let group = members(&mut world, 3, "SUB jobs workers 1\r\n");
    let mut publisher = world.join();
    for round in 0..50 {
        let chunk: String =
            (0..10).map(|number| format!("PUB jobs 4\r\n{:04}\r\n", round * 10 + number)).collect();
        world.send(&mut publisher, chunk);
    }
    for member in &group {
        let text = member.read();
        let numbers: Vec<&str> = text.lines().filter(|line| !line.starts_with("MSG")).collect();
        assert!(numbers.len() > 100 && numbers.is_sorted(), "{numbers:?}");
    }
}

fn payloads(text: &str) -> Vec<usize> {
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

#[test]
fn a_run_reaches_one_member_per_message_and_all_others_in_order() {
    let mut world = World::new();
    let group = members(&mut world, 5, "SUB jobs workers 1\r\n");
    let plain = members(&mut world, 1, "SUB jobs 1\r\n");
    let mut publisher = world.join();
    let chunk: String = (0..900).map(|number| format!("PUB jobs 4\r\n{number:04}\r\n")).collect();
    world.send(&mut publisher, chunk);
    let parts: Vec<Vec<usize>> = group.iter().map(|member| payloads(&member.read())).collect();
    assert!(parts.iter().all(|part| part.is_sorted() && part.len() > 100), "{parts:?}");
    let mut all = parts.concat();
    all.sort_unstable();
    assert_eq!(all, (0..900).collect::<Vec<_>>());
    assert_eq!(payloads(&plain[0].read()), (0..900).collect::<Vec<_>>());
}

#[test]
fn a_member_with_a_plain_subscription_gets_the_run_message_by_message() {
    let mut world = World::new();
    let both = members(&mut world, 1, "SUB jobs workers 1\r\nSUB jobs 2\r\n");
    let mut publisher = world.join();
    let chunk: String = (0..50).map(|number| format!("PUB jobs 4\r\n{number:04}\r\n")).collect();
    world.send(&mut publisher, chunk);
    let expected: Vec<usize> = (0..50).flat_map(|number| [number, number]).collect();
    assert_eq!(payloads(&both[0].read()), expected);
}
