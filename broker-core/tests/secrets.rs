//! Credentials of a client are visible to no other party.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;
#[path = "common/log.rs"]
mod log;

use broker_core::auth::{Credentials, Token, User, Users};
use broker_core::proto::ConnectOptions;
use broker_core::{Broker, CloseReason, Options};
use common::World;
use futures_executor::block_on;
use log::lines_of;

/// CONNECTs with secrets: valid, invalid, and in wrong places.
const CONNECTS: [&str; 24] = [
    r#"CONNECT {"user":"eva","pass":"MARKER"}"#,
    r#"CONNECT {"user":"eva","pass":"MARKER-wrong"}"#,
    r#"CONNECT {"auth_token":"MARKER"}"#,
    r#"CONNECT {"auth_token":"MARKER-wrong"}"#,
    r#"CONNECT {"nkey":"UA","sig":"MARKER","jwt":"MARKER"}"#,
    r#"connect {"PASS":"MARKER","Auth_Token":"MARKER"}"#,
    r#"CONNECT {"user":"eva","password":"MARKER","token":"MARKER"}"#,
    r#"CONNECT {"user":"eva","pass":"MARKER"#,
    r#"CONNECT {"user":"eva","pass":"MARKER"} "#,
    r#"CONNECT {"user":"eva","pass":"MARKER"}}"#,
    r#"CONNECT {"user":"eva","pass":{"x":"MARKER"}}"#,
    r#"CONNECT {"user":["MARKER"],"name":{"pass":"MARKER"}}"#,
    r#"CONNECT "MARKER""#,
    r#"CONNECT{"user":"eva","pass":"MARKER"}"#,
    r#"CONECT {"user":"eva","pass":"MARKER"}"#,
    r#"C {"pass":"MARKER"}"#,
    r#"{"pass":"MARKER"}"#,
    r#"CONNECT {"jwt":"MARKER","sig":"MARKER"}"#,
    r#"CONNECT {"JWT":"MARKER.MARKER.MARKER","nkey":"UA","Sig":"MARKER"}"#,
    r#"CONNECT {"user":"eva","jwt":{"x":"MARKER"}}"#,
    r#"CONNECT {"user":"eva","sig":["MARKER"]}"#,
    r#"CONNECT {"user":"eva","jwt":"MARKER","jwt":5}"#,
    r#"CONNECT {"user":"eva","jwt":"MARKER","name":5,"verbose":"MARKER"}"#,
    r#"CONNECT {"auth_token":"MARKER","user":"eva","pass":"MARKER","jwt":"MARKER","sig":"MARKER","nkey":"UA"}"#,
];

fn no_marker(lines: &[String]) {
    for line in lines {
        assert!(!line.contains("MARKER"), "{line}");
    }
}

#[test]
fn no_secret_of_a_connect_is_logged() {
    let users = Users::builder().user(User::new("eva", "MARKER")).build().unwrap();
    let token = Token::new("MARKER");
    for trace in [false, true] {
        let options = Options { trace, ..Options::default() };
        let broker = |authenticator: &dyn Fn(Options) -> Broker| authenticator(options.clone());
        let clock = (std::time::Instant::now, std::time::SystemTime::now);
        for broker in [
            broker(&|options| Broker::with_authenticator(options, clock, users.clone())),
            broker(&|options| Broker::with_authenticator(options, clock, token.clone())),
            broker(&|options| Broker::new(options, clock)),
        ] {
            let mut world = World::of(broker);
            for connect in CONNECTS {
                let lines = lines_of(|| {
                    let mut client = world.arrive();
                    world.send(&mut client, format!("{connect}\r\n"));
                    // A second CONNECT, and an end that is logged.
                    world.send(&mut client, format!("{connect}\r\nPING\r\nNONSENSE\r\n"));
                    assert!(!client.read().contains("MARKER"));
                });
                assert!(lines.len() >= 3, "{lines:?}");
                no_marker(&lines);
            }
        }
    }
}

/// Events, traces and what monitoring reads contain no credential either.
#[test]
fn no_secret_of_a_connect_is_in_an_event_or_a_snapshot() {
    let users = Users::builder().user(User::new("eva", "MARKER")).build().unwrap();
    let clock = (std::time::Instant::now, std::time::SystemTime::now);
    let mut world = World::of(Broker::with_authenticator(Options::default(), clock, users));
    let mut traces = block_on(world.broker.client().subscribe(">")).unwrap();
    for connect in CONNECTS {
        let mut client = world.arrive();
        world.send(&mut client, format!("{connect}\r\n"));
        let traced = "HPUB x 32 33\r\nNATS/1.0\r\nNats-Trace-Dest: t\r\n\r\nx\r\n";
        world.send(&mut client, format!("CONNECT {{\"headers\":true}}\r\n{traced}"));
        let seen =
            format!("{:?} {:?}", world.broker.connections(), world.broker.closed_connections());
        assert!(!seen.contains("MARKER"), "{connect}: {seen}");
        while client.session.depart(CloseReason::ClientClosed) {}
        let closed = format!("{:?}", world.broker.closed_connections());
        assert!(!closed.contains("MARKER"), "{connect}: {closed}");
    }
    let mut events = 0;
    while let Some(message) = traces.try_next() {
        let text = format!("{message:?}");
        assert!(!text.contains("MARKER"), "{text}");
        events += usize::from(&*message.subject == "t");
    }
    assert!(events > 0, "the right password lets clients in");
}

#[test]
fn a_connect_that_comes_byte_by_byte_is_not_logged_either() {
    let users = Users::builder().user(User::new("eva", "MARKER")).build().unwrap();
    let options = Options { trace: true, ..Options::default() };
    let broker = Broker::with_authenticator(
        options,
        (std::time::Instant::now, std::time::SystemTime::now),
        users,
    );
    let mut world = World::of(broker);
    for connect in CONNECTS {
        let lines = lines_of(|| {
            let mut client = world.arrive();
            for byte in format!("{connect}\r\n").into_bytes() {
                world.send(&mut client, [byte]);
            }
        });
        no_marker(&lines);
    }
}

#[test]
fn types_with_secrets_do_not_print_them() {
    let mut options = ConnectOptions::default();
    let json = br#"{"pass":"MARKER","auth_token":"MARKER","sig":"MARKER","jwt":"MARKER"}"#;
    options.apply(json).unwrap();
    let mut credentials = Credentials::default();
    credentials.password = "MARKER".into();
    credentials.token = "MARKER".into();
    let token = Token::new("MARKER");
    let users = Users::builder().user(User::new("eva", "MARKER")).build().unwrap();
    let error = ConnectOptions::default().apply(br#"{"pass":MARKER}"#).unwrap_err();
    no_marker(&[
        format!("{options:?}"),
        format!("{credentials:?}"),
        format!("{token:?}"),
        format!("{users:?}"),
        format!("{error:?} {error}"),
    ]);
}
