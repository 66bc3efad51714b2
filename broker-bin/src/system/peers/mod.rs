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
use tokio::sync::mpsc;

use super::sender::Sender;
pub(super) use reports::Reports;
use reports::{Answer, Report};

/// The number of events that may wait. Dropped ones are repeated by the other servers.
const QUEUED_REPORTS: usize = 4096;

/// The number of answers that may wait: they may be long.
const QUEUED_ANSWERS: usize = 64;

/// The longest event that is looked at: the numbers of an account take a kilobyte.
const MAX_REPORT_BYTES: usize = 16 << 10;

const STATSZ: &str = "STATSZ";
const SERVER: &str = "$SYS.SERVER.";
const LATENCY: &str = "$SYS.LATENCY.M2.";
const MEMBERS: &str = "$SYS.SERVER.ACCOUNT.";

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
                self.put(Report::Members(payload.to_vec()));
            }
            return;
        }
        let parts = subject.strip_prefix(SERVER).and_then(|rest| rest.split_once('.'));
        let Some((id, what)) = parts.filter(|(id, _)| *id != self.sender.server_id()) else {
            return;
        };
        let id = id.to_owned();
        self.put(if what == STATSZ { Report::Alive(id) } else { Report::Ended(id) });
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
