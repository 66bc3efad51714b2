//! The other servers of the cluster: which there are, how many members accounts have there, and what they answer.
//!
//! | what | where |
//! | --- | --- |
//! | the servers that have sent events | `../known.rs` |
//! | questions to all servers, and what becomes of the answers | `../questions.rs` |
//! | the subscriptions to their events | this file |
//! | what follows from the events, in one task | `reports.rs` |
//!
//! A server without a cluster has none of this: only clients could send these events.

mod reports;

use std::sync::Arc;

use broker_core::auth::Grant;
use broker_core::{Broker, HandlerSubscription, RawMessage, SubscribeError};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::sender::Sender;
pub(super) use reports::Reports;
use reports::{Answer, Report};

/// The number of events that may wait. Dropped ones are repeated by the other servers. Numbers of members and the end of a
/// server do not wait: an account without members is reported once.
const QUEUED_REPORTS: usize = 4096;

/// The number of answers that may wait: they may be long.
const QUEUED_ANSWERS: usize = 64;

/// The longest event that is looked at: the numbers of an account take a kilobyte.
const MAX_REPORT_BYTES: usize = 16 << 10;

const STATSZ: &str = "STATSZ";
const SERVER: &str = "$SYS.SERVER.";
const LATENCY: &str = "$SYS.LATENCY.M2.";
const MEMBERS: &str = "$SYS.SERVER.ACCOUNT.";

// NATS 2.14: events.go AccountNumConns.
#[derive(Debug, Deserialize)]
struct Members {
    server: Server,
    acc: String,
    #[serde(default)]
    conns: usize,
    #[serde(default)]
    leafnodes: usize,
}

#[derive(Debug, Deserialize)]
struct Server {
    id: String,
}

/// Takes events and answers of other servers without waiting.
pub(super) struct Peers {
    sender: Arc<Sender>,
    reports: mpsc::Sender<Report>,
    answers: mpsc::Sender<Answer>,
    /// `$SYS._INBOX_.<id>`: numbers of members that were asked for.
    members_inbox: String,
}

impl Peers {
    pub(super) fn new(sender: &Arc<Sender>) -> (Arc<Self>, Reports) {
        let (reports, waiting) = mpsc::channel(QUEUED_REPORTS);
        let (answers, answered) = mpsc::channel(QUEUED_ANSWERS);
        let members_inbox = members_inbox(sender.server_id());
        let peers = Self { sender: Arc::clone(sender), reports, answers, members_inbox };
        (Arc::new(peers), Reports::new(Arc::clone(sender), waiting, answered))
    }

    /// Subscribes to what other servers send.
    // NATS 2.14: events.go initEventTracking.
    pub(super) fn subscribe(
        self: &Arc<Self>,
        broker: &Broker,
    ) -> Result<HandlerSubscription, SubscribeError> {
        let filters = [
            format!("{MEMBERS}*.CONNS"),
            format!("{SERVER}*.{STATSZ}"),
            format!("{SERVER}*.SHUTDOWN"),
            format!("{SERVER}*.LAMEDUCK"),
            format!("{}*", self.sender.questions().prefix()),
            broker.remote_latency_subject(),
        ];
        let grant = Grant::anonymous().with_account(broker.system_account());
        let taker = Arc::clone(self);
        let handler = broker
            .handle(grant, &self.members_inbox, None, move |message, _| taker.take(message))?;
        filters.iter().try_for_each(|filter| handler.subscribe(filter, None).map(drop))?;
        Ok(handler)
    }

    /// Notes that a first client has entered an account: others may have members there.
    // NATS 2.14: events.go enableAccountTracking.
    pub(super) fn note_first_member(&self, account: &Arc<str>) {
        self.put(Report::FirstMember(Arc::clone(account)));
    }

    fn take(&self, message: &RawMessage<'_>) {
        let Ok(subject) = std::str::from_utf8(message.subject()) else { return };
        if let Some(number) = self.sender.questions().number_of(subject) {
            let headers = message.headers().to_vec();
            let answer = Answer { number, headers, payload: message.payload().to_vec() };
            if self.answers.try_send(answer).is_err() {
                self.sender.observer().system_counters().note_request_dropped();
            }
            return;
        }
        if subject.starts_with(LATENCY) {
            let payload = message.payload();
            if payload.len() <= MAX_REPORT_BYTES {
                self.put(Report::Latency(payload.to_vec()));
            }
            return;
        }
        if subject == self.members_inbox || subject.starts_with(MEMBERS) {
            let payload = message.payload();
            if payload.len() <= MAX_REPORT_BYTES {
                self.count(payload);
            }
            return;
        }
        let parts = subject.strip_prefix(SERVER).and_then(|rest| rest.split_once('.'));
        let Some((id, what)) = parts.filter(|(id, _)| *id != self.sender.server_id()) else {
            return;
        };
        if what == STATSZ {
            return self.put(Report::Alive(id.to_owned()));
        }
        // The server ends, or is in lame duck mode.
        // NATS 2.14: events.go remoteServerShutdown.
        self.sender.known().forget(id);
        self.sender.observer().broker().forget_remote_server(id);
    }

    /// Notes the numbers of an account's members on another server.
    // NATS 2.14: events.go remoteConnsUpdate.
    fn count(&self, payload: &[u8]) {
        let Members { server, acc, conns, leafnodes } = match serde_json::from_slice(payload) {
            Ok(members) => members,
            Err(error) => {
                let what = "Error unmarshalling account connection event message";
                return tracing::error!("{what}: {error}");
            }
        };
        if server.id != self.sender.server_id() {
            let broker = self.sender.observer().broker();
            broker.set_remote_members(&acc, &server.id, conns, leafnodes);
            self.put(Report::Alive(server.id));
        }
    }

    fn put(&self, report: Report) {
        if self.reports.try_send(report).is_err() {
            self.sender.observer().system_counters().note_request_dropped();
        }
    }
}

/// Returns the subject on which a server takes the numbers of members that it has asked for.
fn members_inbox(server_id: &str) -> String {
    format!("$SYS._INBOX_.{server_id}")
}

#[cfg(test)]
mod tests {
    use broker_core::auth::{Grant, User, Users};

    use super::*;
    use crate::monitor::Observer;

    /// A server with the account `A`, and what takes the events of other servers; nobody handles those that wait.
    async fn server() -> (broker_net::Server, Arc<Peers>, Reports) {
        let users = Users::builder().user(User::new("a", "").account("A")).build().unwrap();
        let server = broker_net::Server::builder().authenticator(users).bind().await.unwrap();
        let _enters = server.broker().client_as(Grant::anonymous().with_account("A"));
        let sender = Arc::new(Sender::new(Observer::of(&server)));
        let (peers, reports) = Peers::new(&sender);
        (server, peers, reports)
    }

    fn take(peers: &Peers, subject: &str, payload: &str) {
        let subject = broker_core::Subject::parse(subject).unwrap();
        peers.take(&RawMessage::new(&subject, payload.as_bytes()));
    }

    fn report(peers: &Peers, count: usize) {
        let payload = format!("{{\"server\":{{\"id\":\"X\"}},\"acc\":\"A\",\"conns\":{count}}}");
        take(peers, "$SYS.SERVER.ACCOUNT.A.CONNS", &payload);
    }

    fn fill(peers: &Peers) {
        for _ in 0..=QUEUED_REPORTS {
            take(peers, "$SYS.SERVER.X.STATSZ", "");
        }
        assert_eq!(peers.reports.capacity(), 0);
    }

    /// It is reported once.
    #[tokio::test]
    async fn that_an_account_has_no_members_any_more_is_noted_though_the_queue_is_full() {
        let (server, peers, _reports) = server().await;
        report(&peers, 5);
        assert_eq!(server.broker().remote_servers_of("A"), 1);
        fill(&peers);
        report(&peers, 0);
        assert_eq!(server.broker().remote_servers_of("A"), 0);
    }

    #[tokio::test]
    async fn the_end_of_a_server_is_noted_though_the_queue_is_full() {
        let (server, peers, _reports) = server().await;
        report(&peers, 5);
        peers.sender.known().note("X", std::time::Instant::now());
        fill(&peers);
        take(&peers, "$SYS.SERVER.X.SHUTDOWN", "");
        assert_eq!(server.broker().remote_servers_of("A"), 0);
        assert_eq!(peers.sender.known().count(), 0);
    }
}
