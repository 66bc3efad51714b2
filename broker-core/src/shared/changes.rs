//! Changes of options and authenticator while sessions exist.

use std::collections::{HashMap, HashSet};

use super::Shared;
use crate::account::Account;
use crate::auth::Authenticator;
use crate::endpoint::{AckGuard, Applied, Endpoint, Quota};
use crate::error::{ClientFault, CloseReason};
use crate::options::Options;
use crate::proto::Info;
use crate::sync::{Arc, Ordering};

/// The outcome of a change.
#[derive(Debug)]
pub struct ChangeReport {
    /// The number of connections that are closed because `max_connections`, of the broker or of an account, is
    /// lower now.
    pub excess: usize,
    /// The number of connections that are closed because their account was removed.
    pub removed: usize,
    /// Resolves when every connection has applied the change.
    pub applied: Applied,
}

impl Shared {
    /// Returns the number of changes so far. A session that sees a different number than before has missed one.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn apply(
        &self,
        change: impl FnOnce(&mut Options, &mut Option<Box<dyn Authenticator>>),
    ) -> ChangeReport {
        let _changing = self.changing.lock();
        let before = self.options.load_full();
        let mut options = Options::clone(&before);
        let mut authenticator = None;
        change(&mut options, &mut authenticator);
        options.server_name.clone_from(&before.server_name);
        options.server_id.clone_from(&before.server_id);
        options.seed = before.seed;
        let options = Arc::new(options);
        let has_authenticator = authenticator.is_some();
        self.options.store(Arc::clone(&options));
        self.queues.memory.set_limits(&options.limits);
        if let Some(authenticator) = authenticator {
            self.authenticator.store(Arc::new(authenticator));
        }
        self.info.rcu(|info| Info {
            max_payload: options.limits.max_payload_bytes,
            xkey: options.xkey.clone().unwrap_or_default(),
            ..Info::clone(info)
        });
        let gone = self.configure_accounts(&before.accounts, &options.accounts);
        self.share_all(&before.accounts, &options.accounts);
        if let (Some(cluster), Some(now)) = (&self.cluster, &options.cluster)
            && before.cluster.as_ref() != Some(now)
        {
            cluster.apply(now, self);
        }
        // A session that opens now with the old options is either among the endpoints below, or notices by the
        // version that it has missed a change.
        self.version.fetch_add(1, Ordering::AcqRel);
        let endpoints = self.endpoints();
        let cuts = self.cuts(&endpoints, options.limits.max_connections, &gone);
        let (ack, applied) = AckGuard::new();
        for endpoint in &endpoints {
            let cut = cuts.get(&endpoint.id);
            let is_told = endpoint.control.leave(Some(&ack), |control| {
                control.options = true;
                control.authenticator |= has_authenticator;
                match cut {
                    Some(Cut::Excess(fault)) => control.fault = Some(fault.clone()),
                    Some(Cut::AccountRemoved) => control.account_removed = true,
                    None => {}
                }
            });
            if is_told {
                endpoint.destination.wake();
            } else if let Some(Cut::AccountRemoved) = cut {
                // An in-process client has no task that could apply it.
                endpoint.destination.close(CloseReason::UserRemoved);
            }
        }
        let is_excess = |cut: &&Cut| matches!(cut, Cut::Excess(_));
        let excess = cuts.values().filter(is_excess).count();
        let is_removed = |endpoint: &&Arc<Endpoint>| {
            matches!(cuts.get(&endpoint.id), Some(Cut::AccountRemoved))
                && endpoint.membership.load().is_some()
        };
        let removed = endpoints.iter().filter(is_removed).count();
        if excess > 0 {
            tracing::info!("Closed {excess} connections to fall within max_connections");
        }
        if removed > 0 {
            tracing::info!("Closed {removed} connections whose accounts are removed");
        }
        ChangeReport { excess, removed, applied }
    }

    /// Returns the endpoints that must be closed, or leave an account if they have several. Beyond a limit, the newest
    /// are closed.
    fn cuts(
        &self,
        endpoints: &[Arc<Endpoint>],
        max_connections: Option<usize>,
        gone: &[Arc<Account>],
    ) -> HashMap<u64, Cut> {
        let newest = excess(endpoints, max_connections);
        let mut cuts: HashMap<u64, Cut> =
            newest.into_iter().map(|id| (id, Cut::Excess(ClientFault::MaxConnections))).collect();
        let gone: HashSet<&str> = gone.iter().map(|account| &*account.name).collect();
        let mut members: HashMap<(Arc<str>, Quota), usize> = HashMap::new();
        // They are ordered by id.
        for endpoint in endpoints {
            let mut accounts = endpoint.memberships().into_iter();
            if !gone.is_empty() && accounts.clone().any(|it| gone.contains(&**it.account())) {
                cuts.insert(endpoint.id, Cut::AccountRemoved);
                continue;
            }
            let Some(membership) = accounts.next() else { continue };
            let name = membership.account();
            let Some(quota) = endpoint.kind.quota() else { continue };
            let max = self.accounts.get(name).and_then(|account| account.max_members(quota));
            let Some(max) = max else { continue };
            let count = members.entry((Arc::clone(name), quota)).or_default();
            if cuts.contains_key(&endpoint.id) {
                continue;
            }
            *count += 1;
            if *count > max {
                cuts.insert(endpoint.id, Cut::Excess(ClientFault::MaxAccountConnections));
            }
        }
        cuts
    }
}

/// The reason why a change closes an endpoint.
enum Cut {
    /// A limit allows fewer connections than there are.
    Excess(ClientFault),
    AccountRemoved,
}

/// Returns the newest connections beyond the first `max`.
fn excess(endpoints: &[Arc<Endpoint>], max: Option<usize>) -> Vec<u64> {
    let is_connected = |endpoint: &&Arc<Endpoint>| endpoint.kind.is_client_connection();
    let mut ids: Vec<u64> =
        endpoints.iter().filter(is_connected).map(|endpoint| endpoint.id).collect();
    ids.split_off(max.unwrap_or(usize::MAX).min(ids.len()))
}
