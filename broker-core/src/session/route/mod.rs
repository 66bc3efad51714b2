//! The session of another server of the cluster.
//!
//! A connection begins with CONNECT, of the server that has dialled, and INFO of both, between which compression may
//! begin. By INFO the [cluster](crate::cluster) decides whether the connection becomes a route. From then on the interest of the
//! accounts that the route carries is sent in both directions, and messages follow it.
// NATS 2.14: route.go.

mod arrival;
mod compression;
mod driven;
mod greeting;
mod input;
mod interest;
mod leaving;
#[cfg(test)]
mod tests;
mod timeouts;

pub use arrival::RouteArrival;

use std::time::Instant;

use super::accounts::Accounts;
use super::ping::Ping;
use crate::auth::{Compute, Denied, Grant};
use crate::cluster::{Cluster, ClusterOptions, CompressionMode, Refusal, RouteLink};
use crate::endpoint::{ByteQueue, Endpoint, Kind, RouteEncoder, Scratch, WriteHandle, WriteWait};
use crate::error::CloseReason;
use crate::limits::{Limits, ROUTE_PING, ROUTE_PING_MAX};
use crate::proto::encode;
use crate::proto::route::{RouteLimits, RouteParser};
use crate::session::client::HandshakeOrder;
use crate::shared::Shared;
use crate::sync::Arc;
use crate::trace::Trace;

/// The longest line of a server that is not known yet: its INFO lists the addresses of its listeners.
const FIRST_LINE_BYTES: usize = 8 << 10;

// With its verb and blanks. The compression layer keeps more for a session that lends more room.
const _: () = assert!(FIRST_LINE_BYTES + 2048 <= crate::limits::UNAUTHENTICATED_BYTES);

/// The session of a connection to another server.
pub struct RouteSession {
    shared: Arc<Shared>,
    cluster: Arc<Cluster>,
    endpoint: Arc<Endpoint>,
    byte_queue: Arc<ByteQueue<RouteEncoder>>,
    link: Arc<RouteLink>,
    accounts: Accounts,
    parser: RouteParser,
    limits: RouteLimits,
    phase: Phase,
    compressing: Compressing,
    is_compressed: bool,
    ping: Ping,
    /// This server has dialled.
    is_dialer: bool,
    /// The account of the route, if it is one account's.
    account: Option<Arc<str>>,
    /// A check of the other server's password under way.
    check: Option<Compute>,
    has_published: bool,
    /// The slices of the existing interest since the last write.
    unwritten_slices: u8,
    /// The other server wants `+OK` for its operations.
    is_verbose: bool,
    /// Lets other sessions run before it processes input that it has left.
    is_paused: bool,
    last_activity: Option<Instant>,
    trace: Option<Arc<Trace>>,
    has_departed: bool,
    closing: Option<CloseReason>,
}

/// The progress of a connection.
#[derive(Debug)]
enum Phase {
    /// TLS.
    Securing,
    /// The other server must authenticate by this deadline.
    Unauthenticated(Instant),
    /// Its password is being checked; input waits.
    Checking,
    /// Its INFO is awaited.
    Greeting,
    /// The connection is a route.
    Joined,
}

/// The negotiation of compression.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Compressing {
    /// The first INFO of the other server decides.
    Open,
    /// The driver is asked to begin.
    Asked(CompressionMode),
    Done,
}

impl RouteSession {
    /// Opens the session of a connection. CONNECT and INFO are sent when the handshake is done.
    pub(crate) fn open(
        shared: Arc<Shared>,
        cluster: Arc<Cluster>,
        arrival: RouteArrival,
        write_handle: Box<dyn WriteHandle>,
        now: Instant,
        scratch: &mut Scratch,
    ) -> Self {
        let handshake = arrival.handshake;
        let mut session = Self::make(shared, cluster, arrival, write_handle, now);
        session.enter(handshake, now, scratch);
        session
    }

    /// Makes the session. A change of options does not find it yet.
    fn make(
        shared: Arc<Shared>,
        cluster: Arc<Cluster>,
        arrival: RouteArrival,
        write_handle: Box<dyn WriteHandle>,
        now: Instant,
    ) -> Self {
        let options = shared.options.load_full();
        let limits = &options.limits;
        let own = cluster.options();
        let (id, seed) = shared.next_session();
        let RouteArrival { remote, transport, dial, .. } = arrival;
        let account = dial.as_ref().and_then(|dial| dial.account.clone());
        let deadline = own.write_deadline.unwrap_or(limits.write_deadline);
        let wait = WriteWait { deadline, timeout: own.write_timeout };
        let byte_queue = Arc::new(ByteQueue::new(
            RouteEncoder::new(account.clone()),
            id,
            write_handle,
            limits.max_pending_bytes,
            wait,
            Arc::clone(&shared.queues),
        ));
        let queue = Arc::clone(&byte_queue);
        let endpoint = Endpoint::new(id, seed, remote, transport, now, queue, Kind::Route);
        let endpoint = Arc::new(endpoint);
        let link = cluster.open(&endpoint, Arc::clone(&byte_queue) as Arc<_>, dial.as_ref());
        let accounts = Accounts::new(Arc::clone(&shared), Arc::clone(&endpoint), seed);
        Self {
            limits: RouteLimits {
                max_control_line_bytes: FIRST_LINE_BYTES,
                ..RouteLimits::default()
            },
            ping: Ping::new(now, &limits_of(limits, &own), None),
            shared,
            cluster,
            endpoint,
            byte_queue,
            link,
            accounts,
            parser: RouteParser::default(),
            phase: Phase::Securing,
            compressing: Compressing::Open,
            is_compressed: false,
            is_dialer: dial.is_some(),
            account,
            check: None,
            has_published: false,
            unwritten_slices: 0,
            is_verbose: false,
            is_paused: false,
            last_activity: None,
            trace: None,
            has_departed: false,
            closing: None,
        }
    }

    /// Registers the session, and begins unless a handshake comes first.
    fn enter(&mut self, handshake: HandshakeOrder, now: Instant, scratch: &mut Scratch) {
        scratch.start(now);
        self.shared.register_local(&self.endpoint);
        // Again: a change made before the session was registered did not reach its mailbox.
        self.follow_options(now);
        if handshake == HandshakeOrder::None {
            self.begin(now, scratch);
        }
    }

    /// Returns the number of the connection, `rid`.
    pub fn id(&self) -> u64 {
        self.endpoint.id
    }

    fn fault(&mut self, fault: &Refusal, scratch: &mut Scratch) {
        let (text, reason) = fault.answer();
        if let Some(text) = text {
            self.byte_queue.send(scratch, |out| encode::error(out, &text));
        }
        match fault {
            Refusal::Duplicate | Refusal::Ending | Refusal::Removed => {}
            // NATS 2.14: client.go authViolation.
            Refusal::Unauthorized => {
                tracing::error!(client = %self.endpoint, "authentication error");
            }
            Refusal::JetStream { .. } => self.state_conflict(&fault.to_string()),
            _ => tracing::error!(client = %self.endpoint, "{fault}"),
        }
        self.closing = self.closing.or(Some(reason));
    }

    /// Notes that two servers have JetStream, and logs it as an error once: attempts to connect are repeated.
    fn state_conflict(&self, text: &str) {
        if self.cluster.handle_conflict(self.endpoint.id, text, &*self.shared) {
            tracing::error!(client = %self.endpoint, "{text}");
        } else {
            tracing::debug!(client = %self.endpoint, "{text}");
        }
    }

    /// Continues with the result of the check of a password.
    fn conclude(&mut self, result: &Result<Grant, Denied>, scratch: &mut Scratch) {
        match result {
            Ok(_) => self.phase = Phase::Greeting,
            Err(_) => self.fault(&Refusal::Unauthorized, scratch),
        }
    }
}

/// Returns the limits of clients with those that routes have of their own.
// NATS 2.14: client.go adjustPingInterval.
fn limits_of(limits: &Limits, own: &ClusterOptions) -> Limits {
    let mut limits = limits.clone();
    limits.ping_interval = match own.ping_interval {
        Some(own) => own.min(ROUTE_PING_MAX),
        None => limits.ping_interval.min(ROUTE_PING),
    };
    limits.ping_max = own.ping_max.unwrap_or(limits.ping_max);
    limits
}
