//! Log lines equal those of nats-server 2.14.5 byte for byte, except for numbers and addresses,
//! because people search for them.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;
#[path = "common/log.rs"]
mod log;

use std::ops::Range;
use std::time::Duration;

use broker_core::auth::{AllowResponses, Permissions, Token, User, Users};
use broker_core::limits::REPLY_PERMISSIONS_BYTES;
use broker_core::{Broker, Limits, Options};
use common::{Party, World};
use log::lines_of;

/// The length of long reply subjects.
const REPLY_BYTES: usize = 3_900;

fn world(change: impl FnOnce(&mut Options)) -> World {
    let no = Permissions::builder().publish_deny(["no.>"]).subscribe_deny(["nos"]).build().unwrap();
    let users = [User::new("eva", "secret").permissions(no), User::new("adam", "apple")];
    let users = Users::builder().users(users).build().unwrap();
    let mut options = Options { trace: true, ..Options::default() };
    change(&mut options);
    World::of(Broker::with_authenticator(
        options,
        (std::time::Instant::now, std::time::SystemTime::now),
        users,
    ))
}

const EVA: &str =
    "CONNECT {\"verbose\":false,\"user\":\"eva\",\"pass\":\"secret\",\"headers\":true}\r\n";

/// Returns what is logged when an authenticated client sends `text`, without the client's name.
fn logged(world: &mut World, text: &str) -> Vec<String> {
    let mut eva = world.join_as(EVA);
    lines(&mut eva, world, text)
}

fn lines(party: &mut Party, world: &mut World, text: &str) -> Vec<String> {
    let lines = lines_of(|| world.send(party, text));
    let name = format!("pipe - cid:{} - \"$G/user:eva\" - ", party.session.id());
    lines.iter().map(|line| line.replace(&name, "")).collect()
}

#[test]
fn a_connection_is_labelled_with_its_known_data() {
    let mut world = world(|_| {});
    let connect = "CONNECT {\"verbose\":true,\"user\":\"eva\",\"pass\":\"secret\",\"name\":\"a \\\"b\",\
                   \"lang\":\"go\",\"version\":\"1.2\"}\r\n";
    let lines = lines_of(|| {
        let mut eva = world.arrive();
        world.send(&mut eva, connect);
        world.send(&mut eva, "SUB x 1\r\n");
    });
    assert_eq!(
        lines,
        [
            "DEBUG pipe - cid:1 - Client connection created",
            "TRACE pipe - cid:1 - <<- [CONNECT {\"verbose\":true,\"user\":\"eva\",\
             \"pass\":\"[REDACTED]\",\"name\":\"a \\\"b\",\"lang\":\"go\",\"version\":\"1.2\"}]",
            "TRACE pipe - cid:1 - \"v1.2:go:a \\\"b\" - \"$G/user:eva\" - ->> [OK]",
            "TRACE pipe - cid:1 - \"v1.2:go:a \\\"b\" - \"$G/user:eva\" - <<- [SUB x 1]",
            "TRACE pipe - cid:1 - \"v1.2:go:a \\\"b\" - \"$G/user:eva\" - ->> [OK]",
            "DEBUG pipe - cid:1 - \"v1.2:go:a \\\"b\" - \"$G/user:eva\" - \
             Client connection closed: Client Closed",
            "TRACE pipe - cid:1 - \"v1.2:go:a \\\"b\" - \"$G/user:eva\" - <-> [DELSUB 1]",
        ]
    );
}

#[test]
fn messages_are_traced_in_both_directions() {
    let mut world = world(|_| {});
    assert_eq!(
        logged(&mut world, "SUB y 2\r\nHPUB y 12 14\r\nNATS/1.0\r\n\r\nhi\r\nHPUB y 0 2\r\nhi\r\n"),
        [
            "TRACE <<- [SUB y 2]",
            "TRACE <<- [HPUB y 12 14]",
            r#"TRACE <<- MSG_PAYLOAD: ["NATS/1.0\r\n\r\nhi"]"#,
            "TRACE ->> [HMSG y 2 12 14]",
            r#"TRACE ->> MSG_PAYLOAD: ["NATS/1.0\r\n\r\nhi"]"#,
            "TRACE <<- [HPUB y 0 2]",
            r#"TRACE <<- MSG_PAYLOAD: ["hi"]"#,
            "TRACE ->> [MSG y 2 2]",
            r#"TRACE ->> MSG_PAYLOAD: ["hi"]"#,
        ]
    );
    assert_eq!(
        logged(&mut world, "SUB x q 1\r\nPUB x r 0\r\n\r\nPUB x 3\r\na\0\"\r\n"),
        [
            "TRACE <<- [SUB x q 1]",
            "TRACE <<- [PUB x r 0]",
            "TRACE ->> [MSG x 1 r 0]",
            "TRACE <<- [PUB x 3]",
            r#"TRACE <<- MSG_PAYLOAD: ["a\x00\""]"#,
            "TRACE ->> [MSG x 1 3]",
            r#"TRACE ->> MSG_PAYLOAD: ["a\x00\""]"#,
        ]
    );
}

#[test]
fn the_trace_of_a_receiver_without_headers_shows_the_stripped_message() {
    let mut world = world(|_| {});
    let mut plain =
        world.join_as("CONNECT {\"verbose\":false,\"user\":\"adam\",\"pass\":\"apple\"}\r\n");
    world.send(&mut plain, "SUB y t\r\n");
    let lines = logged(&mut world, "HPUB y r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n");
    let name = "TRACE pipe - cid:1 - \"$G/user:adam\" - ";
    assert_eq!(
        lines[2..],
        [format!("{name}->> [MSG y t r 2]"), format!("{name}->> MSG_PAYLOAD: [\"hi\"]")]
    );
}

#[test]
fn subscriptions_that_end_are_traced() {
    let mut world = world(|_| {});
    assert_eq!(
        logged(
            &mut world,
            "SUB x 1\r\nUNSUB 1 1\r\nPUB x 0\r\n\r\nSUB y 2\r\nUNSUB 2\r\nUNSUB 9\r\n"
        ),
        [
            "TRACE <<- [SUB x 1]",
            "TRACE <<- [UNSUB 1 1]",
            "TRACE <<- [PUB x 0]",
            "TRACE ->> [MSG x 1 0]",
            "TRACE <-> [DELSUB 1]",
            "TRACE <<- [SUB y 2]",
            "TRACE <<- [UNSUB 2]",
            "TRACE <-> [DELSUB 2]",
            "TRACE <<- [UNSUB 9]",
        ]
    );
    let again = format!("SUB x 1\r\n{EVA}");
    assert_eq!(logged(&mut world, &again).last().unwrap(), "TRACE <-> [DELSUB 1]");
}

#[test]
fn refusals_are_logged_with_their_reason() {
    let mut world = world(|options| {
        options.limits = Limits {
            max_payload_bytes: 100,
            max_control_line_bytes: 100,
            max_subscriptions: Some(1),
            max_subscription_tokens: Some(4),
            ..Limits::default()
        };
    });
    for (received, expected) in [
        ("PUB no.x 0\r\n\r\n", r#"ERROR Publish Violation - Subject "no.x""#),
        ("PUB x _R_.x 0\r\n\r\n", r#"ERROR Publish Violation - Reply "_R_.x""#),
        ("SUB nos 7\r\n", r#"ERROR Subscription Violation - Subject "nos", SID 7"#),
        ("SUB nos q 7\r\n", r#"ERROR Subscription Violation - Subject "nos", Queue: "q", SID 7"#),
        (
            "SUB a.b.c.d.e 9\r\n",
            r#"ERROR Subscription Violation Too Many Tokens - Subject "a.b.c.d.e", SID 9"#,
        ),
        ("SUB a 1\r\nSUB a 2\r\n", "ERROR maximum subscriptions exceeded"),
        ("PUB foo 101\r\n", "ERROR maximum payload exceeded: 101 vs 100"),
        ("SUB x\r\n", r#"ERROR processSub Parse Error: "x""#),
        ("UNSUB 1 2 3\r\n", r#"ERROR processUnsub Parse Error: "1 2 3""#),
        ("PUB x y z 1\r\n", r#"ERROR processPub Parse Error: "x y z 1""#),
        ("PUB x +1\r\n", r#"ERROR processPub Bad or Missing Size: "x +1""#),
        ("HPUB x 9\r\n", r#"ERROR processHeaderPub Parse Error: "x 9""#),
        ("-ERR 'my error'\r\n", "ERROR Client Error 'my error'"),
        ("GET / HTTP/1.0\r\n", r#"ERROR Client parser ERROR, proto='"GET"...'"#),
        ("CONECT {\"pass\":\"x\"}\r\n", r#"ERROR Client parser ERROR, proto='"CONECT"...'"#),
        ("{\"pass\":\"x\"}\r\n", r#"ERROR Client parser ERROR, proto='""...'"#),
    ] {
        let lines = logged(&mut world, received);
        assert_eq!(lines.last().unwrap(), expected, "{received:?}");
    }
    let long = format!("SUB {} 1\r\n", "x".repeat(100));
    assert_eq!(
        logged(&mut world, &long),
        ["TRACE ->> [-ERR maximum control line exceeded]", "ERROR maximum control line exceeded"]
    );
    assert_eq!(
        logged(&mut world, "PUB * 0\r\n\r\n")[1],
        "TRACE ->> [-ERR Invalid Publish Subject]",
        "this one is not logged"
    );
}

/// Operators recognize clients of other protocols by it.
#[test]
fn the_first_bytes_of_other_protocols_are_logged() {
    let mut world = World::of(Broker::new(
        Options::default(),
        (std::time::Instant::now, std::time::SystemTime::now),
    ));
    for (received, shown) in [
        (
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
            r"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ),
        (&[0; 40], &r"\x00".repeat(32)),
        (
            b"\x10\x1e\x00\x04MQTT\x04\xc2\x00<\x00\x01c\x00\x01u\x00\x06secret",
            r"\x10\x1e\x00\x04MQTT",
        ),
        (
            b"\x10\x1e\x00\x06MQIsdp\x03\xc2\x00<\x00\x01c\x00\x01u\x00\x06secret",
            r"\x10\x1e\x00\x06MQIsdp",
        ),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "SSH-2.0-OpenSSH_9.2p1"),
        (b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n", "*2"),
        (b"AMQP\x00\x00\x09\x01", "AMQP"),
        (b"\x05\x01\x00", r"\x05\x01\x00"),
        (b"\r\n\r\n\x00\r\nQUIT\n", r"\r\n\r\n\x00\r\nQUIT\n"),
    ] {
        let mut client = world.arrive();
        let name = format!("ERROR pipe - cid:{} - ", client.session.id());
        let lines = lines_of(|| world.send(&mut client, received));
        assert_eq!(lines, [format!("{name}Client parser ERROR, proto='\"{shown}\"...'")]);
    }
}

#[test]
fn a_rejected_client_is_logged_with_the_user_it_claimed() {
    let mut world = world(|options| options.trace = false);
    for (connect, expected) in [
        ("{\"user\":\"eva\",\"pass\":\"wrong\"}", r#"authentication error - User "eva""#),
        ("{\"pass\":\"wrong\"}", "authentication error"),
        ("{\"auth_token\":\"wrong\"}", r#"authentication error - Token "[REDACTED]""#),
        ("{\"nkey\":\"UA\"}", r#"authentication error - Nkey "UA""#),
    ] {
        let mut client = world.arrive();
        let name = format!("ERROR pipe - cid:{} - ", client.session.id());
        let lines = lines_of(|| world.send(&mut client, format!("CONNECT {connect}\r\n")));
        assert_eq!(lines, [name + expected]);
    }
}

#[test]
fn connections_end_with_their_reason() {
    let limits = Limits {
        ping_interval: Duration::from_secs(60),
        ping_max: 0,
        max_pending_bytes: 1000,
        ..Limits::default()
    };
    let broker = |limits: &Limits| {
        let options = Options { limits: limits.clone(), ..Options::default() };
        World::of(Broker::with_authenticator(
            options,
            (std::time::Instant::now, std::time::SystemTime::now),
            Token::new("t"),
        ))
    };
    let mut world = broker(&limits);
    let connect = "CONNECT {\"verbose\":false,\"auth_token\":\"t\"}\r\n";
    let waits = |world: &mut World, mut party: Party| {
        lines_of(|| {
            world.wait(&mut party, Duration::from_secs(100));
            drop(party);
        })
    };
    let client = world.arrive();
    assert_eq!(
        waits(&mut world, client),
        [
            "DEBUG pipe - cid:1 - Authentication Timeout",
            "DEBUG pipe - cid:1 - Client connection closed: Authentication Timeout"
        ]
    );
    let silent = world.join_as(connect);
    assert_eq!(
        waits(&mut world, silent),
        [
            "DEBUG pipe - cid:2 - \"$G/token\" - Client Ping Timer",
            "DEBUG pipe - cid:2 - \"$G/token\" - Stale Client Connection - Closing",
            "DEBUG pipe - cid:2 - \"$G/token\" - Client connection closed: Stale Connection"
        ]
    );
    let (mut slow, mut publisher) = (world.join_as(connect), world.join_as(connect));
    world.send(&mut slow, "SUB x 1\r\n");
    slow.write_handle.set_room(Some(0));
    world.send(&mut publisher, format!("PUB x 1001\r\n{}\r\n", "x".repeat(1001)));
    assert_eq!(
        lines_of(|| drop(slow)),
        [
            "INFO pipe - cid:3 - \"$G/token\" - Slow Consumer Detected: MaxPending of 1000 Exceeded",
            "DEBUG pipe - cid:3 - \"$G/token\" - \
             Client connection closed: Slow Consumer (Pending Bytes)"
        ]
    );
    let mut stuck = world.join_as(connect);
    stuck.write_handle.set_room(Some(0));
    world.send(&mut stuck, "PING\r\n");
    world.now += limits.write_deadline;
    stuck.session.handle_timeout(world.now, &mut world.scratch);
    let lines = lines_of(|| drop(stuck));
    assert_eq!(
        lines[0],
        "INFO pipe - cid:5 - \"$G/token\" - Slow Consumer Detected: \
         WriteDeadline of 10s exceeded with 1 chunks of 6 total bytes."
    );
}

#[test]
fn tracing_can_be_toggled_while_connections_are_open() {
    let mut world = world(|options| options.trace = false);
    let (mut idle, mut eva) = (world.join_as(EVA), world.join_as(EVA));
    world.send(&mut idle, "SUB x 1\r\n");
    assert_eq!(lines(&mut eva, &mut world, "PUB x 0\r\n\r\n"), [""; 0]);
    world.broker.update_options(|options| options.trace = true);
    world.settle(&mut idle);
    assert_eq!(
        lines(&mut eva, &mut world, "PUB x 0\r\n\r\n"),
        ["TRACE <<- [PUB x 0]", "TRACE pipe - cid:1 - \"$G/user:eva\" - ->> [MSG x 1 0]"]
    );
    world.broker.update_options(|options| options.trace = false);
    world.settle(&mut idle);
    assert_eq!(lines(&mut eva, &mut world, "PUB x 0\r\n\r\n"), [""; 0]);
}

#[test]
fn traced_payloads_are_truncated_as_configured() {
    let message = "HPUB y 18 23\r\nNATS/1.0\r\nA: b\r\n\r\nhello\r\nPUB y 5\r\nhello\r\n";
    let payloads = |world: &mut World| {
        let lines = logged(world, message);
        lines.into_iter().filter(|line| line.contains("PAYLOAD")).collect::<Vec<_>>()
    };
    let mut short = world(|options| options.max_traced_payload_bytes = 4);
    assert_eq!(
        payloads(&mut short),
        ["TRACE <<- MSG_PAYLOAD: [\"NATS...\"]", "TRACE <<- MSG_PAYLOAD: [\"hell...\"]"]
    );
    let mut headers = world(|options| options.trace_headers = true);
    assert_eq!(payloads(&mut headers), [r#"TRACE <<- MSG_PAYLOAD: ["NATS/1.0\r\nA: b"]"#]);
}

#[test]
fn requests_that_can_no_longer_be_answered_are_logged_and_counted() {
    let service =
        Permissions::builder().publish_allow(["none"]).allow_responses(AllowResponses::default());
    let service = User::new("service", "").permissions(service.build().unwrap());
    let users = Users::builder().users([service, User::new("client", "")]).build().unwrap();
    let mut world = World::with_auth(users);
    let connect =
        |user| format!("CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"\"}}\r\n");
    let mut service = world.join_as(&connect("service"));
    let mut client = world.join_as(&connect("client"));
    world.send(&mut service, "SUB ask 1\r\n");
    let reply = "r".repeat(REPLY_BYTES);
    let mut ask = |service: &mut Party, numbers: Range<usize>| {
        let lines = lines_of(|| {
            for number in numbers {
                world.send(&mut client, format!("PUB ask {number}.{reply} 0\r\n\r\n"));
                service.read();
            }
        });
        (lines, world.broker.accounts()[0].lost_reply_permissions)
    };
    let half = REPLY_PERMISSIONS_BYTES / (2 * REPLY_BYTES + REPLY_BYTES / 4);
    assert_eq!(ask(&mut service, 0..2 * half), (vec![], 0));
    let (lines, lost) = ask(&mut service, 2 * half..3 * half);
    assert!((1..half as u64).contains(&lost), "{lost}");
    assert!(lines[0].starts_with("WARN "), "{lines:?}");
    assert!(lines[0].ends_with("the oldest can no longer be answered (1 so far)"), "{lines:?}");
    assert_eq!(lines.len(), 1 + lost.ilog2() as usize, "again only when the number has doubled");
}
