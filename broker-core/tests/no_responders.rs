//! A request without responders is answered immediately.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use broker_core::auth::{Permissions, User, Users};
use common::World;

/// The "no responders" message to `_INBOX.1` with sid 9.
const NO_RESPONDERS: &str =
    "HMSG _INBOX.1 9 40 40\r\nNATS/1.0 503\r\nNats-Subject: requests\r\n\r\n\r\n";

const ASK: &str = "PUB requests _INBOX.1 0\r\n\r\n";

#[test]
fn a_request_without_responders_is_answered_with_503() {
    let mut world = World::new();
    let mut client = world.join();
    world.send(&mut client, format!("SUB _INBOX.* 9\r\n{ASK}"));
    assert_eq!(client.read(), NO_RESPONDERS);
}

#[test]
fn each_request_of_a_chunk_without_responders_is_answered() {
    let mut world = World::new();
    let mut client = world.join();
    world.send(&mut client, format!("SUB _INBOX.* 9\r\n{}", ASK.repeat(5)));
    assert_eq!(client.read(), NO_RESPONDERS.repeat(5));
}

#[test]
fn a_request_with_responders_is_not_answered_with_503() {
    let mut world = World::new();
    let (mut client, mut responder) = (world.join(), world.join());
    world.send(&mut responder, "SUB requests 1\r\n");
    world.send(&mut client, format!("SUB _INBOX.* 9\r\n{ASK}"));
    assert_eq!(client.read(), "");
    assert_eq!(responder.read(), "MSG requests 1 _INBOX.1 0\r\n\r\n");
}

#[test]
fn requests_beyond_the_maximum_of_a_responder_have_no_responders() {
    let mut world = World::new();
    let (mut client, mut responder) = (world.join(), world.join());
    world.send(&mut responder, "SUB requests 1\r\nUNSUB 1 2\r\n");
    world.send(&mut client, format!("SUB _INBOX.* 9\r\n{}", ASK.repeat(5)));
    assert_eq!(client.read(), NO_RESPONDERS.repeat(3));
    assert_eq!(responder.count(), 2);
}

#[test]
fn a_requester_without_echo_is_no_responder_of_its_own_request() {
    let mut world = World::new();
    let mut client = world.join_as(
        "CONNECT {\"verbose\":false,\"echo\":false,\"headers\":true,\"no_responders\":true}\r\n",
    );
    world.send(&mut client, format!("SUB requests 1\r\nSUB _INBOX.* 9\r\n{ASK}"));
    assert_eq!(client.read(), NO_RESPONDERS);
}

#[test]
fn a_responder_without_permission_for_the_request_does_not_count() {
    let deaf = Permissions::builder().subscribe_deny(["requests"]).build().unwrap();
    let users = [User::new("a", "x"), User::new("deaf", "x").permissions(deaf)];
    let mut world = World::with_auth(Users::builder().users(users).build().unwrap());
    let connect = |user: &str| {
        format!(
            "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true,\
             \"user\":\"{user}\",\"pass\":\"x\"}}\r\n"
        )
    };
    let (mut client, mut deaf) = (world.join_as(&connect("a")), world.join_as(&connect("deaf")));
    world.send(&mut deaf, "SUB * 1\r\n");
    world.send(&mut client, format!("SUB _INBOX.* 9\r\n{ASK}"));
    assert_eq!((client.read().as_str(), deaf.read().as_str()), (NO_RESPONDERS, ""));
}

#[test]
fn only_requesters_that_subscribe_to_the_reply_and_enabled_no_responders_get_the_503() {
    let mut world = World::new();
    let mut client = world.join();
    world.send(&mut client, format!("SUB other 9\r\n{ASK}"));
    assert_eq!(client.read(), "");
    let mut client = world.join_as("CONNECT {\"verbose\":false,\"headers\":true}\r\n");
    world.send(&mut client, format!("SUB _INBOX.* 9\r\n{ASK}"));
    assert_eq!(client.read(), "");
}

#[test]
fn the_503_does_not_count_as_a_message() {
    let mut world = World::new();
    let mut client = world.join();
    world.send(&mut client, format!("SUB _INBOX.1 9\r\nUNSUB 9 1\r\n{ASK}"));
    assert_eq!(client.read(), NO_RESPONDERS);
    assert_eq!(world.broker.stats().out_messages, 0);
    world.send(&mut client, "PUB _INBOX.1 2\r\nhi\r\n");
    assert_eq!(client.read(), "MSG _INBOX.1 9 2\r\nhi\r\n", "the one message still comes");
}
