//! The keys that a server trusts to sign accounts.

use std::collections::BTreeSet;

use crate::auth::jwt::OperatorClaims;
use crate::auth::nkey::{KeyKind, PublicKey};

/// The public keys of operators.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Trust {
    keys: BTreeSet<String>,
    /// Signing keys of operators that require accounts to have signing keys.
    strict: BTreeSet<String>,
}

impl Trust {
    /// Trusts these keys. `trusted_keys`.
    pub fn keys(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        let keys = keys.into_iter().map(|key| key.to_string()).collect();
        Self { keys, strict: BTreeSet::new() }
    }

    /// Trusts these operators: their signing keys, and their own key unless they use signing keys only. `operator`.
    ///
    /// # Errors
    ///
    /// [`TrustError`] if a server of version `version` may not serve them.
    // NATS 2.14: jwt.go validateTrustedOperators, server.go processTrustedKeys.
    pub fn operators(operators: &[OperatorClaims], version: [u64; 3]) -> Result<Self, TrustError> {
        let mut trust = Self::default();
        for operator in operators {
            check_version(operator, version)?;
            let nats = &operator.nats;
            if !nats.strict_signing_key_usage {
                trust.keys.insert(operator.subject.clone());
            }
            trust.keys.extend(nats.signing_keys.iter().cloned());
            if nats.strict_signing_key_usage {
                trust.strict.extend(nats.signing_keys.iter().cloned());
            }
        }
        match trust.keys.iter().find(|key| !PublicKey::is_valid(KeyKind::Operator, key)) {
            Some(key) => Err(TrustError::Key(key.clone())),
            None => Ok(trust),
        }
    }

    /// Returns true if `issuer` may sign accounts.
    pub fn contains(&self, issuer: &str) -> bool {
        self.keys.contains(issuer)
    }

    /// Returns true if users of an account that `issuer` has signed must be signed by a signing key.
    pub(super) fn is_strict(&self, issuer: &str) -> bool {
        self.strict.contains(issuer)
    }
}

fn check_version(operator: &OperatorClaims, version: [u64; 3]) -> Result<(), TrustError> {
    let asserted = &operator.nats.assert_server_version;
    let operator = || operator.subject.clone();
    let needed = crate::auth::jwt::parse_server_version(asserted).map_err(|error| {
        TrustError::BadVersion { operator: operator(), asserted: asserted.clone(), error }
    })?;
    let differing = needed.iter().zip(&version).enumerate().find(|(_, (a, b))| a != b);
    match differing {
        Some((at, (needed, own))) if needed > own => {
            let part = ["major", "minor", "update"][at];
            Err(TrustError::Version { operator: operator(), part, needed: *needed, own: *own })
        }
        _ => Ok(()),
    }
}

/// The reason why an operator is not served. The texts are those of nats-server.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// A key is not that of an operator.
    #[error("trusted Keys {0:?} are required to be a valid public operator nkey")]
    Key(String),
    /// The required version is none.
    #[error("operator {operator} expects version {asserted} got error instead: {error}")]
    BadVersion {
        /// The operator.
        operator: String,
        /// The text.
        asserted: String,
        /// A description.
        error: String,
    },
    /// The operator requires a later version.
    #[error("operator {operator} expected {part} version {needed} > server {part} version {own}")]
    Version {
        /// The operator.
        operator: String,
        /// The part of the version that differs.
        part: &'static str,
        /// The required one.
        needed: u64,
        /// The server's own.
        own: u64,
    },
}
