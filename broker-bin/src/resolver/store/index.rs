//! The index of a directory of account JWTs: hashes, ends, and the order of use.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use sha2::{Digest, Sha256};

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

/// The account JWTs of a directory.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: BTreeMap<String, Entry>,
    /// Keys by the time of their last use, the oldest first.
    by_use: BTreeSet<(u64, String)>,
    /// Keys by their end, of those that have one.
    by_end: BTreeSet<(i64, String)>,
    /// The hashes of all JWTs, combined.
    hash: Hash,
    uses: u64,
}

/// A JWT that is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    /// Its file.
    pub(super) path: PathBuf,
    pub(super) hash: Hash,
    /// The end of the JWT itself, in seconds since 1970.
    pub(super) jwt_ends: Option<i64>,
    /// The time at which it is removed, in seconds since 1970.
    ends: Option<i64>,
    used: u64,
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Returns the keys and their entries, ordered by key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.entries.iter()
    }

    /// Returns a hash of all JWTs, equal for equal sets.
    pub(super) fn hash(&self) -> Hash {
        self.hash
    }

    /// Adds or replaces a JWT. `ttl_ends`: its end, if the directory sets one, in place of that of the JWT.
    pub(super) fn put(
        &mut self,
        key: &str,
        path: PathBuf,
        hash: Hash,
        (jwt_ends, ttl_ends): (Option<i64>, Option<i64>),
    ) {
        self.remove(key);
        let used = self.next_use();
        let ends = ttl_ends.or(jwt_ends);
        self.by_use.insert((used, key.to_owned()));
        self.by_end.extend(ends.map(|end| (end, key.to_owned())));
        self.mix(&hash);
        self.entries.insert(key.to_owned(), Entry { path, hash, jwt_ends, ends, used });
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.by_use.remove(&(entry.used, key.to_owned()));
        if let Some(end) = entry.ends {
            self.by_end.remove(&(end, key.to_owned()));
        }
        self.mix(&entry.hash);
        Some(entry)
    }

    /// Notes a use. `ttl_ends`: the new end, if the directory sets one.
    pub(super) fn touch(&mut self, key: &str, ttl_ends: Option<i64>) {
        let used = self.next_use();
        let Some(entry) = self.entries.get_mut(key) else { return };
        self.by_use.remove(&(std::mem::replace(&mut entry.used, used), key.to_owned()));
        self.by_use.insert((used, key.to_owned()));
        let Some(end) = ttl_ends else { return };
        if let Some(before) = entry.ends.replace(end) {
            self.by_end.remove(&(before, key.to_owned()));
        }
        self.by_end.insert((end, key.to_owned()));
    }

    /// Returns the key that was not used for the longest time.
    pub(super) fn least_used(&self) -> Option<&str> {
        self.by_use.first().map(|(_, key)| key.as_str())
    }

    /// Returns a key whose end has come.
    pub(super) fn ended(&self, now: i64) -> Option<&str> {
        self.by_end.first().filter(|(end, _)| *end <= now).map(|(_, key)| key.as_str())
    }

    fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    /// Adds a hash to that of the whole, or removes it.
    // NATS 2.14: dirstore.go xorAssign.
    fn mix(&mut self, hash: &Hash) {
        self.hash.iter_mut().zip(hash).for_each(|(whole, part)| *whole ^= part);
    }
}

/// Returns the SHA-256 of a JWT.
pub(super) fn hash(jwt: &str) -> Hash {
    Sha256::digest(jwt.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(index: &mut Index, key: &str, jwt: &str, ends: Option<i64>) {
        index.put(key, PathBuf::from(key), hash(jwt), (ends, None));
    }

    #[test]
    fn the_hash_depends_on_the_jwts_and_not_on_their_order() {
        let [mut one, mut other] = [Index::default(), Index::default()];
        for key in ["a", "b", "c"] {
            put(&mut one, key, key, None);
        }
        for key in ["c", "a", "x", "b"] {
            put(&mut other, key, key, None);
        }
        assert_ne!(one.hash(), other.hash());
        assert!(other.remove("x").is_some());
        assert_eq!(one.hash(), other.hash());
        put(&mut one, "a", "changed", None);
        assert_ne!(one.hash(), other.hash());
        put(&mut one, "a", "a", None);
        assert_eq!(one.hash(), other.hash());
        for key in ["a", "b", "c"] {
            one.remove(key);
        }
        assert_eq!((one.hash(), one.len()), ([0; 32], 0));
    }

    #[test]
    fn the_order_of_use_and_the_ends_follow_the_entries() {
        let mut index = Index::default();
        put(&mut index, "a", "1", Some(30));
        put(&mut index, "b", "2", None);
        put(&mut index, "c", "3", Some(20));
        assert_eq!((index.least_used(), index.ended(19)), (Some("a"), None));
        index.touch("a", None);
        assert_eq!((index.least_used(), index.ended(20)), (Some("b"), Some("c")));
        index.touch("c", Some(40));
        assert_eq!((index.ended(29), index.ended(30)), (None, Some("a")));
        index.remove("a");
        index.remove("b");
        assert_eq!(
            (index.least_used(), index.ended(39), index.ended(40)),
            (Some("c"), None, Some("c"))
        );
        index.remove("c");
        assert_eq!((index.least_used(), index.ended(99)), (None, None));
    }
}
