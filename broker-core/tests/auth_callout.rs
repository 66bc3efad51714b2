//! Auth callouts: a service on the broker decides about clients.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use broker_core::auth::callout::{AuthCallout, CalloutOptions, CalloutServer, SUBJECT};
use broker_core::auth::jwt::{
    AuthorizationRequestClaims, AuthorizationResponseClaims, Claims, ServerId, TimeRange,
    UserClaims, decode_authorization_request, encode,
};
use broker_core::auth::nkey::{CurvePair, KeyKind, KeyPair, PublicKey};
use broker_core::auth::{Permissions, User, Users};
use broker_core::{Broker, CloseReason, Options};
use common::{Party, World};

const DENIED: &str = "-ERR 'Authorization Violation'\r\n";

/// The time of the test.
const NOW: i64 = 1_700_000_000;

fn wall() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW as u64)
}

fn pair(kind: KeyKind, byte: u8) -> KeyPair {
    KeyPair::from_random(kind, [byte; 32])
}

fn issuer() -> KeyPair {
    pair(KeyKind::Account, 1)
}

fn service_curve() -> CurvePair {
    CurvePair::from_random([2; 32])
}

fn server() -> CalloutServer {
    let id = ServerId {
        name: "A".into(),
        host: "127.0.0.1".into(),
        version: "2.14.5".into(),
        tags: vec!["tag".into()],
        ..ServerId::default()
    };
    let curve = CurvePair::from_random([4; 32]);
    CalloutServer::new(id, pair(KeyKind::Server, 3), curve, || Some([5; 32]))
}

fn options() -> CalloutOptions {
    CalloutOptions {
        issuer: issuer().public(),
        account: "AUTH".into(),
        auth_users: vec!["service".into()],
        allowed_accounts: Vec::new(),
        xkey: None,
        timeout: Duration::from_secs(2),
        accounts: ["$G", "AUTH", "FOO", "BAR"].map(String::from).into(),
    }
}

fn users(no_auth_user: Option<&str>) -> Users {
    let only_a = Permissions::builder().publish_allow(["a"]).build().unwrap();
    let mut builder = Users::builder()
        .user(User::new("service", "s").account("AUTH"))
        .user(User::new("foo", "f").account("FOO"))
        .user(User::new("bar", "b").account("BAR").permissions(only_a))
        .user(User::new("global", "g"));
    if let Some(name) = no_auth_user {
        builder = builder.no_auth_user(name);
    }
    builder.build().unwrap()
}

/// A broker with a callout, and its service.
struct Delegated {
    world: World,
    service: Party,
    options: CalloutOptions,
}

impl Delegated {
    fn new(options: CalloutOptions) -> Self {
        Self::with_users(options, users(None))
    }

    fn with_users(options: CalloutOptions, users: Users) -> Self {
        let callout = AuthCallout::new(Arc::new(users), Arc::new(server()), options.clone());
        let broker = Broker::with_authenticator(Options::default(), (Instant::now, wall), callout);
        let mut world = World::of(broker);
        let mut service = world.join_as(&connect("service", "s"));
        world.send(&mut service, format!("SUB {SUBJECT} 1\r\nPING\r\n"));
        assert_eq!(without_info(&service.read()), "PONG\r\n");
        Self { world, service, options }
    }

    fn join(&mut self, user: &str, password: &str) -> Party {
        self.world.join_as(&connect(user, password))
    }

    /// Returns the request that the service has received, if any, and its reply subject.
    fn request(&self) -> Option<(AuthorizationRequestClaims, String)> {
        let bytes = self.service.read_bytes();
        let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let words: Vec<&str> = head.split(' ').collect();
        assert_eq!(words[1], SUBJECT);
        let body = &bytes[end + 2..bytes.len() - 2];
        let text = match &self.options.xkey {
            None => body.to_vec(),
            Some(_) => {
                let headers = words[4].parse::<usize>().unwrap();
                let expected = format!("NATS/1.0\r\nNats-Server-Xkey: {}\r\n\r\n", server().xkey());
                assert_eq!(&body[..headers], expected.as_bytes());
                service_curve().open(&body[headers..], &server().xkey()).unwrap()
            }
        };
        let claims = decode_authorization_request(std::str::from_utf8(&text).unwrap()).unwrap();
        Some((claims, words[3].to_owned()))
    }

    /// Answers with what `make` says about the request.
    fn answer(&mut self, make: impl FnOnce(&AuthorizationRequestClaims) -> Vec<u8>) {
        let (request, reply) = self.request().unwrap();
        let body = make(&request);
        let mut bytes = format!("PUB {reply} {}\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(b"\r\n");
        self.world.send(&mut self.service, bytes);
    }

    /// Lets the client look, and send a PING. Returns what it reads.
    fn see(&mut self, client: &mut Party) -> String {
        self.world.settle(client);
        self.world.send(client, "PING\r\n");
        without_info(&client.read())
    }
}

/// Leaves out the INFO that follows CONNECT.
fn without_info(read: &str) -> String {
    read.split_inclusive("\r\n").filter(|line| !line.starts_with("INFO ")).collect()
}

fn connect(user: &str, password: &str) -> String {
    format!(
        "CONNECT {{\"verbose\":false,\"headers\":true,\"user\":\"{user}\",\"pass\":\"{password}\",\
         \"name\":\"n\",\"lang\":\"rust\",\"version\":\"1\",\"protocol\":1}}\r\n"
    )
}

/// The claims of the user of a request, in an account.
fn user(request: &AuthorizationRequestClaims, account: &str) -> UserClaims {
    let mut claims: UserClaims = Claims::new(PublicKey::parse(&request.nats.user_nkey).unwrap());
    claims.audience = account.to_owned();
    claims.issued_at = NOW;
    claims
}

/// A response about a user.
fn response(request: &AuthorizationRequestClaims, user: &UserClaims) -> Vec<u8> {
    respond(request, |response| {
        response.nats.jwt = encode(user, &issuer()).unwrap().expose().to_owned();
    })
}

fn respond(
    request: &AuthorizationRequestClaims,
    change: impl FnOnce(&mut AuthorizationResponseClaims),
) -> Vec<u8> {
    let mut claims: AuthorizationResponseClaims =
        Claims::new(PublicKey::parse(&request.nats.user_nkey).unwrap());
    claims.audience = request.nats.server.id.clone();
    claims.issued_at = NOW;
    change(&mut claims);
    encode(&claims, &issuer()).unwrap().expose().as_bytes().to_vec()
}

#[test]
fn the_service_learns_about_the_client_and_places_it() {
    let mut delegated = Delegated::new(options());
    let mut client = delegated.join("dlc", "zzz");
    assert_eq!((client.read(), client.closing()), (String::new(), None));
    delegated.answer(|request| {
        assert_eq!(request.subject, issuer().public().to_string());
        assert_eq!(request.audience, "nats-authorization-request");
        assert_eq!((request.issued_at, request.expires), (NOW, NOW + 2));
        let nats = &request.nats;
        assert_eq!(request.issuer, nats.server.id);
        assert_eq!((&*nats.server.name, &*nats.server.host), ("A", "127.0.0.1"));
        assert_eq!((&*nats.server.version, &*nats.server.xkey), ("2.14.5", ""));
        assert_eq!(nats.server.tags, ["tag"]);
        let client = &nats.client;
        assert_eq!((&*client.user, &*client.name, client.id), ("dlc", "n", 2));
        assert_eq!((&*client.kind, &*client.protocol, &*client.nonce), ("Client", "nats", ""));
        let sent = &nats.connect;
        assert_eq!((&*sent.user, &*sent.password, sent.protocol), ("dlc", "zzz", 1));
        assert_eq!((&*sent.lang, &*sent.version, &*sent.token), ("rust", "1", ""));
        assert!(nats.tls.is_none());
        let mut user = user(request, "FOO");
        user.name = "derek".to_owned();
        user.nats.limits.permissions.publish.deny.push("secret".to_owned());
        user.nats.limits.payload = 4;
        response(request, &user)
    });
    assert_eq!(delegated.see(&mut client), "PONG\r\n");
    let shown = delegated.world.broker.connection(client.session.id()).unwrap();
    assert_eq!(
        (&*shown.account.unwrap(), &*shown.client_info.user.clone().unwrap()),
        ("FOO", "derek")
    );
    delegated.world.send(&mut client, "PUB secret 0\r\n\r\nPUB open 4\r\nabcd\r\nPUB open 5\r\n");
    let read = client.read();
    assert!(read.starts_with("-ERR 'Permissions Violation for Publish to \"secret\"'"), "{read}");
    assert!(read.ends_with("-ERR 'Maximum Payload Violation'\r\n"), "{read}");
}

#[test]
fn only_the_right_response_lets_a_client_in() {
    let other = || pair(KeyKind::Account, 9);
    type Make = fn(&AuthorizationRequestClaims) -> Vec<u8>;
    let cases: [(&str, Make); 17] = [
        ("nothing", |_| Vec::new()),
        ("no JWT", |_| b"yes".to_vec()),
        ("the user alone", |request| {
            encode(&user(request, "FOO"), &issuer()).unwrap().expose().as_bytes().to_vec()
        }),
        ("an error", |request| respond(request, |response| response.nats.error = "no".into())),
        ("neither user nor error", |request| respond(request, |_| ())),
        ("both", |request| {
            respond(request, |response| {
                response.nats.error = "no".into();
                let user = user(request, "FOO");
                response.nats.jwt = encode(&user, &issuer()).unwrap().expose().to_owned();
            })
        }),
        ("for another server", |request| {
            let user = user(request, "FOO");
            respond(request, |response| {
                response.audience = pair(KeyKind::Server, 9).public().to_string();
                response.nats.jwt = encode(&user, &issuer()).unwrap().expose().to_owned();
            })
        }),
        ("for another user", |request| {
            let user = user(request, "FOO");
            respond(request, |response| {
                response.subject = pair(KeyKind::User, 9).public().to_string();
                response.nats.jwt = encode(&user, &issuer()).unwrap().expose().to_owned();
            })
        }),
        ("expired", |request| {
            let user = user(request, "FOO");
            respond(request, |response| {
                response.expires = NOW - 1;
                response.nats.jwt = encode(&user, &issuer()).unwrap().expose().to_owned();
            })
        }),
        ("about another user", |request| {
            let mut user = user(request, "FOO");
            user.subject = pair(KeyKind::User, 9).public().to_string();
            response(request, &user)
        }),
        ("an expired user", |request| {
            let mut user = user(request, "FOO");
            user.expires = NOW - 1;
            response(request, &user)
        }),
        ("an unknown account", |request| response(request, &user(request, "NONE"))),
        ("no account", |request| response(request, &user(request, ""))),
        ("an issuer account", |request| {
            let mut user = user(request, "FOO");
            user.nats.issuer_account = issuer().public().to_string();
            response(request, &user)
        }),
        ("a user of another issuer", |request| {
            let user = user(request, "FOO");
            respond(request, |response| {
                let other = KeyPair::from_random(KeyKind::Account, [9; 32]);
                response.nats.jwt = encode(&user, &other).unwrap().expose().to_owned();
            })
        }),
        ("another kind of connection", |request| {
            let mut user = user(request, "FOO");
            user.nats.limits.allowed_connection_types = vec!["WEBSOCKET".into(), "X".into()];
            response(request, &user)
        }),
        ("other times of day", |request| {
            let mut user = user(request, "FOO");
            let (start, end) = ("22:13:21".into(), "22:13:30".into());
            user.nats.limits.times = vec![TimeRange { start, end }];
            response(request, &user)
        }),
    ];
    assert_ne!(other().public(), issuer().public());
    for (name, make) in cases {
        let mut delegated = Delegated::new(options());
        let mut client = delegated.join("dlc", "zzz");
        delegated.answer(make);
        assert_eq!(delegated.see(&mut client), DENIED, "{name}");
        assert_eq!(client.closing(), Some(CloseReason::AuthenticationViolation), "{name}");
    }
}

#[test]
fn requests_and_responses_are_sealed_for_a_service_with_a_key() {
    for is_sealed in [true, false] {
        let xkey = service_curve().public();
        let mut delegated = Delegated::new(CalloutOptions { xkey: Some(xkey), ..options() });
        let mut client = delegated.join("dlc", "zzz");
        delegated.answer(|request| {
            assert_eq!(request.nats.server.xkey, server().xkey().to_string());
            let response = response(request, &user(request, "FOO"));
            match is_sealed {
                true => service_curve().seal(&response, &server().xkey(), [7; 24]).unwrap(),
                false => response,
            }
        });
        assert_eq!(delegated.see(&mut client), "PONG\r\n");
        // A box of another key.
        let mut client = delegated.join("dlc", "zzz");
        delegated.answer(|request| {
            let response = response(request, &user(request, "FOO"));
            CurvePair::from_random([8; 32]).seal(&response, &server().xkey(), [7; 24]).unwrap()
        });
        assert_eq!(delegated.see(&mut client), DENIED);
    }
}

#[test]
fn known_users_are_delegated_unless_their_account_or_they_themselves_are_exempt() {
    for (allowed, user_, password, is_asked, expected) in [
        (&[][..], "foo", "f", true, None),
        (&["FOO"], "foo", "f", true, None),
        (&["BAR"], "foo", "f", false, Some("PONG\r\n")),
        (&["BAR"], "bar", "b", true, None),
        (&["BAR"], "global", "g", true, None),
        // Unknown users are delegated, independent of the accounts.
        (&["BAR"], "foo", "wrong", true, None),
        (&["BAR"], "nobody", "", true, None),
        (&[], "service", "s", false, Some("PONG\r\n")),
        // A wrong password of the service is not a question for it.
        (&[], "service", "wrong", false, Some(DENIED)),
    ] {
        let allowed_accounts = allowed.iter().map(|name| (*name).to_owned()).collect();
        let mut delegated = Delegated::new(CalloutOptions { allowed_accounts, ..options() });
        let mut client = delegated.join(user_, password);
        let case = format!("{allowed:?} {user_} {password}");
        match expected {
            Some(expected) => assert_eq!(delegated.see(&mut client), expected, "{case}"),
            None => {
                delegated.answer(|request| response(request, &user(request, "BAR")));
                assert_eq!(delegated.see(&mut client), "PONG\r\n", "{case}");
                let shown = delegated.world.broker.connection(client.session.id()).unwrap();
                assert_eq!(
                    (&*shown.account.unwrap(), &*shown.client_info.user.clone().unwrap()),
                    ("BAR", user_)
                );
            }
        }
        assert_eq!(delegated.world.broker.question_stats().granted, u64::from(is_asked), "{case}");
    }
}

#[test]
fn nobody_in_the_account_of_the_service_may_send_it_requests() {
    let mut delegated = Delegated::new(options());
    let mut client = delegated.join("dlc", "zzz");
    delegated.answer(|request| response(request, &user(request, "AUTH")));
    assert_eq!(delegated.see(&mut client), "PONG\r\n");
    let violation =
        format!("-ERR 'Permissions Violation for Publish to \"{SUBJECT}\"'\r\nPONG\r\n");
    let mut service = delegated.join("service", "s");
    for party in [&mut client, &mut service] {
        delegated.world.send(party, format!("PUB {SUBJECT} 0\r\n\r\nPING\r\n"));
        assert_eq!(without_info(&party.read()), violation);
    }
    assert!(delegated.request().is_none());
}

#[test]
fn the_end_of_the_user_is_that_of_the_connection() {
    let mut delegated = Delegated::new(options());
    let mut client = delegated.join("dlc", "zzz");
    delegated.answer(|request| {
        let mut user = user(request, "FOO");
        user.expires = NOW + 10;
        response(request, &user)
    });
    assert_eq!(delegated.see(&mut client), "PONG\r\n");
    delegated.world.wait(&mut client, Duration::from_secs(9));
    assert_eq!(client.closing(), None);
    delegated.world.wait(&mut client, Duration::from_secs(2));
    assert!(client.read().ends_with("-ERR 'User Authentication Expired'\r\n"));
}

#[test]
fn times_of_day_in_a_response_end_the_connection() {
    let mut delegated = Delegated::new(options());
    let mut client = delegated.join("dlc", "zzz");
    delegated.answer(|request| {
        let mut user = user(request, "FOO");
        let (start, end) = ("22:13:19".into(), "22:13:30".into());
        user.nats.limits.times = vec![TimeRange { start, end }];
        response(request, &user)
    });
    assert_eq!(delegated.see(&mut client), "PONG\r\n");
    delegated.world.wait(&mut client, Duration::from_secs(9));
    assert_eq!(client.closing(), None);
    delegated.world.wait(&mut client, Duration::from_secs(2));
    assert!(client.read().ends_with("-ERR 'User Authentication Expired'\r\n"));
}

#[test]
fn after_a_change_the_service_is_asked_again_and_may_deny() {
    let mut delegated = Delegated::new(options());
    let mut client = delegated.join("dlc", "zzz");
    delegated.answer(|request| response(request, &user(request, "FOO")));
    assert_eq!(delegated.see(&mut client), "PONG\r\n");
    let callout = AuthCallout::new(Arc::new(users(None)), Arc::new(server()), options());
    let _ = delegated.world.broker.set_authenticator(callout);
    assert_eq!(delegated.see(&mut client), "PONG\r\n");
    let mut service = delegated.join("service", "s");
    assert_eq!(delegated.see(&mut service), "PONG\r\n", "the service is not asked about itself");
    delegated.answer(|request| {
        assert_eq!(request.nats.connect.password, "zzz");
        Vec::new()
    });
    assert_eq!(delegated.see(&mut client), DENIED);
}

#[test]
fn a_client_without_credentials_is_delegated_as_the_no_auth_user() {
    for first in ["CONNECT {\"verbose\":false}\r\nSUB a 1\r\n", "SUB a 1\r\n"] {
        let mut delegated = Delegated::with_users(options(), users(Some("foo")));
        let mut client = delegated.world.arrive();
        delegated.world.send(&mut client, first);
        assert_eq!((client.read(), client.closing()), (String::new(), None), "{first}");
        delegated.answer(|request| {
            assert_eq!((&*request.nats.client.user, &*request.nats.connect.user), ("foo", "foo"));
            let mut user = user(request, "BAR");
            user.expires = NOW + 10;
            response(request, &user)
        });
        delegated.world.settle(&mut client);
        delegated.world.send(&mut client, "PING\r\n");
        let ok = if first.starts_with('S') { "+OK\r\n" } else { "" };
        assert_eq!(client.read(), format!("{ok}PONG\r\n"));
        let shown = delegated.world.broker.connection(client.session.id()).unwrap();
        assert_eq!((&*shown.account.unwrap(), shown.subscriptions), ("BAR", 1));
        delegated.world.wait(&mut client, Duration::from_secs(11));
        assert!(client.read().ends_with("-ERR 'User Authentication Expired'\r\n"));
    }
    // Without such a user nothing precedes CONNECT.
    let mut delegated = Delegated::new(options());
    let mut client = delegated.world.arrive();
    delegated.world.send(&mut client, "SUB a 1\r\n");
    assert_eq!(client.read(), DENIED);
}

#[test]
fn a_token_is_given_to_the_service_and_never_shown() {
    let mut delegated = Delegated::new(options());
    let mut client =
        delegated.world.join_as("CONNECT {\"verbose\":false,\"auth_token\":\"marker\"}\r\n");
    delegated.answer(|request| {
        assert_eq!(request.nats.connect.token, "marker");
        assert_eq!(request.nats.client.user, "[REDACTED]");
        response(request, &user(request, "FOO"))
    });
    assert_eq!(delegated.see(&mut client), "PONG\r\n");
    let shown = delegated.world.broker.connection(client.session.id()).unwrap();
    assert_eq!(shown.client_info.user.as_deref(), Some("[REDACTED]"));
}
