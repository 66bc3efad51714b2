//! Stage 3 of 8: what a client may do now. Before it: the parser ([`crate::proto::parser`]); after
//! it: permissions ([`crate::auth`]).
//!
//! The driver, which owns the socket, passes in bytes and the time, and does what is asked of it:
//! keep bytes for the next call, run an expensive check, call again at a deadline, do the rest of something
//! long in slices, close.

use std::net::SocketAddr;
use std::time::Instant;

use super::member::Member;
use super::ping::Ping;
use super::publisher::Publisher;
use crate::auth::{Nonce, Proof};
use crate::endpoint::{
    ByteQueue, ClientEncoder, Destination, Endpoint, Kind, Scratch, WriteHandle,
};
use crate::error::{ClientFault, CloseReason};
use crate::proto::{ConnectOptions, Parser, ParserLimits};
use crate::shared::Shared;
use crate::sync::Arc;
use crate::trace::Trace;
use crate::transport::TransportInfo;
use chores::Chores;
pub use handshake::HandshakeOrder;
use handshake::Securing;
use lame_duck::LameDuck;
use patience::Patience;
use reply_writer::{ClientLabel, ReplyWriter};
use undecided::{Checking, Review};

/// What is known of a connection when it arrives.
#[derive(Clone, Debug, Default)]
pub struct Arrival {
    /// Where it comes from; `None` for connections inside of the process.
    pub remote: Option<SocketAddr>,
    /// What has to come about before it is listened to.
    pub handshake: HandshakeOrder,
    /// Its user is the one that its certificate names. `verify_and_map`.
    pub is_mapped: bool,
    /// What brings its bytes.
    pub transport: TransportInfo,
    /// The challenge for the client to sign, if INFO is to show one: of cryptographic randomness, and new for
    /// each connection. It is dropped if the authenticator wants none.
    pub nonce: Option<Nonce>,
}

/// A client of the wire protocol.
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
    /// When it last published or subscribed.
    last_activity: Option<Instant>,
    has_published: bool,
    has_connected: bool,
    has_ponged: bool,
    /// The subject of the message that is on the way has been judged.
    has_judged_subject: bool,
    /// The authenticator has changed while the one before it was at work.
    must_review: bool,
    /// The review that it waits for.
    reviewing: Option<Box<Review>>,
    /// The server will go.
    lame_duck: Option<Box<LameDuck>>,
    /// It waits for a receiver of its messages.
    patience: Option<Box<Patience>>,
    /// The work that is done a slice at a time, if there is any.
    chores: Option<Box<Chores>>,
    /// The session has ended, but for its subscriptions.
    has_departed: bool,
    trace: Option<Arc<Trace>>,
    /// The deadline of a client that was let in under a name without credentials and has sent nothing yet.
    silent_until: Option<Instant>,
    /// How far it is with TLS.
    securing: Securing,
    is_mapped: bool,
    /// The challenge that INFO shows.
    nonce: Option<Box<Nonce>>,
    /// Why the connection must end, once what waits for the client has left.
    closing: Option<CloseReason>,
}

/// How far a client has come. Only one that is served has an account, so that nothing else can touch
/// one.
enum Phase {
    /// It must show credentials, by then at the latest.
    Unauthenticated(Instant),
    /// The decision about its credentials takes time; its input waits.
    Checking(Checking),
    Served(Served),
}

struct Served {
    member: Member,
    user: Option<Arc<str>>,
    proof: Proof,
}

impl ClientSession {
    /// Takes in a connection and greets it with INFO. If there are too many,
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
            limits.write_deadline,
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
        // What was changed before the session was one of those who are told.
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

    /// The connection's number, `cid`.
    pub fn id(&self) -> u64 {
        self.endpoint.id
    }

    /// Where its deliveries go.
    pub fn byte_queue(&self) -> &Arc<ByteQueue> {
        &self.byte_queue
    }

    fn ok(&self, scratch: &mut Scratch) {
        if self.options.verbose {
            self.reply_writer().ok(scratch);
        }
    }

    /// Why the connection must end: flush the byte queue, if it takes no time, and close.
    pub fn closing(&self) -> Option<CloseReason> {
        self.byte_queue.ending().or(self.closing)
    }

    /// The connection is gone, or must go: nothing more is delivered to it.
    pub fn close(&mut self, reason: CloseReason) {
        let reason = self.closing().unwrap_or(reason);
        self.closing = Some(reason);
        Destination::close(&*self.byte_queue, reason);
    }

    fn fault(&mut self, fault: &ClientFault, scratch: &mut Scratch) {
        self.fault_in(fault, &[], scratch);
    }

    fn fault_in(&mut self, fault: &ClientFault, input: &[u8], scratch: &mut Scratch) {
        let close = self.reply_writer().fault(fault, input, scratch);
        self.closing = self.closing.or(close);
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
