//! The state of a cluster that its waits check.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker_core::Subject;
use broker_core::cluster::{ClusterOptions, RouteSnapshot};

use super::member::Member;
use super::nats_server::NatsServer;
use crate::network::Network;
use crate::testing::kit::Kit;

/// The routes of nats-server to each other server: three of the pool, and that of the system account.
const ROUTES_OF_NATS_SERVER: Routes = Routes { pool: 3, accounts: 1 };

/// The servers that run.
#[derive(Clone)]
pub(super) struct Sight {
    servers: Vec<Server>,
    network: Network,
}

#[derive(Clone)]
struct Server {
    number: usize,
    name: String,
    id: String,
    routes: Routes,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Own(Arc<Kit>),
    Process(Arc<NatsServer>),
}

/// The place of a route among those to one server: its account, and its index in the pool.
type Place = (Option<Arc<str>>, Option<usize>);

/// The numbers of routes that a server has to each other one.
#[derive(Clone, Copy, Default)]
struct Routes {
    /// 0 without a pool.
    pool: usize,
    accounts: usize,
}

impl Routes {
    fn of(options: Option<&ClusterOptions>) -> Self {
        let Some(options) = options else { return Self::default() };
        let system = usize::from(options.has_system_route);
        let others = options.accounts.iter().filter(|account| &***account != "$SYS").count();
        Self { pool: options.pool_size.map_or(0, usize::from), accounts: others + system }
    }

    /// Returns the number of routes between two servers.
    fn with(self, other: Self) -> usize {
        if self.pool == 0 || other.pool == 0 {
            return 1;
        }
        self.pool.max(other.pool) + self.accounts.max(other.accounts)
    }
}

impl Server {
    fn new(member: &Member) -> Option<Self> {
        let (number, name) = (member.number, member.name().to_owned());
        if let Some(process) = member.process() {
            let routes =
                if process.has_pools() { ROUTES_OF_NATS_SERVER } else { Routes::default() };
            let (id, kind) = (process.id().to_owned(), Kind::Process(Arc::clone(process)));
            return Some(Self { number, name, id, routes, kind });
        }
        let kit = member.broker()?.kit();
        let routes = Routes::of(kit.options().broker.cluster.as_ref());
        Some(Self { number, name, id: String::new(), routes, kind: Kind::Own(Arc::clone(kit)) })
    }

    /// Returns its id, which changes when a broker of this process restarts by itself.
    fn id(&self) -> Option<String> {
        match &self.kind {
            Kind::Own(kit) => Some(kit.broker()?.info().server_id),
            Kind::Process(_) => Some(self.id.clone()),
        }
    }

    /// Returns the routes of a server of this process.
    fn own_routes(&self) -> Option<Vec<RouteSnapshot>> {
        match &self.kind {
            Kind::Own(kit) => Some(kit.broker()?.cluster()?.routes()),
            Kind::Process(_) => None,
        }
    }

    /// Returns the number of its routes by the id of the other server; `None` if it cannot be asked.
    fn counts(&self) -> Option<BTreeMap<String, usize>> {
        let ids = match &self.kind {
            Kind::Own(_) => self.own_routes()?.into_iter().map(|route| route.remote_id).collect(),
            Kind::Process(process) => process.remote_ids()?,
        };
        let mut counts = BTreeMap::new();
        for id in ids {
            *counts.entry(id).or_default() += 1;
        }
        Some(counts)
    }

    fn has_interest(&self, subject: &Subject) -> bool {
        match &self.kind {
            Kind::Own(kit) => {
                kit.broker().is_some_and(|broker| broker.has_receivers("$G", subject))
            }
            Kind::Process(process) => process.has_interest(subject),
        }
    }
}

impl Sight {
    pub(super) fn new(members: &[Member], network: &Network) -> Self {
        let servers = members.iter().filter_map(Server::new).collect();
        Self { servers, network: network.clone() }
    }

    /// Returns what is missing until all servers are connected, as far as they can reach each other.
    pub(super) fn not_connected(&self) -> Option<String> {
        self.servers.iter().find_map(|server| self.missing_of(server)).or_else(|| {
            self.crossed().then(|| "two have different routes to each other".to_owned())
        })
    }

    /// Returns true if two servers of this process have different connections in one place.
    fn crossed(&self) -> bool {
        let mut ends = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for server in &self.servers {
            let (Some(id), Some(routes)) = (server.id(), server.own_routes()) else { continue };
            for route in routes {
                let place = (route.account, route.pool_index);
                ends.insert((id.clone(), route.remote_id, place), route.is_dialed);
            }
            ids.insert(id);
        }
        // Those to a nats-server have no other end here.
        ends.retain(|(_, other, _), _| ids.contains(other));
        are_crossed(&ends)
    }

    fn missing_of(&self, server: &Server) -> Option<String> {
        let mut expected = BTreeMap::new();
        for other in &self.servers {
            let is_other = other.number != server.number;
            if is_other && !self.network.is_partitioned(server.number, other.number) {
                // One that restarts by itself has no id, and no route.
                let id = other.id().unwrap_or_default();
                expected.insert(id, server.routes.with(other.routes));
            }
        }
        let has = server.counts().unwrap_or_default();
        (has != expected).then(|| {
            let (has, expected) = (self.named(&has), self.named(&expected));
            format!("{} has routes to {has}, not to {expected}", server.name)
        })
    }

    fn named(&self, counts: &BTreeMap<String, usize>) -> String {
        let name = |id: &String| {
            let server = self.servers.iter().find(|server| server.id().as_ref() == Some(id));
            server.map_or_else(|| "one that has ended".to_owned(), |server| server.name.clone())
        };
        let named = counts.iter().map(|(id, count)| format!("{} ({count})", name(id)));
        let named: Vec<String> = named.collect();
        if named.is_empty() { "none".to_owned() } else { named.join(", ") }
    }

    /// Returns the name of a server that has no interest in a subject.
    pub(super) fn without_interest(&self, subject: &Subject) -> Option<String> {
        let lacking = self.servers.iter().find(|server| !server.has_interest(subject));
        lacking.map(|server| server.name.clone())
    }
}

/// Returns true if a route has no other end, or both ends are dialled: two servers that dial each other at the same time
/// have different connections in one place until one of the two is closed.
fn are_crossed(ends: &BTreeMap<(String, String, Place), bool>) -> bool {
    ends.iter().any(|((id, other, place), is_dialed)| {
        let far = ends.get(&(other.clone(), id.clone(), place.clone()));
        far.is_none_or(|far| far == is_dialed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_have_dialled_each_other_are_not_connected_yet() {
        let place: Place = (None, Some(0));
        let end = |one: &str, other: &str| (one.to_owned(), other.to_owned(), place.clone());
        for (near, far, expected) in [
            (true, Some(false), false),
            (false, Some(true), false),
            (true, Some(true), true),
            (false, Some(false), true),
            (true, None, true),
        ] {
            let mut ends = BTreeMap::from([(end("A", "B"), near)]);
            ends.extend(far.map(|far| (end("B", "A"), far)));
            assert_eq!(are_crossed(&ends), expected, "{near} {far:?}");
        }
    }
}
