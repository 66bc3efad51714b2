//! Sessions: the state machine of a client or peer. Each kind has a type of its own over
//! shared parts. Input enters the core only through sessions.
//!
//! A kind that is served over a byte stream implements [`Session`], which its driver uses.

mod accounts;
mod asking;
pub mod client;
mod error;
mod expiry;
#[cfg(test)]
mod fake_peer;
pub mod handler;
mod inside;
pub mod local;
mod member;
mod ping;
mod publisher;
pub mod route;
pub(crate) mod server;
pub(crate) mod server_publisher;
mod sizes;
mod slow;
#[cfg(test)]
mod tests;
mod traces;

pub use client::ClientSession;
pub use route::RouteSession;

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::auth::{Compute, Denied, Grant};
use crate::endpoint::{ByteQueue, Encoder, Scratch};
use crate::error::{ClientFault, CloseReason};
use crate::security::Security;
use crate::sync::Arc;
use crate::transport::CompressionLevel;

/// The result of [`Session::receive`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Received {
    /// The number of bytes consumed. The rest must be passed again, followed by new input.
    pub used: usize,
    /// If not 0: the length of the whole operation that begins at the first byte to be passed again.
    /// The session does nothing before all but the last of these bytes are passed. (One byte less reveals a client that
    /// has miscounted its payload; it may wait for the answer without sending more.)
    pub whole: usize,
}

/// The interface of a session for its driver, which owns the socket. The driver passes in bytes and the time, and does
/// what the session asks for: keeps bytes for the next call, runs an expensive check, calls again at a deadline,
/// yields to other sessions between the slices of long work, closes.
///
/// Updates left by other threads wake the [write handle](crate::endpoint::WriteHandle) of the session's byte
/// queue. Methods with a default are needed by some kinds only.
pub trait Session: Send + 'static {
    /// The encoder of its byte queue.
    type Encoder: Encoder;

    /// Returns the number of the connection, `cid`.
    fn id(&self) -> u64;

    /// Returns the queue of its deliveries.
    fn byte_queue(&self) -> &Arc<ByteQueue<Self::Encoder>>;

    /// Returns the largest number of bytes per read, including those that were kept. It is more than the session may
    /// leave unused.
    ///
    /// Until the peer has authenticated it is [`UNAUTHENTICATED_BYTES`](crate::limits::UNAUTHENTICATED_BYTES) at most,
    /// by which transports tell that they must keep little.
    fn read_limit(&self) -> usize {
        usize::MAX
    }

    /// Processes `input`, and flushes every receiver of its messages, unless the driver
    /// [expects more](Scratch::expect_more).
    ///
    /// `shared`: the same bytes, if they were read into memory of their own, to be kept instead of copied.
    fn receive(
        &mut self,
        now: Instant,
        input: &[u8],
        shared: Option<&Bytes>,
        scratch: &mut Scratch,
    ) -> Received;

    /// Flushes every receiver of messages of [`Self::receive`], and the session's own queue. Only needed after
    /// [`Scratch::expect_more`].
    fn flush(&mut self, now: Instant, scratch: &mut Scratch);

    /// Returns the reason why the connection must end, if it must: flush the byte queue, if that takes no time,
    /// and close.
    fn closing(&self) -> Option<CloseReason>;

    /// Returns the time at which [`Self::handle_timeout`] must be called at the latest. It may be called earlier.
    fn next_timeout(&self) -> Instant;

    /// Handles the timeouts that are due.
    fn handle_timeout(&mut self, now: Instant, scratch: &mut Scratch);

    /// Ends the session, or a slice of it, because the connection is lost or must be closed. Returns false when
    /// nothing is left to be done; until then call it again, and let other sessions run in between.
    fn depart(&mut self, reason: CloseReason) -> bool;

    /// Returns true if the client must authenticate and has not.
    fn is_unauthenticated(&self) -> bool {
        false
    }

    /// Returns true if the connection must be read. If not, an update, a check or a timeout changes that, or
    /// closes the session.
    fn wants_input(&self) -> bool {
        true
    }

    /// Returns true if input must stay unread for now, because a receiver is slower than this publisher. The
    /// write handle is woken when that may have changed; it changes at [`Self::next_timeout`] at the latest.
    fn is_patient(&mut self) -> bool {
        false
    }

    /// Returns true if there is an update for [`Self::handle_update`]. Check it when the write handle was woken,
    /// and when there are no more [chores](Self::has_chores), which must be done before.
    fn has_update(&self) -> bool {
        false
    }

    /// Applies updates that other threads have left. May bring [`Self::next_timeout`] forward and
    /// [close](Self::closing) the session.
    fn handle_update(&mut self, now: Instant, scratch: &mut Scratch) {
        let _ = (now, scratch);
    }

    /// Ignores further updates, because the session is about to end.
    fn ignore_updates(&self) {}

    /// Returns true if there is work left that is done a slice at a time. Then call [`Self::do_chores`] before
    /// input is read, and let other sessions run after it.
    fn has_chores(&self) -> bool {
        false
    }

    /// Does one slice of the work. When none is left, call [`Self::receive`] with the bytes kept.
    fn do_chores(&mut self, now: Instant, scratch: &mut Scratch) {
        let _ = (now, scratch);
    }

    /// Takes the check of credentials that must be run, if there is one: run it where it delays no other session and
    /// pass its result to [`Self::handle_checked`].
    fn take_check(&mut self) -> Option<Compute> {
        None
    }

    /// Continues with the result of a check. Call [`Self::receive`] with the bytes kept, next.
    fn handle_checked(
        &mut self,
        result: Result<Grant, Denied>,
        now: Instant,
        scratch: &mut Scratch,
    ) {
        let _ = (result, now, scratch);
    }

    /// Sends the greeting before the handshake, because the other side waits for it.
    fn greet(&mut self, now: Instant, scratch: &mut Scratch) {
        let _ = (now, scratch);
    }

    /// Completes the handshake; `None` if the connection continues without TLS. Input is read from now on.
    fn handle_secured(&mut self, security: Option<Security>, now: Instant, scratch: &mut Scratch) {
        let _ = (security, now, scratch);
    }

    /// Closes the session because the handshake failed.
    fn handle_insecure(&mut self, fault: &ClientFault, now: Instant, scratch: &mut Scratch) {
        let _ = (fault, now, scratch);
        self.byte_queue().cut(CloseReason::TlsHandshakeFailure);
    }

    /// Returns the level at which the connection must be compressed, if that is not what the driver has done already;
    /// `None` again after [`Self::handle_compressed`]. Check it after [`Self::receive`], before more input is passed.
    ///
    /// The driver writes all queued bytes as they are. What is queued later is compressed, and all input that was not
    /// consumed, or not read yet, is decompressed before it is passed. So the session consumes no byte behind the
    /// operation that makes it ask for compression, and others must not deliver to its queue before. If the connection
    /// is compressed already, only the level changes, at once.
    fn wants_compression(&self) -> Option<CompressionLevel> {
        None
    }

    /// Continues once the driver has done what [`Self::wants_compression`] asks for. What the session queues now is
    /// the first that is compressed. A peer that reads on without compression until it has processed the last
    /// uncompressed operation, as nats-server does, must have sent something since before it is sent more.
    fn handle_compressed(&mut self, now: Instant, scratch: &mut Scratch) {
        let _ = (now, scratch);
    }

    /// Returns true if the session is half-closed: nothing more is delivered to it. The driver
    /// [releases](ByteQueue::release) and writes the queue, ends the stream, and passes input to
    /// [`Self::receive`] until the other side closes too, or for a moment.
    fn has_half_closed(&self) -> bool {
        false
    }

    /// Returns the time within which the other side must read its queue.
    fn patience(&self) -> Duration {
        self.byte_queue().max_wait()
    }

    /// Returns true if [`Self::receive`] has published something since the last call.
    fn take_has_published(&mut self) -> bool {
        false
    }

    /// Counts the time from a read to the end of the flush that followed, for
    /// [`Broker::latencies`](crate::Broker::latencies).
    fn note_flush(&self, took: Duration) {
        let _ = took;
    }

    /// Logs that the input violated the protocol of its transport, so that nothing more can be read.
    fn log_read_error(&self, why: &dyn fmt::Display) {
        let _ = why;
    }
}
