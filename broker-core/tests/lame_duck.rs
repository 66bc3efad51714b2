//! Lame duck mode loses no request, regardless of how clients react.

mod common;

use std::time::Duration;

use broker_core::CloseReason;
use common::{Party, World};

const CONNECT: &str = "CONNECT {\"verbose\":false,\"protocol\":1,\"headers\":true,\"no_responders\":true}\r\nPING\r\n";

/// Long enough for all requests sent before the announcement to be answered.
const GRACE: Duration = Duration::from_secs(10);
const A_MOMENT: Duration = Duration::from_millis(50);
const QUIET: Duration = Duration::from_millis(300);

/// Connects a client and reads its first PONG.
fn join(world: &mut World, more: &str) -> Party {
    let mut party = world.join_as(CONNECT);
    assert!(party.read().starts_with("PONG\r\nINFO {"));
    world.send(&mut party, more);
    party
}

fn announce(world: &mut World, parties: &mut [&mut Party]) {
    world.broker.announce_end();
    for party in parties {
        world.settle(party);
        party.read();
    }
}

fn retire(world: &mut World, party: &mut Party) {
    let wakes = party.write_handle.wakes();
    assert!(world.broker.retire(party.session.id()));
    assert!(party.write_handle.wakes() > wakes, "an idle connection is woken");
    world.settle(party);
}

/// Ends the connection after its session has departed: writes out all held messages.
fn last_words(world: &mut World, party: &mut Party) -> String {
    assert!(party.session.has_half_closed());
    assert_eq!(party.closing(), Some(CloseReason::ServerShutdown));
    party.session.byte_queue().release();
    party.session.byte_queue().drain(world.now, true, &mut world.scratch);
    party.read()
}

/// As nats-server 2.14.5, except for the last client, which is never told there.
#[test]
fn clients_that_support_it_are_notified() {
    let mut world = World::new();
    world.broker.update_info(|info| info.connect_urls = vec!["127.0.0.1:4222".into()]);
    let mut knows = join(&mut world, "");
    let mut does_not = world.join_as("CONNECT {\"verbose\":false}\r\nPING\r\n");
    let mut not_yet = world.join_as("CONNECT {\"verbose\":false,\"protocol\":1}\r\n");
    does_not.read();
    world.broker.announce_end();
    for party in [&mut knows, &mut does_not, &mut not_yet] {
        world.settle(party);
        assert_eq!(party.closing(), None);
    }
    let info = knows.read();
    assert!(info.starts_with("INFO {") && info.contains("\"ldm\":true"), "{info}");
    assert!(!info.contains("connect_urls") && !info.contains("connect_info"), "{info}");
    assert_eq!(does_not.read(), "");
    assert_eq!(not_yet.read(), "");
    world.send(&mut not_yet, "PING\r\n");
    let info = not_yet.read();
    assert!(info.starts_with("PONG\r\nINFO {") && info.contains("\"ldm\":true"), "{info}");
    world.broker.announce_end();
    world.settle(&mut knows);
    assert_eq!(knows.read(), "", "once is enough");
}

#[test]
fn an_idle_client_is_closed_at_once() {
    let mut world = World::new();
    let mut idle = join(&mut world, "SUB x 1\r\n");
    announce(&mut world, &mut [&mut idle]);
    world.wait(&mut idle, GRACE);
    idle.read();
    retire(&mut world, &mut idle);
    assert_eq!(last_words(&mut world, &mut idle), "");
    assert_eq!(world.broker.stats().subscriptions, 0);
}

#[test]
fn requesters_are_closed_before_responders() {
    let mut world = World::new();
    let mut parties = ["SUB work q 1\r\n", "SUB _INBOX.a.* 1\r\n", "SUB events 1\r\n", ""]
        .map(|says| join(&mut world, says));
    world.broker.announce_end();
    parties.iter_mut().for_each(|party| world.settle(party));
    let order = world.broker.lame_duck_order();
    let [member, requester, listener, quiet] = parties.each_ref().map(|party| party.session.id());
    assert_eq!(order.others, [requester, quiet]);
    assert_eq!(order.services, [member, listener]);
    world.send(&mut parties[3], "SUB late 1\r\n");
    assert_eq!(world.broker.lame_duck_order().services, [member, listener, quiet]);
}

#[test]
fn a_leaving_client_gets_no_more_requests_but_answers_those_it_has() {
    let mut world = World::new();
    let mut requester = join(&mut world, "SUB _INBOX.* 1\r\n");
    let mut leaver = join(&mut world, "SUB work q 1\r\nSUB plain 2\r\n");
    let mut stays = join(&mut world, "SUB work q 1\r\n");
    announce(&mut world, &mut [&mut requester, &mut leaver, &mut stays]);
    world.wait(&mut leaver, GRACE);
    leaver.read();
    world.send(&mut requester, "PUB plain _INBOX.1 1\r\n?\r\n");
    assert_eq!(leaver.read(), "MSG plain 2 _INBOX.1 1\r\n?\r\n");
    retire(&mut world, &mut leaver);
    for _ in 0..50 {
        world.send(&mut requester, "PUB work _INBOX.2 1\r\n?\r\n");
    }
    assert_eq!((stays.count(), leaver.read()), (50, String::new()), "the group has another member");
    world.send(&mut requester, "PUB plain _INBOX.3 1\r\n?\r\n");
    assert!(
        requester.read().starts_with("HMSG _INBOX.3 1 "),
        "the requester gets \"no responders\""
    );
    world.send(&mut requester, "PUB plain 1\r\n!\r\n");
    assert_eq!(leaver.read(), "MSG plain 2 1\r\n!\r\n", "messages without reply still arrive");
    world.wait(&mut leaver, A_MOMENT);
    assert_eq!(leaver.closing(), None, "it has an open request");
    world.send(&mut leaver, "PUB _INBOX.1 2\r\nok\r\n");
    assert_eq!(requester.read(), "MSG _INBOX.1 1 2\r\nok\r\n");
    world.wait(&mut leaver, A_MOMENT);
    assert_eq!(last_words(&mut world, &mut leaver), "");
}

#[test]
fn a_group_whose_only_member_leaves_has_no_responders() {
    let mut world = World::new();
    let mut requester = join(&mut world, "SUB _INBOX.* 1\r\n");
    let mut leaver = join(&mut world, "SUB work q 1\r\n");
    announce(&mut world, &mut [&mut requester, &mut leaver]);
    retire(&mut world, &mut leaver);
    world.send(&mut requester, "PUB work _INBOX.1 1\r\n?\r\nPUB work 1\r\n!\r\n");
    assert_eq!(leaver.read(), "");
    assert!(requester.read().starts_with("HMSG _INBOX.1 1 "));
}

#[test]
fn a_missing_answer_is_not_awaited_forever() {
    let mut world = World::new();
    let mut requester = join(&mut world, "");
    let mut leaver = join(&mut world, "SUB work q 1\r\n");
    announce(&mut world, &mut [&mut requester, &mut leaver]);
    world.send(&mut requester, "PUB work reply 1\r\n?\r\n");
    retire(&mut world, &mut leaver);
    world.wait(&mut leaver, Duration::from_secs(4));
    assert_eq!(leaver.closing(), None);
    world.wait(&mut leaver, Duration::from_secs(2));
    assert!(leaver.session.has_half_closed());
}

/// Sends the next request as soon as one is answered, so that one is always open.
#[test]
fn a_client_that_always_has_an_open_request_gets_all_answers_before_the_end() {
    let mut world = World::new();
    let mut requester = join(&mut world, "SUB _INBOX.* 1\r\n");
    let mut service = join(&mut world, "SUB work 1\r\n");
    announce(&mut world, &mut [&mut requester, &mut service]);
    let ask = |world: &mut World, requester: &mut Party, at: usize| {
        world.send(requester, format!("PUB work _INBOX.{at} 0\r\n\r\n"));
    };
    let answer = |world: &mut World, service: &mut Party, at: usize| {
        assert_eq!(service.read(), format!("MSG work 1 _INBOX.{at} 0\r\n\r\n"));
        world.send(service, format!("PUB _INBOX.{at} 0\r\n\r\n"));
    };
    for at in 0..100 {
        ask(&mut world, &mut requester, at);
        answer(&mut world, &mut service, at);
        assert_eq!(requester.count(), 1);
        world.wait(&mut requester, Duration::from_millis(10));
        requester.read();
    }
    ask(&mut world, &mut requester, 100);
    retire(&mut world, &mut requester);
    // This request was sent before the client saw the announcement.
    ask_late(&mut world, &mut requester);
    assert_eq!(service.count(), 2);
    world.send(&mut service, "PUB _INBOX.100 0\r\n\r\n");
    assert_eq!(requester.read(), "", "a second announcement is ignored");
    world.wait(&mut requester, QUIET);
    assert_eq!(requester.closing(), None, "one is open");
    let wakes = requester.write_handle.wakes();
    world.send(&mut service, "PUB _INBOX.101 0\r\n\r\n");
    assert!(requester.write_handle.wakes() > wakes, "the connection is woken by the last answer");
    world.settle(&mut requester);
    let answers = "MSG _INBOX.100 1 0\r\n\r\nMSG _INBOX.101 1 0\r\n\r\n";
    assert_eq!(last_words(&mut world, &mut requester), answers);
}

fn ask_late(world: &mut World, requester: &mut Party) {
    world.send(requester, "PUB work _INBOX.101 0\r\n\r\n");
}

#[test]
fn a_client_that_sends_further_requests_is_not_read_until_it_has_its_answers() {
    let mut world = World::new();
    let mut requester = join(&mut world, "SUB _INBOX.* 1\r\n");
    let mut service = join(&mut world, "SUB work 1\r\n");
    announce(&mut world, &mut [&mut requester, &mut service]);
    retire(&mut world, &mut requester);
    let mut asked = 0;
    while requester.session.wants_input() {
        world.send(&mut requester, format!("PUB work _INBOX.{asked} 0\r\n\r\n"));
        asked += 1;
        world.wait(&mut requester, A_MOMENT);
        assert!(asked < 100, "it would never end");
    }
    assert_eq!(requester.closing(), None);
    assert_eq!(service.count(), asked);
    for at in 0..asked {
        world.send(&mut service, format!("PUB _INBOX.{at} 0\r\n\r\n"));
    }
    world.settle(&mut requester);
    let answers = last_words(&mut world, &mut requester);
    assert_eq!(answers.matches("MSG _INBOX.").count(), asked);
}

#[test]
fn messages_sent_before_the_end_is_noticed_are_published_but_requests_are_not() {
    let mut world = World::new();
    let mut leaver = join(&mut world, "SUB _INBOX.* 1\r\n");
    let mut listener = join(&mut world, "SUB events 1\r\n");
    announce(&mut world, &mut [&mut leaver, &mut listener]);
    world.wait(&mut leaver, GRACE);
    retire(&mut world, &mut leaver);
    last_words(&mut world, &mut leaver);
    let late =
        "PUB events 1\r\n1\r\nPUB events _INBOX.1 1\r\n?\r\nSUB events 9\r\nPUB events 1\r\n2\r\n";
    world.send(&mut leaver, late);
    assert_eq!(listener.read(), "MSG events 1 1\r\n1\r\nMSG events 1 1\r\n2\r\n");
    assert_eq!(leaver.read(), "");
    assert_eq!(world.broker.stats().subscriptions, 1, "it can have no more of them");
}

#[test]
fn a_request_without_responders_is_not_awaited() {
    let mut world = World::new();
    let mut requester = join(&mut world, "SUB _INBOX.* 1\r\n");
    announce(&mut world, &mut [&mut requester]);
    world.send(&mut requester, "PUB nobody _INBOX.1 0\r\n\r\n");
    assert!(requester.read().starts_with("HMSG _INBOX.1 1 "));
    retire(&mut world, &mut requester);
    world.wait(&mut requester, Duration::from_millis(600));
    assert!(requester.session.has_half_closed());
}

#[test]
fn a_request_with_a_foreign_reply_subject_is_not_awaited() {
    let mut world = World::new();
    let mut forwarder = join(&mut world, "SUB _INBOX.mine.* 1\r\n");
    let mut service = join(&mut world, "SUB work 1\r\n");
    announce(&mut world, &mut [&mut forwarder, &mut service]);
    world.send(&mut forwarder, "PUB work _INBOX.theirs.1 0\r\n\r\n");
    retire(&mut world, &mut forwarder);
    world.wait(&mut forwarder, Duration::from_millis(600));
    assert!(forwarder.session.has_half_closed());
}

#[test]
fn held_messages_make_no_client_a_slow_consumer() {
    let limits = broker_core::Limits { max_pending_bytes: 64 << 10, ..Default::default() };
    let mut world = World::with_limits(limits);
    let mut requester = join(&mut world, "SUB _INBOX.* 1\r\nSUB flood 2\r\n");
    let mut service = join(&mut world, "SUB work 1\r\n");
    announce(&mut world, &mut [&mut requester, &mut service]);
    world.send(&mut requester, "PUB work _INBOX.1 0\r\n\r\n");
    retire(&mut world, &mut requester);
    world.wait(&mut requester, QUIET);
    for _ in 0..100 {
        world.send(&mut service, format!("PUB flood 1000\r\n{}\r\n", "x".repeat(1000)));
    }
    assert_eq!(requester.closing(), None);
    assert_eq!(requester.count(), 100);
}

#[test]
fn a_server_that_ends_early_sends_held_messages() {
    let mut world = World::new();
    let mut requester = join(&mut world, "SUB _INBOX.* 1\r\n");
    let mut service = join(&mut world, "SUB work 1\r\n");
    announce(&mut world, &mut [&mut requester, &mut service]);
    world.send(&mut requester, "PUB work _INBOX.1 0\r\n\r\nPUB work _INBOX.2 0\r\n\r\n");
    retire(&mut world, &mut requester);
    world.wait(&mut requester, QUIET);
    world.send(&mut service, "PUB _INBOX.1 0\r\n\r\n");
    assert_eq!(requester.read(), "");
    world.broker.finish_all(CloseReason::ServerShutdown);
    assert!(!requester.session.has_half_closed());
    requester.session.byte_queue().drain(world.now, true, &mut world.scratch);
    assert_eq!(requester.read(), "MSG _INBOX.1 1 0\r\n\r\n");
}
