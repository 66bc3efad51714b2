//! The effects of events of other servers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::members_inbox;
use crate::system::sender::Sender;
use crate::system::statsz;

/// The interval in which servers without a route are forgotten.
const SWEEP: Duration = Duration::from_secs(1);

/// The number of accounts whose members are asked for when a server is new: those of others are reported within 30
/// seconds, or when their first client arrives here.
const ASKED_ACCOUNTS: usize = 1024;

/// A report of another server, or an event here.
#[derive(Debug)]
pub(super) enum Report {
    /// The response time of a service that a client of another server offers.
    Latency(Vec<u8>),
    /// Statistics or numbers of members, which show that the server is there.
    Alive(String),
    /// A first client has entered an account here.
    FirstMember(Arc<str>),
}

/// An answer to a question.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) number: u64,
    pub(super) headers: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

// NATS 2.14: events.go accNumConnsReq.
#[derive(Serialize)]
struct MembersRequest<'a> {
    server: broker_core::ServerInfo,
    acc: &'a str,
}

/// The reports that wait.
#[derive(Debug)]
pub(in crate::system) struct Reports {
    sender: Arc<Sender>,
    waiting: mpsc::Receiver<Report>,
    answered: mpsc::Receiver<Answer>,
}

impl Reports {
    pub(super) fn new(
        sender: Arc<Sender>,
        waiting: mpsc::Receiver<Report>,
        answered: mpsc::Receiver<Answer>,
    ) -> Self {
        Self { sender, waiting, answered }
    }

    pub(in crate::system) async fn run(mut self) {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                report = self.waiting.recv() => match report {
                    Some(report) => self.handle(report),
                    None => return,
                },
                Some(answer) = self.answered.recv() => self.pass_on(&answer),
                _ = sweep.tick() => self.sweep(),
            }
        }
    }

    fn handle(&self, report: Report) {
        let broker = self.sender.observer().broker();
        match report {
            Report::Alive(id) => self.note(&id),
            // NATS 2.14: events.go remoteLatencyUpdate.
            Report::Latency(payload) => {
                if let Err(error) = broker.take_remote_latency(&payload) {
                    tracing::error!("Error unmarshalling remote latency measurement: {error}");
                }
            }
            Report::FirstMember(account) => self.ask_for_members(&account),
        }
    }

    /// Notes an event of a server. A new one is told of this one at once.
    // NATS 2.14: events.go processNewServer.
    fn note(&self, id: &str) {
        if self.sender.known().note(id, Instant::now()) {
            let sender = Arc::clone(&self.sender);
            drop(tokio::task::spawn_blocking(move || statsz::publish(&sender)));
            let accounts = self.sender.observer().broker().accounts();
            let used = accounts.iter().filter(|account| account.connections > 0);
            used.take(ASKED_ACCOUNTS).for_each(|account| self.ask_for_members(&account.name));
        }
    }

    /// Asks other servers for the numbers of an account's members.
    // NATS 2.14: events.go enableAccountTracking.
    fn ask_for_members(&self, account: &str) {
        let server = self.sender.observer().broker().server_info();
        let subject = format!("$SYS.REQ.ACCOUNT.{account}.CONNS");
        let reply = members_inbox(self.sender.server_id());
        self.sender.ask(&subject, &reply, &[], &MembersRequest { server, acc: account });
    }

    fn pass_on(&self, answer: &Answer) {
        let Some(to) = self.sender.questions().take(answer.number, &answer.payload) else { return };
        to.pass_on(self.sender.observer().broker(), &answer.headers, &answer.payload);
    }

    fn sweep(&self) {
        let routes = self.sender.observer().routes();
        let has_route = |id: &str| routes.iter().any(|route| route.remote_id == id);
        for id in self.sender.known().sweep(Instant::now(), has_route) {
            tracing::debug!("Detected orphan remote server: {id:?}");
            self.sender.observer().broker().forget_remote_server(&id);
        }
    }
}
