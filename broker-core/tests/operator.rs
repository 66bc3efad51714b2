//! Chains of operator, account and user, with revocation and expiry by a clock that is moved.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;
#[path = "common/trusting.rs"]
mod trusting;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use broker_core::auth::jwt::{
    Account, AccountClaims, Activation, Claims, Export, ExportType, Import, MessageTrace,
    TimeRange, UserClaims, UserScope, encode,
};
use broker_core::auth::nkey::{KeyKind, KeyPair};
use broker_core::operator::{
    AccountError, AccountResolver, Found, MemoryResolver, OperatorMode, Trust, account_config,
};
use broker_core::{Broker, CloseReason, Options};
use common::{Party, World};
use trusting::{START, Trusting, account, operator, pair, signed, user};

/// The lines that the client receives, without PINGs.
fn told(party: &Party) -> String {
    party.read().replace("PING\r\n", "")
}

#[test]
fn a_user_is_accepted_with_a_chain_up_to_the_operator() {
    let mut server = Trusting::new();
    server.store(&account(2), |_| ());
    let token = signed(&account(2), |_| ());
    let party = server.join(&token, &user(9));
    let connection = server.world.broker.connection(party.session.id()).unwrap();
    let key = account(2).public().to_string();
    assert_eq!(connection.account.as_deref(), Some(&*key));
    let identity = connection.client_info.identity.clone().unwrap();
    assert_eq!(identity.nkey.as_deref(), Some(&*user(9).public().to_string()));
    assert_eq!(identity.issuer_key.as_deref(), Some(&*key));

    server.refuse(&token, &user(8));
    server.refuse(&signed(&account(3), |_| ()), &user(9));
    server.refuse(&"".into(), &user(9));
    let mut changed = token.expose().to_owned();
    changed.replace_range(100..101, if &changed[100..101] == "A" { "B" } else { "A" });
    server.refuse(&changed.as_str().into(), &user(9));
}

#[test]
fn an_account_that_no_trusted_operator_has_signed_is_not_served() {
    let mut server = Trusting::new();
    let claims: AccountClaims = Claims::new(account(2).public());
    for issuer in [pair(KeyKind::Operator, 5), account(2)] {
        let token = encode(&claims, &issuer).unwrap();
        server.accounts.store(account(2).public().to_string(), &token);
        server.refuse(&signed(&account(2), |_| ()), &user(9));
    }
    // The token of one account under the key of another.
    let other = encode(&Claims::<Account>::new(account(3).public()), &operator()).unwrap();
    server.accounts.store(account(2).public().to_string(), &other);
    server.refuse(&signed(&account(2), |_| ()), &user(9));
}

#[test]
fn signing_keys_sign_for_their_account_until_they_are_removed() {
    let mut server = Trusting::new();
    server
        .store(&account(2), |claims| claims.nats.signing_keys.add(account(4).public().to_string()));
    let of = |claims: &mut UserClaims| claims.nats.issuer_account = account(2).public().to_string();
    let token = signed(&account(4), of);
    server.refuse(&signed(&account(4), |_| ()), &user(9));
    server.refuse(&signed(&account(5), of), &user(9));
    let mut party = server.join(&token, &user(9));
    server.store(&account(2), |claims| claims.issued_at += 1);
    server.world.settle(&mut party);
    assert_eq!(told(&party), "", "closed without an error");
    assert_eq!(party.closing(), Some(CloseReason::AuthenticationViolation));
    server.refuse(&token, &user(9));
}

#[test]
fn a_scoped_key_gives_its_users_the_permissions_of_the_scope() {
    let mut server = Trusting::new();
    let scope = |allow: &str| {
        let mut scope = UserScope::new(account(4).public().to_string(), "role");
        scope.template.permissions.publish.allow = vec![allow.to_owned()];
        scope.template.subs = 1;
        scope
    };
    server.store(&account(2), |claims| claims.nats.signing_keys.add_scoped(scope("{{name()}}.>")));
    let of = |claims: &mut UserClaims| {
        claims.name = "joe".into();
        claims.nats.issuer_account = account(2).public().to_string();
        claims.nats.limits = broker_core::auth::jwt::UserLimits::default();
    };
    let token = signed(&account(4), of);
    let mut party = server.join(&token, &user(9));
    party.read();
    server.world.send(&mut party, "PUB joe.x 0\r\n\r\nPUB x 0\r\n\r\nSUB a 1\r\nSUB b 2\r\n");
    assert_eq!(
        told(&party),
        "-ERR 'Permissions Violation for Publish to \"x\"'\r\n\
         -ERR 'maximum subscriptions exceeded'\r\n"
    );
    let with_limits = signed(&account(4), |claims| {
        of(claims);
        claims.nats.limits.payload = 5;
    });
    server.refuse(&with_limits, &user(9));
    server.store(&account(2), |claims| claims.nats.signing_keys.add_scoped(scope("other")));
    server.world.settle(&mut party);
    assert_eq!(party.closing(), Some(CloseReason::AuthenticationViolation), "the scope changed");
}

#[test]
fn a_user_is_closed_when_its_token_ends_and_not_before() {
    let mut server = Trusting::new();
    server.store(&account(2), |_| ());
    let token = signed(&account(2), |claims| claims.expires = START + 10);
    let mut party = server.join(&token, &user(9));
    party.read();
    server.wait(&mut party, 9);
    assert_eq!((told(&party), party.closing()), (String::new(), None));
    server.wait(&mut party, 1);
    assert_eq!(told(&party), "-ERR 'User Authentication Expired'\r\n");
    assert_eq!(party.closing(), Some(CloseReason::AuthenticationExpired));
    server.seconds.fetch_add(1, Ordering::Relaxed);
    server.refuse(&token, &user(9));
    server.refuse(&signed(&account(2), |claims| claims.not_before = START + 99), &user(9));
}

#[test]
fn all_clients_of_an_account_are_closed_when_it_ends() {
    let mut server = Trusting::new();
    server.store(&account(2), |claims| claims.expires = START + 10);
    let token = signed(&account(2), |_| ());
    let mut party = server.join(&token, &user(9));
    party.read();
    server.wait(&mut party, 9);
    assert_eq!((told(&party), party.closing()), (String::new(), None));
    server.wait(&mut party, 1);
    assert_eq!(told(&party), "-ERR 'Account Authentication Expired'\r\n");
    assert_eq!(party.closing(), Some(CloseReason::AuthenticationExpired));
    server.refuse(&token, &user(9));
    // The resolver has other claims now.
    server.store(&account(2), |claims| claims.expires = START + 100);
    server.join(&token, &user(9));
}

#[test]
fn an_account_that_is_extended_keeps_its_clients() {
    let mut server = Trusting::new();
    server.store(&account(2), |claims| claims.expires = START + 10);
    let mut party = server.join(&signed(&account(2), |_| ()), &user(9));
    party.read();
    server.store(&account(2), |claims| claims.expires = START + 20);
    server.world.settle(&mut party);
    server.wait(&mut party, 19);
    assert_eq!((told(&party), party.closing()), (String::new(), None));
    server.wait(&mut party, 1);
    assert_eq!(told(&party), "-ERR 'Account Authentication Expired'\r\n");
}

#[test]
fn a_revoked_user_is_closed_and_stays_out_until_its_token_is_newer() {
    for key in ["*".to_owned(), user(9).public().to_string()] {
        let mut server = Trusting::new();
        server.store(&account(2), |_| ());
        let token = signed(&account(2), |_| ());
        let newer = signed(&account(2), |claims| claims.issued_at = START + 6);
        let mut party = server.join(&token, &user(9));
        let mut later = server.join(&newer, &user(9));
        party.read();
        later.read();
        server.store(&account(2), |claims| claims.nats.revocations.revoke(&*key, START + 5));
        server.world.settle(&mut party);
        server.world.settle(&mut later);
        assert_eq!(told(&party), "-ERR 'User Authentication Revoked'\r\n");
        assert_eq!(party.closing(), Some(CloseReason::CredentialsRevoked));
        assert_eq!(CloseReason::CredentialsRevoked.to_string(), "Credentials Revoked");
        assert_eq!((told(&later), later.closing()), (String::new(), None));
        server.refuse(&token, &user(9));
        server.join(&newer, &user(9));
    }
}

#[test]
fn an_account_that_the_resolver_no_longer_has_loses_its_clients() {
    let mut server = Trusting::new();
    server.store(&account(2), |_| ());
    server.store(&account(3), |_| ());
    let mut gone = server.join(&signed(&account(2), |_| ()), &user(9));
    let mut stays = server.join(&signed(&account(3), |_| ()), &user(9));
    gone.read();
    stays.read();
    server.accounts.remove(&account(2).public().to_string());
    server.mode.refresh();
    server.world.settle(&mut gone);
    server.world.settle(&mut stays);
    assert_eq!(told(&gone), "-ERR 'Authorization Violation'\r\n");
    assert_eq!((told(&stays), stays.closing()), (String::new(), None));
    server.refuse(&signed(&account(2), |_| ()), &user(9));
}

#[test]
fn a_bearer_token_needs_no_signature_unless_the_account_disallows_it() {
    let mut server = Trusting::new();
    server.store(&account(2), |_| ());
    let token = signed(&account(2), |claims| claims.nats.limits.bearer_token = true);
    let mut party = server.join(&token, &user(1));
    party.read();
    server.store(&account(2), |claims| claims.nats.limits.disallow_bearer = true);
    server.world.settle(&mut party);
    assert_eq!(told(&party), "-ERR 'Authorization Violation'\r\n");
    server.refuse(&token, &user(9));
    server.join(&signed(&account(2), |_| ()), &user(9));
}

#[test]
fn a_user_comes_from_its_networks_at_its_times_on_its_kinds_of_connections() {
    let mut server = Trusting::new();
    server.store(&account(2), |_| ());
    let mut of = |change: fn(&mut UserClaims)| {
        let party = server.connect(&signed(&account(2), change), &user(9));
        party.read().starts_with("PONG")
    };
    // Connections of these tests have no address.
    assert!(!of(|claims| claims.nats.limits.src = vec!["0.0.0.0/0".into()]));
    assert!(of(
        |claims| claims.nats.limits.allowed_connection_types = vec!["standard".into(), "X".into()]
    ));
    assert!(!of(|claims| claims.nats.limits.allowed_connection_types = vec!["X".into()]));
    assert!(!of(|claims| claims.nats.limits.allowed_connection_types = vec!["MQTT".into()]));
    // 22:13:20 UTC.
    let range = |start: &str, end: &str| TimeRange { start: start.into(), end: end.into() };
    assert!(!of(|claims| claims.nats.limits.times =
        vec![TimeRange { start: "01:00:00".into(), end: "02:00:00".into() }]));
    let token = signed(&account(2), |claims| {
        claims.nats.limits.times = vec![range("22:00:00", "22:14:00")];
    });
    let mut party = server.join(&token, &user(9));
    party.read();
    server.wait(&mut party, 39);
    assert_eq!((told(&party), party.closing()), (String::new(), None));
    server.wait(&mut party, 1);
    assert_eq!(told(&party), "-ERR 'User Authentication Expired'\r\n");
}

#[test]
fn limits_and_default_permissions_of_the_account_change_under_its_clients() {
    let mut server = Trusting::new();
    let deny = |subject: &'static str| {
        move |claims: &mut AccountClaims| {
            claims.nats.default_permissions.publish.deny = vec![subject.into()];
        }
    };
    server.store(&account(2), deny("a"));
    let mut first = server.join(&signed(&account(2), |_| ()), &user(9));
    let mut second = server.join(&signed(&account(2), |_| ()), &user(9));
    first.read();
    second.read();
    server.world.send(&mut first, "PUB a 0\r\n\r\n");
    assert!(told(&first).contains("Publish to \"a\""));
    server.store(&account(2), |claims| {
        deny("b")(claims);
        claims.nats.limits.conn = 1;
        claims.nats.limits.payload = 1;
    });
    server.world.settle(&mut first);
    server.world.settle(&mut second);
    assert_eq!(told(&second), "-ERR 'maximum account active connections exceeded'\r\n");
    server.world.send(&mut first, "PUB a 1\r\nx\r\nPUB b 0\r\n\r\nPUB a 2\r\nxx\r\n");
    assert_eq!(
        told(&first),
        "-ERR 'Permissions Violation for Publish to \"b\"'\r\n-ERR 'Maximum Payload Violation'\r\n"
    );
}

#[test]
fn the_sentinel_stands_in_for_clients_without_a_token_and_pinned_accounts_are_the_only_ones() {
    let accounts = MemoryResolver::default();
    let token = encode(&Claims::<Account>::new(account(2).public()), &operator()).unwrap();
    accounts.store(account(2).public().to_string(), &token);
    let sentinel = signed(&account(2), |claims| claims.nats.limits.bearer_token = true);
    let build = |pinned: &KeyPair| {
        let mode = OperatorMode::builder(Trust::keys([operator().public()]), accounts.clone())
            .default_sentinel(sentinel.clone())
            .pinned_accounts([pinned.public().to_string()])
            .build();
        let clock = (Instant::now, || SystemTime::UNIX_EPOCH + Duration::from_secs(START as u64));
        let broker = Broker::with_authenticator(Options::default(), clock, mode.clone());
        mode.attach(&broker);
        World::of(broker)
    };
    for (pinned, expected) in
        [(account(2), "PONG\r\n"), (account(3), "-ERR 'Authorization Violation'\r\n")]
    {
        let mut world = build(&pinned);
        let mut party = world.arrive();
        world.send(&mut party, "CONNECT {\"verbose\":false}\r\nPING\r\n");
        assert_eq!(party.read(), expected);
    }
}

#[test]
fn an_import_is_active_while_its_activation_is_valid() {
    let mut activation: Claims<Activation> = Claims::new(account(3).public());
    activation.nats.import_subject = "s".into();
    activation.nats.import_type = ExportType::Stream;
    activation.issued_at = START;
    activation.expires = START + 10;
    let activation = encode(&activation, &account(2)).unwrap();

    let server = Trusting::new();
    server.store(&account(2), |claims| {
        let mut export = Export::new(ExportType::Stream, "s");
        export.token_req = true;
        claims.nats.exports.push(export);
    });
    server.store(&account(3), |claims| {
        let key = account(2).public().to_string();
        let mut import = Import::new(ExportType::Stream, key, "s");
        import.token = activation.expose().to_owned();
        claims.nats.imports.push(import);
    });
    server.mode.load_account(&account(3).public().to_string(), |is_loaded| assert!(is_loaded));
    assert!(server.mode.account_claims(&account(2).public().to_string()).is_some(), "loaded too");
    assert_eq!(server.mode.until_next_end(), Some(Duration::from_secs(10)));
    server.seconds.fetch_add(10, Ordering::Relaxed);
    server.world.broker.do_periodic(server.world.now);
    assert_eq!(server.mode.until_next_end(), None);
}

#[test]
fn claims_become_the_configuration_of_an_account() {
    let mut claims: AccountClaims = Claims::new(account(2).public());
    claims.nats.limits.conn = 3;
    let mut service = Import::new(ExportType::Service, "A", "local");
    service.to = "remote".into();
    let mut stream = Import::new(ExportType::Stream, "A", "s.*");
    stream.local_subject = "l.$1".into();
    let mut prefixed = Import::new(ExportType::Stream, "A", "s");
    prefixed.to = "p".into();
    claims.nats.imports =
        vec![service, stream, prefixed, Import::new(ExportType::Stream, "A", "a..b")];
    let config = account_config(&claims, |import| import.to == "remote");
    assert_eq!(config.limits.max_connections, Some(3));
    assert_eq!(config.limits.max_payload_bytes, None);
    let shown: Vec<_> = config
        .imports
        .iter()
        .map(|one| {
            (one.subject.to_string(), one.to.as_deref(), one.prefix.as_deref(), one.activated)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("remote".to_owned(), Some("local"), None, true),
            ("s.*".to_owned(), Some("l.$1"), None, false),
            ("s".to_owned(), None, Some("p"), false),
        ]
    );
}

#[test]
fn an_account_without_claims_serves_users_of_its_own_key_until_it_has_claims() {
    let mut server = Trusting::new();
    let (key, token) = (account(2).public(), signed(&account(2), |_| ()));
    server.refuse(&token, &user(9));
    let trusted = operator().public().to_string();
    server.mode.serve_without_claims(key, &trusted);
    let mut party = server.join(&token, &user(9));
    server.refuse(&signed(&account(3), |_| ()), &user(9));
    // Its source has none yet.
    assert!(!server.mode.look_up_claims(&key.to_string()));
    server.join(&token, &user(9));
    // Its claims limit it.
    server.store(&account(2), |claims| claims.nats.limits.conn = 0);
    assert!(server.mode.look_up_claims(&key.to_string()));
    server.world.settle(&mut party);
    assert!(party.closing().is_some());
    // An account with claims keeps them.
    server.mode.serve_without_claims(key, &trusted);
    assert!(!server.mode.loaded_account(&key.to_string()).unwrap().token.is_empty());
}

/// A resolver whose results arrive when a test passes them on.
#[derive(Clone, Default)]
struct Late {
    accounts: MemoryResolver,
    found: Arc<Mutex<Vec<UnderWay>>>,
}

/// A result, and the look-up that it ends.
type UnderWay = (Result<Arc<str>, AccountError>, Found);

impl Late {
    /// Passes on what was found. Returns the number of look-ups.
    fn arrive(&self) -> usize {
        let found = std::mem::take(&mut *self.found.lock().unwrap());
        let count = found.len();
        found.into_iter().for_each(|(result, found)| found(result));
        count
    }
}

impl AccountResolver for Late {
    fn lookup(&self, account: &str, found: Found) {
        let all = Arc::clone(&self.found);
        let hold = move |result| all.lock().unwrap().push((result, found));
        self.accounts.lookup(account, Box::new(hold));
    }
}

/// A change may revoke a user.
#[test]
fn claims_that_change_during_a_look_up_are_not_replaced_by_older_ones() {
    let late = Late::default();
    let trust = Trust::keys([operator().public()]);
    let mode = OperatorMode::builder(trust, late.clone()).build();
    let server = Trusting::of(mode.clone(), late.accounts.clone());
    let key = account(2).public().to_string();
    let store = |name: &str| server.store(&account(2), |claims| claims.name = name.to_owned());
    let name = || mode.account_claims(&key).map(|claims| claims.name.clone());
    assert!(!mode.uses_account(&key));
    store("first");
    mode.load_account(&key, |_| ());
    assert!(mode.uses_account(&key));
    store("second");
    assert_eq!((late.arrive(), name().as_deref()), (1, Some("first")));
    assert_eq!((late.arrive(), name().as_deref()), (1, Some("second")));
    mode.refresh();
    store("third");
    assert_eq!((late.arrive(), name().as_deref()), (1, Some("third")));
    assert_eq!((late.arrive(), name().as_deref()), (1, Some("third")));
    assert_eq!(late.arrive(), 0);
    late.accounts.remove(&key);
    mode.refresh();
    store("fourth");
    assert_eq!((late.arrive(), name().as_deref()), (1, Some("fourth")));
    assert_eq!((late.arrive(), name().as_deref()), (1, Some("fourth")));
    late.accounts.remove(&key);
    mode.refresh();
    assert_eq!((late.arrive(), name()), (1, None));
}

/// The server serves its system account without claims once it knows that there are none. A client that connects meanwhile
/// gets the same account.
#[test]
fn a_client_that_waits_for_an_account_gets_the_one_that_is_served_without_claims() {
    let late = Late::default();
    let trust = Trust::keys([operator().public()]);
    let mode = OperatorMode::builder(trust, late.clone()).build();
    let mut server = Trusting::of(mode.clone(), late.accounts.clone());
    let (key, trusted) = (account(2).public(), operator().public().to_string());
    mode.load_account(&key.to_string(), {
        let mode = mode.clone();
        move |is_loaded| {
            assert!(!is_loaded);
            mode.load_account(&key.to_string(), |is_loaded| assert!(is_loaded, "asks meanwhile"));
            mode.serve_without_claims(key, &trusted);
        }
    });
    let mut party = server.connect(&signed(&account(2), |_| ()), &user(9));
    assert_eq!(party.read(), "");
    assert_eq!(late.arrive(), 1);
    server.world.settle(&mut party);
    server.world.send(&mut party, "PING\r\n");
    let read = party.read();
    assert!(read.contains("PONG\r\n") && party.closing().is_none(), "{read}");
    let is_asked_again = (late.arrive(), late.arrive());
    assert_eq!(is_asked_again, (1, 0), "once, for the one that asked meanwhile");
}

#[test]
fn claims_name_the_destination_of_traces() {
    let mut server = Trusting::new();
    server.store(&account(2), |_| ());
    let token = signed(&account(2), |_| ());
    let mut party = server.connect_with(&token, &user(9), "\"headers\":true,");
    server.world.send(&mut party, "SUB traces 1\r\n");
    party.read();
    let marked =
        "NATS/1.0\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n";
    let publish = format!("HPUB x {0} {0}\r\n{marked}\r\nPING\r\n", marked.len());
    let mut is_traced = |trace: Option<MessageTrace>| {
        server.store(&account(2), |claims| claims.nats.trace = trace);
        server.world.settle(&mut party);
        server.world.send(&mut party, &*publish);
        told(&party).contains("MSG traces 1")
    };
    let to = |destination: &str, sampling| {
        Some(MessageTrace { destination: destination.into(), sampling })
    };
    assert!(!is_traced(None));
    assert!(is_traced(to("traces", 0)), "0 stands for all");
    assert!(is_traced(to("traces", 100)));
    assert!(!is_traced(None));
    let sampled = account_config(&with_trace(to("traces", 42)), |_| false);
    assert_eq!(sampled.trace_destination.map(|to| to.sampling), Some(42));
}

fn with_trace(trace: Option<MessageTrace>) -> AccountClaims {
    let mut claims: AccountClaims = Claims::new(account(2).public());
    claims.nats.trace = trace;
    claims
}

/// It may be loaded again from then on, and has what it is configured with then.
#[test]
fn an_account_that_goes_shares_nothing_before_the_listener_is_told() {
    let server = Trusting::new();
    let key = account(2).public().to_string();
    server.store(&account(2), |claims| {
        let mut export = Export::default();
        (export.subject, export.kind) = ("news.>".to_owned(), ExportType::Stream);
        claims.nats.exports.push(export);
    });
    server.mode.load_account(&key, |is_loaded| assert!(is_loaded));
    let (broker, name) = (server.world.broker.clone(), key.clone());
    let exports = move || {
        let accounts = broker.accounts();
        accounts.iter().find(|account| *account.name == *name).unwrap().exports
    };
    assert_eq!(exports(), 1);
    let told = Arc::<Mutex<Vec<usize>>>::default();
    let theirs = Arc::clone(&told);
    server.mode.set_listener(move |_, claims| {
        if claims.is_none() {
            theirs.lock().unwrap().push(exports());
        }
    });
    server.mode.remove_account(&key);
    assert_eq!(*told.lock().unwrap(), [0]);
}
