//! Publication of events, and of answers to requests.

use std::sync::Arc;
use std::time::SystemTime;

use broker_core::snapshot::{Account, Connection};
use broker_core::system::Denial;
use broker_core::{CloseReason, RawMessage, Subject, Timestamp, go_json};
use serde::Serialize;

use super::events::{
    ACCOUNT_CONNECTIONS, AccountConnections, CONNECT, Client, Connect, DISCONNECT, Disconnect, Head,
};
use super::ids::EventIds;
use super::known::Known;
use super::questions::Questions;
use crate::monitor::{AccountStat, MessagesAndBytes, Observer};

/// Publishes as the server, for the account that is concerned or in the system account.
#[derive(Debug)]
pub(super) struct Sender {
    observer: Observer,
    ids: EventIds,
    system_account: Arc<str>,
    server_id: String,
    known: Known,
    questions: Questions,
}

impl Sender {
    pub(super) fn new(observer: Observer) -> Self {
        let (system_account, server_id) =
            (observer.broker().system_account(), observer.server_id());
        let (ids, known, questions) = (EventIds::new(), Known::default(), Questions::new());
        Self { observer, ids, system_account, server_id, known, questions }
    }

    pub(super) fn observer(&self) -> &Observer {
        &self.observer
    }

    pub(super) fn server_id(&self) -> &str {
        &self.server_id
    }

    /// The other servers.
    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    /// The open questions to other servers.
    pub(super) fn questions(&self) -> &Questions {
        &self.questions
    }

    pub(super) fn system_account(&self) -> &Arc<str> {
        &self.system_account
    }

    /// Returns true if an event on that subject of the system account would have a receiver.
    pub(super) fn is_wanted(&self, subject: &str) -> bool {
        self.is_wanted_in(&self.system_account, subject)
    }

    pub(super) fn is_wanted_in(&self, account: &str, subject: &str) -> bool {
        let subject = Subject::parse(subject);
        subject.is_ok_and(|subject| self.observer.broker().has_receivers(account, &subject))
    }

    /// Publishes in the system account.
    pub(super) fn publish(&self, subject: &str, value: &impl Serialize) {
        self.publish_in(&self.system_account, subject, value);
    }

    pub(super) fn publish_in(&self, account: &str, subject: &str, value: &impl Serialize) {
        if let (Ok(subject), Ok(body)) = (Subject::parse(subject), go_json::compact(value)) {
            let message = RawMessage::new(&subject, &body);
            self.observer.broker().publish_from_server(account, &message);
        }
    }

    /// Publishes a request in the system account.
    pub(super) fn ask(&self, subject: &str, reply: &str, headers: &[u8], value: &impl Serialize) {
        if let Ok(body) = go_json::compact(value) {
            self.ask_raw(subject, reply, headers, &body);
        }
    }

    /// Publishes a request in the system account, whose body is JSON already.
    pub(super) fn ask_raw(&self, subject: &str, reply: &str, headers: &[u8], body: &[u8]) {
        if let (Ok(subject), Ok(reply)) = (Subject::parse(subject), Subject::parse(reply)) {
            let message = RawMessage::new(&subject, body).with_reply(&reply).with_headers(headers);
            self.observer.broker().publish_from_server(&self.system_account, &message);
        }
    }

    /// Publishes an event that only describes the server, if it has a subscriber.
    // NATS 2.14: events.go sendShutdownEvent.
    pub(super) fn announce(&self, what: &str) {
        let subject = format!("$SYS.SERVER.{}.{what}", self.server_id);
        if self.is_wanted(&subject) {
            self.publish(&subject, &self.observer.broker().server_info());
        }
    }

    // NATS 2.14: events.go accountConnectEvent.
    pub(super) fn connected(&self, account: &str, connection: &Connection) {
        let head = self.head(CONNECT, SystemTime::now());
        let server = self.observer.broker().server_info();
        let client = self.client(account, connection);
        self.publish(&connect_subject(account), &Connect { head, server, client });
    }

    // NATS 2.14: events.go accountDisconnectEvent.
    pub(super) fn disconnected(
        &self,
        account: &str,
        connection: &Connection,
        reason: CloseReason,
        at: SystemTime,
    ) {
        let event = self.disconnect(account, connection, reason, at);
        self.publish(&disconnect_subject(account), &event);
    }

    /// Reports refused credentials to operators, and to the owners of the account: that of the service, if one was asked.
    // NATS 2.14: events.go sendAuthErrorEvent, sendAccountAuthErrorEvent; auth.go processClientOrLeafAuthentication.
    pub(super) fn auth_failed(
        &self,
        account: &str,
        connection: &Connection,
        reason: CloseReason,
        at: SystemTime,
        denial: Option<&Denial>,
    ) {
        let told = denial.map_or(account, |denial| &*denial.account);
        if self.is_wanted_in(told, ACCOUNT_AUTH_ERROR) {
            let mut event = self.disconnect(told, connection, reason, at);
            if let Some(reason) = denial.and_then(|denial| denial.reason.clone()) {
                event.reason = reason;
            }
            self.publish_in(told, ACCOUNT_AUTH_ERROR, &event);
        }
        let subject = self.auth_error_subject();
        if self.is_wanted(&subject) {
            self.publish(&subject, &self.disconnect(account, connection, reason, at));
        }
    }

    /// Returns the subject of refused credentials.
    pub(super) fn auth_error_subject(&self) -> String {
        format!("$SYS.SERVER.{}.CLIENT.AUTH.ERR", self.server_id)
    }

    /// Publishes the number of an account's connections. `connections`: their number at the time of the event.
    // NATS 2.14: events.go sendAccConnsUpdate.
    pub(super) fn account_connections(
        &self,
        subjects: &[String],
        account: &Account,
        connections: usize,
    ) {
        let id = self.ids.next();
        let now = SystemTime::now();
        for subject in subjects.iter().filter(|subject| self.is_wanted(subject)) {
            let head =
                Head { kind: ACCOUNT_CONNECTIONS, id: id.clone(), timestamp: Timestamp(now) };
            let server = self.observer.broker().server_info();
            let stat = AccountStat::with_connections(account, connections);
            self.publish(subject, &AccountConnections { head, server, stat });
        }
    }

    fn disconnect(
        &self,
        account: &str,
        connection: &Connection,
        reason: CloseReason,
        at: SystemTime,
    ) -> Disconnect {
        let traffic = connection.traffic;
        Disconnect {
            head: self.head(DISCONNECT, at),
            server: self.observer.broker().server_info(),
            client: self.client(account, connection).ended(connection, Timestamp(at)),
            sent: MessagesAndBytes { msgs: traffic.in_messages, bytes: traffic.in_bytes },
            received: MessagesAndBytes { msgs: traffic.out_messages, bytes: traffic.out_bytes },
            reason: reason.to_string(),
        }
    }

    fn head(&self, kind: &'static str, at: SystemTime) -> Head {
        Head { kind, id: self.ids.next(), timestamp: Timestamp(at) }
    }

    fn client(&self, account: &str, connection: &Connection) -> Client {
        Client::new(connection, account, self.observer.now().at(connection.since))
    }
}

/// The subject of refused credentials in the account that the client belongs to.
pub(super) const ACCOUNT_AUTH_ERROR: &str = "$SYS.ACCOUNT.CLIENT.AUTH.ERR";

pub(super) fn connect_subject(account: &str) -> String {
    format!("$SYS.ACCOUNT.{account}.CONNECT")
}

pub(super) fn disconnect_subject(account: &str) -> String {
    format!("$SYS.ACCOUNT.{account}.DISCONNECT")
}

/// Returns the subjects of the number of connections: the old one, which other servers still use, and the new one.
pub(super) fn connections_subjects(account: &str) -> [String; 2] {
    [format!("$SYS.SERVER.ACCOUNT.{account}.CONNS"), format!("$SYS.ACCOUNT.{account}.SERVER.CONNS")]
}
