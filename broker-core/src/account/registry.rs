//! The accounts of a broker: those in the configuration, and those that an authenticator has named.
//!
//! An account that an authenticator names is made when its first client logs in, and stays. A configured one
//! exists from the start or a reload on, and is removed by a reload whose configuration lacks it: its sessions
//! are closed. Only its name and its counters remain then; the counters must not restart from zero if it is
//! configured again.

use std::collections::{BTreeMap, HashSet};

use super::share::Change as ShareChange;
use super::{Account, share};
use crate::options::AccountConfig;
use crate::sync::{Arc, RwLock};

/// All accounts, ordered by name, so that nothing depends on the order of hashes.
#[derive(Default)]
pub(crate) struct Registry {
    accounts: RwLock<BTreeMap<Arc<str>, Arc<Account>>>,
}

impl Registry {
    /// Returns the account of that name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Account>> {
        self.accounts.read().get(name).cloned()
    }

    /// Returns the account of that name; adds the result of `make` if there is none.
    pub(crate) fn get_or_add(
        &self,
        name: &Arc<str>,
        make: impl FnOnce() -> Arc<Account>,
    ) -> Arc<Account> {
        if let Some(account) = self.get(name) {
            return account;
        }
        let mut accounts = self.accounts.write();
        Arc::clone(accounts.entry(Arc::clone(name)).or_insert_with(make))
    }

    /// Returns all accounts by name, removed ones too.
    pub(crate) fn all(&self) -> Vec<Arc<Account>> {
        self.accounts.read().values().cloned().collect()
    }

    /// Applies what all accounts share. Returns those that import other streams than before.
    pub(crate) fn share_all(&self, changes: Vec<ShareChange>) -> Vec<Arc<Account>> {
        share::configure_all(&self.all(), changes)
    }

    /// Applies what some accounts share. Returns those that import other streams than before.
    pub(crate) fn share_some(&self, changes: Vec<ShareChange>) -> Vec<Arc<Account>> {
        share::configure_some(changes, &|name| self.get(name))
    }

    /// Configures one account.
    pub(crate) fn configure_one(
        &self,
        config: &AccountConfig,
        make: impl Fn(&Arc<str>) -> Arc<Account>,
    ) {
        self.get_or_add(&config.name, || make(&config.name)).configure(config);
    }

    /// Replaces the configured accounts `before` by `now`. Returns the removed ones, whose sessions must be
    /// closed. `keep` are accounts that exist without being configured.
    pub(crate) fn configure(
        &self,
        before: &[Arc<AccountConfig>],
        now: &[Arc<AccountConfig>],
        keep: &[&str],
        make: impl Fn(&Arc<str>) -> Arc<Account>,
    ) -> Vec<Arc<Account>> {
        for config in now {
            let account = self.get_or_add(&config.name, || make(&config.name));
            account.configure(config);
        }
        let names: HashSet<&str> = now.iter().map(|new| &*new.name).collect();
        let is_gone = |old: &&Arc<AccountConfig>| !names.contains(&*old.name);
        let mut removed = Vec::new();
        for account in before.iter().filter(is_gone).filter_map(|old| self.get(&old.name)) {
            account.configure(&AccountConfig::new(Arc::clone(&account.name)));
            if !keep.contains(&&*account.name) {
                account.remove();
                removed.push(account);
            }
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::AccountLimits;

    fn configs(names: &[&str]) -> Vec<Arc<AccountConfig>> {
        names.iter().map(|name| Arc::new(AccountConfig::new(*name))).collect()
    }

    fn names(accounts: &[Arc<Account>]) -> Vec<&str> {
        accounts.iter().map(|account| &*account.name).collect()
    }

    #[test]
    fn accounts_are_ordered_by_name_and_removed_with_their_configuration() {
        let registry = Registry::default();
        let make = |name: &Arc<str>| Arc::new(Account::new(name, 1));
        let first = configs(&["b", "a", "$G", "c"]);
        assert!(registry.configure(&[], &first, &["$G"], make).is_empty());
        registry.get_or_add(&"named".into(), || Arc::new(Account::new("named", 1)));
        let second = configs(&["c", "d"]);
        let removed = registry.configure(&first, &second, &["$G"], make);
        assert_eq!(names(&removed), ["b", "a"]);
        let all = registry.all();
        assert_eq!(names(&all), ["$G", "a", "b", "c", "d", "named"]);
        let gone: Vec<Arc<Account>> = all.into_iter().filter(|one| one.is_removed()).collect();
        assert_eq!(names(&gone), ["a", "b"]);
        registry.configure(&second, &configs(&["a", "c", "d"]), &["$G"], make);
        assert!(
            Arc::ptr_eq(&gone[0], &registry.get("a").unwrap()),
            "the same account is configured again"
        );
        assert!(!gone[0].is_removed());
    }

    #[test]
    fn an_account_kept_without_configuration_loses_its_limits() {
        let registry = Registry::default();
        let limits = AccountLimits { max_connections: Some(1), ..AccountLimits::default() };
        let before = [Arc::new(AccountConfig::new("$G").with_limits(limits))];
        let make = |name: &Arc<str>| Arc::new(Account::new(name, 1));
        registry.configure(&[], &before, &["$G"], make);
        assert_eq!(registry.get("$G").unwrap().limits().max_connections, Some(1));
        registry.configure(&before, &[], &["$G"], make);
        assert_eq!(registry.get("$G").unwrap().limits().max_connections, None);
    }
}
