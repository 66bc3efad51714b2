use std::fs;
use std::sync::mpsc;

use broker_core::auth::jwt::{AccountClaims, Claims, encode};
use broker_core::auth::nkey::KeyPair;

use super::*;

const START: u64 = 1_700_000_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(START + seconds)
}

fn account(number: u8) -> KeyPair {
    KeyPair::from_random(KeyKind::Account, [number; 32])
}

fn key(number: u8) -> String {
    account(number).public().to_string()
}

/// The JWT of an account, issued at this time, with an end if it is not 0.
fn jwt(number: u8, issued: u64, ends: u64) -> String {
    let mut claims: AccountClaims = Claims::new(account(number).public());
    claims.issued_at = (START + issued) as i64;
    claims.expires = if ends == 0 { 0 } else { (START + ends) as i64 };
    let operator = KeyPair::from_random(KeyKind::Operator, [9; 32]);
    encode(&claims, &operator).unwrap().expose().to_owned()
}

fn options(dir: &tempfile::TempDir) -> StoreOptions {
    StoreOptions {
        dir: dir.path().join("jwt"),
        limit: None,
        at_limit: AtLimit::Refuse,
        ttl: None,
        removal: Removal::Refused,
    }
}

fn open(options: StoreOptions) -> Store {
    Store::open(options, at(0)).unwrap()
}

fn has(store: &Store, number: u8) -> bool {
    store.load(&key(number), at(0)).unwrap().is_some()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_jwt_is_a_file_with_the_name_of_the_account_and_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(&dir));
    assert!(!has(&store, 1));
    assert!(store.save(&key(1), &jwt(1, 0, 0), at(0)).unwrap());
    assert!(!store.save(&key(1), &jwt(1, 0, 0), at(0)).unwrap(), "the same");
    assert!(store.save(&key(1), &jwt(1, 1, 0), at(0)).unwrap(), "another one");
    assert_eq!(names(store.dir()), [format!("{}.jwt", key(1))]);
    let again = open(options(&dir));
    assert_eq!(again.load(&key(1), at(0)).unwrap().unwrap(), jwt(1, 1, 0));
    assert_eq!((again.hash(), again.keys(at(0))), (store.hash(), vec![key(1)]));
}

#[test]
fn no_name_leaves_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(StoreOptions { removal: Removal::Deleted, ..options(&dir) });
    fs::write(dir.path().join("secret.jwt"), "secret").unwrap();
    let user = KeyPair::from_random(KeyKind::User, [1; 32]).public().to_string();
    for name in ["", "a", "..", "../secret", "/etc/passwd", "*", &format!("{}/", key(1)), &user] {
        assert!(matches!(store.load(name, at(0)), Err(StoreError::Key)), "{name}");
        assert!(matches!(store.save(name, "x", at(0)), Err(StoreError::Key)), "{name}");
        assert!(matches!(store.save_if_newer(name, "x", at(0)), Err(StoreError::Key)), "{name}");
        assert!(matches!(store.remove(name), Err(StoreError::Key)), "{name}");
        assert!(matches!(store.merge(&format!("{name}|x"), at(0)), Err(StoreError::MergedKey)));
    }
    assert!(names(store.dir()).is_empty() && dir.path().join("secret.jwt").exists());
}

#[test]
fn a_full_directory_refuses_or_evicts_the_least_used() {
    let dir = tempfile::tempdir().unwrap();
    let full = open(StoreOptions { limit: Some(2), ..options(&dir) });
    for number in [1, 2] {
        full.save(&key(number), &jwt(number, 0, 0), at(0)).unwrap();
    }
    let refused = full.save(&key(3), &jwt(3, 0, 0), at(0));
    assert_eq!(refused.unwrap_err().to_string(), "jwt store is full");
    assert!(full.save(&key(2), &jwt(2, 1, 0), at(0)).unwrap(), "a known one may change");

    let evicting = StoreOptions { limit: Some(2), at_limit: AtLimit::Evict, ..options(&dir) };
    let cache = open(evicting);
    // In the order of names at first.
    let first = cache.keys(at(0)).remove(0);
    let first = if first == key(1) { 1 } else { 2 };
    assert!(has(&cache, first), "now the most used");
    cache.save(&key(3), &jwt(3, 0, 0), at(0)).unwrap();
    assert!(has(&cache, first) && has(&cache, 3) && !has(&cache, 3 - first));
    assert_eq!(names(cache.dir()).len(), 2);
}

#[test]
fn jwts_end_by_themselves_or_some_time_after_their_last_use() {
    let dir = tempfile::tempdir().unwrap();
    let full = open(options(&dir));
    full.save(&key(1), &jwt(1, 0, 10), at(0)).unwrap();
    full.save(&key(2), &jwt(2, 0, 0), at(0)).unwrap();
    assert_eq!((full.expire(at(9)), full.expire(at(10)), full.expire(at(99))), (0, 1, 0));
    assert!(!has(&full, 1) && has(&full, 2));

    let cache = open(StoreOptions { ttl: Some(Duration::from_secs(5)), ..options(&dir) });
    cache.save(&key(1), &jwt(1, 0, 10), at(0)).unwrap();
    assert!(cache.load(&key(2), at(4)).unwrap().is_some());
    assert_eq!((cache.expire(at(4)), cache.expire(at(5)), cache.expire(at(8))), (0, 1, 0));
    assert_eq!(cache.expire(at(9)), 1, "a use prolongs");
    assert!(names(cache.dir()).is_empty());
}

#[test]
fn a_removed_account_keeps_its_file_under_another_name_or_loses_it() {
    let dir = tempfile::tempdir().unwrap();
    for (removal, left) in [(Removal::Renamed, 1), (Removal::Deleted, 0)] {
        let store = open(StoreOptions { removal, ..options(&dir) });
        store.save(&key(1), &jwt(1, 0, 0), at(0)).unwrap();
        assert!(store.remove(&key(1)).unwrap());
        assert!(!store.remove(&key(1)).unwrap(), "it is gone");
        let names = names(store.dir());
        assert_eq!(names.len(), left);
        assert!(names.iter().all(|name| *name == format!("{}.jwt.deleted", key(1))));
        assert_eq!((store.hash(), has(&store, 1)), ([0; 32], false));
        for name in names {
            fs::remove_file(store.dir().join(name)).unwrap();
        }
    }
    let refusing = open(options(&dir));
    assert!(matches!(refusing.remove(&key(1)), Err(StoreError::NoRemoval)));
}

#[test]
fn directories_become_equal_by_packages_and_keep_what_is_newer() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [one, other] = [0, 1].map(|at| open(options(&dirs[at])));
    one.save(&key(1), &jwt(1, 5, 0), at(0)).unwrap();
    one.save(&key(2), &jwt(2, 0, 0), at(0)).unwrap();
    one.save(&key(3), &jwt(3, 0, 1), at(0)).unwrap();
    other.save(&key(1), &jwt(1, 0, 0), at(0)).unwrap();
    other.save(&key(2), &jwt(2, 5, 0), at(0)).unwrap();
    let packages = |store: &Store| {
        let mut packages = Vec::new();
        store.pack_each(at(2), |package| packages.push(package)).unwrap();
        packages
    };
    assert_eq!(packages(&one).len(), 2, "what has ended is left out");
    let package = packages(&one).join("\n");
    assert_eq!(other.merge(&package, at(2)).unwrap(), [key(1)]);
    assert_eq!(one.merge(&packages(&other).join("\n\n"), at(2)).unwrap(), [key(2)]);
    one.expire(at(2));
    assert_eq!(one.hash(), other.hash());

    assert!(matches!(one.merge("no package", at(2)), Err(StoreError::Line)));
    assert!(matches!(one.merge(&format!("{}|a|b", key(1)), at(2)), Err(StoreError::Line)));
    let of_another = format!("{}|{}", key(1), jwt(2, 9, 0));
    assert!(matches!(one.merge(&of_another, at(2)), Err(StoreError::Subject)));
    assert!(matches!(one.merge(&format!("{}|x", key(1)), at(2)), Err(StoreError::Jwt)));
}

#[test]
fn a_reload_finds_what_somebody_else_has_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(&dir));
    store.save(&key(1), &jwt(1, 0, 0), at(0)).unwrap();
    store.save(&key(2), &jwt(2, 0, 0), at(0)).unwrap();
    let write = |path: &str, text: &str| fs::write(store.dir().join(path), text).unwrap();
    write(&format!("{}.jwt", key(2)), &jwt(2, 1, 0));
    // As account servers do it, beside files that are none of ours.
    let shard = key(3)[54..].to_owned();
    fs::create_dir(store.dir().join(&shard)).unwrap();
    write(&format!("{shard}/{}.jwt", key(3)), &jwt(3, 0, 0));
    write("notes.jwt", "x");
    write(&format!("{}.tmp", key(4)), "x");
    write(&format!("{}.jwt.deleted", key(4)), "x");
    let mut changed = store.reload(at(0)).unwrap();
    changed.sort();
    let mut expected = vec![key(2), key(3)];
    expected.sort();
    assert_eq!(changed, expected);
    assert!(has(&store, 3) && store.keys(at(0)).len() == 3);
    // It is replaced where it is.
    store.save(&key(3), &jwt(3, 1, 0), at(0)).unwrap();
    assert_eq!(names(&store.dir().join(shard)), [format!("{}.jwt", key(3))]);
    assert!(store.reload(at(0)).unwrap().is_empty());
}

#[test]
fn a_file_too_large_for_a_jwt_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(&dir));
    let large = "x".repeat(MAX_TOKEN_BYTES + 1);
    assert!(matches!(store.save(&key(1), &large, at(0)), Err(StoreError::Jwt)));
    fs::write(store.dir().join(format!("{}.jwt", key(1))), &large).unwrap();
    assert!(!has(&store, 1));
    assert!(matches!(store.save(&key(1), "", at(0)), Err(StoreError::Jwt)));
}

/// Its entry would be missing until the next reload: for the limit, for its end, and for other servers.
#[test]
fn a_jwt_that_is_stored_while_the_directory_is_being_read_is_in_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(&dir));
    std::thread::scope(|threads| {
        let mut index = store.index();
        let (tell, told) = mpsc::channel();
        let reloading = &store;
        threads.spawn(move || {
            reloading.reload(at(0)).unwrap();
            tell.send(()).unwrap();
        });
        // Time to read the directory, if it is not waiting for the index.
        assert!(told.recv_timeout(Duration::from_millis(100)).is_err(), "the index is locked");
        let path = store.path(&key(1)).unwrap();
        store.write(&mut index, &key(1), path, &jwt(1, 0, 0), at(0)).unwrap();
        drop(index);
        told.recv().unwrap();
    });
    assert_eq!(store.keys(at(0)), [key(1)]);
}
