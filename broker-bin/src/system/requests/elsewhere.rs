//! Requests that the other servers of the cluster have to answer too.

use std::sync::Arc;
use std::time::Duration;

use broker_core::SubjectFilter;
use serde::Serialize;
use tokio::sync::oneshot;

use super::answers;
use super::service::{AccountService, Service};
use crate::system::questions::Task;
use crate::system::recipient::Recipient;
use crate::system::sender::Sender;

/// The time for other servers to answer.
// NATS 2.14: events.go debugSubscribers.
const PATIENCE: Duration = Duration::from_millis(500);

/// Asks the other servers what an account has asked of all servers. They answer the account.
// NATS 2.14: events.go registerSystemImports.
pub(super) fn ask_others(sender: &Sender, service: &Service, to: &Recipient, payload: &[u8]) {
    let Service::Account(service, account) = service else { return };
    let name = match service {
        AccountService::Connz => "CONNZ",
        AccountService::Statz => "STATZ",
        _ => return,
    };
    // Operators have asked all servers themselves.
    if to.account == *sender.system_account() || sender.known().count() == 0 {
        return;
    }
    let Some(reply) = sender.questions().open(Task::Relay(to.clone())) else {
        return sender.observer().system_counters().note_request_dropped();
    };
    let headers =
        to.encoding.name().map(|name| format!("NATS/1.0\r\nAccept-Encoding: {name}\r\n\r\n"));
    let headers = headers.unwrap_or_default();
    let subject = format!("$SYS.REQ.ACCOUNT.{account}.{name}");
    sender.ask_raw(&subject, &reply, headers.as_bytes(), payload);
}

// NATS 2.14: events.go accNumSubsReq.
#[derive(Serialize)]
struct SubscribersRequest<'a> {
    acc: &'a str,
    subject: &'a str,
    /// In base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
}

/// Counts the subscriptions of clients in the system account that would receive a message, on all servers.
// NATS 2.14: events.go debugSubscribers.
pub(super) fn count_subscribers(sender: &Arc<Sender>, to: Recipient, payload: &[u8]) {
    let text = String::from_utf8_lossy(payload);
    let mut words = text.trim().split(' ');
    let subject = words.next().unwrap_or_default();
    let Ok(filter) = SubjectFilter::parse(subject) else {
        return to.send(sender, answers::number(0));
    };
    let (queue, account) = (words.next(), Arc::clone(sender.system_account()));
    let broker = sender.observer().broker();
    let here = broker.count_subscribers(&account, &filter, queue.map(str::as_bytes));
    let missing = broker.remote_servers_of(&account);
    let (done, sum) = oneshot::channel();
    let task = Task::Sum { total: here, missing, done: Some(done) };
    let question = if missing > 0 { sender.questions().open(task) } else { None };
    let Some(reply) = question else { return to.send(sender, answers::number(here)) };
    let queue = queue.map(|queue| to_base64(queue.as_bytes()));
    let request = SubscribersRequest { acc: &account, subject, queue };
    sender.ask("$SYS.REQ.ACCOUNT.NSUBS", &reply, &[], &request);
    let sender = Arc::clone(sender);
    tokio::spawn(async move {
        let sum = tokio::time::timeout(PATIENCE, sum).await;
        let found = sum.ok().and_then(Result::ok).or_else(|| sender.questions().close(&reply));
        to.send(&sender, answers::number(found.unwrap_or(here)));
    });
}

/// Encodes the name of a queue group as Go does bytes.
fn to_base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for index in 0..4 {
            let digit = ALPHABET[bits >> (18 - 6 * index) & 63];
            text.push(if index <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::to_base64;

    #[test]
    fn names_of_queue_groups_are_encoded() {
        assert_eq!(to_base64(b"workers"), "d29ya2Vycw==");
        assert_eq!(to_base64(b"abc"), "YWJj");
        assert_eq!(to_base64(b"ab"), "YWI=");
        assert_eq!(to_base64(b""), "");
    }
}
