//! Lists of tokens that are no longer valid.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Revoked keys, each with the time (seconds since 1970) up to which tokens for it are revoked. `*` is every key.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Revocations(pub BTreeMap<String, i64>);

impl Revocations {
    /// The entry for every key.
    pub const ALL: &'static str = "*";

    /// Revokes the tokens for `key` that were issued at `time` or before.
    pub fn revoke(&mut self, key: impl Into<String>, time: i64) {
        let entry = self.0.entry(key.into()).or_insert(time);
        *entry = time.max(*entry);
    }

    /// Returns true if a token for `key`, issued at `issued_at`, is revoked.
    // NATS 2.14: jwt revocation_list.go IsRevoked.
    pub fn covers(&self, key: &str, issued_at: i64) -> bool {
        let is_covered = |key: &str| self.0.get(key).is_some_and(|time| *time >= issued_at);
        is_covered(Self::ALL) || is_covered(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
