//! Sources of account tokens.

use std::collections::BTreeMap;
use std::fmt;

use super::AccountError;
use crate::auth::Secret;
use crate::sync::{Arc, Mutex};

/// Receives the token of an account, or the reason why there is none.
pub type Found = Box<dyn FnOnce(Result<Arc<str>, AccountError>) + Send>;

/// A source of the tokens of accounts. The only place where resolvers differ.
pub trait AccountResolver: Send + Sync + 'static {
    /// Looks up the token of the account with this public key. Calls `found` once: at once if the token is at hand, or
    /// else from any thread, later. Must not block. A `found` that is dropped counts as [`AccountError::Unavailable`].
    fn lookup(&self, account: &str, found: Found);
}

impl<R: AccountResolver + ?Sized> AccountResolver for Arc<R> {
    fn lookup(&self, account: &str, found: Found) {
        (**self).lookup(account, found);
    }
}

/// Tokens in memory. `resolver: MEMORY` and `resolver_preload`.
#[derive(Clone, Default)]
pub struct MemoryResolver {
    tokens: Arc<Mutex<BTreeMap<String, Arc<str>>>>,
}

impl MemoryResolver {
    /// Creates it with these tokens, by public key of the account.
    pub fn new(tokens: impl IntoIterator<Item = (String, Secret)>) -> Self {
        let tokens = tokens.into_iter().map(|(key, token)| (key, token.expose().into())).collect();
        Self { tokens: Arc::new(Mutex::new(tokens)) }
    }

    /// Adds or replaces a token. Accounts that are loaded change by
    /// [`update_account`](super::OperatorMode::update_account).
    pub fn store(&self, account: impl Into<String>, token: &Secret) {
        self.tokens.lock().insert(account.into(), token.expose().into());
    }

    /// Replaces all tokens.
    pub fn replace(&self, tokens: impl IntoIterator<Item = (String, Secret)>) {
        let tokens = tokens.into_iter().map(|(key, token)| (key, token.expose().into())).collect();
        *self.tokens.lock() = tokens;
    }

    /// Removes a token.
    pub fn remove(&self, account: &str) {
        self.tokens.lock().remove(account);
    }
}

impl AccountResolver for MemoryResolver {
    fn lookup(&self, account: &str, found: Found) {
        let token = self.tokens.lock().get(account).cloned();
        found(token.ok_or(AccountError::Missing));
    }
}

/// Prints no token.
impl fmt::Debug for MemoryResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryResolver").field("accounts", &self.tokens.lock().len()).finish()
    }
}
