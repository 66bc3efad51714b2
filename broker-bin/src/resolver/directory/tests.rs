use std::sync::mpsc;
use std::time::{Instant, UNIX_EPOCH};

use broker_core::Options;
use broker_core::auth::jwt::{Account, Claims, encode};
use broker_core::auth::nkey::{KeyKind, KeyPair};
use broker_core::operator::Trust;

use super::*;
use crate::resolver::store::{AtLimit, Removal, StoreOptions};

fn pair(kind: KeyKind, byte: u8) -> KeyPair {
    KeyPair::from_random(kind, [byte; 32])
}

/// A JWT of the account, whose name is given.
fn jwt(name: &str) -> String {
    let mut claims = Claims::<Account>::new(pair(KeyKind::Account, 2).public());
    claims.issued_at = 1;
    claims.name = name.into();
    encode(&claims, &pair(KeyKind::Operator, 1)).unwrap().expose().to_owned()
}

/// A function that the clock of the broker calls once, at its next reading.
type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// Between the read of a JWT and its use the broker's clock is read.
#[test]
fn a_jwt_that_is_stored_while_an_older_one_is_being_applied_stays() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        dir: dir.path().join("jwt"),
        limit: None,
        at_limit: AtLimit::Refuse,
        ttl: None,
        removal: Removal::Refused,
    };
    let store = Store::open(options, SystemTime::now()).unwrap();
    let seconds = Duration::from_secs(60);
    let directory = Directory::new(store, DirectoryKind::Full, seconds, seconds);
    let key = pair(KeyKind::Account, 2).public().to_string();
    let save = |directory: &Directory, name: &str| {
        let key = pair(KeyKind::Account, 2).public().to_string();
        assert!(directory.store().save(&key, &jwt(name), SystemTime::now()).unwrap());
    };
    save(&directory, "first");

    let trust = Trust::keys([pair(KeyKind::Operator, 1).public()]);
    let mode = OperatorMode::builder(trust, directory.clone()).build();
    let hook = Hook::default();
    let hooked = Arc::clone(&hook);
    let wall = move || {
        let hook = hooked.lock().unwrap().take();
        hook.into_iter().for_each(|hook| hook());
        UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    };
    let broker = Broker::with_authenticator(Options::default(), (Instant::now, wall), mode.clone());
    mode.attach(&broker);
    mode.load_account(&key, |is_there| assert!(is_there));
    let name = || mode.account_claims(&key).unwrap().name.clone();
    assert_eq!(name(), "first");

    save(&directory, "second");
    let (tell, told) = mpsc::channel();
    let (other, other_mode, other_key) = (directory.clone(), mode.clone(), key.clone());
    *hook.lock().unwrap() = Some(Box::new(move || {
        save(&other, "third");
        let (has_ended, ended) = mpsc::channel();
        let updating = std::thread::spawn(move || {
            other.changed(&other_key, &other_mode);
            let _ = has_ended.send(());
        });
        // It waits for this thread, which has read the second one.
        let _ = ended.recv_timeout(Duration::from_millis(200));
        tell.send(updating).unwrap();
    }));
    directory.changed(&key, &mode);
    told.try_recv().expect("the clock was read").join().unwrap();
    assert_eq!(name(), "third");
}
