//! Streams and services that accounts share.
//!
//! `resolve.rs` turns the configuration of all accounts into what each of them shares; `cycles.rs` refuses imports that
//! would lead messages back. An imported stream is a shadow of each subscription that it covers, in the interest of the
//! exporting account (`stream.rs`). An imported service is a subscription in the interest of the importing account, and
//! the responses to an exporting account are one too (`service.rs`, `responses.rs`): `routing/services.rs` passes
//! messages on to the other account.

mod cycles;
mod error;
mod exporter;
mod latency;
mod linked;
mod remote_latency;
mod requester;
mod resolve;
mod responses;
mod service;
mod stream;

pub use error::{ShareError, ShareFault, ShareItem};
pub(crate) use latency::{Measured, Outcome, There, is_sampled};
pub(crate) use remote_latency::{Here, RemoteLatency};
pub(crate) use requester::{Requester, reply_of, to_json};
pub use resolve::check_shares;
pub(crate) use resolve::{Change, Resolver};
pub(crate) use responses::{Asked, Awaited, Failed, Given, Response, Responses, is_marked};
pub(crate) use service::ServiceImport;

use std::any::Any;
use std::collections::{BTreeMap, HashMap};

use arc_swap::ArcSwapOption;

use super::Account;
use crate::clock::Clock;
use crate::endpoint::{Endpoint, Link, Subscription};
use crate::interest::{Interested, Matches};
use crate::options::{AccountConfig, Export, Import, ServiceLatency};
use crate::sort::sort_by;
use crate::subject::SubjectFilter;
use crate::sync::{Arc, AtomicBool, Mutex, OnceLock, Ordering, Weak};
use linked::LinkedSubscriptions;
use resolve::{Resolved, ResolvedService};
use service::BoundService;
use stream::{BoundStream, Shadows};

/// The parts of the broker that sharing needs.
pub(crate) struct Context {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) server_name: Arc<str>,
    /// The name of the cluster, if there is one.
    pub(crate) cluster: ArcSwapOption<String>,
    /// The endpoint of subscriptions for imported services.
    pub(crate) imports: Arc<Endpoint>,
    /// The endpoint of subscriptions for responses.
    pub(crate) responses: Arc<Endpoint>,
    /// The accounts whose services were ever sent a request by another account.
    pub(crate) exporters: Mutex<Vec<Weak<Account>>>,
    pub(crate) remote: RemoteLatency,
}

/// The exports and imports of one account. Made when it first has some, or owes a response.
pub(super) struct Share {
    state: Mutex<Arc<State>>,
    shadows: Shadows,
    linked: LinkedSubscriptions,
    responses: Responses,
    /// The subscription for the responses exists.
    has_responses: AtomicBool,
}

#[derive(Default)]
struct State {
    /// `None` if it shares nothing.
    config: Option<Arc<AccountConfig>>,
    invalid: Vec<ShareItem>,
    locals: Vec<(usize, SubjectFilter)>,
    streams: Vec<BoundStream>,
    services: Vec<BoundService>,
}

/// The exports and imports of an account, as they are in force.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AccountShares {
    /// The exports.
    pub exports: Vec<Export>,
    /// The imports.
    pub imports: Vec<ImportState>,
    /// The requests that services of the account have yet to answer, by their reply subjects.
    pub responses: Vec<(String, PendingResponse)>,
}

/// An import, as it is in force.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImportState {
    /// The import.
    pub import: Import,
    /// The subjects in the importing account.
    pub local: SubjectFilter,
    /// The publication of response times, which the exporting account has configured.
    pub latency: Option<ServiceLatency>,
    /// True if it is not in force.
    pub is_invalid: bool,
}

/// A request that a service has yet to answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PendingResponse {
    /// The account of the requester.
    pub account: Arc<str>,
    /// The reply subject there.
    pub to: String,
    /// The service is told who sent the request.
    pub share: bool,
    /// The response time is measured, and published so.
    pub latency: Option<ServiceLatency>,
    /// The headers that asked for the measurement.
    pub tracing_headers: Option<BTreeMap<String, Vec<String>>>,
}

impl Share {
    fn new(seed: u64) -> Self {
        Self {
            state: Mutex::default(),
            shadows: Shadows::default(),
            linked: LinkedSubscriptions::new(seed),
            responses: Responses::new(seed),
            has_responses: AtomicBool::new(false),
        }
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.lock())
    }
}

/// The imports and exports of an account that are in force.
#[derive(Default)]
pub(super) struct Sharing {
    context: OnceLock<Arc<Context>>,
    share: OnceLock<Box<Share>>,
    /// It imports streams, so that each subscription may need shadows.
    imports_streams: AtomicBool,
    /// It imports services, so that requests may wait for each subscription that ends.
    imports_services: AtomicBool,
    seed: u64,
}

impl Sharing {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    fn share(&self) -> &Share {
        self.share.get_or_init(|| Box::new(Share::new(self.seed)))
    }
}

impl Account {
    /// Gives it what sharing needs.
    pub(crate) fn with_context(self, context: &Arc<Context>) -> Self {
        let _ = self.sharing.context.set(Arc::clone(context));
        self
    }

    pub(crate) fn context(&self) -> Option<&Arc<Context>> {
        self.sharing.context.get()
    }

    /// Adds a subscription to its interest, and to that of the accounts whose streams it imports.
    pub(crate) fn add_subscription(&self, subscription: &Arc<Subscription>) {
        self.interest.insert(Arc::clone(subscription));
        if self.sharing.imports_streams.load(Ordering::Acquire) {
            self.update_shadows(subscription);
        }
    }

    /// Makes the shadows of a subscription those of the streams that it imports now.
    pub(crate) fn update_shadows(&self, subscription: &Arc<Subscription>) {
        if subscription.is_linked() {
            return;
        }
        let share = self.sharing.share();
        share.shadows.update(subscription, || share.state());
    }

    /// Removes subscriptions that have ended from its interest and from that of other accounts.
    pub(crate) fn remove_subscriptions(&self, subscriptions: &[Arc<Subscription>]) {
        self.interest.remove(subscriptions);
        for subscription in subscriptions.iter().filter(|one| one.is_shadowed()) {
            if let Some(share) = self.sharing.share.get() {
                share.shadows.end(subscription);
            }
        }
        if self.sharing.imports_services.load(Ordering::Acquire) {
            subscriptions.iter().for_each(|one| self.forget_requests(one.filter()));
        }
    }

    /// Ends its requests whose responses were for a subscription that has ended.
    fn forget_requests(&self, filter: &[u8]) {
        let Some(share) = self.sharing.share.get() else { return };
        let state = share.state();
        let Ok(filter) = SubjectFilter::parse(filter) else { return };
        let mut asked: Vec<*const Self> = Vec::new();
        for import in state.services.iter().map(|one| &one.import) {
            if asked.contains(&import.exporter.as_ptr()) {
                continue;
            }
            asked.push(import.exporter.as_ptr());
            let Some(exporter) = import.exporter.upgrade() else { continue };
            let Some(responses) = exporter.owed_responses().filter(|one| one.is_watching()) else {
                continue;
            };
            responses.forget(self, |reply| filter.matches_bytes(reply) && !self.is_wanted(reply));
        }
    }

    /// Returns true if a response to a request that was passed on to this account would reach who has asked; `None` if `reply` is not the
    /// reply subject of such a request. A request passes through a limited number of accounts.
    // NATS 2.14: consumer.go trackDownAccountAndInterest.
    pub(crate) fn awaits_response(&self, reply: &[u8]) -> Option<bool> {
        let responses = self.owed_responses().filter(|responses| responses.is_reply(reply))?;
        let is_awaited = responses.find(reply).is_some_and(|response| {
            let Some(requester) = response.asked.requester.upgrade() else { return false };
            let awaits = requester.awaits_response(&response.to);
            awaits.unwrap_or_else(|| requester.is_wanted(&response.to))
        });
        Some(is_awaited)
    }

    /// Returns true if there is a subscription for the subject.
    fn is_wanted(&self, subject: &[u8]) -> bool {
        let mut matches = Matches::default();
        self.interest.collect(subject, &mut matches);
        matches.has_some()
    }

    /// Returns the responses that its services owe. The first request adds the subscription for them.
    pub(crate) fn responses(self: &Arc<Self>) -> &Responses {
        let share = self.sharing.share();
        if !share.has_responses.load(Ordering::Acquire) {
            self.subscribe_to_responses(share);
        }
        &share.responses
    }

    /// Returns the responses that its services owe, if a request was ever passed on to it.
    pub(crate) fn owed_responses(&self) -> Option<&Responses> {
        self.sharing.share.get().map(|share| &share.responses)
    }

    #[cold]
    fn subscribe_to_responses(self: &Arc<Self>, share: &Share) {
        let Some(context) = self.context() else { return };
        let state = share.state.lock();
        if share.has_responses.load(Ordering::Acquire) {
            return;
        }
        let endpoint = Arc::clone(&context.responses);
        let filter = share.responses.filter();
        let subscription = Subscription::linked(endpoint, &filter, None, b"", Link::Responses);
        self.add_linked(Arc::new(subscription));
        context.exporters.lock().push(Arc::downgrade(self));
        // Another thread waits for the lock until the subscription exists.
        share.has_responses.store(true, Ordering::Release);
        drop(state);
    }

    /// Returns the number of its exports and of its imports.
    pub(crate) fn share_counts(&self) -> (usize, usize) {
        let Some(share) = self.sharing.share.get() else { return (0, 0) };
        let state = share.state();
        (state.exports().len(), state.imports().len())
    }

    /// Returns the subscriptions of its imported services.
    pub(crate) fn imported_services(&self) -> Vec<Arc<Subscription>> {
        let Some(share) = self.sharing.share.get() else { return Vec::new() };
        share.state().services.iter().map(|one| Arc::clone(&one.subscription)).collect()
    }

    /// Returns what it shares now, with at most `limit` requests that are not answered.
    pub(crate) fn shares(&self, limit: usize) -> AccountShares {
        let Some(share) = self.sharing.share.get() else { return AccountShares::default() };
        let state = share.state();
        let import = |(at, import): (usize, &Import)| {
            let local = state.locals.iter().find(|(place, _)| *place == at);
            let local = local.map_or_else(|| import.subject.clone(), |(_, local)| local.clone());
            ImportState {
                latency: state.latency_of(import, &local),
                import: import.clone(),
                local,
                is_invalid: state.invalid.contains(&ShareItem::Import(at)),
            }
        };
        let response = |(subject, response): (String, Response)| {
            let asked = &response.asked;
            let pending = PendingResponse {
                account: Arc::clone(&asked.requester_name),
                to: String::from_utf8_lossy(&response.to).into_owned(),
                share: asked.share,
                latency: response.measured.as_ref().and(asked.export.latency.clone()),
                tracing_headers: response.measured.as_ref().and_then(|it| it.headers.clone()),
            };
            (subject, pending)
        };
        AccountShares {
            exports: state.exports().to_vec(),
            imports: state.imports().iter().enumerate().map(import).collect(),
            responses: share.responses.list(limit).into_iter().map(response).collect(),
        }
    }

    /// Applies what it shares from now on. Returns true if it imports other streams than before.
    fn set_shares(
        self: &Arc<Self>,
        config: Option<Arc<AccountConfig>>,
        resolved: Resolved,
        accounts: &impl Fn(&str) -> Option<Arc<Self>>,
    ) -> bool {
        let config = config.filter(|config| config.shares());
        if config.is_none() && self.sharing.share.get().is_none() {
            return false;
        }
        let share = self.sharing.share();
        let before = share.state();
        let streams: Vec<BoundStream> = resolved
            .streams
            .into_iter()
            .filter_map(|import| {
                let exporter = Arc::downgrade(&accounts(&import.exporter)?);
                Some(BoundStream { import, exporter })
            })
            .collect();
        let is_other = streams.len() != before.streams.len()
            || streams.iter().zip(&before.streams).any(|(a, b)| a.import != b.import);
        let mut known: HashMap<&SubjectFilter, Vec<&BoundService>> = HashMap::new();
        for service in &before.services {
            known.entry(&service.import.local).or_default().push(service);
        }
        let mut added = Vec::new();
        let mut services = Vec::with_capacity(resolved.services.len());
        for service in resolved.services {
            let Some(exporter) = accounts(&service.exporter) else { continue };
            let same_place = known.get_mut(&service.local);
            let same = same_place.and_then(|known| {
                let at = known.iter().position(|one| one.is(&service, &exporter))?;
                Some(known.swap_remove(at))
            });
            let bound = match same {
                Some(known) => known.clone(),
                None => {
                    let Some(bound) = self.bind(service, &exporter) else { continue };
                    added.push(Arc::clone(&bound.subscription));
                    bound
                }
            };
            services.push(bound);
        }
        let mut gone: Vec<Arc<Subscription>> =
            known.into_values().flatten().map(|one| Arc::clone(&one.subscription)).collect();
        sort_by(&mut gone, |a, b| a.filter().cmp(b.filter()));
        let (has_streams, has_services) = (!streams.is_empty(), !services.is_empty());
        let state =
            State { config, invalid: resolved.invalid, locals: resolved.locals, streams, services };
        *share.state.lock() = Arc::new(state);
        self.sharing.imports_streams.store(has_streams, Ordering::Release);
        self.sharing.imports_services.store(has_services, Ordering::Release);
        self.remove_linked(&gone);
        added.into_iter().for_each(|subscription| self.add_linked(subscription));
        is_other
    }

    /// Returns the import of a service with a subscription for it.
    fn bind(&self, service: ResolvedService, exporter: &Arc<Self>) -> Option<BoundService> {
        let ResolvedService { export, local, subject, rewrite, share, .. } = service;
        let import = Arc::new(ServiceImport {
            exporter: Arc::downgrade(exporter),
            export,
            local,
            subject,
            rewrite,
            share,
        });
        let endpoint = Arc::clone(&self.context()?.imports);
        let link = Link::Service(Arc::clone(&import) as Arc<dyn Any + Send + Sync>);
        let filter = import.local.as_bytes();
        let subscription = Arc::new(Subscription::linked(endpoint, filter, None, b"", link));
        Some(BoundService { import, subscription })
    }
}

impl BoundService {
    /// Returns true if it is the import of that service.
    fn is(&self, service: &ResolvedService, exporter: &Arc<Account>) -> bool {
        let import = &self.import;
        std::ptr::eq(import.exporter.as_ptr(), Arc::as_ptr(exporter))
            && import.local == service.local
            && import.subject == service.subject
            && import.rewrite == service.rewrite
            && import.share == service.share
            && *import.export == *service.export
    }
}

impl State {
    fn exports(&self) -> &[Export] {
        self.config.as_ref().map_or(&[], |config| &config.exports)
    }

    fn imports(&self) -> &[Import] {
        self.config.as_ref().map_or(&[], |config| &config.imports)
    }

    /// Returns how the response times of an imported service are published.
    fn latency_of(&self, import: &Import, local: &SubjectFilter) -> Option<ServiceLatency> {
        let is_it = |one: &&BoundService| {
            let service = &one.import;
            service.local == *local
                && service
                    .exporter
                    .upgrade()
                    .is_some_and(|exporter| exporter.name == import.account)
                && service.subject == import.subject
        };
        self.services.iter().find(is_it)?.import.export.latency.clone()
    }
}

/// Applies what all accounts share. Returns the accounts that import other streams than before: their subscriptions need
/// other shadows.
pub(super) fn configure_all(accounts: &[Arc<Account>], changes: Vec<Change>) -> Vec<Arc<Account>> {
    let by_name: HashMap<&str, &Arc<Account>> =
        accounts.iter().map(|account| (&*account.name, account)).collect();
    let find = |name: &str| by_name.get(name).map(|account| Arc::clone(account));
    let mut changes: HashMap<Arc<str>, Change> =
        changes.into_iter().map(|change| (Arc::clone(&change.0.name), change)).collect();
    let mut change = |account: &&Arc<Account>| {
        let change = changes.remove(&account.name);
        let (config, resolved) =
            change.map_or_else(Default::default, |(config, resolved)| (Some(config), resolved));
        account.set_shares(config, resolved, &find)
    };
    accounts.iter().filter(|account| change(account)).cloned().collect()
}

/// Applies what some accounts share, likewise.
pub(super) fn configure_some(
    changes: Vec<Change>,
    find: &impl Fn(&str) -> Option<Arc<Account>>,
) -> Vec<Arc<Account>> {
    let change = |(config, resolved): Change| {
        let account = find(&config.name)?;
        account.set_shares(Some(config), resolved, find).then_some(account)
    };
    changes.into_iter().filter_map(change).collect()
}
