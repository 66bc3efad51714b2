//! Events on their way from the threads that serve connections to their publication.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use broker_core::account::GLOBAL;
use broker_core::snapshot::{Account, Connection};
use broker_core::system::{Denial, ServiceRequest, SystemEvent, SystemListener};
use broker_core::{Broker, CloseReason};
use tokio::sync::mpsc;

use super::peers::Peers;
use super::requests::Inbox;
use super::sender::{
    ACCOUNT_AUTH_ERROR, Sender, connect_subject, connections_subjects, disconnect_subject,
};

/// The number of events that may wait: those of a storm of logins that takes a second.
const QUEUED_EVENTS: usize = 16_384;

/// The number of events published together. The counters of accounts are read once for them.
const BATCH: usize = 256;

/// The time after a read of the counters of all accounts, in multiples of the time that it took: with very many
/// connections, their events take at most a fifth of one core.
const PAUSE_FACTOR: u32 = 4;

/// An event that waits.
#[derive(Debug)]
enum Queued {
    Connected(Arc<str>, Box<Connection>),
    Disconnected(Arc<str>, Box<Connection>, CloseReason, SystemTime),
    AuthFailed(Arc<str>, Box<Connection>, CloseReason, SystemTime, Option<Box<Denial>>),
    Connections {
        account: Arc<str>,
        connections: usize,
    },
    /// Events have been dropped.
    Lost,
}

/// Takes events without waiting.
#[derive(Debug)]
pub(super) struct Feed {
    sender: Arc<Sender>,
    queue: mpsc::Sender<Queued>,
    lost: Lost,
}

/// The accounts whose numbers of connections were dropped: their last ones are published again. One entry for each account at
/// most.
type Lost = Arc<Mutex<HashSet<Arc<str>>>>;

impl Feed {
    pub(super) fn new(sender: Arc<Sender>) -> (Self, Events) {
        let (queue, waiting) = mpsc::channel(QUEUED_EVENTS);
        let lost = Lost::default();
        let events = Events { sender: Arc::clone(&sender), waiting, lost: Arc::clone(&lost) };
        (Self { sender, queue, lost }, events)
    }

    fn put(&self, event: Queued) {
        if let Err(dropped) = self.queue.try_send(event) {
            self.sender.observer().system_counters().note_event_dropped();
            if let Queued::Connections { account, .. } = dropped.into_inner() {
                self.note_lost(account);
            }
        }
    }

    fn note_lost(&self, account: Arc<str>) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).insert(account);
        // The queue may be empty again. If it is full, the next batch follows.
        let _ = self.queue.try_send(Queued::Lost);
    }

    fn are_connections_wanted(&self, account: &str) -> bool {
        connections_subjects(account).iter().any(|subject| self.sender.is_wanted(subject))
    }

    fn take(&self, event: SystemEvent<'_>) {
        // NATS 2.14: a connection that has not logged in belongs to the global account.
        let or_global = |account: Option<Arc<str>>| account.unwrap_or_else(|| GLOBAL.into());
        match event {
            SystemEvent::Connected(party) => {
                let account = or_global(party.account());
                if self.sender.is_wanted(&connect_subject(&account)) {
                    self.put(Queued::Connected(account, Box::new(party.connection())));
                }
            }
            SystemEvent::Disconnected { connection, reason, .. } => {
                let account = or_global(connection.account.clone());
                if self.sender.is_wanted(&disconnect_subject(&account)) {
                    let connection = Box::new(connection.clone());
                    let now = SystemTime::now();
                    self.put(Queued::Disconnected(account, connection, reason, now));
                }
            }
            SystemEvent::AuthFailed { of, reason, denial } => {
                let account = or_global(of.account());
                let told = denial.map_or(&account, |denial| &denial.account);
                if self.sender.is_wanted(&self.sender.auth_error_subject())
                    || self.sender.is_wanted_in(told, ACCOUNT_AUTH_ERROR)
                {
                    let (connection, now) = (Box::new(of.connection()), SystemTime::now());
                    let denial = denial.cloned().map(Box::new);
                    self.put(Queued::AuthFailed(account, connection, reason, now, denial));
                }
            }
            // NATS 2.14: events.go accConnsUpdate: not for the global account.
            SystemEvent::AccountChanged { account, connections, .. }
                if **account != *GLOBAL && self.are_connections_wanted(account) =>
            {
                self.put(Queued::Connections { account: Arc::clone(account), connections });
            }
            _ => {}
        }
    }
}

/// The receiver of the reports of the core.
pub(super) struct Listener {
    feed: Feed,
    inbox: Arc<Inbox>,
    /// The other servers, in a cluster.
    peers: Option<Arc<Peers>>,
}

impl Listener {
    pub(super) fn new(feed: Feed, inbox: Arc<Inbox>, peers: Option<Arc<Peers>>) -> Self {
        Self { feed, inbox, peers }
    }
}

impl SystemListener for Listener {
    fn notice(&self, event: SystemEvent<'_>) {
        if let (Some(peers), SystemEvent::AccountChanged { account, connections: 1, .. }) =
            (&self.peers, event)
        {
            peers.note_first_member(account);
        }
        self.feed.take(event);
    }

    fn serve(&self, request: &ServiceRequest<'_>) -> bool {
        self.inbox.take_service(request)
    }
}

/// Publishes queued events in their order.
#[derive(Debug)]
pub(super) struct Events {
    sender: Arc<Sender>,
    waiting: mpsc::Receiver<Queued>,
    lost: Lost,
}

impl Events {
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.waiting.recv_many(&mut batch, BATCH).await > 0 {
            let lost =
                std::mem::take(&mut *self.lost.lock().unwrap_or_else(PoisonError::into_inner));
            let counts_needed = !lost.is_empty()
                || batch.iter().any(|one| matches!(one, Queued::Connections { .. }));
            let (accounts, took) = match counts_needed {
                true => accounts(self.sender.observer().broker()).await,
                false => (Vec::new(), Duration::ZERO),
            };
            for event in batch.drain(..) {
                publish(&self.sender, event, &accounts);
            }
            for account in accounts.iter().filter(|account| lost.contains(&*account.name)) {
                publish_last(&self.sender, account);
            }
            tokio::time::sleep(took * PAUSE_FACTOR).await;
        }
    }
}

/// Returns the counters of all accounts, and the time that it took.
pub(super) async fn accounts(broker: &Broker) -> (Vec<Account>, Duration) {
    let broker = broker.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        (broker.accounts(), began.elapsed())
    });
    reading.await.unwrap_or_default()
}

/// Publishes the numbers of connections of all accounts that have some.
pub(super) fn publish_all(sender: &Sender, accounts: &[Account]) {
    for account in accounts {
        if account.connections > 0 && *account.name != *GLOBAL {
            publish_last(sender, account);
        }
    }
}

fn publish_last(sender: &Sender, account: &Account) {
    sender.account_connections(&connections_subjects(&account.name), account, account.connections);
}

fn publish(sender: &Sender, event: Queued, accounts: &[Account]) {
    match event {
        Queued::Connected(account, connection) => sender.connected(&account, &connection),
        Queued::Disconnected(account, connection, reason, at) => {
            sender.disconnected(&account, &connection, reason, at);
        }
        Queued::AuthFailed(account, connection, reason, at, denial) => {
            sender.auth_failed(&account, &connection, reason, at, denial.as_deref());
        }
        Queued::Connections { account, connections } => {
            let known = accounts.binary_search_by(|one| one.name.cmp(&account));
            if let Some(known) = known.ok().and_then(|at| accounts.get(at)) {
                sender.account_connections(&connections_subjects(&account), known, connections);
            }
        }
        Queued::Lost => {}
    }
}

#[cfg(test)]
mod tests {
    use broker_core::auth::{Grant, User, Users};
    use futures_util::FutureExt as _;

    use super::*;
    use crate::monitor::Observer;
    use crate::system::sender::Sender;

    async fn feed() -> (broker_net::Server, Feed, Events) {
        let users = Users::builder().user(User::new("a", "").account("A")).build().unwrap();
        let server = broker_net::Server::builder().authenticator(users).bind().await.unwrap();
        let (feed, events) = Feed::new(Arc::new(Sender::new(Observer::of(&server))));
        (server, feed, events)
    }

    fn change(feed: &Feed, account: &str, connections: usize) {
        let account = account.into();
        feed.take(SystemEvent::AccountChanged { account: &account, connections, leaf_nodes: 0 });
    }

    fn system_client(server: &broker_net::Server) -> broker_core::Client {
        server.broker().client_as(Grant::anonymous().with_account("$SYS"))
    }

    #[tokio::test]
    async fn without_a_subscriber_nothing_is_queued() {
        let (server, feed, events) = feed().await;
        change(&feed, "A", 1);
        assert_eq!(events.waiting.len(), 0);
        let client = system_client(&server);
        let _subscriber = client.subscribe("$SYS.ACCOUNT.*.SERVER.CONNS").await.unwrap();
        change(&feed, "A", 2);
        change(&feed, "$G", 2);
        assert_eq!(events.waiting.len(), 1, "not for the global account");
    }

    /// Between a drop and its note.
    #[tokio::test]
    async fn a_number_that_was_dropped_is_published_though_the_queue_is_empty_again() {
        let (server, feed, events) = feed().await;
        let client = system_client(&server);
        let mut subscriber = client.subscribe("$SYS.SERVER.ACCOUNT.B.CONNS").await.unwrap();
        drop(server.broker().client_as(Grant::anonymous().with_account("B")));
        feed.note_lost("B".into());
        let running = tokio::spawn(events.run());
        let message = tokio::time::timeout(Duration::from_secs(20), subscriber.next()).await;
        let event: serde_json::Value =
            serde_json::from_slice(&message.unwrap().unwrap().payload).unwrap();
        assert_eq!((event["acc"].as_str(), event["conns"].as_u64()), (Some("B"), Some(0)));
        running.abort();
    }

    #[tokio::test]
    async fn a_full_queue_drops_events_and_the_last_numbers_are_published_again() {
        let (server, feed, events) = feed().await;
        let client = system_client(&server);
        let mut subscriber = client.subscribe("$SYS.SERVER.ACCOUNT.*.CONNS").await.unwrap();
        let url = format!("nats://{}", server.local_addr());
        let options = async_nats::ConnectOptions::with_user_and_password("a".into(), "".into());
        let _connected = options.connect(url).await.unwrap();
        for number in 0..QUEUED_EVENTS + 10 {
            change(&feed, "A", number);
        }
        let gone = server.broker().client_as(Grant::anonymous().with_account("B"));
        drop(gone);
        change(&feed, "B", 0);
        assert_eq!(events.waiting.len(), QUEUED_EVENTS);
        assert_eq!(feed.sender.observer().system_counters().events_dropped(), 11);
        drop(feed);
        events.run().await;
        let (mut numbers, mut without) = (Vec::new(), Vec::new());
        while let Some(Some(message)) = subscriber.next().now_or_never() {
            let event: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
            let number = event["conns"].as_u64().unwrap();
            match event["acc"].as_str() {
                Some("A") => numbers.push(number),
                _ => without.push(number),
            }
        }
        assert_eq!(without, [0], "an account without connections");
        assert_eq!(numbers.len(), QUEUED_EVENTS + 1);
        assert_eq!(numbers.iter().filter(|number| **number == 1).count(), 2, "queued, and again");
        let last = QUEUED_EVENTS as u64 - 1;
        assert_eq!(numbers.iter().max(), Some(&last), "in the order of the queue");
    }
}
