//! Stage 3 of 8: the state machine of a client. Before it: the parser ([`crate::proto::parser`]); after
//! it: permissions ([`crate::auth`]).
//!
//! The driver, which owns the socket, passes in bytes and the time, and does what the session asks for:
//! keep bytes for the next call, run an expensive check, call again at a deadline, run long work
//! in slices, close.

use std::net::SocketAddr;
use std::time::Instant;

use super::member::Member;
use super::ping::Ping;
use super::publisher::Publisher;
use crate::auth::{Identity, Nonce, Proof};
use crate::endpoint::{
    ByteQueue, ClientEncoder, Destination, Endpoint, Kind, Scratch, WriteHandle, WriteWait,
};
use crate::error::{ClientFault, CloseReason};
use crate::proto::{ConnectOptions, Parser, ParserLimits};
use crate::shared::Shared;
use crate::sync::Arc;
use crate::system::{Party, SystemEvent};
use crate::trace::Trace;
use crate::transport::TransportInfo;
use chores::Chores;
pub use handshake::HandshakeOrder;
use handshake::Securing;
use lame_duck::LameDuck;
use patience::Patience;
use reply_writer::{ClientLabel, ReplyWriter};
use undecided::{Checking, Review};

/// Properties of a connection at the time of its acceptance.
#[derive(Clone, Debug, Default)]
pub struct Arrival {
    /// The address of the client; `None` for connections inside the process.
    pub remote: Option<SocketAddr>,
    /// The handshake that must be complete before input is read.
    pub handshake: HandshakeOrder,
    /// The user name is taken from the client's certificate. `verify_and_map`.
    pub is_mapped: bool,
    /// The transport of its bytes.
    pub transport: TransportInfo,
    /// The challenge for the client to sign, if INFO is to contain one: of cryptographic randomness, and new for
    /// each connection. It is dropped if the authenticator does not need it.
    pub nonce: Option<Nonce>,
}

/// The session of a client of the wire protocol.
pub struct ClientSession {
    shared: Arc<Shared>,
    endpoint: Arc<Endpoint>,
    byte_queue: Arc<ByteQueue>,
    parser: Parser,
    limits: ParserLimits,
    options: ConnectOptions,
    phase: Phase,
    publisher: Publisher,
    ping: Ping,
    /// The time at which the client last published or subscribed.
    last_activity: Option<Instant>,
    has_published: bool,
    /// Other servers of the cluster may be told of a subscription that was made or ended since the last flush.
    has_changed_interest: bool,
    has_connected: bool,
    has_ponged: bool,
    /// The subject of the incomplete message has been checked.
    has_judged_subject: bool,
    /// The authenticator has changed while the previous one was deciding.
    must_review: bool,
    /// The pending review of the client.
    reviewing: Option<Box<Review>>,
    /// The lame duck state, from the announcement on.
    lame_duck: Option<Box<LameDuck>>,
    /// The receiver that the client's input waits for.
    patience: Option<Box<Patience>>,
    /// The work that is done a slice at a time, if there is any.
    chores: Option<Box<Chores>>,
    /// The session has ended, except for its subscriptions.
    has_departed: bool,
    trace: Option<Arc<Trace>>,
    /// The deadline of a client that was admitted without credentials, as a named user, and has sent nothing yet.
    silent_until: Option<Instant>,
    /// The progress of the TLS handshake.
    securing: Securing,
    is_mapped: bool,
    /// The challenge contained in INFO.
    nonce: Option<Box<Nonce>>,
    /// The reason why the connection must end, once the pending bytes are written.
    closing: Option<CloseReason>,
}

/// The progress of a client. Only a served client has an account, so that no other code can use one before.
enum Phase {
    /// The client must send credentials by this deadline.
    Unauthenticated(Instant),
    /// The decision about its credentials takes time; its input waits.
    Checking(Checking),
    Served(Served),
}

struct Served {
    member: Member,
    user: Option<Arc<str>>,
    proof: Proof,
    identity: Option<Arc<Identity>>,
    /// The key of the proxy that the client comes through.
    proxy: Option<Arc<str>>,
}

impl Served {
    /// Returns the key of a user who has logged in by a token.
    fn token_key(&self) -> Option<&Arc<str>> {
        self.identity.as_ref().filter(|identity| identity.is_by_token)?.nkey.as_ref()
    }
}

impl ClientSession {
    /// Opens the session of a connection and sends INFO. If there are too many connections,
    /// [it must close](Self::closing) at once.
    pub(crate) fn open(
        shared: Arc<Shared>,
        arrival: Arrival,
        write_handle: Box<dyn WriteHandle>,
        now: Instant,
        scratch: &mut Scratch,
    ) -> Self {
        scratch.start(now);
        let version = shared.version();
        let options = shared.options.load();
        let limits = options.limits.clone();
        let (id, seed) = shared.next_session();
        let byte_queue = Arc::new(ByteQueue::new(
            ClientEncoder::default(),
            id,
            write_handle,
            limits.max_pending_bytes,
            WriteWait { deadline: limits.write_deadline, timeout: limits.write_timeout },
            Arc::clone(&shared.queues),
        ));
        let Arrival { remote, handshake, is_mapped, transport, nonce } = arrival;
        let auth_timeout = transport.auth_timeout().unwrap_or(limits.auth_timeout);
        let ping = Ping::new(now, &limits, transport.ping_interval());
        let endpoint = Arc::new(Endpoint::new(
            id,
            seed,
            remote,
            transport,
            now,
            Arc::clone(&byte_queue) as Arc<_>,
            Kind::Client,
        ));
        let phase = Phase::Unauthenticated(now + auth_timeout);
        let counted = shared.counted_subjects.clone();
        let mut session = Self {
            limits: ParserLimits {
                max_control_line_bytes: limits.max_control_line_bytes,
                max_payload_bytes: limits.max_payload_bytes,
                headers: false,
                traces_by_account: false,
            },
            trace: None,
            shared,
            endpoint,
            byte_queue,
            parser: Parser::default(),
            options: ConnectOptions::default(),
            phase,
            publisher: Publisher::new(seed, counted),
            ping,
            last_activity: None,
            has_published: false,
            has_changed_interest: false,
            has_connected: false,
            has_ponged: false,
            has_judged_subject: false,
            must_review: false,
            reviewing: None,
            lame_duck: None,
            silent_until: None,
            patience: None,
            chores: None,
            has_departed: false,
            securing: Securing::new(handshake),
            is_mapped,
            nonce: nonce.map(Box::new),
            closing: None,
        };
        session.let_in_as_is(now);
        session.follow_trace();
        session.greet_at_first(scratch);
        let is_one_too_many = !session.shared.register(&session.endpoint, limits.max_connections);
        tracing::debug!(client = %session.endpoint, "Client connection created");
        // A change made before the session was registered did not reach its mailbox.
        if session.shared.version() != version {
            session
                .endpoint
                .control
                .leave(None, |control| (control.options, control.authenticator) = (true, true));
        }
        if session.shared.info.load().ldm {
            session.endpoint.control.leave(None, |control| control.end = true);
        }
        if is_one_too_many {
            session.fault(&ClientFault::MaxConnections, scratch);
        }
        session.byte_queue.drain(now, false, scratch);
        session
    }

    /// Returns the number of the connection, `cid`.
    pub fn id(&self) -> u64 {
        self.endpoint.id
    }

    /// Returns the queue of its deliveries.
    pub fn byte_queue(&self) -> &Arc<ByteQueue> {
        &self.byte_queue
    }

    fn ok(&self, scratch: &mut Scratch) {
        if self.options.verbose {
            self.reply_writer().ok(scratch);
        }
    }

    /// Returns the reason why the connection must end, if it must: flush the byte queue, if that takes no time,
    /// and close.
    pub fn closing(&self) -> Option<CloseReason> {
        self.byte_queue.ending().or(self.closing)
    }

    /// Closes the session because the connection is lost or must be closed: nothing more is delivered to it.
    pub fn close(&mut self, reason: CloseReason) {
        let reason = self.closing().unwrap_or(reason);
        self.closing = Some(reason);
        Destination::close(&*self.byte_queue, reason);
    }

    fn fault(&mut self, fault: &ClientFault, scratch: &mut Scratch) {
        self.fault_in(fault, &[], scratch);
    }

    #[cold]
    #[inline(never)]
    fn fault_in(&mut self, fault: &ClientFault, input: &[u8], scratch: &mut Scratch) {
        let close = self.reply_writer().fault(fault, input, scratch);
        // NATS 2.14: client.go authViolation.
        if let Some(reason) = close.filter(|_| fault.is_about_authorization()) {
            self.notice_auth_failure(reason);
        }
        self.closing = self.closing.or(close);
    }

    #[cold]
    #[inline(never)]
    fn notice_auth_failure(&self, reason: CloseReason) {
        let of = Party::new(&self.endpoint);
        let denial = match &self.phase {
            Phase::Checking(checking) => checking.denial(),
            Phase::Unauthenticated(_) | Phase::Served(_) => None,
        };
        self.shared.notice(|| SystemEvent::AuthFailed { of, reason, denial });
    }

    fn label(&self) -> ClientLabel<'_> {
        let served = match &self.phase {
            Phase::Served(served) => Some(served),
            Phase::Unauthenticated(_) | Phase::Checking(_) => None,
        };
        ClientLabel { endpoint: &self.endpoint, served, options: &self.options }
    }

    fn reply_writer(&self) -> ReplyWriter<'_> {
        ReplyWriter {
            label: self.label(),
            byte_queue: &self.byte_queue,
            trace: self.trace.as_deref(),
        }
    }
}

mod chores;
mod driven;
mod expiry;
mod handshake;
mod info;
mod input;
mod lame_duck;
mod login;
mod patience;
mod pedantic;
mod publish_observer;
mod publishing;
mod reply_writer;
mod subscriptions;
mod timeouts;
mod trace;
mod traced;
mod undecided;
mod updates;

#[cfg(test)]
mod tests;
