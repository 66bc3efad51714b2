//! The system account: events of the server, and requests to it over NATS.
//!
//! | what | where |
//! | --- | --- |
//! | the JSON of events | `events.rs` |
//! | events on their way: a bounded queue and one task | `feed.rs` |
//! | the periodic ones: STATSZ, connections of accounts | `timers.rs` |
//! | other servers of the cluster: their events, and questions to them | `peers/` |
//! | requests: subjects, options, answers | `requests/` |
//!
//! The core reports what happens, and to whom nobody listens it is forgotten at once: an event is only queued if its
//! subject has a receiver. The queue is bounded, and a login never waits for it. Answers are the data of the
//! monitoring endpoints ([`crate::monitor`]), generated one at a time off the threads that serve clients.

mod events;
mod feed;
mod ids;
mod known;
mod peers;
mod questions;
mod recipient;
mod requests;
mod sender;
mod statsz;
mod timers;

use std::sync::Arc;

use broker_core::SubscribeError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::monitor::Observer;
use feed::Feed;
use peers::Peers;
use requests::{Inbox, Subscriptions};
use sender::Sender;

pub use requests::{ReloadRequest, ReloadRequests};

/// The events and the requests of one server's system account, until it is dropped.
///
/// Subscribers in the system account, on the wire or in the process, get the events.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use broker_bin::monitor::Observer;
/// use broker_bin::system::SystemAccount;
/// use broker_core::auth::Grant;
///
/// let server = broker_net::Server::builder().bind().await?;
/// let system = SystemAccount::start(&Observer::of(&server))?;
///
/// let client = server.broker().client_as(Grant::anonymous().with_account("$SYS"));
/// let mut events = client.subscribe("$SYS.SERVER.*.SHUTDOWN").await?;
/// let answer = client.request("$SYS.REQ.SERVER.PING.IDZ", "".into()).await?;
/// assert!(answer.payload.starts_with(b"{\"name\":"));
///
/// drop(system);
/// assert!(events.next().await.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct SystemAccount {
    sender: Arc<Sender>,
    tasks: Vec<JoinHandle<()>>,
    /// Ended by the drop.
    _subscriptions: (Subscriptions, Option<Subscriptions>),
}

impl SystemAccount {
    /// Publishes the events of the observed server from now on, and answers requests to it. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// Returns an error if the server's id is no token of a subject, which does not happen.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn start(observer: &Observer) -> Result<Self, SubscribeError> {
        Self::open(observer, None)
    }

    /// As [`Self::start`], for a program that reloads its configuration when it is asked to.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    ///
    /// # Panics
    ///
    /// As [`Self::start`].
    pub fn start_with_reloads(
        observer: &Observer,
    ) -> Result<(Self, ReloadRequests), SubscribeError> {
        let (reloads, requests) = ReloadRequests::new();
        Ok((Self::open(observer, Some(reloads))?, requests))
    }

    fn open(
        observer: &Observer,
        reloads: Option<mpsc::Sender<ReloadRequest>>,
    ) -> Result<Self, SubscribeError> {
        let sender = Arc::new(Sender::new(observer.clone()));
        let (feed, events) = Feed::new(Arc::clone(&sender));
        let (inbox, work) = Inbox::new(Arc::clone(&sender), reloads);
        let subscriptions = Subscriptions::open(observer.broker(), &inbox)?;
        let mut tasks = vec![tokio::spawn(events.run()), tokio::spawn(timers::run(&sender))];
        tasks.extend(work.spawn());
        let (mut peers, mut events_of_peers) = (None, None);
        if observer.broker().cluster().is_some() {
            let (taker, reports) = Peers::new(&sender);
            events_of_peers = Some(Subscriptions::new(taker.subscribe(observer.broker())?));
            tasks.push(tokio::spawn(reports.run()));
            peers = Some(taker);
        }
        let listener = feed::Listener::new(feed, inbox, peers);
        observer.broker().set_system_listener(Some(Box::new(listener)));
        observer.update_facts(|facts| facts.answers_requests = true);
        Ok(Self { sender, tasks, _subscriptions: (subscriptions, events_of_peers) })
    }

    /// Publishes that the server has entered lame duck mode.
    pub fn announce_lame_duck(&self) {
        self.sender.announce("LAMEDUCK");
    }
}

/// Publishes that the server ends, as the last event.
impl Drop for SystemAccount {
    fn drop(&mut self) {
        self.sender.observer().broker().set_system_listener(None);
        self.tasks.iter().for_each(JoinHandle::abort);
        self.sender.announce("SHUTDOWN");
    }
}
