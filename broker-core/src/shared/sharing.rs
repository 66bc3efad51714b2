//! Exports and imports of accounts, when all are configured and when one changes.

use std::collections::{BTreeMap, HashSet};

use super::Shared;
use crate::account::{Account, AccountConfig, Resolver};
use crate::sync::Arc;
use crate::table::Place;

/// The accounts that are configured one by one and share something.
#[derive(Default)]
pub(super) struct Sharing {
    configs: BTreeMap<Arc<str>, Arc<AccountConfig>>,
    /// Resolves only the accounts that a change concerns. Made for the first account that is configured by itself.
    resolver: Option<Resolver>,
}

impl Shared {
    /// Applies what all accounts share, to existing subscriptions as well.
    pub(super) fn share_all(&self, before: &[Arc<AccountConfig>], now: &[Arc<AccountConfig>]) {
        let mut sharing = self.sharing.lock();
        if !before.iter().chain(now).any(|config| config.shares()) {
            return;
        }
        let configs = now.iter().filter(|config| config.shares()).cloned();
        let (resolver, changes, _) =
            Resolver::new(configs.chain(sharing.configs.values().cloned()));
        sharing.resolver = (!sharing.configs.is_empty()).then_some(resolver);
        self.renew_shadows(&self.accounts.share_all(changes));
    }

    /// Applies what an account shares, if it does or did, to existing subscriptions as well.
    pub(super) fn share_one(&self, config: &AccountConfig) {
        let mut sharing = self.sharing.lock();
        let before = sharing.configs.get(&config.name);
        let is_other = before.is_none_or(|before| **before != *config);
        if !is_other || before.is_none() && !config.shares() {
            return;
        }
        let mut resolver = sharing.resolver.take().unwrap_or_else(|| {
            let options = self.options.load();
            let configs = options.accounts.iter().filter(|config| config.shares());
            Resolver::new(configs.cloned().chain(sharing.configs.values().cloned())).0
        });
        let config = Arc::new(config.clone());
        if config.shares() {
            sharing.configs.insert(Arc::clone(&config.name), Arc::clone(&config));
        } else {
            sharing.configs.remove(&config.name);
        }
        let changes = resolver.set(config);
        sharing.resolver = Some(resolver);
        self.renew_shadows(&self.accounts.share_some(changes));
    }

    /// Gives the subscriptions in these accounts, which import other streams than before, the shadows of those.
    fn renew_shadows(&self, accounts: &[Arc<Account>]) {
        // Sessions that enter the account from now on see its new imports.
        let changed: Vec<&Arc<Account>> =
            accounts.iter().filter(|account| !account.is_empty()).collect();
        if changed.is_empty() {
            return;
        }
        let names: HashSet<&str> = changed.iter().map(|account| &*account.name).collect();
        for endpoint in self.endpoints().iter().filter(|one| one.kind.imports_streams()) {
            let memberships = endpoint.memberships();
            for membership in memberships.iter().filter(|one| names.contains(&**one.account())) {
                let Some(account) = changed.iter().find(|account| membership.is_in(account)) else {
                    continue;
                };
                let sids = membership.sids(endpoint);
                let mut place = Some(Place::default());
                while let Some(at) = place {
                    let (part, next) = sids.part(at);
                    part.iter().for_each(|one| account.update_shadows(one));
                    place = next;
                }
            }
        }
    }
}
