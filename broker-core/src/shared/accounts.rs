//! Accounts that are configured one by one.

use std::collections::HashMap;

use super::Shared;
use crate::account::AccountConfig;
use crate::endpoint::{Endpoint, Quota, SessionUpdate};
use crate::error::ClientFault;
use crate::sync::Arc;

impl Shared {
    /// Makes an account, or changes it. Its clients follow: the newest beyond a limit are closed.
    pub(crate) fn configure_account(&self, config: &AccountConfig) {
        let _changing = self.changing.lock();
        self.accounts.configure_one(config, |name| self.make_account(name));
        self.share_one(config);
        let Some(account) = self.accounts.get(&config.name) else { return };
        let mut counts = HashMap::new();
        for endpoint in self.members(&config.name) {
            let quota = endpoint.kind.quota();
            let count = counts.entry(quota).or_insert(0_usize);
            *count += 1;
            let max = quota.and_then(|quota| account.max_members(quota));
            let is_excess = max.is_some_and(|max| *count > max);
            tell(&endpoint, |control| {
                control.options = true;
                if is_excess {
                    control.fault = Some(ClientFault::MaxAccountConnections);
                }
            });
        }
    }

    /// Notes the numbers of an account's members on another server. The newest members here beyond a limit are closed.
    // NATS 2.14: accounts.go updateRemoteServer.
    pub(crate) fn set_remote_members(
        &self,
        account: &str,
        server: &str,
        connections: usize,
        leaf_nodes: usize,
    ) {
        let Some(found) = self.accounts.get(account) else { return };
        found.set_remote_members(server, connections, leaf_nodes);
        for quota in [Quota::Connections, Quota::LeafNodes] {
            let excess = found.excess_members(quota);
            if excess == 0 {
                continue;
            }
            let members = self.members(account);
            let counted = members.iter().rev().filter(|one| one.kind.quota() == Some(quota));
            for endpoint in counted.take(excess) {
                tell(endpoint, |control| {
                    control.fault = Some(ClientFault::MaxAccountConnections);
                });
            }
        }
    }

    /// Forgets the members of all accounts on another server.
    pub(crate) fn forget_remote_server(&self, server: &str) {
        for account in self.all_accounts() {
            account.forget_remote_server(server);
        }
    }

    /// Has the authenticator review the clients in an account.
    pub(crate) fn review_account(&self, name: &str) {
        for endpoint in self.members(name) {
            tell(&endpoint, |control| control.authenticator = true);
        }
    }

    /// Returns the endpoints in an account, the oldest first.
    fn members(&self, name: &str) -> Vec<Arc<Endpoint>> {
        let has_members = self.accounts.get(name).is_some_and(|account| account.has_members());
        if !has_members {
            return Vec::new();
        }
        let is_in = |endpoint: &Arc<Endpoint>| {
            endpoint.membership.load().as_ref().is_some_and(|one| **one.account() == *name)
        };
        self.endpoints().into_iter().filter(is_in).collect()
    }
}

fn tell(endpoint: &Endpoint, change: impl FnOnce(&mut SessionUpdate)) {
    if endpoint.control.leave(None, change) {
        endpoint.destination.wake();
    }
}
