//! The broker: the handle used by programs and transports.

mod accounts;
mod cluster;
mod observe;
#[cfg(feature = "testing")]
mod probing;
mod system;

pub use system::LameDuckInfoError;

use std::time::Instant;

use crate::auth::{Authenticator, Grant, NoAuth};
use crate::clock::Clock;
use crate::endpoint::{AckGuard, Applied, Kind, Scratch, WriteHandle};
use crate::error::CloseReason;
use crate::latency::Latencies;
use crate::message::RawMessage;
use crate::options::Options;
use crate::proto::Info;
use crate::security::Security;
use crate::server_info::ServerInfo;
use crate::session::client::{Arrival, ClientSession};
use crate::session::handler::{HandlerContext, HandlerSubscription};
use crate::session::local::{Client, SubscribeError};
use crate::shared::{ChangeReport, QuestionStats, Shared};
use crate::stats::Stats;
use crate::subject_counts::SubjectCount;
use crate::sync::{Arc, Ordering};

pub use accounts::WeakBroker;

/// A message broker without sockets.
///
/// Cheap to clone; all clones are one broker. It exists as long as any clone or session of it.
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
    /// Creates a broker without authentication.
    pub fn new(options: Options, clock: impl Clock) -> Self {
        Self::with_authenticator(options, clock, NoAuth)
    }

    /// Creates a broker that authenticates clients with `authenticator`.
    pub fn with_authenticator(
        options: Options,
        clock: impl Clock,
        authenticator: impl Authenticator,
    ) -> Self {
        Self { shared: Arc::new(Shared::new(options, Arc::new(clock), Box::new(authenticator))) }
    }

    /// Returns the INFO sent to clients.
    pub fn info(&self) -> Info {
        Info::clone(&self.shared.info.load())
    }

    /// Changes the INFO for all clients that connect from now on. Other servers of the cluster are told whether this one has
    /// JetStream, and its domain, if it is called before [`Self::start_cluster`].
    pub fn update_info(&self, change: impl Fn(&mut Info)) {
        self.shared.info.rcu(|info| {
            let mut info = Info::clone(info);
            change(&mut info);
            info
        });
        if let Some(cluster) = self.cluster() {
            let info = self.shared.info.load();
            cluster.set_jetstream(info.jetstream, &info.domain);
        }
    }

    /// Describes the server for one event, with the next sequence number and the time of the broker's clock.
    pub fn server_info(&self) -> ServerInfo {
        self.shared.server_info()
    }

    /// Returns true if clients must authenticate.
    pub fn is_auth_required(&self) -> bool {
        self.shared.authenticator.load().is_required()
    }

    /// Returns the options in force.
    pub fn options(&self) -> Options {
        Options::clone(&self.shared.options.load())
    }

    /// Changes the options: see [`Self::apply`].
    pub fn update_options(&self, change: impl FnOnce(&mut Options)) -> ChangeReport {
        let change = |options: &mut Options, _: &mut Option<_>| change(options);
        self.shared.apply(change)
    }

    /// Replaces the authenticator, which then reviews the clients that are connected: see [`Self::apply`].
    pub fn set_authenticator(&self, authenticator: impl Authenticator) -> ChangeReport {
        self.shared.apply(|_, next| *next = Some(Box::new(authenticator)))
    }

    /// Replaces the options, and the authenticator if one is given, for connected and future
    /// clients.
    ///
    /// - Limits on control lines, payloads, PINGs and subscriptions, and tracing, take effect at once for
    ///   every connection; limits on queues and headers only for new connections, as in nats-server. Name
    ///   and seed are kept. INFO shows the new payload limit; no INFO is sent for it.
    /// - If there are more connections than `max_connections` allows, of the broker or of an account, the newest are
    ///   closed with an error. (nats-server closes any.)
    /// - Accounts that are no longer [configured](Options::accounts) are removed: their connections are closed, the
    ///   subscriptions of in-process clients end. An authenticator that names one creates it again. Limits of the
    ///   others take effect at once.
    /// - The authenticator [reviews](Authenticator::review) every client. A client that it denies is closed.
    ///   A client whose permissions have changed loses the subscriptions that they no longer allow, each
    ///   with an error. Other clients are not affected. In-process clients keep their grant.
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

    /// Returns an in-process client in the account `$G`, without restrictions.
    pub fn client(&self) -> Client {
        self.client_as(Grant::anonymous())
    }

    /// Returns an in-process client with the account and the permissions of `grant`.
    pub fn client_as(&self, grant: Grant) -> Client {
        Client::new(Arc::clone(&self.shared), grant)
    }

    /// Subscribes a handler: a function that is called with each message to `filter`, as a member of a queue group
    /// if one is named, with the account and the permissions of `grant`.
    ///
    /// The thread that delivers a message calls the handler with it at the end of its call into the broker, when
    /// nothing is locked; so a handler must not block. It publishes and answers through its
    /// [`HandlerContext`](crate::HandlerContext), also to itself, and is never called twice at the same time: while
    /// one thread runs it, messages of other threads wait in its queue. A full queue
    /// ([`limits::HANDLER_QUEUE_MESSAGES`](crate::limits::HANDLER_QUEUE_MESSAGES)) drops further messages, and a message
    /// for which [`limits::HANDLER_HOPS`](crate::limits::HANDLER_HOPS) handlers in a row have published reaches no
    /// further handler; both are [counted](HandlerSubscription::dropped).
    ///
    /// If the handler panics, its message is lost and [counted](HandlerSubscription::panics). The publisher is not
    /// affected, and the handler is called with the next message.
    ///
    /// ```
    /// # use broker_core::{Broker, Options};
    /// # use broker_core::auth::Grant;
    /// # futures_executor::block_on(async {
    /// # let broker = Broker::new(Options::default(), (std::time::Instant::now, std::time::SystemTime::now));
    /// let doubling = broker.handle(Grant::anonymous(), "double.*", None, |request, context| {
    ///     let answer = [request.payload(), request.payload()].concat();
    ///     let _ = context.respond(request, &answer);
    /// })?;
    /// let answer = broker.client().request("double.it", "ab".into()).await?;
    /// assert_eq!(answer.payload, "abab");
    ///
    /// drop(doubling);
    /// assert!(broker.client().request("double.it", "ab".into()).await.is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`SubscribeError`].
    pub fn handle<F>(
        &self,
        grant: Grant,
        filter: impl AsRef<[u8]>,
        queue_group: Option<&str>,
        handler: F,
    ) -> Result<HandlerSubscription, SubscribeError>
    where
        F: FnMut(&RawMessage<'_>, &mut HandlerContext<'_>) + Send + 'static,
    {
        let subscription =
            HandlerSubscription::open(&self.shared, grant, Kind::Internal, None, handler);
        subscription.subscribe(filter, queue_group)?;
        Ok(subscription)
    }

    /// Opens the session of a client connection. The session writes through `write_handle`.
    pub fn open(
        &self,
        arrival: Arrival,
        write_handle: Box<dyn WriteHandle>,
        now: Instant,
        scratch: &mut Scratch,
    ) -> ClientSession {
        ClientSession::open(Arc::clone(&self.shared), arrival, write_handle, now, scratch)
    }

    /// Announces lame duck mode: clients that understand it get an INFO with `ldm` and the `connect_urls` of the other
    /// servers of its cluster, at once or after their first PONG. The other servers are told, too. From now on sessions track open requests, so that
    /// [`Self::retire`] loses none.
    pub fn announce_end(&self) -> Applied {
        let _changing = self.shared.changing.lock();
        self.shared.announce_end_to_cluster();
        let (ack, applied) = AckGuard::new();
        for endpoint in self.shared.endpoints() {
            if endpoint.control.leave(Some(&ack), |control| control.end = true) {
                endpoint.destination.wake();
            }
        }
        applied
    }

    /// Returns the ids of all connections in the order in which to [retire](Self::retire) them: requesters
    /// before the services that answer them. Call [`Self::announce_end`] some time before.
    pub fn lame_duck_order(&self) -> LameDuckOrder {
        let mut order = LameDuckOrder::default();
        for endpoint in self.shared.endpoints() {
            if endpoint.kind.is_client_connection() {
                let is_service = endpoint.is_service.load(Ordering::Relaxed);
                let part = if is_service { &mut order.services } else { &mut order.others };
                part.push(endpoint.id);
            }
        }
        order
    }

    /// Closes a connection as soon as no request is open on it, or when that takes too long. Returns false if
    /// there is no connection with this id.
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

    /// Closes all connections once their queues are written, and the subscriptions of in-process clients once
    /// they are read. Nothing more is delivered to them.
    pub fn finish_all(&self, reason: CloseReason) {
        for endpoint in self.shared.endpoints() {
            endpoint.destination.finish(reason);
        }
    }

    /// Closes a connection. Returns false if there is none with this id.
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

    /// Returns the TLS parameters of a connection; `None` without TLS, or if there is none with this id.
    pub fn security(&self, id: u64) -> Option<Arc<Security>> {
        self.shared.endpoint(id)?.security.load_full()
    }

    /// Returns the totals of the broker.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Returns the counts for [`Options::counted_subjects`], in their order.
    pub fn counted_subjects(&self) -> Vec<SubjectCount> {
        let subjects = self.shared.counted_subjects.as_ref();
        subjects.map(|subjects| subjects.counts()).unwrap_or_default()
    }

    /// Frees memory of queues that was not used since the last call. Call it
    /// regularly, for example every ten seconds: the memory that a flood has left is freed after two calls.
    pub fn free_unused_memory(&self) {
        self.shared.queues.memory.free_unused();
    }

    /// Returns the counts of the questions that authenticators have asked over the broker.
    pub fn question_stats(&self) -> QuestionStats {
        self.shared.question_stats()
    }

    /// Returns histograms of message latencies since the creation of the broker.
    pub fn latencies(&self) -> Latencies {
        Latencies {
            publish_to_flush: self.shared.flushes.histogram(),
            queue_wait: self.shared.queues.waits.histogram(),
        }
    }
}

/// The order in which connections are closed in lame duck mode.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LameDuckOrder {
    /// Connections that offer no service; closed first.
    pub others: Vec<u64>,
    /// Connections that may receive requests; closed after all others.
    pub services: Vec<u64>,
}
