//! Accounts that may have streams, or no longer, while a server runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use super::account::Account;
use super::lock::lock;
use super::server::Server;
use crate::config::limits::AccountLimits;

/// The accounts by name.
pub(super) type Accounts = Mutex<BTreeMap<String, Arc<Account>>>;

/// Sets the limits of accounts. It does not keep the streams running.
#[derive(Clone)]
pub struct AccountSetter {
    server: Weak<Server>,
    accounts: Weak<Accounts>,
}

impl std::fmt::Debug for AccountSetter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountSetter").finish_non_exhaustive()
    }
}

impl AccountSetter {
    pub(super) fn new(server: &Arc<Server>, accounts: &Arc<Accounts>) -> Self {
        Self { server: Arc::downgrade(server), accounts: Arc::downgrade(accounts) }
    }

    /// Lets an account have streams, or changes its limits. `None`: the account may have no streams, and is told so; those
    /// that it has end, and stay in their files.
    ///
    /// Does not block: streams are recovered by a thread of the service, before it answers requests that come later.
    pub fn set(&self, name: &str, limits: Option<AccountLimits>) {
        let (Some(server), Some(accounts)) = (self.server.upgrade(), self.accounts.upgrade())
        else {
            return;
        };
        let (account, is_to_follow) = put(&server, &accounts, name, limits);
        if is_to_follow {
            server.requests.follow(account);
        }
    }

    /// Follows the imports of the accounts, which have changed: an account without streams leaves requests to that whose API it imports.
    pub fn follow_imports(&self) {
        let Some(accounts) = self.accounts.upgrade() else { return };
        let accounts: Vec<_> = lock(&accounts).values().cloned().collect();
        for account in accounts {
            account.follow_imports();
        }
    }

    /// Ends the streams of an account that has gone, which stay in their files, and no longer answers its requests.
    // NATS 2.14: accounts.go, the subscriptions of an account go with it.
    pub fn remove(&self, name: &str) {
        let (Some(server), Some(accounts)) = (self.server.upgrade(), self.accounts.upgrade())
        else {
            return;
        };
        let mut accounts = lock(&accounts);
        // Those that have gone before, and have closed their files since then.
        accounts.retain(|_, account| !account.is_over());
        let Some(account) = accounts.get(name) else { return };
        account.set_gone(true);
        if account.set_limits(None) {
            server.requests.follow(Arc::clone(account) as _);
        }
    }

    /// Waits until the streams of all accounts that may have some run.
    pub fn settle(&self) {
        let Some(accounts) = self.accounts.upgrade() else { return };
        let accounts: Vec<_> = lock(&accounts).values().cloned().collect();
        for account in accounts {
            super::task::Responder::follow(&*account);
        }
    }
}

/// Adds an account or changes its limits. Returns it, and whether its streams are to follow.
pub(super) fn put(
    server: &Arc<Server>,
    accounts: &Accounts,
    name: &str,
    limits: Option<AccountLimits>,
) -> (Arc<Account>, bool) {
    let mut accounts = lock(accounts);
    if let Some(account) = accounts.get(name) {
        let is_to_follow = account.set_limits(limits);
        account.set_gone(false);
        return (Arc::clone(account), is_to_follow);
    }
    let may_have = limits.is_some();
    let account = Account::open(server, name, limits);
    accounts.insert(name.to_owned(), Arc::clone(&account));
    (account, may_have)
}
