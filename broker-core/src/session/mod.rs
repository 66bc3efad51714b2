//! Sessions: the rules of one party as a state machine. Each kind of party has a type of its own over
//! shared parts. A session is the only way into the core.
//!
//! A kind that is served over a byte stream implements [`Session`], by which its driver knows it.

#[cfg_attr(not(test), expect(dead_code, reason = "sessions of routes work in several accounts"))]
mod accounts;
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
#[cfg(test)]
mod tests;

pub use client::ClientSession;

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::auth::{Compute, Denied, Grant};
use crate::endpoint::{ByteQueue, Encoder, Scratch};
use crate::error::{ClientFault, CloseReason};
use crate::security::Security;
use crate::sync::Arc;

/// The result of [`Session::receive`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Received {
    /// The number of bytes that are used up. The rest must be passed again, with more behind it.
    pub used: usize,
    /// If not 0: the number of bytes, from the first that must be passed again, that make a whole operation.
    /// Nothing happens before all but the last of them are there. (That one less shows a client that has
    /// miscounted its payload; it may wait for the answer without sending more.)
    pub whole: usize,
}

/// A session as its driver sees it, which owns the socket. The driver passes in bytes and the time, and does
/// what the session asks for: keeps bytes for the next call, runs an expensive check, calls again at a deadline,
/// lets others have their turn between the slices of something long, closes.
///
/// Whatever another thread leaves for the session wakes the [write handle](crate::endpoint::WriteHandle) of its
/// byte queue. Methods with a body are for what only some kinds have.
pub trait Session: Send + 'static {
    /// The encoder of its byte queue.
    type Encoder: Encoder;

    /// Returns the number of the connection, `cid`.
    fn id(&self) -> u64;

    /// Returns the queue that its deliveries wait in.
    fn byte_queue(&self) -> &Arc<ByteQueue<Self::Encoder>>;

    /// Returns the number of bytes that a read may bring at most, with those that were kept. It is more than the
    /// session may leave unused.
    fn read_limit(&self) -> usize {
        usize::MAX
    }

    /// Does what `input` asks for, and flushes every receiver that got something by it, unless the driver
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

    /// Flushes every receiver that got something by [`Self::receive`], and the party itself. Only needed after
    /// [`Scratch::expect_more`].
    fn flush(&mut self, now: Instant, scratch: &mut Scratch);

    /// Returns the reason why the connection must end, if it must: flush the byte queue, if that takes no time,
    /// and close.
    fn closing(&self) -> Option<CloseReason>;

    /// Returns the time at which [`Self::handle_timeout`] must be called at the latest. It may be called earlier.
    fn next_timeout(&self) -> Instant;

    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant, scratch: &mut Scratch);

    /// The connection is gone, or must go: ends the session, or a slice of that. Returns false when there is
    /// no more to do; until then call it again, and let others have their turn in between.
    fn depart(&mut self, reason: CloseReason) -> bool;

    /// Returns true if the party must authenticate and has not.
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
    /// and when there are no more [chores](Self::has_chores): they come first.
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
    /// input is read, and let other sessions have their turn after it.
    fn has_chores(&self) -> bool {
        false
    }

    /// Does one slice of the work that is left. When there is no more, call [`Self::receive`] with the bytes kept.
    fn do_chores(&mut self, now: Instant, scratch: &mut Scratch) {
        let _ = (now, scratch);
    }

    /// Takes the check of credentials that must be run, if there is one: run it where it delays nobody and pass
    /// its result to [`Self::handle_checked`].
    fn take_check(&mut self) -> Option<Compute> {
        None
    }

    /// Goes on with the result of a check. Call [`Self::receive`] with the bytes kept, next.
    fn handle_checked(
        &mut self,
        result: Result<Grant, Denied>,
        now: Instant,
        scratch: &mut Scratch,
    ) {
        let _ = (result, now, scratch);
    }

    /// Greets before the handshake, because the other side waits for it.
    fn greet(&mut self, now: Instant, scratch: &mut Scratch) {
        let _ = (now, scratch);
    }

    /// Completes the handshake; `None` if the connection goes on in the clear. Input is read from now on.
    fn handle_secured(&mut self, security: Option<Security>, now: Instant, scratch: &mut Scratch) {
        let _ = (security, now, scratch);
    }

    /// The handshake failed: closes the session.
    fn handle_insecure(&mut self, fault: &ClientFault, now: Instant, scratch: &mut Scratch) {
        let _ = (fault, now, scratch);
        self.byte_queue().cut(CloseReason::TlsHandshakeFailure);
    }

    /// Returns true if the session is half-closed: nothing more is delivered to it. The driver
    /// [releases](ByteQueue::release) and writes the queue, ends the stream, and passes input to
    /// [`Self::receive`] until the other side closes too, or for a moment.
    fn has_half_closed(&self) -> bool {
        false
    }

    /// Returns the time that the other side has for reading its queue.
    fn patience(&self) -> Duration {
        self.byte_queue().max_wait()
    }

    /// Returns true if [`Self::receive`] has published something since this was last asked.
    fn take_has_published(&mut self) -> bool {
        false
    }

    /// Counts the time from a read to the end of the flush that followed, for
    /// [`Broker::latencies`](crate::Broker::latencies).
    fn note_flush(&self, took: Duration) {
        let _ = took;
    }

    /// Logs that the input broke the protocol of its carrier, so that nothing more can be read.
    fn log_read_error(&self, why: &dyn fmt::Display) {
        let _ = why;
    }
}
