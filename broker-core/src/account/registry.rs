//! The accounts of a broker: those that are configured, and those that an authenticator has named.
//!
//! An account that an authenticator names is made when its first client logs in, and stays. A configured one
//! is there from the beginning or a reload on, and is removed by a reload that names it no more: its sessions
//! are closed. Nothing is left of it then but its name and its counters, which must not begin anew if it
//! comes back.

use std::collections::BTreeMap;

use super::Account;
use crate::options::AccountConfig;
use crate::sync::{Arc, RwLock};

/// See the module. Ordered by name, so that nothing depends on the order of hashes.
#[derive(Default)]
pub(crate) struct Registry {
    accounts: RwLock<BTreeMap<Arc<str>, Arc<Account>>>,
}

impl Registry {
    /// Returns the account of that name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Account>> {
        self.accounts.read().get(name).cloned()
    }

    /// Returns the account of that name, and adds what `make` returns if there is none.
    pub(crate) fn get_or_add(
        &self,
        name: &Arc<str>,
        make: impl FnOnce() -> Account,
    ) -> Arc<Account> {
        if let Some(account) = self.get(name) {
            return account;
        }
        let mut accounts = self.accounts.write();
        Arc::clone(accounts.entry(Arc::clone(name)).or_insert_with(|| Arc::new(make())))
    }

    /// Returns all accounts by name, removed ones too.
    pub(crate) fn all(&self) -> Vec<Arc<Account>> {
        self.accounts.read().values().cloned().collect()
    }

    /// Makes the accounts `now` the configured ones instead of `before`. Returns those that are removed, whose
    /// sessions must be closed. `keep`: accounts that are there without being configured.
    pub(crate) fn configure(
        &self,
        before: &[AccountConfig],
        now: &[AccountConfig],
        keep: &[&str],
        make: impl Fn(&Arc<str>) -> Account,
    ) -> Vec<Arc<Account>> {
        for config in now {
            let account = self.get_or_add(&config.name, || make(&config.name));
            account.configure(&config.limits);
        }
        let is_gone = |old: &&AccountConfig| now.iter().all(|new| new.name != old.name);
        let mut removed = Vec::new();
        for account in before.iter().filter(is_gone).filter_map(|old| self.get(&old.name)) {
            account.configure(&Default::default());
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

    fn configs(names: &[&str]) -> Vec<AccountConfig> {
        names.iter().map(|name| AccountConfig::new(*name)).collect()
    }

    fn names(accounts: &[Arc<Account>]) -> Vec<&str> {
        accounts.iter().map(|account| &*account.name).collect()
    }

    #[test]
    fn accounts_are_ordered_by_name_and_removed_when_they_are_configured_no_more() {
        let registry = Registry::default();
        let make = |name: &Arc<str>| Account::new(name, 1);
        let first = configs(&["b", "a", "$G", "c"]);
        assert!(registry.configure(&[], &first, &["$G"], make).is_empty());
        registry.get_or_add(&"named".into(), || Account::new("named", 1));
        let second = configs(&["c", "d"]);
        let removed = registry.configure(&first, &second, &["$G"], make);
        assert_eq!(names(&removed), ["b", "a"]);
        let all = registry.all();
        assert_eq!(names(&all), ["$G", "a", "b", "c", "d", "named"]);
        let gone: Vec<Arc<Account>> = all.into_iter().filter(|one| one.is_removed()).collect();
        assert_eq!(names(&gone), ["a", "b"]);
        registry.configure(&second, &configs(&["a", "c", "d"]), &["$G"], make);
        assert!(Arc::ptr_eq(&gone[0], &registry.get("a").unwrap()), "it comes back as it was");
        assert!(!gone[0].is_removed());
    }

    #[test]
    fn an_account_that_is_configured_no_more_and_stays_loses_its_limits() {
        let registry = Registry::default();
        let limits = AccountLimits { max_connections: Some(1), ..AccountLimits::default() };
        let before = [AccountConfig::new("$G").with_limits(limits)];
        let make = |name: &Arc<str>| Account::new(name, 1);
        registry.configure(&[], &before, &["$G"], make);
        assert_eq!(registry.get("$G").unwrap().limits().max_connections, Some(1));
        registry.configure(&before, &[], &["$G"], make);
        assert_eq!(registry.get("$G").unwrap().limits().max_connections, None);
    }
}
