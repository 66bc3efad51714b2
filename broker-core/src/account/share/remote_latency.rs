//! Response times of services whose responders are clients of other servers of the cluster.
//!
//! The server of the requester marks the reply subject of a measured request: behind it come a token of the server and `T`.
//! The server of the responder notes when it delivers such a request, and reports what it measures of the response to
//! `$SYS.LATENCY.M2.<token>` in the system account. The first server puts both measurements together.
// NATS 2.14: accounts.go newServiceReply, client.go trackRemoteReply, events.go remoteLatencyUpdate.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use super::Context;
use super::latency::{There, nanos};
use super::requester::{Requester, to_json};
use super::responses::{MARK, Response};
use crate::account::Account;
use crate::limits::REMOTE_LATENCIES;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, Weak};
use crate::timestamp::Timestamp;

/// The prefix of the subjects of measurements.
// NATS 2.14: events.go remoteLatencyEventSubj.
const SUBJECT: &str = "$SYS.LATENCY.M2.";

const TOKEN_LEN: usize = 8;

/// A time that Go reads as none.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// The measurements of one server that involve others.
pub(crate) struct RemoteLatency {
    /// The token of the server.
    token: String,
    /// A program takes the measurements of other servers.
    is_taken: AtomicBool,
    /// Requests from other servers, by their reply subjects.
    requests: Mutex<Recent<Request>>,
    /// One half of a measurement each, by the reply subject.
    halves: Mutex<Recent<Half>>,
}

/// A request that another server has delivered to this one.
struct Request {
    account: Arc<str>,
    since: Instant,
    at: SystemTime,
}

/// A half of a measurement that waits for the other one.
enum Half {
    Here(Here),
    There(There),
}

/// The part that the server of the requester measures.
pub(crate) struct Here {
    pub(crate) account: Weak<Account>,
    pub(crate) response: Response,
    /// The time from the request to the response.
    pub(crate) took: Duration,
}

/// The report of a server to that of the requester.
// NATS 2.14: accounts.go remoteLatency.
#[derive(Deserialize)]
struct Report {
    account: String,
    req_id: String,
    m2: There,
}

#[derive(Serialize)]
struct Reported<'a> {
    account: &'a str,
    req_id: &'a str,
    m2: ReportedPart<'a>,
}

#[derive(Serialize)]
struct ReportedPart<'a> {
    r#type: &'static str,
    id: &'static str,
    timestamp: &'static str,
    status: u16,
    responder: &'a Requester,
    start: Timestamp,
    service: u64,
    system: u64,
    total: u64,
}

impl RemoteLatency {
    pub(crate) fn new(server_name: &str) -> Self {
        Self {
            token: token(server_name),
            is_taken: AtomicBool::new(false),
            requests: Mutex::default(),
            halves: Mutex::default(),
        }
    }

    /// Sets whether a program takes the measurements of other servers: otherwise none are asked for.
    pub(crate) fn set_taken(&self, is_taken: bool) {
        self.is_taken.store(is_taken, Ordering::Relaxed);
    }

    /// Returns the subject on which other servers report.
    pub(crate) fn subject(&self) -> String {
        format!("{SUBJECT}{}", self.token)
    }

    /// Returns the reply subject with the mark; `None` if measurements of other servers are not taken.
    pub(crate) fn mark(&self, reply: &[u8]) -> Option<Vec<u8>> {
        let is_taken = self.is_taken.load(Ordering::Relaxed);
        is_taken.then(|| [reply, b".", self.token.as_bytes(), MARK].concat())
    }

    /// Notes a request of another server that clients here get.
    #[cold]
    pub(crate) fn note_request(&self, account: &Arc<str>, reply: &[u8], context: &Context) {
        let (since, at) = (context.clock.now(), context.clock.wall());
        self.requests.lock().insert(reply, Request { account: Arc::clone(account), since, at });
    }

    /// Returns the report about the response of a client here, and its subject.
    #[cold]
    pub(crate) fn report(
        &self,
        subject: &[u8],
        account: &str,
        responder: impl FnOnce() -> Requester,
        context: &Context,
    ) -> Option<(String, Vec<u8>)> {
        let request = self.requests.lock().take(subject)?;
        let reply = std::str::from_utf8(subject).ok()?;
        let token = reply.rsplit('.').nth(1).filter(|_| *request.account == *account)?;
        let responder = responder();
        let took = context.clock.now().saturating_duration_since(request.since);
        let service = took.saturating_sub(responder.round_trip());
        let body = to_json(&Reported {
            account,
            req_id: reply,
            m2: ReportedPart {
                r#type: "",
                id: "",
                timestamp: NO_TIME,
                status: 200,
                responder: &responder,
                start: Timestamp(request.at),
                service: nanos(service),
                system: 0,
                total: nanos(service + responder.round_trip()),
            },
        });
        Some((format!("{SUBJECT}{token}"), body))
    }

    /// Keeps what this server has measured until the other one reports. Returns both parts if it has.
    pub(crate) fn put_here(&self, reply: &[u8], here: Here) -> Option<(Here, There)> {
        let mut halves = self.halves.lock();
        match halves.take(reply) {
            Some(Half::There(there)) => Some((here, there)),
            Some(Half::Here(_)) | None => {
                halves.insert(reply, Half::Here(here));
                None
            }
        }
    }

    /// Takes the report of another server. Returns both parts if the response was measured here. `is_open`: tells of an
    /// account's request whether its response has not arrived yet.
    pub(crate) fn put_there(
        &self,
        report: &[u8],
        is_open: impl FnOnce(&str, &[u8]) -> bool,
    ) -> Result<Option<(Here, There)>, serde_json::Error> {
        let Report { account, req_id, m2 } = serde_json::from_slice(report)?;
        let reply = req_id.as_bytes();
        let mut halves = self.halves.lock();
        match halves.take(reply) {
            Some(Half::Here(here)) => return Ok(Some((here, m2))),
            Some(Half::There(_)) => {}
            None => drop(halves),
        }
        if is_open(&account, reply) {
            self.halves.lock().insert(reply, Half::There(m2));
        }
        Ok(None)
    }
}

/// The newest entries.
struct Recent<T> {
    entries: HashMap<Box<[u8]>, T, FixedState>,
    /// In the order of their age. Some have gone.
    order: VecDeque<Box<[u8]>>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { entries: HashMap::default(), order: VecDeque::new() }
    }
}

impl<T> Recent<T> {
    fn insert(&mut self, key: &[u8], value: T) {
        self.entries.insert(key.into(), value);
        self.order.push_back(key.into());
        while self.order.len() > REMOTE_LATENCIES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.entries.remove(&oldest);
        }
    }

    fn take(&mut self, key: &[u8]) -> Option<T> {
        let value = self.entries.remove(key);
        if self.entries.is_empty() {
            self.order.clear();
        }
        value
    }
}

/// Returns a token that servers with other names do not have.
// FNV-1a. NATS 2.14 takes it from SHA-256; only the server itself reads it.
fn token(server_name: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut hash = server_name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let digit = |_| {
        let digit = DIGITS[(hash % 62) as usize];
        hash /= 62;
        char::from(digit)
    };
    (0..TOKEN_LEN).map(digit).collect()
}
