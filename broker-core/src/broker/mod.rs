//! The broker: the handle that programs and transports hold.

mod observe;
#[cfg(feature = "testing")]
mod probing;

use std::time::Instant;

use crate::auth::{Authenticator, Grant, NoAuth};
use crate::clock::Clock;
use crate::endpoint::{AckGuard, Applied, Scratch, WriteHandle};
use crate::error::CloseReason;
use crate::latency::Latencies;
use crate::options::Options;
use crate::proto::Info;
use crate::security::Security;
use crate::session::client::{Arrival, ClientSession};
use crate::session::local::Client;
use crate::shared::{ChangeReport, Shared};
use crate::stats::Stats;
use crate::subject_counts::SubjectCount;
use crate::sync::{Arc, Ordering};

/// A message broker without sockets.
///
/// Cheap to clone; all clones are one broker. It lives as long as any of them, or any session, does.
///
/// ```
/// use broker_core::{Broker, Options};
///
/// let broker = Broker::new(Options::default(), (std::time::Instant::now, std::time::SystemTime::now));
/// let client = broker.client();
/// # futures_executor::block_on(async {
/// let mut orders = client.subscribe("orders.*").await?;
/// client.publish("orders.eu", "one".into()).await?;
/// assert_eq!(orders.next().await.unwrap().payload, "one");
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Broker {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Broker {
    /// A broker that lets everybody in.
    pub fn new(options: Options, clock: impl Clock) -> Self {
        Self::with_authenticator(options, clock, NoAuth)
    }

    /// A broker that asks `authenticator` who may come in.
    pub fn with_authenticator(
        options: Options,
        clock: impl Clock,
        authenticator: impl Authenticator,
    ) -> Self {
        Self { shared: Arc::new(Shared::new(options, Arc::new(clock), Box::new(authenticator))) }
    }

    /// What the server says of itself.
    pub fn info(&self) -> Info {
        Info::clone(&self.shared.info.load())
    }

    /// Changes what the server says of itself, to all clients that come from now on.
    pub fn update_info(&self, change: impl Fn(&mut Info)) {
        self.shared.info.rcu(|info| {
            let mut info = Info::clone(info);
            change(&mut info);
            info
        });
    }

    /// Must a client show who it is?
    pub fn is_auth_required(&self) -> bool {
        self.shared.authenticator.load().is_required()
    }

    /// What it was told.
    pub fn options(&self) -> Options {
        Options::clone(&self.shared.options.load())
    }

    /// Tells it something else: see [`Self::apply`].
    pub fn update_options(&self, change: impl FnOnce(&mut Options)) -> ChangeReport {
        let change = |options: &mut Options, _: &mut Option<_>| change(options);
        self.shared.apply(change)
    }

    /// Has somebody else decide who may be here, from now on and of those who are here: see
    /// [`Self::apply`].
    pub fn set_authenticator(&self, authenticator: impl Authenticator) -> ChangeReport {
        self.shared.apply(|_, next| *next = Some(Box::new(authenticator)))
    }

    /// Changes what the broker was told, and if there is one also who decides who may be here, for
    /// those who are here as for those who come.
    ///
    /// - Limits on control lines, payloads, PINGs and subscriptions, and tracing, hold at once for
    ///   everybody; limits on queues and headers only for connections that come from now on, as in
    ///   nats-server. Name and seed stay what they were. What INFO says of payloads goes along; nobody
    ///   is sent another INFO.
    /// - If there are more connections than may be, the newest are cut, and told so. (nats-server cuts
    ///   any.)
    /// - The authenticator [reviews](Authenticator::review) every client. Those it denies are cut.
    ///   Those who may do something else now lose the subscriptions that they may not have any more,
    ///   and are told so. The others notice nothing. In-process clients keep what they were given.
    pub fn apply(
        &self,
        options: Options,
        authenticator: Option<Arc<dyn Authenticator>>,
    ) -> ChangeReport {
        self.shared.apply(|now, next| {
            *now = options;
            *next = authenticator.map(|authenticator| Box::new(authenticator) as Box<_>);
        })
    }

    /// An in-process client in the account `$G`, who may do everything.
    pub fn client(&self) -> Client {
        self.client_as(Grant::anonymous())
    }

    /// An in-process client who may do what `grant` says, in the account it says.
    pub fn client_as(&self, grant: Grant) -> Client {
        Client::new(Arc::clone(&self.shared), grant)
    }

    /// Takes in a connection of the wire protocol, whose bytes go out by `write_handle`.
    pub fn open(
        &self,
        arrival: Arrival,
        write_handle: Box<dyn WriteHandle>,
        now: Instant,
        scratch: &mut Scratch,
    ) -> ClientSession {
        ClientSession::open(Arc::clone(&self.shared), arrival, write_handle, now, scratch)
    }

    /// Says that the broker will go: to all clients that can be told, at once or as soon as they can be,
    /// by an INFO with `ldm`, and without further addresses. From now on it is noted who waits for which
    /// answers, for the time when they must [leave](Self::retire).
    pub fn announce_end(&self) -> Applied {
        let _changing = self.shared.changing.lock();
        self.update_info(|info| {
            info.ldm = true;
            info.connect_urls.clear();
        });
        let (ack, applied) = AckGuard::new();
        for endpoint in self.shared.endpoints() {
            if endpoint.control.leave(Some(&ack), |control| control.end = true) {
                endpoint.destination.wake();
            }
        }
        applied
    }

    /// The numbers of all connections, in the order in which they should leave: those first that only
    /// ask, so that those who are asked are there for them. Call [`Self::announce_end`] some time before.
    pub fn lame_duck_order(&self) -> LameDuckOrder {
        let mut order = LameDuckOrder::default();
        for endpoint in self.shared.endpoints() {
            if endpoint.kind.is_client_connection() {
                let is_service = endpoint.is_service.load(Ordering::Relaxed);
                let part = if is_service { &mut order.services } else { &mut order.others };
                part.push(endpoint.id);
            }
        }
        order.others.sort_unstable();
        order.services.sort_unstable();
        order
    }

    /// Has a connection leave as soon as no request is lost by it, or as soon as that has taken too long.
    /// False if there is none of that number.
    pub fn retire(&self, id: u64) -> bool {
        let endpoint = self.shared.endpoint(id);
        let Some(endpoint) = endpoint else { return false };
        let is_told =
            endpoint.control.leave(None, |control| (control.end, control.leave) = (true, true));
        if is_told {
            endpoint.destination.wake();
        }
        is_told
    }

    /// Ends all connections, once what waits for them has left, and the subscriptions of in-process
    /// clients, once it is read. Nothing more is delivered to them.
    pub fn finish_all(&self, reason: CloseReason) {
        for endpoint in self.shared.endpoints() {
            endpoint.destination.finish(reason);
        }
    }

    /// Cuts a connection. False if there is none of that number.
    pub fn kick(&self, id: u64) -> bool {
        let endpoint = self.shared.endpoint(id);
        endpoint.is_some_and(|endpoint| {
            endpoint.destination.close(CloseReason::Kicked);
            true
        })
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// How a connection is secured. `None` if it is not, or there is none of that number.
    pub fn security(&self, id: u64) -> Option<Arc<Security>> {
        self.shared.endpoint(id)?.security.load_full()
    }

    /// Counts of the whole broker, added up now.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// What was counted for [the filters](Options::counted_subjects) that it was asked about, in their
    /// order.
    pub fn counted_subjects(&self) -> Vec<SubjectCount> {
        let subjects = self.shared.counted_subjects.as_ref();
        subjects.map(|subjects| subjects.counts()).unwrap_or_default()
    }

    /// How long messages were on their way, since the broker began.
    pub fn latencies(&self) -> Latencies {
        Latencies {
            publish_to_flush: self.shared.flushes.histogram(),
            queue_wait: self.shared.queues.waits.histogram(),
        }
    }
}

/// Who should leave when.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LameDuckOrder {
    /// Those first.
    pub others: Vec<u64>,
    /// Those who may be asked things after them, and once they are gone.
    pub services: Vec<u64>,
}
