//! Accounts: isolated subject spaces.
//!
//! An account is configured by an [`AccountConfig`], or made when an authenticator names it
//! (`registry.rs`). Its limits apply where sessions enter it (`Account::admit`), where they subscribe, and as the
//! `max_payload` of their connections.
//!
//! Accounts share streams and services (`share/`). Mappings replace the subject of a message where it enters, before its
//! permission and its matches (`session/publisher.rs`); the interest holds them.

mod ending;
mod interest_events;
mod registry;
mod remote_members;
mod share;

pub(crate) use ending::Ending;
pub use interest_events::InterestEvents;
pub(crate) use registry::Registry;
use remote_members::{Counts, RemoteMembers};
use share::Sharing;
pub use share::{
    AccountShares, ImportState, PendingResponse, ShareError, ShareFault, ShareItem, check_shares,
};
pub(crate) use share::{
    Asked, Awaited, Context, Failed, Given, Here, Measured, Outcome, RemoteLatency, Requester,
    Resolver, Response, ServiceImport, There, is_marked, is_sampled, reply_of, to_json,
};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};

use crate::endpoint::{AccountMembership, Endpoint, Kind, Quota, SubjectSpace, Subscription};
use crate::interest::Interest;
use crate::limits::AccountLimits;
use crate::subject::Mappings;
use crate::sync::{Arc, AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering};

pub use crate::auth::GLOBAL_ACCOUNT as GLOBAL;
pub use crate::options::{
    AccountConfig, Export, ExportAccess, Import, ResponseType, Sampling, ServiceLatency, ShareKind,
    TraceDestination,
};
pub use crate::subject::{MapDestination, Mapping, MappingBuilder, MappingError};

/// The usual name of the system account.
pub const SYSTEM: &str = "$SYS";

/// One isolated subject space.
pub(crate) struct Account {
    pub(crate) name: Arc<str>,
    /// True for the account that receives the server's own events.
    pub(crate) is_system: bool,
    pub(crate) interest: Interest<Subscription>,
    /// The number of reply permissions that were removed because a client had too many.
    pub(crate) lost_replies: AtomicU64,
    limits: ArcSwap<AccountLimits>,
    trace_destination: ArcSwapOption<TraceDestination>,
    /// The limit that each SUB reads; `usize::MAX` for none.
    max_subscriptions: AtomicUsize,
    members: Mutex<Members>,
    /// Held from a change of their number until the system listener has it: the last number that it gets is the newest.
    counting: Mutex<()>,
    /// Held while its mappings are replaced.
    mapping: Mutex<()>,
    /// The seed of its hashes.
    seed: u64,
    sharing: Sharing,
    #[cfg(feature = "testing")]
    pub(crate) seam: Arc<crate::probe::Seam>,
}

/// The number of endpoints in the account, by limit.
#[derive(Default)]
struct Members {
    connections: usize,
    leaf_nodes: usize,
    remote: RemoteMembers,
    /// Those that no limit counts.
    others: usize,
    /// True once a reload has removed it from the configuration.
    is_removed: bool,
}

impl Members {
    /// Returns the number of those members on other servers.
    fn remote_count(&self, quota: Quota) -> usize {
        let Counts { connections, leaf_nodes } = self.remote.total();
        match quota {
            Quota::Connections => connections,
            Quota::LeafNodes => leaf_nodes,
        }
    }

    /// Returns the count for an endpoint of that kind.
    fn count(&mut self, kind: Kind) -> &mut usize {
        match kind.quota() {
            Some(Quota::Connections) => &mut self.connections,
            Some(Quota::LeafNodes) => &mut self.leaf_nodes,
            None => &mut self.others,
        }
    }
}

/// The account has reached its limit of members.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct AccountFull;

impl Account {
    pub(crate) fn new(name: &str, seed: u64) -> Self {
        Self {
            name: name.into(),
            is_system: false,
            interest: Interest::new(seed),
            lost_replies: AtomicU64::new(0),
            limits: ArcSwap::default(),
            trace_destination: ArcSwapOption::empty(),
            max_subscriptions: AtomicUsize::new(usize::MAX),
            members: Mutex::default(),
            counting: Mutex::default(),
            mapping: Mutex::default(),
            seed,
            sharing: Sharing::new(seed),
            #[cfg(feature = "testing")]
            seam: Arc::default(),
        }
    }

    /// Makes it the system account, or not.
    pub(crate) fn with_system(self, is_system: bool) -> Self {
        Self { is_system, ..self }
    }

    /// Begins a change of the number of its members that is reported.
    pub(crate) fn count(&self) -> MutexGuard<'_, ()> {
        self.counting.lock()
    }

    /// Returns the number of its client connections and of its leaf nodes.
    pub(crate) fn member_counts(&self) -> (usize, usize) {
        let members = self.members.lock();
        (members.connections, members.leaf_nodes)
    }

    /// Returns true if a probe passes on the messages of the account.
    #[inline(always)]
    pub(crate) fn is_probed(&self) -> bool {
        #[cfg(feature = "testing")]
        return self.seam.probe().is_some();
        #[cfg(not(feature = "testing"))]
        false
    }

    /// Shares the probe of the broker.
    #[cfg(feature = "testing")]
    pub(crate) fn with_seam(self, seam: &Arc<crate::probe::Seam>) -> Self {
        Self { seam: Arc::clone(seam), ..self }
    }
}

impl Account {
    /// Makes it the account of a client, unless the limit is reached.
    pub(crate) fn admit(self: &Arc<Self>, endpoint: &Endpoint) -> Result<(), AccountFull> {
        let max = endpoint.kind.quota().and_then(|quota| self.max_members(quota));
        self.add_member(endpoint, max)
    }

    /// Makes it the account of an endpoint inside the process, which no limit counts.
    pub(crate) fn admit_internal(self: &Arc<Self>, endpoint: &Endpoint) {
        // Cannot fail without a limit.
        _ = self.add_member(endpoint, None);
    }

    fn add_member(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        max: Option<usize>,
    ) -> Result<(), AccountFull> {
        // Held until the membership is visible to others, so that a removal of the account finds it.
        let mut members = self.members.lock();
        // NATS 2.14: accounts.go MaxTotalConnectionsReached.
        let remote = endpoint.kind.quota().map_or(0, |quota| members.remote_count(quota));
        let count = members.count(endpoint.kind);
        if max.is_some_and(|max| count.saturating_add(remote) >= max) {
            return Err(AccountFull);
        }
        *count += 1;
        // An authenticator named it, so that it is no longer removed, though not configured.
        members.is_removed = false;
        let membership = AccountMembership::begin(Arc::clone(self) as Arc<_>, endpoint);
        endpoint.membership.store(Some(Arc::new(membership)));
        Ok(())
    }

    /// Notes the numbers of its members on another server.
    pub(crate) fn set_remote_members(&self, server: &str, connections: usize, leaf_nodes: usize) {
        self.members.lock().remote.set(server, Counts { connections, leaf_nodes });
    }

    /// Forgets its members on another server.
    pub(crate) fn forget_remote_server(&self, server: &str) {
        self.members.lock().remote.remove(server);
    }

    /// Returns the number of other servers on which it has members.
    pub(crate) fn remote_servers(&self) -> usize {
        self.members.lock().remote.servers()
    }

    /// Returns the number of members here beyond the limit, because others have more as well.
    pub(crate) fn excess_members(&self, quota: Quota) -> usize {
        let Some(max) = self.max_members(quota) else { return 0 };
        let members = self.members.lock();
        let here = match quota {
            Quota::Connections => members.connections,
            Quota::LeafNodes => members.leaf_nodes,
        };
        here.saturating_add(members.remote_count(quota)).saturating_sub(max).min(here)
    }

    /// Returns the limit of these endpoints.
    pub(crate) fn max_members(&self, quota: Quota) -> Option<usize> {
        match quota {
            Quota::Connections => self.limits().max_connections,
            Quota::LeafNodes => self.limits().max_leaf_nodes,
        }
    }

    /// Returns the limit of subscriptions of each member.
    #[inline]
    pub(crate) fn max_subscriptions(&self) -> usize {
        self.max_subscriptions.load(Ordering::Relaxed)
    }

    /// Returns true if clients or leaf nodes are in it.
    pub(crate) fn has_members(&self) -> bool {
        let members = self.members.lock();
        members.connections > 0 || members.leaf_nodes > 0
    }

    /// Returns true if no endpoint has it as its only account.
    pub(crate) fn is_empty(&self) -> bool {
        let members = self.members.lock();
        members.connections + members.leaf_nodes + members.others == 0
    }

    /// Returns the limits in force.
    pub(crate) fn limits(&self) -> Guard<Arc<AccountLimits>> {
        self.limits.load()
    }

    /// Returns where traces of marked messages go, if there is a place.
    pub(crate) fn trace_destination(&self) -> Option<Arc<TraceDestination>> {
        self.trace_destination.load_full()
    }

    /// Returns true if marked messages are traced.
    pub(crate) fn traces_marked(&self) -> bool {
        self.trace_destination.load().is_some()
    }

    /// Applies the configuration, and marks it as configured.
    fn configure(&self, config: &AccountConfig) {
        let limits = &config.limits;
        let max_subscriptions = limits.max_subscriptions.unwrap_or(usize::MAX);
        self.max_subscriptions.store(max_subscriptions, Ordering::Relaxed);
        self.limits.store(Arc::new(limits.clone()));
        self.trace_destination.store(config.trace_destination.clone().map(Arc::new));
        self.map(Some(&config.mappings));
        self.members.lock().is_removed = false;
    }

    /// Resolves its mappings anew, because the name of the cluster has changed.
    pub(crate) fn follow_cluster(&self) {
        self.map(None);
    }

    /// Replaces the mappings (`None`: keeps the list), unless they are the same: then the caches of all sessions would be
    /// renewed in vain.
    fn map(&self, list: Option<&[Mapping]>) {
        // The name is read with the lock held, so that the last one to get it has the newest.
        let _mapping = self.mapping.lock();
        let cluster = self.context().and_then(|context| context.cluster.load_full());
        let cluster = cluster.as_ref().map(|name| name.as_str());
        let before = self.interest.mappings();
        let kept = before.as_ref().map_or_else(Arc::default, |mappings| mappings.list());
        let list = list.unwrap_or(&kept);
        if *kept != *list || before.is_some_and(|mappings| mappings.depends_on(cluster)) {
            self.interest.set_mappings(Mappings::new(list, cluster, self.seed));
        }
    }

    fn remove(&self) {
        self.members.lock().is_removed = true;
    }

    /// Returns true if a reload removed it and no authenticator has named it since.
    pub(crate) fn is_removed(&self) -> bool {
        self.members.lock().is_removed
    }
}

impl SubjectSpace for Account {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn remove(&self, subscriptions: &[Arc<Subscription>]) {
        self.remove_subscriptions(subscriptions);
    }

    fn leave(&self, kind: Kind) {
        let mut members = self.members.lock();
        let count = members.count(kind);
        *count = count.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::endpoint::LocalQueues;
    use crate::transport::TransportInfo;

    fn endpoint(id: u64, kind: Kind) -> Endpoint {
        let (memory, queues) = (TransportInfo::Memory, Arc::new(LocalQueues::default()));
        Endpoint::new(id, id, None, memory, Instant::now(), queues, kind)
    }

    #[test]
    fn leaf_nodes_and_connections_have_separate_limits_and_routes_none() {
        let account = Arc::new(Account::new("A", 1));
        account.configure(&AccountConfig::new("A").with_limits(AccountLimits {
            max_connections: Some(1),
            max_leaf_nodes: Some(2),
            ..AccountLimits::default()
        }));
        let mut id = 0;
        let mut admit = |kind| {
            id += 1;
            let endpoint = endpoint(id, kind);
            let is_admitted = account.admit(&endpoint).is_ok();
            assert_eq!(endpoint.membership.load().is_some(), is_admitted);
            is_admitted
        };
        assert_eq!([Kind::Leaf; 3].map(&mut admit), [true, true, false]);
        assert_eq!([Kind::Client, Kind::Mqtt].map(&mut admit), [true, false]);
        assert_eq!([Kind::Internal, Kind::Internal, Kind::System].map(&mut admit), [true; 3]);
        SubjectSpace::leave(&*account, Kind::Leaf);
        assert_eq!([Kind::Leaf; 2].map(&mut admit), [true, false]);
        SubjectSpace::leave(&*account, Kind::Route);
        assert_eq!([Kind::Leaf, Kind::Client].map(&mut admit), [false, false]);
    }

    #[test]
    fn members_on_other_servers_count_towards_the_limits() {
        let account = Arc::new(Account::new("A", 1));
        account.configure(
            &AccountConfig::new("A").with_limits(AccountLimits {
                max_connections: Some(3),
                ..AccountLimits::default()
            }),
        );
        let mut id = 0;
        let mut admit = || {
            id += 1;
            account.admit(&endpoint(id, Kind::Client)).is_ok()
        };
        account.set_remote_members("X", 1, 7);
        assert_eq!([admit(), admit(), admit()], [true, true, false]);
        assert_eq!(account.excess_members(Quota::Connections), 0);
        account.set_remote_members("Y", 1, 0);
        assert_eq!(account.excess_members(Quota::Connections), 1);
        account.set_remote_members("Y", 9, 0);
        assert_eq!(account.excess_members(Quota::Connections), 2, "no more than there are here");
        assert_eq!(account.excess_members(Quota::LeafNodes), 0, "without a limit");
        assert_eq!(account.remote_servers(), 2);
        account.forget_remote_server("Y");
        assert_eq!(account.excess_members(Quota::Connections), 0);
        account.forget_remote_server("X");
        assert!(admit());
    }
}
