//! Gossip: reports of servers to each other about third ones.

use super::{Effect, GossipMode, RouteAddress, RouteId, RouteInfo, Topology};
use crate::cluster::RouteDial;
use crate::cluster::ticket::{Stub, Ticket};
use crate::limits::REPORTED_DIALS;
use crate::sort::to_map;
use crate::sync::Arc;

impl Topology {
    /// Handles an INFO about another server than the sender: dials it, unless it is connected or configured.
    // NATS 2.14: route.go processImplicitRoute.
    pub(super) fn handle_report(&mut self, info: &RouteInfo, from_no_pool: bool) -> Vec<Effect> {
        let id = &info.server_id;
        if *id == self.own.server_id || self.is_ending {
            return Vec::new();
        }
        let account: Option<Arc<str>> =
            Some(&*info.route_account).filter(|account| !account.is_empty()).map(Arc::from);
        let is_known = match &account {
            Some(_) if self.pool_size() == 0 => true,
            Some(account) => self.account_routes.contains_key(&(Arc::clone(account), id.clone())),
            None => self.remotes.contains_key(id),
        };
        if is_known || self.is_configured(info) {
            return Vec::new();
        }
        let Some(mut address) = parse_url(&info.ip) else {
            tracing::error!("Error parsing URL from INFO: {:?}", info.ip);
            return Vec::new();
        };
        if info.auth_required {
            address.credentials.clone_from(&self.options.credentials);
        }
        let mut accounts = vec![account.clone()];
        if from_no_pool && account.is_none() {
            // Its sender does not report the routes of accounts.
            accounts.extend(self.pinned.iter().cloned().map(Some));
        }
        let dials = accounts.into_iter();
        dials.filter_map(|account| self.reported(address.clone(), account, info)).collect()
    }

    /// Returns the order to dial a reported server. It is `None` while such an order is carried out, or too many.
    fn reported(
        &mut self,
        address: RouteAddress,
        account: Option<Arc<str>>,
        info: &RouteInfo,
    ) -> Option<Effect> {
        let key = (address.host.clone(), address.port, account.clone());
        if self.reported.len() >= REPORTED_DIALS {
            self.reported.retain(|_, stub| stub.is_held());
        }
        let is_under_way = self.reported.get(&key).is_some_and(Stub::is_held);
        if is_under_way || self.reported.len() >= REPORTED_DIALS {
            return None;
        }
        let (ticket, stub) = Ticket::new();
        self.reported.insert(key, stub);
        Some(Effect::Dial(RouteDial {
            address,
            is_configured: false,
            account,
            gossip: info.gossip_mode,
            delay: std::time::Duration::ZERO,
            is_first: true,
            retries: Some(self.options.connect_retries),
            has_backoff: self.options.connect_backoff,
            tls_name: self.tls_name.clone(),
            is_again: false,
            lost_id: String::new(),
            ticket,
        }))
    }

    /// Returns true if the address of the described server is configured.
    // NATS 2.14: route.go hasThisRouteConfigured.
    fn is_configured(&self, info: &RouteInfo) -> bool {
        let advertised = parse_url(&info.ip).map(|address| address.host);
        let hosts = [Some(info.host.clone()), advertised];
        let is_it = |route: &RouteAddress| {
            let mut hosts = hosts.iter().flatten();
            route.port == info.port && hosts.any(|host| host.eq_ignore_ascii_case(&route.host))
        };
        self.options.routes.iter().any(is_it)
    }

    /// Reports a new route to the other servers, unless it was reported to this one: its reporter tells all.
    ///
    /// Ours: a restarted server is reported by those that have dialled it again. Nobody has told the others of its new id,
    /// and they do not dial it themselves if it had dialled them. NATS 2.14 leaves them unconnected.
    // NATS 2.14: route.go forwardNewRouteInfoToKnownServers.
    pub(super) fn report(&self, id: RouteId, info: &RouteInfo, gossip: GossipMode) -> Vec<Effect> {
        let Some(record) = self.records.get(&id) else { return Vec::new() };
        let is_restarted = !record.lost_id.is_empty() && record.lost_id != info.server_id;
        let was_reported = record.is_solicited && !record.is_configured && !is_restarted;
        if (was_reported && gossip != GossipMode::Override)
            || info.gossip_mode == GossipMode::Disabled
        {
            return Vec::new();
        }
        let mut info = info.clone();
        info.nonce.clear();
        let to = self.hearers(&info);
        to.into_iter().filter_map(|to| self.report_to(to, record, &info)).collect()
    }

    fn report_to(&self, to: RouteId, new: &super::Record, info: &RouteInfo) -> Option<Effect> {
        let hearer = self.records.get(&to)?;
        let overrides = if new.is_solicited { new.is_configured } else { hearer.is_configured };
        let gossip_mode = match (overrides, new.is_solicited) {
            (true, _) => GossipMode::Override,
            (false, false) => GossipMode::Disabled,
            (false, true) => GossipMode::Default,
        };
        let info = RouteInfo { gossip_mode, ..info.clone() };
        Some(Effect::Send(to, Box::new(info)))
    }

    /// Returns one route to each other server than the described one; that of the same account if there is one.
    fn hearers(&self, info: &RouteInfo) -> Vec<RouteId> {
        let is_of_account = !info.route_account.is_empty();
        let of_account = self
            .account_routes
            .iter()
            .filter(|((account, _), _)| is_of_account && **account == *info.route_account)
            .map(|((_, remote_id), id)| (remote_id, id));
        let of_account = to_map(of_account);
        let pooled = self.remotes.iter().filter_map(|(remote_id, remote)| {
            let id =
                remote.pool.iter().flatten().next().filter(|_| !of_account.contains_key(remote_id));
            Some((remote_id, id?))
        });
        let mut to = Vec::new();
        for (remote_id, id) in of_account.clone().into_iter().chain(pooled) {
            if *remote_id == info.server_id {
                continue;
            }
            let has_no_pool = self.records.get(id).is_some_and(|record| record.has_no_pool);
            if !(is_of_account && has_no_pool) {
                to.push(*id);
            }
        }
        to
    }
}

/// Parses `nats-route://host:port/`.
pub(in crate::cluster) fn parse_url(url: &str) -> Option<RouteAddress> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next()?;
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, behind)| behind);
    let (host, port) = host_port.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok()?;
    (!host.is_empty()).then(|| RouteAddress { host: host.to_owned(), port, credentials: None })
}
