//! One account, as its claims describe it.

use std::collections::BTreeMap;

use super::permissions::permissions;
use super::{AccountError, Trust};
use crate::auth::Permissions;
use crate::auth::jwt::{AccountClaims, Severity, UserScope, decode_account};
use crate::auth::nkey::PublicKey;
use crate::sort::to_map;
use crate::sync::Arc;

/// The claims of an account that were checked.
pub(super) struct AccountState {
    pub(super) claims: Arc<AccountClaims>,
    token: Arc<str>,
    /// The keys that sign its users, each with its scope.
    signers: BTreeMap<String, Option<Arc<UserScope>>>,
    /// The permissions of users without any.
    pub(super) default_permissions: Option<Arc<Permissions>>,
    /// The time at which it was loaded, in seconds since 1970.
    pub(super) loaded_at: i64,
}

impl AccountState {
    /// Decodes and checks the claims of an account.
    // NATS 2.14: server.go verifyAccountClaims.
    pub(super) fn verify(token: &str, trust: &Trust, now: i64) -> Result<Self, AccountError> {
        let claims = decode_account(token)?;
        let is_wrong = claims.issues(now).iter().any(|issue| issue.severity != Severity::Warning);
        if is_wrong || !trust.contains(&claims.issuer) {
            return Err(AccountError::Validation);
        }
        Ok(Self::new(claims, token, trust, now))
    }

    fn new(claims: AccountClaims, token: &str, trust: &Trust, now: i64) -> Self {
        let keys = claims.nats.signing_keys.0.iter();
        let mut signers =
            to_map(keys.map(|(key, scope)| (key.clone(), scope.clone().map(Arc::new))));
        if !trust.is_strict(&claims.issuer) {
            signers.insert(claims.subject.clone(), None);
        }
        let default_permissions = permissions(&claims.nats.default_permissions).map(Arc::new);
        let (claims, token) = (Arc::new(claims), token.into());
        Self { claims, token, signers, default_permissions, loaded_at: now }
    }

    /// Returns the state of an account of an operator without claims, whose own key signs its users.
    pub(super) fn without_claims(key: PublicKey, operator: &str, now: i64) -> Self {
        let mut claims = AccountClaims::new(key);
        operator.clone_into(&mut claims.issuer);
        let claims = Arc::new(claims);
        let signers = [(claims.subject.clone(), None)].into();
        Self { claims, token: "".into(), signers, default_permissions: None, loaded_at: now }
    }

    /// Returns true if the source of accounts has shown no claims yet.
    pub(super) fn has_no_claims(&self) -> bool {
        self.token.is_empty()
    }

    /// Returns the scope of a key that signs users; `None` if the key does not.
    pub(super) fn signer(&self, key: &str) -> Option<&Option<Arc<UserScope>>> {
        self.signers.get(key)
    }

    pub(super) fn has_token(&self, token: &str) -> bool {
        *self.token == *token
    }

    pub(super) fn token(&self) -> Arc<str> {
        Arc::clone(&self.token)
    }

    /// Returns true if the account has ended.
    // NATS 2.14: accounts.go checkExpiration.
    pub(super) fn is_expired(&self, now: i64) -> bool {
        self.claims.expires != 0 && self.claims.expires <= now
    }

    /// Keeps the default permissions of `before` if they are the same, so that sessions see by the pointer that nothing
    /// has changed.
    pub(super) fn succeed(&mut self, before: &Self) {
        if self.default_permissions == before.default_permissions {
            self.default_permissions.clone_from(&before.default_permissions);
        }
    }

    /// Returns the accounts from which it imports by activation.
    pub(super) fn activating_accounts(&self) -> impl Iterator<Item = &str> {
        let imports = self.claims.nats.imports.iter();
        imports.filter(|import| !import.token.is_empty()).map(|import| &*import.account)
    }
}
