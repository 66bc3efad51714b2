//! Accounts in operator mode that delegate log-ins to a service.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;
#[path = "common/trusting.rs"]
mod trusting;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker_core::CloseReason;
use broker_core::auth::Secret;
use broker_core::auth::callout::{CalloutServer, SUBJECT};
use broker_core::auth::jwt::{
    AccountClaims, AuthorizationRequestClaims, AuthorizationResponseClaims, Claims, ServerId,
    TimeRange, UserClaims, UserLimits, UserScope, decode_authorization_request, encode,
};
use broker_core::auth::nkey::{CurvePair, KeyKind, KeyPair, PublicKey};
use broker_core::operator::{AccountResolver, Found, MemoryResolver, OperatorMode, Rules, Trust};
use common::Party;
use trusting::{START, Trusting, account, operator, pair, signed, user};

const DENIED: &str = "-ERR 'Authorization Violation'\r\n";

/// The account of the service, the account of its clients, and an account that it may not use.
const AUTH: u8 = 2;
const TEST: u8 = 3;
const OTHER: u8 = 4;

/// Signing keys of the account of clients: the second has a scope.
const SIGNING: u8 = 5;
const SCOPED: u8 = 6;

/// The user of the service. Clients are the user 9.
const SERVICE: u8 = 8;

fn key(number: u8) -> String {
    account(number).public().to_string()
}

fn service_curve() -> CurvePair {
    CurvePair::from_random([6; 32])
}

fn callout_server() -> CalloutServer {
    let curve = CurvePair::from_random([4; 32]);
    CalloutServer::new(ServerId::default(), pair(KeyKind::Server, 3), curve, || Some([5; 32]))
}

fn delegate(claims: &mut AccountClaims) {
    claims.nats.authorization.auth_users = vec![user(SERVICE).public().to_string()];
    claims.nats.authorization.allowed_accounts = vec![key(TEST)];
}

fn test_account(claims: &mut AccountClaims) {
    let mut scope = UserScope::new(key(SCOPED), "role");
    scope.template.permissions.publish.allow = vec!["foo.>".to_owned()];
    scope.template.payload = 4;
    claims.name = "TEST".to_owned();
    claims.nats.signing_keys.add(key(SIGNING));
    claims.nats.signing_keys.add_scoped(scope);
}

/// A server, and the service of an account.
struct Delegated {
    server: Trusting,
    service: Party,
    is_sealed: bool,
}

impl Delegated {
    fn new(change: impl FnOnce(&mut AccountClaims)) -> Self {
        let mut server = Trusting::new();
        server.mode.set_callout(Arc::new(callout_server()), Duration::from_secs(2));
        let mut is_sealed = false;
        server.store(&account(AUTH), |claims| {
            delegate(claims);
            change(claims);
            is_sealed = !claims.nats.authorization.xkey.is_empty();
        });
        server.store(&account(TEST), test_account);
        server.store(&account(OTHER), |_| ());
        let token =
            signed(&account(AUTH), |claims| claims.subject = user(SERVICE).public().to_string());
        let mut service = server.connect_with(&token, &user(SERVICE), "\"headers\":true,");
        assert!(service.read().starts_with("PONG"));
        server.world.send(&mut service, format!("SUB {SUBJECT} 1\r\n"));
        Self { server, service, is_sealed }
    }

    /// Connects with a token of the account and what CONNECT says besides.
    fn join(&mut self, more: &str) -> Party {
        let token = signed(&account(AUTH), |claims| {
            claims.name = "visitor".to_owned();
            claims.nats.generic.tags = ["a", "b"].map(str::to_owned).into();
        });
        self.server.connect_with(&token, &user(9), more)
    }

    fn request(&self) -> Option<(AuthorizationRequestClaims, String)> {
        let bytes = self.service.read_bytes();
        let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let words: Vec<&str> = head.split(' ').collect();
        assert_eq!(words[1], SUBJECT);
        let mut body = bytes[end + 2..bytes.len() - 2].to_vec();
        if self.is_sealed {
            let headers = words[4].parse::<usize>().unwrap();
            body = service_curve().open(&body[headers..], &callout_server().xkey()).unwrap();
        }
        let claims = decode_authorization_request(std::str::from_utf8(&body).unwrap()).unwrap();
        Some((claims, words[3].to_owned()))
    }

    fn answer(&mut self, make: impl FnOnce(&AuthorizationRequestClaims) -> Vec<u8>) {
        let (request, reply) = self.request().unwrap();
        let body = make(&request);
        let mut bytes = format!("PUB {reply} {}\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(b"\r\n");
        self.server.world.send(&mut self.service, bytes);
    }

    fn see(&mut self, client: &mut Party) -> String {
        self.server.world.settle(client);
        // The rest of its input waited for the decision.
        self.server.world.send(client, "");
        let read = client.read();
        read.split_inclusive("\r\n").filter(|line| !line.starts_with("INFO ")).collect()
    }

    /// Connects a client whom the service answers with this user.
    fn place(&mut self, issuer: &KeyPair, change: impl FnOnce(&mut UserClaims)) -> Party {
        let client = self.join("");
        self.answer(|request| respond(request, &account(AUTH), &placed(request, issuer, change)));
        client
    }

    fn account_of(&self, client: &Party) -> String {
        let shown = self.server.world.broker.connection(client.session.id()).unwrap();
        shown.account.unwrap().to_string()
    }
}

/// Signs the user of a request.
fn placed(
    request: &AuthorizationRequestClaims,
    issuer: &KeyPair,
    change: impl FnOnce(&mut UserClaims),
) -> Secret {
    let mut claims: UserClaims = Claims::new(PublicKey::parse(&request.nats.user_nkey).unwrap());
    claims.issued_at = START;
    change(&mut claims);
    encode(&claims, issuer).unwrap()
}

/// Makes the response with this user, signed by a key.
fn respond(request: &AuthorizationRequestClaims, signer: &KeyPair, user: &Secret) -> Vec<u8> {
    let mut claims: AuthorizationResponseClaims =
        Claims::new(PublicKey::parse(&request.nats.user_nkey).unwrap());
    claims.audience = request.nats.server.id.clone();
    claims.issued_at = START;
    claims.nats.jwt = user.expose().to_owned();
    encode(&claims, signer).unwrap().expose().as_bytes().to_vec()
}

fn of_test(claims: &mut UserClaims) {
    claims.nats.issuer_account = key(TEST);
}

fn scoped(claims: &mut UserClaims) {
    of_test(claims);
    claims.nats.limits = UserLimits::default();
}

#[test]
fn the_service_learns_about_the_user_and_puts_it_into_another_account() {
    let mut delegated = Delegated::new(|_| ());
    let mut client = delegated.join("\"auth_token\":\"t\",\"name\":\"n\",");
    assert_eq!((client.read(), client.closing()), (String::new(), None));
    delegated.answer(|request| {
        assert_eq!(request.subject, key(AUTH));
        assert_eq!((request.issued_at, request.expires), (START, START + 2));
        let (client, sent) = (&request.nats.client, &request.nats.connect);
        assert_eq!(client.user, user(9).public().to_string());
        assert_eq!((&*client.name_tag, &*client.name), ("visitor", "n"));
        assert_eq!(client.tags, ["a", "b"]);
        assert!(!client.nonce.is_empty() && !sent.signed_nonce.is_empty());
        assert!(sent.jwt.starts_with("eyJ"));
        assert_eq!((&*sent.token, &*sent.nkey), ("t", ""));
        let user = placed(request, &account(TEST), |claims| claims.name = "dlc".to_owned());
        respond(request, &account(AUTH), &user)
    });
    assert_eq!(delegated.see(&mut client), "PONG\r\n");
    let shown = delegated.server.world.broker.connection(client.session.id()).unwrap();
    let identity = shown.client_info.identity.clone().unwrap();
    assert_eq!(shown.account.as_deref(), Some(&*key(TEST)));
    assert_eq!(shown.client_info.user.as_deref(), Some("dlc"));
    assert_eq!(identity.issuer_key.as_deref(), Some(&*key(TEST)));
    assert_eq!(identity.account_name.as_deref(), Some("TEST"));
    assert_eq!(identity.name_tag.as_deref(), Some("visitor"));
}

#[test]
fn accounts_and_keys_that_a_response_may_use() {
    type Change = fn(&mut UserClaims);
    let cases: [(&str, u8, Change, Option<u8>); 9] = [
        ("the account itself", AUTH, |_| (), Some(AUTH)),
        ("an allowed account", TEST, |_| (), Some(TEST)),
        ("a signing key of it", SIGNING, of_test, Some(TEST)),
        ("a scoped key of it", SCOPED, scoped, Some(TEST)),
        ("a scoped key, and limits", SCOPED, of_test, None),
        ("an account that is not allowed", OTHER, |_| (), None),
        ("a key of nobody", 12, of_test, None),
        ("an unknown account", 13, |_| (), None),
        ("an expired user", TEST, |claims| claims.expires = START - 1, None),
    ];
    for (name, issuer, change, expected) in cases {
        let mut delegated = Delegated::new(|claims| {
            claims.nats.authorization.allowed_accounts.push(key(13));
        });
        let mut client = delegated.place(&account(issuer), change);
        let read = delegated.see(&mut client);
        match expected {
            Some(expected) => {
                assert_eq!(read, "PONG\r\n", "{name}");
                assert_eq!(delegated.account_of(&client), key(expected), "{name}");
            }
            None => {
                assert_eq!(read, DENIED, "{name}");
                assert_eq!(client.closing(), Some(CloseReason::AuthenticationViolation), "{name}");
            }
        }
    }
}

#[test]
fn a_service_may_be_allowed_any_account() {
    let any = |claims: &mut AccountClaims| {
        claims.nats.authorization.allowed_accounts = vec!["*".to_owned()];
    };
    let mut delegated = Delegated::new(any);
    let mut client = delegated.place(&account(OTHER), |_| ());
    assert_eq!(delegated.see(&mut client), "PONG\r\n");
    assert_eq!(delegated.account_of(&client), key(OTHER));
}

#[test]
fn a_scoped_user_has_the_permissions_and_limits_of_the_scope() {
    let mut delegated = Delegated::new(|_| ());
    let mut client = delegated.place(&account(SCOPED), scoped);
    assert_eq!(delegated.see(&mut client), "PONG\r\n");
    delegated.server.world.send(&mut client, "PUB bar 0\r\n\r\nPUB foo.a 5\r\n");
    let read = client.read();
    assert!(read.contains("Permissions Violation for Publish to \"bar\""), "{read}");
    assert!(read.ends_with("-ERR 'Maximum Payload Violation'\r\n"), "{read}");
}

#[test]
fn a_response_is_signed_by_the_account_of_the_service_or_sealed() {
    for (is_sealed, signer, expected) in
        [(false, AUTH, "PONG\r\n"), (false, OTHER, DENIED), (true, OTHER, "PONG\r\n")]
    {
        let mut delegated = Delegated::new(|claims| {
            if is_sealed {
                claims.nats.authorization.xkey = service_curve().public().to_string();
            }
        });
        let mut client = delegated.join("");
        delegated.answer(|request| {
            assert_eq!(!request.nats.server.xkey.is_empty(), is_sealed);
            let user = placed(request, &account(TEST), |_| ());
            let response = respond(request, &account(signer), &user);
            match is_sealed {
                true => {
                    let key = callout_server().xkey();
                    service_curve().seal(&response, &key, [7; 24]).unwrap()
                }
                false => response,
            }
        });
        assert_eq!(delegated.see(&mut client), expected);
    }
}

#[test]
fn users_that_the_account_does_not_admit_are_denied_without_a_question() {
    let mut delegated = Delegated::new(|_| ());
    let token = signed(&account(AUTH), |_| ());
    delegated.server.refuse(&token, &user(7));
    delegated.server.refuse(
        &signed(&account(OTHER), |claims| {
            claims.nats.issuer_account = key(AUTH);
        }),
        &user(9),
    );
    assert!(delegated.request().is_none());
    // The key of the service, without its signature.
    let token =
        signed(&account(AUTH), |claims| claims.subject = user(SERVICE).public().to_string());
    delegated.server.refuse(&token, &user(9));
    assert!(delegated.request().is_none());
    // A user of an account without a service.
    let token = signed(&account(TEST), |_| ());
    delegated.server.join(&token, &user(9));
    assert!(delegated.request().is_none());
}

#[test]
fn a_client_is_not_exempt_because_it_says_the_name_of_the_service() {
    let mut delegated = Delegated::new(|_| ());
    let name = user(SERVICE).public();
    for more in [format!("\"user\":\"{name}\","), format!("\"nkey\":\"{name}\",")] {
        let mut client = delegated.join(&more);
        assert_eq!((client.read(), client.closing()), (String::new(), None));
        delegated.answer(|_| Vec::new());
        assert_eq!(delegated.see(&mut client), DENIED);
    }
}

#[test]
fn the_sentinel_is_what_the_service_gets_of_a_client_without_a_token() {
    let mut delegated = Delegated::new(|_| ());
    let sentinel = signed(&account(AUTH), |claims| claims.nats.limits.bearer_token = true);
    let mut rules = Rules::default();
    rules.default_sentinel = sentinel.clone();
    delegated.server.mode.set_rules(rules);
    for token in ["", "no token"] {
        let more = "\"auth_token\":\"t\",";
        let mut client = delegated.server.connect_with(&token.into(), &user(9), more);
        delegated.answer(|request| {
            assert_eq!(request.nats.connect.jwt, sentinel.expose());
            assert_eq!(request.nats.connect.token, "t");
            respond(request, &account(AUTH), &placed(request, &account(TEST), |_| ()))
        });
        assert_eq!(delegated.see(&mut client), "PONG\r\n");
    }
}

#[test]
fn nobody_in_the_account_of_the_service_may_send_it_requests() {
    let mut delegated = Delegated::new(|_| ());
    let mut client = delegated.place(&account(AUTH), |_| ());
    assert_eq!(delegated.see(&mut client), "PONG\r\n");
    let publish = format!("PUB {SUBJECT} 0\r\n\r\n");
    let violation = format!("-ERR 'Permissions Violation for Publish to \"{SUBJECT}\"'\r\n");
    let Delegated { server, service, .. } = &mut delegated;
    for party in [&mut client, service] {
        server.world.send(party, &publish);
        assert_eq!(party.read(), violation);
    }
}

#[test]
fn revocations_and_signing_keys_of_the_account_act_on_users_of_the_service() {
    let mut delegated = Delegated::new(|_| ());
    let mut plain = delegated.place(&account(TEST), |_| ());
    let mut by_key = delegated.place(&account(SIGNING), of_test);
    for client in [&mut plain, &mut by_key] {
        assert_eq!(delegated.see(client), "PONG\r\n");
    }
    delegated.server.store(&account(TEST), |claims| claims.issued_at += 1);
    assert_eq!((delegated.see(&mut by_key), delegated.see(&mut plain)), Default::default());
    assert_eq!(by_key.closing(), Some(CloseReason::AuthenticationViolation));
    assert_eq!(plain.closing(), None);
    delegated.server.store(&account(TEST), |claims| {
        test_account(claims);
        claims.nats.revocations.0.insert("*".to_owned(), START);
    });
    assert_eq!(delegated.see(&mut plain), "-ERR 'User Authentication Revoked'\r\n");
    // A response with a user that is revoked already lets nobody in.
    let mut late = delegated.place(&account(TEST), |_| ());
    assert_eq!(delegated.see(&mut late), DENIED);
    let mut newer = delegated.place(&account(TEST), |claims| claims.issued_at += 1);
    assert_eq!(delegated.see(&mut newer), "PONG\r\n");
}

#[test]
fn default_permissions_of_the_account_hold_for_users_of_the_service_and_change_under_them() {
    let mut delegated = Delegated::new(|_| ());
    let mut client = delegated.place(&account(TEST), |_| ());
    assert_eq!(delegated.see(&mut client), "PONG\r\n");
    delegated.server.store(&account(TEST), |claims| {
        test_account(claims);
        claims.nats.default_permissions.publish.deny = vec!["bar".to_owned()];
    });
    assert_eq!(delegated.see(&mut client), "");
    delegated.server.world.send(&mut client, "PUB bar 0\r\n\r\n");
    assert!(client.read().contains("Permissions Violation for Publish to \"bar\""));
}

#[test]
fn the_times_and_the_end_of_the_user_are_those_of_the_connection() {
    let mut delegated = Delegated::new(|_| ());
    let day = |start: &str, end: &str| {
        let range = TimeRange { start: start.into(), end: end.into() };
        move |claims: &mut UserClaims| claims.nats.limits.times = vec![range]
    };
    let mut client = delegated.place(&account(TEST), day("22:13:21", "22:13:30"));
    assert_eq!(delegated.see(&mut client), DENIED);
    let mut client = delegated.place(&account(TEST), day("22:13:19", "22:13:30"));
    assert_eq!(delegated.see(&mut client), "PONG\r\n");
    delegated.server.wait(&mut client, 9);
    assert_eq!(client.closing(), None);
    delegated.server.wait(&mut client, 1);
    assert!(client.read().ends_with("-ERR 'User Authentication Expired'\r\n"));
}

/// A resolver that keeps look-ups of some accounts until it is told.
#[derive(Clone)]
struct Slow {
    accounts: MemoryResolver,
    kept: Arc<Mutex<Vec<Found>>>,
}

impl AccountResolver for Slow {
    fn lookup(&self, account: &str, found: Found) {
        match account == key(OTHER) {
            true => self.kept.lock().unwrap().push(found),
            false => self.accounts.lookup(account, found),
        }
    }
}

#[test]
fn a_client_waits_for_the_account_into_which_the_service_puts_it() {
    let accounts = MemoryResolver::default();
    let slow = Slow { accounts: accounts.clone(), kept: Arc::default() };
    let mode = OperatorMode::builder(Trust::keys([operator().public()]), slow.clone()).build();
    mode.set_callout(Arc::new(callout_server()), Duration::from_secs(2));
    let mut server = Trusting::of(mode, accounts);
    server.store(&account(AUTH), |claims| {
        delegate(claims);
        claims.nats.authorization.allowed_accounts = vec![key(OTHER)];
    });
    let token =
        signed(&account(AUTH), |claims| claims.subject = user(SERVICE).public().to_string());
    let mut service = server.join(&token, &user(SERVICE));
    server.world.send(&mut service, format!("SUB {SUBJECT} 1\r\n"));
    let mut delegated = Delegated { server, service, is_sealed: false };
    let mut client = delegated.place(&account(OTHER), |_| ());
    assert_eq!((delegated.see(&mut client), client.closing()), (String::new(), None));
    let mut claims: AccountClaims = Claims::new(account(OTHER).public());
    claims.issued_at = START;
    let other = encode(&claims, &operator()).unwrap();
    let found: Vec<Found> = slow.kept.lock().unwrap().drain(..).collect();
    found.into_iter().for_each(|found| found(Ok(other.expose().into())));
    assert_eq!(delegated.see(&mut client), "PONG\r\n");
    assert_eq!(delegated.account_of(&client), key(OTHER));
}
