//! The system account: events of the server, and requests that any account may send to it.
//!
//! The core decides who may use which subject, and reports what happens to a [`SystemListener`]; the program words the
//! events and answers the requests. Without a listener an event costs one load.
//!
//! Clients may not publish to subjects on which the server itself reports (`SubjectRule::Reserved`): who receives an
//! event can rely on it. In accounts other than the system account a few subjects are services of the server
//! (`SubjectRule::Service`). They need no subscription in each account, so that an account costs nothing for them.

use std::time::{Instant, SystemTime};

use crate::auth::Permissions;
use crate::endpoint::{ClientInfo, Endpoint};
use crate::error::CloseReason;
use crate::snapshot::Connection;
use crate::sync::Arc;

/// The program's part of the system account: see [`Broker::set_system_listener`](crate::Broker::set_system_listener).
///
/// Its methods are called by the threads that serve connections, and must not block.
pub trait SystemListener: Send + Sync + 'static {
    /// Called with each event. Events of one connection are reported in their order, and so are the numbers of one account.
    fn notice(&self, event: SystemEvent<'_>);

    /// Called with a request to a service of the server. Returns true if it will be answered; the requester is told
    /// "no responders" otherwise.
    fn serve(&self, request: &ServiceRequest<'_>) -> bool;
}

/// An event of the server.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum SystemEvent<'a> {
    /// A client has logged in.
    Connected(Party<'a>),
    /// A connection was closed. It may never have logged in.
    Disconnected {
        /// The connection as it was at the end.
        connection: &'a Connection,
        /// The reason.
        reason: CloseReason,
        /// The time.
        at: Instant,
    },
    /// The credentials of a client were refused, or it sent something else before it logged in. It is closed next.
    AuthFailed {
        /// The client.
        of: Party<'a>,
        /// The reason of the close.
        reason: CloseReason,
        /// The service that has denied it, if one was asked.
        denial: Option<&'a Denial>,
    },
    /// A client has entered or left an account.
    AccountChanged {
        /// The name of the account.
        account: &'a Arc<str>,
        /// The number of its client connections now.
        connections: usize,
        /// The number of its leaf nodes now.
        leaf_nodes: usize,
    },
}

/// The denial of a client by a service that was asked about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Denial {
    /// The account of the service.
    pub account: Arc<str>,
    /// The reason; `None` if the service has not answered.
    pub reason: Option<String>,
}

/// A connection in an event.
#[derive(Clone, Copy)]
pub struct Party<'a>(&'a Endpoint);

impl<'a> Party<'a> {
    pub(crate) fn new(endpoint: &'a Endpoint) -> Self {
        Self(endpoint)
    }

    /// Returns the name of its account; `None` before it has logged in.
    pub fn account(&self) -> Option<Arc<str>> {
        self.0.membership.load().as_ref().map(|membership| Arc::clone(membership.account()))
    }

    /// Returns the connection as it is now.
    pub fn connection(&self) -> Connection {
        self.0.snapshot()
    }
}

impl std::fmt::Debug for Party<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self.0, f)
    }
}

/// A request to a service of the server.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct ServiceRequest<'a> {
    /// The subject.
    pub subject: &'a [u8],
    /// The subject of the answer; empty if none is wanted.
    pub reply: &'a [u8],
    /// The header block; empty if there is none.
    pub headers: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
    /// The account of the requester.
    pub account: &'a Arc<str>,
    /// The time at which the requester's grant ends.
    pub expires: Option<SystemTime>,
    pub(crate) endpoint: &'a Endpoint,
}

impl ServiceRequest<'_> {
    /// Returns the requester's metadata.
    pub fn client_info(&self) -> Arc<ClientInfo> {
        self.endpoint.client_info.load_full().unwrap_or_default()
    }

    /// Returns the requester's permissions; `None` for no restrictions.
    pub fn permissions(&self) -> Option<Arc<Permissions>> {
        self.endpoint.permissions.load_full()
    }
}

/// The special rule for a subject that begins with `$SYS.`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SubjectRule {
    /// A subject like any other.
    Plain,
    /// Only the server publishes there.
    Reserved,
    /// A service of the server.
    Service,
    /// A request to the API of streams, whose handler is told who sends it.
    Api,
}

/// The API of streams.
const API: &[u8] = b"$JS.API.";
/// The requests of it that streams and consumers themselves answer: they are frequent, and nobody is told of them.
const API_OF_STREAMS: [&[u8]; 2] = [b"CONSUMER.MSG.NEXT.", b"DIRECT.GET."];

/// Returns true for a request to the API of streams whose handler is told who sends it.
pub(crate) fn is_api_request(subject: &[u8]) -> bool {
    let rest = subject.strip_prefix(API);
    rest.is_some_and(|rest| !API_OF_STREAMS.iter().any(|prefix| rest.starts_with(prefix)))
}

/// Services in every account but the system account.
// NATS 2.14: events.go registerSystemImports.
const SERVICES: [&[u8]; 4] = [
    b"$SYS.REQ.USER.INFO",
    b"$SYS.REQ.ACCOUNT.PING.CONNZ",
    b"$SYS.REQ.SERVER.PING.CONNZ",
    b"$SYS.REQ.ACCOUNT.PING.STATZ",
];

/// A service in the system account that only the server of the requester answers.
// NATS 2.14: events.go debugSubscribers.
const DEBUG_SUBSCRIBERS: &[u8] = b"$SYS.DEBUG.SUBSCRIBERS";

/// The server's reports in the system account.
const REPORTS: [&[u8]; 4] =
    [b"$SYS.SERVER.", b"$SYS.ACCOUNT.", b"$SYS._INBOX_.", b"$SYS.LATENCY.M2."];

/// The server's report in an account about its own clients.
const AUTH_ERROR: &[u8] = b"$SYS.ACCOUNT.CLIENT.AUTH.ERR";

/// Returns the rule for a client in the system account, or in another one. `subject` begins with `$SYS.`.
// NATS 2.14 lets clients of the system account publish the server's events.
pub(crate) fn rule(subject: &[u8], is_system: bool) -> SubjectRule {
    let is_report = |prefix: &&[u8]| subject.starts_with(prefix);
    if is_system {
        // A claim is verified by its signature.
        let is_claim =
            subject.starts_with(b"$SYS.ACCOUNT.") && subject.ends_with(b".CLAIMS.UPDATE");
        if subject == SERVICES[0] || subject == DEBUG_SUBSCRIBERS {
            SubjectRule::Service
        } else if !is_claim && REPORTS.iter().any(is_report) {
            SubjectRule::Reserved
        } else {
            SubjectRule::Plain
        }
    } else if SERVICES.contains(&subject) {
        SubjectRule::Service
    } else if subject == AUTH_ERROR {
        SubjectRule::Reserved
    } else {
        SubjectRule::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_streams_answer_are_no_api_requests() {
        for (subject, expected) in [
            ("$JS.API.INFO", true),
            ("$JS.API.STREAM.CREATE.S", true),
            ("$JS.API.CONSUMER.MSG.NEXT.S.C", false),
            ("$JS.API.CONSUMER.INFO.S.C", true),
            ("$JS.API.DIRECT.GET.S", false),
            ("$JS.ACK.S.C.1.1.1.1.0", false),
        ] {
            assert_eq!(is_api_request(subject.as_bytes()), expected, "{subject}");
        }
    }

    #[test]
    fn only_the_server_reports_and_services_exist_in_every_account() {
        use SubjectRule::{Plain, Reserved, Service};
        for (subject, in_system, elsewhere) in [
            ("$SYS.REQ.USER.INFO", Service, Service),
            ("$SYS.REQ.ACCOUNT.PING.CONNZ", Plain, Service),
            ("$SYS.REQ.ACCOUNT.PING.STATZ", Plain, Service),
            ("$SYS.REQ.SERVER.PING.CONNZ", Plain, Service),
            ("$SYS.REQ.SERVER.PING.VARZ", Plain, Plain),
            ("$SYS.ACCOUNT.A.CONNECT", Reserved, Plain),
            ("$SYS.ACCOUNT.A.SERVER.CONNS", Reserved, Plain),
            ("$SYS.ACCOUNT.A.CLAIMS.UPDATE", Plain, Plain),
            ("$SYS.ACCOUNT.CLIENT.AUTH.ERR", Reserved, Reserved),
            ("$SYS.SERVER.X.SHUTDOWN", Reserved, Plain),
            ("$SYS.SERVER.ACCOUNT.A.CONNS", Reserved, Plain),
            ("$SYS.SERVER.X.CLAIMS.UPDATE", Reserved, Plain),
            ("$SYS._INBOX_.X", Reserved, Plain),
            ("$SYS.DEBUG.SUBSCRIBERS", Service, Plain),
        ] {
            assert_eq!(rule(subject.as_bytes(), true), in_system, "{subject}");
            assert_eq!(rule(subject.as_bytes(), false), elsewhere, "{subject}");
        }
    }
}
