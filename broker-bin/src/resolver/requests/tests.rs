use std::time::{Duration, Instant, UNIX_EPOCH};

use broker_core::auth::Secret;
use broker_core::auth::jwt::{Account, AccountClaims, Claims, GenericClaims, encode};
use broker_core::auth::nkey::{KeyKind, KeyPair};
use broker_core::operator::{AccountResolver, MemoryResolver, Trust};
use broker_core::session::local::Client;
use broker_core::{Message, Options};
use serde_json::Value;

use super::*;
use crate::resolver::store::{AtLimit, Removal, Store, StoreOptions};
use crate::resolver::{Directory, DirectoryKind, ResolverTls, UrlResolver};

fn pair(kind: KeyKind, byte: u8) -> KeyPair {
    KeyPair::from_random(kind, [byte; 32])
}

fn operator() -> KeyPair {
    pair(KeyKind::Operator, 1)
}

fn key(byte: u8) -> String {
    pair(KeyKind::Account, byte).public().to_string()
}

/// The JWT of an account.
fn jwt(byte: u8, change: impl FnOnce(&mut AccountClaims)) -> String {
    let mut claims = Claims::<Account>::new(pair(KeyKind::Account, byte).public());
    claims.issued_at = 1;
    change(&mut claims);
    encode(&claims, &operator()).unwrap().expose().to_owned()
}

fn delete(accounts: &[String], signer: &KeyPair) -> String {
    let subject = signer.public().to_string();
    let mut claims: GenericClaims = Claims { subject, ..Claims::default() };
    claims.nats.insert("accounts".into(), accounts.into());
    encode(&claims, signer).unwrap().expose().to_owned()
}

/// A broker that answers requests.
struct Served {
    broker: Broker,
    mode: OperatorMode,
    client: Client,
    source: Source,
    _requests: ClaimRequests,
    _dir: tempfile::TempDir,
}

impl Served {
    fn full(removal: Removal) -> Self {
        Self::directory(DirectoryKind::Full, removal, false)
    }

    fn directory(kind: DirectoryKind, removal: Removal, is_strict: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            dir: dir.path().join("jwt"),
            limit: None,
            at_limit: AtLimit::Refuse,
            ttl: None,
            removal,
        };
        let store = Store::open(options, SystemTime::now()).unwrap();
        let (timeout, interval) = (Duration::from_secs(5), Duration::from_secs(60));
        let directory = Directory::new(store, kind, timeout, interval);
        Self::with(Source::Directory(directory), dir, is_strict)
    }

    fn with(source: Source, dir: tempfile::TempDir, is_strict: bool) -> Self {
        let operator = operator().public().to_string();
        let keys = OperatorKeys {
            signers: [operator.clone()].into(),
            key: operator,
            system_account: key(99),
            is_strict,
        };
        let mode =
            OperatorMode::builder(Trust::keys([self::operator().public()]), source.clone()).build();
        let wall = || UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let broker =
            Broker::with_authenticator(Options::default(), (Instant::now, wall), mode.clone());
        mode.attach(&broker);
        let requests = source.serve(&broker, &mode, keys).unwrap();
        let client = broker.client_as(Grant::anonymous().with_account("$SYS"));
        Self { broker, mode, client, source, _requests: requests, _dir: dir }
    }

    async fn ask(&self, subject: &str, payload: &str) -> Message {
        self.client.request(subject, payload.to_owned().into()).await.unwrap()
    }

    async fn json(&self, subject: &str, payload: &str) -> Value {
        let answer = self.ask(subject, payload).await;
        let value: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(value["server"]["id"], self.broker.info().server_id, "{value}");
        value
    }

    /// Returns the account, and the message or the error.
    async fn update(&self, subject: &str, payload: &str) -> (String, String) {
        let value = self.json(subject, payload).await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if value["error"].is_null() {
            assert_eq!(value["data"]["code"], 200);
            return (text(&value["data"]["account"]), text(&value["data"]["message"]));
        }
        assert_eq!(value["error"]["code"], 500);
        (text(&value["error"]["account"]), text(&value["error"]["description"]))
    }

    /// Loads an account, as a login does.
    async fn load(&self, account: &str) -> bool {
        let (done, is_done) = tokio::sync::oneshot::channel();
        self.mode.load_account(account, move |is_there| done.send(is_there).unwrap());
        is_done.await.unwrap()
    }
}

fn said(account: &str, text: &str) -> (String, String) {
    (account.to_owned(), text.to_owned())
}

#[tokio::test]
async fn a_pushed_account_is_stored_looked_up_listed_and_served() {
    let served = Served::full(Removal::Refused);
    let lookup = format!("$SYS.REQ.ACCOUNT.{}.CLAIMS.LOOKUP", key(1));
    assert!(served.ask(&lookup, "").await.payload.is_empty());
    assert!(!served.load(&key(1)).await);
    let updated = said(&key(1), "jwt updated");
    assert_eq!(served.update("$SYS.REQ.CLAIMS.UPDATE", &jwt(1, |_| ())).await, updated);
    assert_eq!(served.ask(&lookup, "").await.payload, jwt(1, |_| ()));
    assert!(served.load(&key(1)).await);
    // Both subjects that name the account; a change acts on the account that is loaded.
    for (subject, name) in [
        (format!("$SYS.REQ.ACCOUNT.{}.CLAIMS.UPDATE", key(1)), "one"),
        (format!("$SYS.ACCOUNT.{}.CLAIMS.UPDATE", key(1)), "two"),
    ] {
        let jwt = jwt(1, |claims| claims.name = name.into());
        assert_eq!(served.update(&subject, &jwt).await, updated);
        assert_eq!(served.mode.account_claims(&key(1)).unwrap().name, name);
    }
    served.update("$SYS.REQ.CLAIMS.UPDATE", &jwt(2, |_| ())).await;
    let mut both = vec![key(1), key(2)];
    both.sort();
    let listed = served.json("$SYS.REQ.CLAIMS.LIST", "").await;
    assert_eq!(listed["data"], Value::from(both));
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_the_texts_of_the_reference() {
    let served = Served::full(Removal::Refused);
    let by_name = |byte| format!("$SYS.REQ.ACCOUNT.{}.CLAIMS.UPDATE", key(byte));
    const ALL: &str = "$SYS.REQ.CLAIMS.UPDATE";
    assert_eq!(
        served.update(ALL, "x").await,
        said("n/a", "jwt update resulted in error - expected 3 chunks")
    );
    assert_eq!(
        served.update(&by_name(2), &jwt(1, |_| ())).await,
        said(&key(2), "jwt update resulted in error - subject does not match jwt content")
    );
    let bad = jwt(1, |claims| claims.nats.default_permissions.publish.allow.push("a b".into()));
    for subject in [ALL, &by_name(1)] {
        let (account, text) = served.update(subject, &bad).await;
        assert_eq!(account, key(1));
        assert!(text.starts_with("jwt validation failed - validation errors: ["), "{text}");
    }
    let served = Served::directory(DirectoryKind::Full, Removal::Refused, true);
    let text = "jwt update resulted in error - operator requires issuer to be a signing key";
    assert_eq!(served.update(ALL, &jwt(1, |_| ())).await, said(&key(1), text));
    assert!(served.json("$SYS.REQ.CLAIMS.LIST", "").await["data"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn only_the_operator_removes_accounts() {
    let served = Served::full(Removal::Renamed);
    const DELETE: &str = "$SYS.REQ.CLAIMS.DELETE";
    for byte in [1, 2, 3] {
        served.update("$SYS.REQ.CLAIMS.UPDATE", &jwt(byte, |_| ())).await;
    }
    assert!(served.load(&key(1)).await);
    let by_operator = |accounts: &[String]| delete(accounts, &operator());
    let failed = |why: &str| {
        let subject = operator().public();
        said("", &format!("delete accounts request by {subject} failed - {why}"))
    };
    let other = pair(KeyKind::Operator, 7);
    let text = format!("delete accounts request by {} failed - not trusted", other.public());
    assert_eq!(served.update(DELETE, &delete(&[key(1)], &other)).await, said("", &text));
    for (accounts, why) in [
        (vec!["../x".to_owned()], "malformed request"),
        (vec![key(99)], "not allowed to delete system account"),
    ] {
        assert_eq!(served.update(DELETE, &by_operator(&accounts)).await, failed(why));
    }
    let removed = served.update(DELETE, &by_operator(&[key(1), key(2)])).await;
    assert_eq!(removed, said("", "deleted 2 accounts"));
    assert_eq!(served.json("$SYS.REQ.CLAIMS.LIST", "").await["data"], Value::from(vec![key(3)]));
    assert!(!served.load(&key(1)).await, "it is served no longer");

    let refusing = Served::full(Removal::Refused);
    let refused = refusing.update(DELETE, &by_operator(&[key(1)])).await;
    assert_eq!(refused, failed("delete must be enabled in server config"));
}

#[tokio::test]
async fn directories_are_packed_and_merged() {
    let served = Served::full(Removal::Refused);
    served.update("$SYS.REQ.CLAIMS.UPDATE", &jwt(1, |_| ())).await;
    let mut packages = served.client.subscribe("packages").await.unwrap();
    let ask = |hash: Vec<u8>| served.client.publish_with_reply(PACK, "packages", hash.into());
    ask(Vec::new()).await.unwrap();
    let package = packages.next().await.unwrap().payload;
    assert_eq!(package, format!("{}|{}", key(1), jwt(1, |_| ())));
    assert!(packages.next().await.unwrap().payload.is_empty(), "the end");

    let Source::Directory(directory) = &served.source else { panic!("no directory") };
    let hash = directory.store().hash().to_vec();
    ask(hash).await.unwrap();
    assert!(packages.next().await.unwrap().payload.is_empty(), "they are the same");
}

#[tokio::test]
async fn a_cache_stores_accounts_that_it_serves_and_asks_others_for_them() {
    let served = Served::directory(DirectoryKind::Cache, Removal::Deleted, false);
    let skipped = said(&key(1), "jwt update cache skipped");
    assert_eq!(served.update("$SYS.REQ.CLAIMS.UPDATE", &jwt(1, |_| ())).await, skipped);
    assert!(!served.load(&key(1)).await, "nobody has it");
    let mut asked = served.client.subscribe("$SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP").await.unwrap();
    let client = served.client.clone();
    let answering = tokio::spawn(async move {
        let request = asked.next().await.unwrap();
        assert_eq!(*request.subject, *format!("$SYS.REQ.ACCOUNT.{}.CLAIMS.LOOKUP", key(1)));
        client.publish(request.reply.unwrap(), jwt(1, |_| ()).into()).await.unwrap();
    });
    assert!(served.load(&key(1)).await);
    answering.await.unwrap();
    let updated = said(&key(1), "jwt updated cache");
    let other = jwt(1, |claims| claims.name = "other".into());
    assert_eq!(served.update("$SYS.REQ.CLAIMS.UPDATE", &other).await, updated);
    assert_eq!(served.mode.account_claims(&key(1)).unwrap().name, "other");
    let listed = served.json("$SYS.REQ.CLAIMS.LIST", "").await;
    assert_eq!(listed["data"], Value::from(vec![key(1)]));
}

#[tokio::test]
async fn a_source_that_stores_nothing_updates_accounts_that_are_loaded() {
    let preload = [(key(1), Secret::from(jwt(1, |_| ())))];
    let memory = Source::Memory(MemoryResolver::new(preload));
    let served = Served::with(memory, tempfile::tempdir().unwrap(), false);
    let subject = format!("$SYS.REQ.ACCOUNT.{}.CLAIMS.UPDATE", key(1));
    let other = jwt(1, |claims| claims.name = "other".into());
    assert_eq!(served.update(&subject, &other).await, said(&key(1), "jwt update skipped"));
    assert!(served.load(&key(1)).await);
    assert_eq!(served.update(&subject, &other).await, said(&key(1), "jwt updated"));
    assert_eq!(served.mode.account_claims(&key(1)).unwrap().name, "other");
    let empty = said(&key(1), "jwt update error - request body is empty");
    assert_eq!(served.update(&subject, "").await, empty);
    // The others get no answer.
    for subject in ["$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.CLAIMS.LIST", "$SYS.REQ.CLAIMS.PACK"] {
        assert!(served.client.request(subject, "".into()).await.is_err(), "{subject}");
    }
    let url = Source::Url(UrlResolver::new("http://127.0.0.1:1/", ResolverTls::default()).unwrap());
    let served = Served::with(url, tempfile::tempdir().unwrap(), false);
    assert_eq!(served.update(&subject, &other).await, said(&key(1), "jwt update skipped"));
}

#[test]
fn a_directory_is_read_at_once_without_a_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        dir: dir.path().to_owned(),
        limit: None,
        at_limit: AtLimit::Refuse,
        ttl: None,
        removal: Removal::Refused,
    };
    let store = Store::open(options, SystemTime::now()).unwrap();
    store.save(&key(1), &jwt(1, |_| ()), SystemTime::now()).unwrap();
    let directory =
        Directory::new(store, DirectoryKind::Full, Duration::ZERO, Duration::from_secs(1));
    let (tell, told) = std::sync::mpsc::channel();
    for byte in [1, 2] {
        let tell = tell.clone();
        directory.lookup(&key(byte), Box::new(move |found| tell.send(found.is_ok()).unwrap()));
    }
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [true, false]);
}
