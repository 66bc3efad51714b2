//! The cluster: which other servers are known, which connections to them are made, and what is reported to whom.
//!
//! The decisions are made by a state machine without connections (`topology/`). [`Cluster`] holds it, with the connections
//! that it decides about. The sessions of routes report what other servers send; the program dials.

mod conflicts;
mod dial;
mod effect;
mod link;
mod record;
mod snapshot;
#[cfg(test)]
mod tests;
mod ticket;
mod topology;

pub(crate) use effect::{Joined, Refusal, RouteId};
pub(crate) use link::RouteLink;

pub use crate::options::{
    ClusterOptions, CompressionMode, CompressionOptions, MAX_POOL_SIZE, RouteAddress,
    RoutePermissions, SubjectPermission,
};
pub use dial::{RouteDial, RouteDialer};
pub use snapshot::RouteSnapshot;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use smallvec::SmallVec;

use crate::account::Account;
use crate::auth::{
    Authenticator, Certificate, Credentials, Decision, Denied, Permissions, User, Users,
};
use crate::endpoint::{Endpoint, Scratch};
use crate::error::CloseReason;
use crate::proto::route::{RouteConnect, RouteInfo};
use crate::random::Random;
use crate::security::Security;
use crate::sync::{Arc, AtomicBool, Mutex, OnceLock, Ordering};
use conflicts::Conflicts;
use effect::Effect;
use link::Difference;
use record::Record;
use topology::Topology;

/// The interface of the cluster to the server.
pub(crate) trait ClusterHost: Send + Sync {
    /// The name of the cluster, or the addresses of its listeners for clients, have changed.
    fn tell_clients(&self, cluster: &str, urls: Vec<String>, websocket_urls: Vec<String>);
    /// Returns all accounts.
    fn accounts(&self) -> Vec<Arc<Account>>;
    /// Returns true if there is an account of that name, or may be one later.
    fn may_have_account(&self, name: &str) -> bool;
    /// Returns all endpoints.
    fn endpoints(&self) -> Vec<Arc<Endpoint>>;
    /// Returns the time.
    fn now(&self) -> Instant;
}

/// A server's part in a cluster. [`Broker::cluster`](crate::Broker::cluster) returns it.
pub struct Cluster {
    topology: Mutex<Topology>,
    links: Mutex<BTreeMap<RouteId, Arc<RouteLink>>>,
    /// True if there are links. Read without the lock.
    has_links: AtomicBool,
    permissions: ArcSwapOption<RouteRules>,
    /// The user that other servers must present.
    users: ArcSwapOption<Users>,
    system_account: Arc<str>,
    server_id: String,
    /// The conflicts with other servers that have JetStream.
    conflicts: Mutex<Conflicts>,
    dialer: OnceLock<Box<dyn RouteDialer>>,
    random: Mutex<Random>,
    /// Held from reading the addresses for clients until the host has them: a thread that has read older addresses
    /// does not replace newer ones.
    telling: Mutex<()>,
}

/// The permissions of routes.
// NATS 2.14: route.go setRoutePermissions: imports are like publishing, exports like subscribing.
pub(crate) struct RouteRules {
    pub(crate) permissions: Arc<Permissions>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topology = self.topology.lock();
        f.debug_struct("Cluster")
            .field("name", &topology.name())
            .field("servers", &topology.remote_count())
            .finish_non_exhaustive()
    }
}

impl Cluster {
    pub(crate) fn new(
        options: &ClusterOptions,
        own: RouteInfo,
        system_account: &Arc<str>,
        mut random: Random,
    ) -> Self {
        let mut own = own;
        own.cluster_dynamic = options.name.is_none();
        own.cluster = options.name.clone().unwrap_or_else(|| crate::ids::unique(&mut random));
        let rules = rules(options.permissions.as_ref());
        let server_id = own.server_id.clone();
        Self {
            server_id,
            topology: Mutex::new(Topology::new(Arc::new(options.clone()), own, system_account)),
            links: Mutex::default(),
            has_links: AtomicBool::new(false),
            permissions: ArcSwapOption::new(rules),
            users: ArcSwapOption::new(users(options)),
            system_account: Arc::clone(system_account),
            conflicts: Mutex::default(),
            dialer: OnceLock::new(),
            random: Mutex::new(random),
            telling: Mutex::default(),
        }
    }

    /// Returns the name of the cluster, which changes if it was generated and another server has another one.
    pub fn name(&self) -> String {
        self.topology.lock().name().to_owned()
    }

    /// Returns true if the name was generated.
    pub fn has_generated_name(&self) -> bool {
        self.topology.lock().has_generated_name()
    }

    /// Sets the address of the listener for routes, which others are told unless another one is configured.
    pub fn set_address(&self, host: &str, port: u16) {
        self.topology.lock().set_address(host, port);
    }

    /// Returns true if a connection is still to be made. Ask it before each attempt.
    pub fn wants(&self, dial: &RouteDial) -> bool {
        self.topology.lock().wants(dial)
    }

    /// Accepts and dials no more routes.
    pub fn stop(&self) {
        self.topology.lock().stop();
    }

    /// Returns the routes, ordered by id.
    pub fn routes(&self) -> Vec<RouteSnapshot> {
        let links = self.links.lock().clone();
        let topology = self.topology.lock();
        let routes = topology.routes();
        routes.filter_map(|(id, record)| Some(snapshot(links.get(&id)?, record))).collect()
    }

    /// Returns the number of other servers.
    pub fn server_count(&self) -> usize {
        self.topology.lock().remote_count()
    }

    /// Returns the number of routes that were lost and that this server has made again.
    pub fn reconnects(&self) -> u64 {
        self.topology.lock().reconnects()
    }

    pub(crate) fn options(&self) -> Arc<ClusterOptions> {
        Arc::clone(self.topology.lock().options())
    }

    /// Begins to dial the configured servers. A second call has no effect.
    pub(crate) fn start(&self, dialer: Box<dyn RouteDialer>, host: &dyn ClusterHost) {
        if self.dialer.set(dialer).is_ok() {
            let effects = self.topology.lock().start();
            self.act(effects, host);
        }
    }

    pub(crate) fn set_client_urls(
        &self,
        urls: Vec<String>,
        websocket_urls: Vec<String>,
        host: &dyn ClusterHost,
    ) {
        self.topology.lock().set_client_urls(urls, websocket_urls);
        self.act(vec![Effect::Urls], host);
    }

    /// Adds a connection to another server.
    pub(crate) fn open(
        &self,
        endpoint: &Arc<Endpoint>,
        queue: Arc<dyn link::LineQueue>,
        dial: Option<&RouteDial>,
    ) -> Arc<RouteLink> {
        let ip: Option<IpAddr> = endpoint.remote.map(|remote| remote.ip());
        let record = dial.map_or_else(|| Record::accepted(ip), |dial| Record::dialed(dial, ip));
        let link = Arc::new(RouteLink::new(Arc::clone(endpoint), queue));
        self.topology.lock().open(endpoint.id, record);
        self.links.lock().insert(endpoint.id, Arc::clone(&link));
        self.has_links.store(true, Ordering::Release);
        link
    }

    /// Decides about the credentials of another server.
    pub(crate) fn authenticate(&self, credentials: &Credentials) -> Decision {
        match &*self.users.load() {
            Some(users) => users.authenticate(credentials),
            None => Decision::Deny(Denied::Credentials),
        }
    }

    /// Returns whether another server is admitted by its certificate; `None` if certificates do not decide.
    // NATS 2.14: auth.go isRouterAuthorized.
    pub(crate) fn admits_certificate(&self, security: Option<&Security>) -> Option<bool> {
        let options = self.options();
        options.admits_by_certificate().then(|| {
            let certificate = security.and_then(|security| security.certificate.as_deref());
            certificate.is_some_and(|certificate| is_known(&options, certificate))
        })
    }

    /// Closes the routes to servers whose public key is not among these (SHA-256 of the SubjectPublicKeyInfo), unless
    /// there are none. A server that requires these keys of new connections calls it when they have changed. Returns the
    /// number of closed connections.
    // NATS 2.14: reload.go recheckPinnedCerts.
    pub fn close_unpinned(&self, keys: &HashSet<[u8; 32]>) -> usize {
        if keys.is_empty() {
            return 0;
        }
        let links = self.links.lock().clone();
        let is_pinned = |security: &Security| {
            security.peers.first().is_some_and(|peer| keys.contains(&peer.spki_sha256))
        };
        let others = links.into_values().filter(|link| {
            link.endpoint.security.load().as_deref().is_some_and(|security| !is_pinned(security))
        });
        let others: Vec<_> = others.collect();
        if !others.is_empty() {
            tracing::info!("Disconnect {} clients due to pinned certs reload", others.len());
        }
        others.iter().for_each(|link| link.close(CloseReason::TlsHandshakeFailure));
        others.len()
    }

    /// Closes the accepted routes to servers that are not admitted by their certificates.
    // NATS 2.14: reload.go reloadAuthorization.
    fn close_unknown(&self) {
        let links = self.links.lock().clone();
        for (id, link) in links {
            let is_accepted =
                self.topology.lock().record(id).is_some_and(|record| !record.is_solicited);
            let security = link.endpoint.security.load();
            // One that is not secured yet is checked when it is.
            let is_secured = security.is_some();
            if is_accepted
                && is_secured
                && self.admits_certificate(security.as_deref()) == Some(false)
            {
                link.refuse(&Refusal::Unauthorized);
            }
        }
    }

    /// Returns the negotiated compression of a route.
    pub(crate) fn compression_of(&self, id: RouteId) -> Option<CompressionMode> {
        Some(self.topology.lock().record(id)?.compression)
    }

    /// Returns the account of a route that is one account's.
    pub(crate) fn account_of(&self, id: RouteId) -> Option<Arc<str>> {
        self.topology.lock().record(id)?.account.clone()
    }

    /// Returns the CONNECT of a dialled connection, and its INFO unless it waits for that of the other server.
    pub(crate) fn greeting(&self, id: RouteId) -> (RouteConnect, Option<RouteInfo>) {
        let nonce = self.nonce();
        let mut topology = self.topology.lock();
        let info = (!topology.delays_info(id)).then(|| topology.opening_info(id, nonce));
        (topology.connect(id), info)
    }

    /// Returns the INFO that begins a connection, or that states the negotiated compression.
    pub(crate) fn first_info(&self, id: RouteId) -> RouteInfo {
        let nonce = self.nonce();
        self.topology.lock().opening_info(id, nonce)
    }

    pub(crate) fn choose_compression(&self, theirs: &str) -> Result<CompressionMode, Refusal> {
        self.topology.lock().choose_compression(theirs)
    }

    pub(crate) fn set_compression(&self, id: RouteId, mode: CompressionMode) {
        self.topology.lock().set_compression(id, mode);
    }

    /// Handles the CONNECT of a server that has been admitted by these options. A change of the credentials since then is
    /// not missed: it closes the connections whose CONNECT has been handled.
    pub(crate) fn handle_connect(
        &self,
        id: RouteId,
        connect: &RouteConnect,
        admitted_by: &ClusterOptions,
        host: &dyn ClusterHost,
    ) -> Result<(), Refusal> {
        let mut topology = self.topology.lock();
        if !topology.admits_as(admitted_by) {
            return Err(Refusal::Unauthorized);
        }
        let effects = topology.handle_connect(id, connect)?;
        drop(topology);
        self.act(effects, host);
        Ok(())
    }

    pub(crate) fn handle_info(
        &self,
        id: RouteId,
        info: RouteInfo,
        host: &dyn ClusterHost,
    ) -> Joined {
        let account = info.route_account.clone();
        if !account.is_empty() && !host.may_have_account(&account) {
            return self.refuse_account(id, &info);
        }
        let nonce = self.nonce();
        let plain = Some(info.server_name.clone()).filter(|_| !info.jetstream);
        let link = self.link(id);
        let (joined, effects) = {
            let mut topology = self.topology.lock();
            let (joined, effects) = topology.handle_info(id, info, nonce);
            if let (Joined::Registered(place), Some(link)) = (&joined, link) {
                // Before another thread finds the route: the other server takes the first INFO for this server's, and no
                // interest passes the permissions by.
                let is_of_account = topology.record(id).is_some_and(|it| it.account.is_some());
                link.begin(self.rules().map(|rules| Arc::clone(&rules.permissions)), is_of_account);
                if let Some(own) = &place.info {
                    link.append_info(own, false);
                }
            }
            (joined, effects)
        };
        if let (Joined::Registered(_), Some(name)) = (&joined, plain) {
            self.conflicts.lock().forget(&name);
        }
        self.act(effects, host);
        joined
    }

    /// Handles the refusal of a connection, by either server, because two servers have JetStream. Returns true if the
    /// conflict is a new one.
    pub(crate) fn handle_conflict(&self, id: RouteId, text: &str, host: &dyn ClusterHost) -> bool {
        self.topology.lock().note_conflict(id);
        self.conflicts.lock().note(text, host.now())
    }

    /// Returns the conflicts of servers that have JetStream, as texts.
    pub(crate) fn conflicts(&self, now: Instant) -> Vec<String> {
        self.conflicts.lock().texts(now)
    }

    /// Sets what this server tells others of its JetStream. Call it before the first connection.
    pub(crate) fn set_jetstream(&self, is_on: bool, domain: &str) {
        self.topology.lock().set_jetstream(is_on, domain);
    }

    /// Handles an INFO that names an account that there is not.
    // NATS 2.14: route.go processRouteInfo, addRoute.
    fn refuse_account(&self, id: RouteId, info: &RouteInfo) -> Joined {
        let account = &info.route_account;
        let is_route = self.topology.lock().record(id).is_some_and(|record| record.has_info);
        if !is_route {
            return Joined::Refused(Refusal::NoAccount(account.clone()));
        }
        if !info.route_acc_add_reqid.is_empty() {
            tracing::error!("Error looking up account {account:?}: account missing");
        }
        Joined::Noted
    }

    pub(crate) fn handle_pong(&self, id: RouteId, host: &dyn ClusterHost) {
        let effect = self.topology.lock().handle_pong(id);
        self.act(effect.into_iter().collect(), host);
    }

    /// Begins to send the interest over a route that has got its place.
    pub(crate) fn send_interest(&self, link: &Arc<RouteLink>, host: &dyn ClusterHost) {
        for account in host.accounts() {
            link.follow(&account, || self.carries(link, &account), || host.endpoints());
        }
        link.begin_messages();
    }

    /// Returns true if a route carries an account.
    fn carries(&self, link: &RouteLink, account: &Account) -> bool {
        let topology = self.topology.lock();
        let record = topology.record(link.endpoint.id);
        record.is_some_and(|it| topology.carries(it, &account.name))
    }

    /// Sends the interest in a new account over the routes that carry it.
    pub(crate) fn adopt(&self, account: &Arc<Account>) {
        if !self.has_links.load(Ordering::Acquire) {
            return;
        }
        let links = self.links.lock().clone();
        let ids: Vec<RouteId> = {
            let topology = self.topology.lock();
            let carrying =
                topology.routes().filter(|(_, record)| topology.carries(record, &account.name));
            carrying.map(|(id, _)| id).collect()
        };
        for link in ids.iter().filter_map(|id| links.get(id)) {
            link.follow_new(account, || self.carries(link, account));
        }
    }

    /// Writes the changes of interest that were appended to the connections, of other threads too.
    pub(crate) fn write_changed(&self, scratch: &mut Scratch) {
        if !self.has_links.load(Ordering::Acquire) {
            return;
        }
        let links = self.links.lock();
        let changed = links.values().filter_map(|link| Some((Arc::clone(link), link.unwritten()?)));
        let changed: SmallVec<[_; 8]> = changed.collect();
        drop(links);
        changed.iter().for_each(|(link, changes)| link.write(*changes, scratch));
    }

    /// Removes a connection that has ended.
    pub(crate) fn handle_lost(&self, id: RouteId, host: &dyn ClusterHost) {
        let link = self.links.lock().remove(&id);
        if let Some(link) = link {
            link.end();
        }
        let jitter = self.random.lock().next_u64();
        let effects = self.topology.lock().handle_lost(id, jitter);
        self.act(effects, host);
    }

    /// Tells the other servers that this one ends.
    pub(crate) fn announce_end(&self, host: &dyn ClusterHost) {
        let effects = self.topology.lock().announce_end();
        self.act(effects, host);
    }

    /// Applies other options.
    pub(crate) fn apply(&self, options: &ClusterOptions, host: &dyn ClusterHost) {
        self.permissions.store(rules(options.permissions.as_ref()));
        self.users.store(users(options));
        let system_account = &self.system_account;
        let effects = {
            let request = crate::ids::unique(&mut self.random.lock());
            self.topology.lock().apply(Arc::new(options.clone()), system_account, request)
        };
        self.act(effects, host);
        if options.admits_by_certificate() {
            self.close_unknown();
        }
    }

    pub(crate) fn rules(&self) -> Option<Arc<RouteRules>> {
        self.permissions.load_full()
    }

    fn nonce(&self) -> String {
        let mut random = self.random.lock();
        let mut bytes = [0; crate::auth::Nonce::BYTES];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&random.next_u64().to_le_bytes()[..chunk.len()]);
        }
        crate::auth::Nonce::from_random(bytes).to_string()
    }

    fn link(&self, id: RouteId) -> Option<Arc<RouteLink>> {
        self.links.lock().get(&id).cloned()
    }

    /// Does what the topology asks for, with nothing locked.
    fn act(&self, effects: Vec<Effect>, host: &dyn ClusterHost) {
        let mut tells_clients = false;
        for effect in effects {
            match effect {
                Effect::Dial(dial) => {
                    if let Some(dialer) = self.dialer.get() {
                        dialer.dial(dial);
                    }
                }
                Effect::Send(id, info) => {
                    if let Some(link) = self.link(id) {
                        link.send_info(&info, info.server_id != self.server_id);
                    }
                }
                Effect::Close(id, reason) => {
                    if let Some(link) = self.link(id) {
                        link.close(reason);
                    }
                }
                Effect::Unauthorized(id) => {
                    if let Some(link) = self.link(id) {
                        link.refuse(&Refusal::Unauthorized);
                    }
                }
                Effect::Renamed(name) => {
                    tracing::info!("Cluster name updated to {name}");
                    tells_clients = true;
                }
                Effect::Urls => tells_clients = true,
                Effect::Interest(id) => self.send_by_own_permissions(id, host),
                Effect::Wanted { id, before, now } => {
                    let [before, now] = [before, now].map(exports);
                    self.send_difference(id, Difference::Theirs { before, now }, host);
                }
                Effect::Denied(id) => {
                    if let Some(link) = self.link(id) {
                        link.tell_session(|control| control.permissions = true);
                    }
                }
                Effect::TakeBack(name) => {
                    let links = self.links.lock().clone();
                    links.values().for_each(|link| link.take_back(&name));
                }
                Effect::Follow(id, name) => self.follow(id, &name, host),
                Effect::Moved { id, account, is_asked } => {
                    if let Some(link) = self.link(id) {
                        link.give_up(&account, is_asked);
                    }
                }
            }
        }
        if tells_clients {
            self.tell(|name, urls, websocket_urls| host.tell_clients(name, urls, websocket_urls));
        }
    }

    /// Gives the name of the cluster and the addresses for clients to `take`, in the order of their changes.
    pub(crate) fn tell(&self, take: impl FnOnce(&str, Vec<String>, Vec<String>)) {
        let _telling = self.telling.lock();
        let (name, (urls, websocket_urls)) = {
            let topology = self.topology.lock();
            (topology.name().to_owned(), topology.client_urls())
        };
        take(&name, urls, websocket_urls);
    }

    /// Sends what the permissions of this server have changed of the interest.
    fn send_by_own_permissions(&self, id: RouteId, host: &dyn ClusterHost) {
        let Some(link) = self.link(id) else { return };
        let now = self.rules().map(|rules| Arc::clone(&rules.permissions));
        let before = link.set_permissions(now);
        self.send_difference(id, Difference::Own { before }, host);
    }

    /// Sends the interest that changed permissions concern.
    fn send_difference(&self, id: RouteId, difference: Difference, host: &dyn ClusterHost) {
        let Some(link) = self.link(id) else { return };
        let difference = Arc::new(difference);
        for account in host.accounts() {
            if self.carries(&link, &account) {
                link.differ(&account, &difference, || host.endpoints());
            }
        }
        link.wake();
    }

    /// Sends the interest of an account over a route that did not carry it.
    fn follow(&self, id: RouteId, name: &str, host: &dyn ClusterHost) {
        let Some(link) = self.link(id) else { return };
        let accounts = host.accounts();
        if let Some(account) = accounts.iter().find(|account| *account.name == *name) {
            link.follow(account, || self.carries(&link, account), || host.endpoints());
            link.wake();
        }
    }
}

/// Returns the user that other servers must present.
fn users(options: &ClusterOptions) -> Option<Arc<Users>> {
    let (user, password) = options.credentials.clone()?;
    let users = Users::builder().user(User::new(user, password)).build();
    users.ok().map(Arc::new)
}

/// Returns true if a certificate is that of a server of the cluster.
// NATS 2.14: auth.go isRouterAuthorized.
fn is_known(options: &ClusterOptions, certificate: &Certificate) -> bool {
    let user = options.credentials.as_ref().map(|(user, _)| &**user);
    let user = user.filter(|user| options.maps_certificates && !user.is_empty());
    let hosts = options.routes.iter().map(|route| &*route.host);
    user.is_some_and(|user| certificate.is_of(user))
        || (options.checks_known_urls && certificate.is_for(hosts))
}

/// Returns the permissions of a server that takes this interest.
fn exports(export: Option<SubjectPermission>) -> Option<Arc<Permissions>> {
    let rules = rules(Some(&RoutePermissions { import: None, export: Some(export?) }));
    rules.map(|rules| Arc::clone(&rules.permissions))
}

/// Builds the permissions of routes.
fn rules(permissions: Option<&RoutePermissions>) -> Option<Arc<RouteRules>> {
    let permissions = permissions?;
    let lists = |list: &Option<SubjectPermission>| list.clone().unwrap_or_default();
    let (import, export) = (lists(&permissions.import), lists(&permissions.export));
    let mut builder = Permissions::builder();
    if !import.allow.is_empty() {
        builder = builder.publish_allow(import.allow);
    }
    if !import.deny.is_empty() {
        builder = builder.publish_deny(import.deny);
    }
    if !export.allow.is_empty() {
        builder = builder.subscribe_allow(export.allow);
    }
    if !export.deny.is_empty() {
        builder = builder.subscribe_deny(export.deny);
    }
    let permissions = Arc::new(builder.build().ok()?);
    Some(Arc::new(RouteRules { permissions }))
}

fn snapshot(link: &RouteLink, record: &Record) -> RouteSnapshot {
    let endpoint = &link.endpoint;
    let nanos = endpoint.rtt_nanos.load(Ordering::Relaxed);
    let out = endpoint.destination.counts();
    let last: Option<Instant> = out.last.max(out.last_activity);
    RouteSnapshot {
        id: endpoint.id,
        remote_id: record.remote_id.clone(),
        remote_name: record.remote_name.clone(),
        is_solicited: record.is_solicited,
        is_dialed: record.is_dialed,
        is_configured: record.is_configured,
        remote: endpoint.remote,
        since: endpoint.since,
        last_activity: last.unwrap_or(endpoint.since),
        rtt: Some(nanos).filter(|nanos| *nanos > 0).map(std::time::Duration::from_nanos),
        import: record.import.clone(),
        export: record.export.clone(),
        in_messages: endpoint.in_messages.load(Ordering::Relaxed),
        in_bytes: endpoint.in_bytes.load(Ordering::Relaxed),
        out,
        subscriptions: endpoint.subscriptions.load(Ordering::Relaxed),
        account: record.account.clone(),
        pool_index: record.index,
        compression: record.compression,
    }
}
