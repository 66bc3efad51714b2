//! Stage 7 of 8: the destinations of deliveries. Before it: delivery (`deliver`); after it: the connection's
//! writer, which is outside of this crate.
//!
//! Messages leave the core only through a destination, and only a destination drops and counts messages.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;

use super::blocks::{QueueMemory, SpareBlocks};
use super::piece::Piece;
use crate::clock::Clock;
use crate::endpoint::{Endpoint, Subscription};
use crate::error::CloseReason;
use crate::interest::Prefetched;
use crate::message_trace::{MessageTrace, StreamTrace};
use crate::proto::Publish;
use crate::subject::Subject;
use crate::sync::Arc;
use crate::trace::Trace;

/// Messages of one publisher to one subject, to be delivered in this order.
pub(crate) struct Run<'a> {
    pub(crate) subject: &'a [u8],
    /// The subject that clients see instead of `subject`, which finds them: messages of streams keep the subject that
    /// they were stored with.
    // NATS 2.14: client.go pubArg.deliver.
    pub(crate) shown: Option<&'a [u8]>,
    pub(crate) messages: &'a [Publish<'a>],
    /// The bytes that contain the messages, if they are worth sharing.
    pub(crate) shared: Option<&'a Bytes>,
    /// The parsed subject, if the publisher is an in-process client.
    pub(crate) parsed: Option<&'a Subject>,
    /// The prefetched part of the look-up of the subject.
    pub(crate) prefetched: Option<Prefetched>,
}

impl<'a> Run<'a> {
    /// Returns the subject that clients see.
    #[inline(always)]
    pub(crate) fn shown_subject(&self) -> &'a [u8] {
        self.shown.unwrap_or(self.subject)
    }
}

/// The result of delivering a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Accepted {
    /// The number of messages taken, from the first on.
    pub(crate) count: usize,
    /// The subscription has reached its maximum number of messages.
    pub(crate) is_last: bool,
    /// The destination must be flushed, by the caller.
    pub(crate) must_flush: bool,
    /// The bytes that the run has added to the pending bytes.
    pub(crate) added_bytes: usize,
    /// The pending bytes after the run.
    pub(crate) pending_bytes: usize,
    /// The publisher should [wait](Destination::look_ahead) for the receiver, which reads.
    pub(crate) asks_patience: bool,
}

impl Accepted {
    pub(crate) const NOTHING: Self = Self {
        count: 0,
        is_last: false,
        must_flush: false,
        added_bytes: 0,
        pending_bytes: 0,
        asks_patience: false,
    };
}

/// Counters of messages and bytes sent, dropped and pending.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OutCounts {
    /// Messages delivered.
    pub messages: u64,
    /// Their bytes, headers and payload.
    pub bytes: u64,
    /// Pending bytes.
    pub pending_bytes: usize,
    /// The memory of the pending bytes.
    pub held_bytes: usize,
    /// Messages that were dropped because their receiver did not keep up.
    pub dropped: u64,
    /// The time of the last flush of messages.
    pub last: Option<Instant>,
    /// The time at which the client itself last published or subscribed.
    pub last_activity: Option<Instant>,
}

/// The progress of a receiver, as a waiting publisher sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ahead {
    /// The publisher's place in the queue of waiting publishers.
    pub(crate) ticket: u64,
    /// The bytes that the receiver has read in all.
    pub(crate) out_bytes: u64,
    /// The number of further bytes that count as progress.
    pub(crate) step_bytes: u64,
}

/// The destination of a session's deliveries.
pub(crate) trait Destination: Send + Sync {
    /// Takes messages for a subscription. `may_refuse`: take nothing rather than close the connection of the receiver,
    /// because another member can take the message.
    fn deliver(
        &self,
        subscription: &Subscription,
        run: &Run<'_>,
        may_refuse: bool,
        scratch: &mut Scratch,
    ) -> Accepted;

    /// Takes messages of an account for a peer server, with the queue groups that the peer was picked for. Takes
    /// nothing unless the destination is a peer's.
    fn deliver_to_peer(
        &self,
        account: &str,
        run: &Run<'_>,
        queues: &[&[u8]],
        scratch: &mut Scratch,
    ) -> Accepted {
        let _ = (account, run, queues, scratch);
        Accepted::NOTHING
    }

    /// Returns true if there is room for so much for that subscription, and for far more. The answer may be
    /// outdated a moment later, but not by that much.
    fn has_plenty_of_room(
        &self,
        subscription: &Subscription,
        messages: usize,
        body_bytes: usize,
    ) -> bool;

    /// Ready when there is room for messages to that subscription. Always ready for destinations whose publishers do
    /// not wait, because their queues have other bounds.
    fn poll_room(&self, _subscription: &Subscription, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// Returns the progress for which a publisher with this ticket, or none, should wait; `None` if it should go on.
    /// The publisher is woken as soon as that may have changed.
    fn look_ahead(&self, _publisher: &Arc<Endpoint>, _ticket: Option<u64>) -> Option<Ahead> {
        None
    }

    /// Reports that a publisher has waited in vain: no other waits until the receiver reads again.
    fn end_patience(&self) {}

    /// Sends pending bytes, as far as possible without waiting.
    fn flush(&self, scratch: &mut Scratch);

    /// As [`Self::flush`]; a write of another thread is waited for. When it returns, everything that was pending before has
    /// been sent, or is not taken now.
    fn flush_whole(&self, scratch: &mut Scratch) {
        self.flush(scratch);
    }

    /// Calls the handler with its pending messages. Called at the end of a call into the core, when no lock is held
    /// and no delivery is in progress.
    fn run_handler(&self, _scratch: &mut Scratch) {}

    /// Returns the stream that its messages go into, if they go into one: traces of messages name it.
    fn stream(&self) -> Option<&str> {
        None
    }

    /// Sets the bound at which [`Subscription::admit`] stops; returns true if messages are still to be delivered.
    fn end_after(&self, subscription: &Subscription, max: u64) -> bool;

    /// Takes no more messages; pending ones may still be sent. Wakes the task of the session.
    fn finish(&self, reason: CloseReason);

    /// Takes no more messages and drops pending ones. Wakes the task of the session.
    fn close(&self, reason: CloseReason);

    /// Wakes the task of the session, which has work to do.
    fn wake(&self);

    /// Starts or stops the logging of deliveries.
    fn set_trace(&self, trace: Option<Arc<Trace>>);

    fn counts(&self) -> OutCounts;
}

/// Working memory, lent to the core for the duration of one call. Keep one for each thread that serves sessions and
/// lend it to every call: then serving them allocates nothing.
#[derive(Default)]
pub struct Scratch {
    /// The time of this call, or the clock to read it from.
    now: Option<Instant>,
    clock: Option<Arc<dyn Clock>>,
    /// Endpoints that must be flushed before the call returns.
    pub(crate) touched: Vec<Arc<Endpoint>>,
    /// Endpoints whose handlers must run at the end of the call, once no lock is held.
    pub(crate) handlers: Vec<Arc<Endpoint>>,
    /// The bytes appended to the touched endpoints.
    pub(crate) unflushed_bytes: usize,
    /// Of the receivers that ask their publishers to wait, the one with most pending bytes.
    crowded: Option<(usize, Arc<Endpoint>)>,
    /// A handler that asks the publishers of its messages to wait, because it is behind.
    behind: Option<Arc<Endpoint>>,
    /// The touched endpoints need not be flushed by the current call.
    expects_more: bool,
    /// The trace of the current message, if it is traced.
    message_trace: Option<Box<MessageTrace>>,
    /// The trace of a message that is being delivered to a stream, until its queue takes it.
    pub(crate) stream_trace: Option<Box<StreamTrace>>,
    /// The verb, subject and sid of the current run.
    pub(crate) prefix: Vec<u8>,
    spare: SpareBlocks,
    /// The memory of an empty list of blocks.
    pieces: VecDeque<Piece>,
    /// The memory of a run's messages, and of the same messages in the order of their distribution.
    messages: Vec<Publish<'static>>,
    distributed: Vec<Publish<'static>>,
}

/// The longest list of blocks whose memory is kept: 64 KiB each, as much as may be pending for one receiver.
const KEPT_PIECES: usize = 1024;

impl Scratch {
    /// Memory to lend.
    pub fn new() -> Self {
        Self::default()
    }

    /// Announces that the next call brings more input of the same session, and follows at once: deliveries of the
    /// call before it may wait for that, so that they leave in fewer and larger pieces. If no more input
    /// follows, the session must [flush](crate::session::ClientSession::flush) before this is lent to
    /// another.
    pub fn expect_more(&mut self) {
        self.expects_more = true;
    }

    pub(crate) fn take_expects_more(&mut self) -> bool {
        std::mem::take(&mut self.expects_more)
    }

    pub(crate) fn start(&mut self, now: Instant) {
        self.now = Some(now);
    }

    /// Starts a call that was not given the time: the clock is read only if the call needs it.
    #[inline]
    pub(crate) fn start_by(&mut self, clock: &Arc<dyn Clock>) {
        self.now = None;
        if self.clock.as_ref().is_none_or(|known| !Arc::ptr_eq(known, clock)) {
            self.clock = Some(Arc::clone(clock));
        }
    }

    /// Returns the time of the call. Panics if the call was started without time and clock, which is a bug of ours.
    pub(crate) fn now(&mut self) -> Instant {
        match (self.now, &self.clock) {
            (Some(now), _) => now,
            (None, Some(clock)) => *self.now.insert(clock.now()),
            (None, None) => unreachable!("the entry points of the core set it"),
        }
    }

    /// Begins the trace of the current message.
    pub(crate) fn begin_trace(&mut self, trace: Box<MessageTrace>) {
        self.message_trace = Some(trace);
    }

    /// Returns the trace of the current message, if it is traced: code that redirects a message notes the hop there.
    pub(crate) fn message_trace(&mut self) -> Option<&mut MessageTrace> {
        self.message_trace.as_deref_mut()
    }

    /// Takes the trace of the current message: at its end, or while the message is where it must not be traced.
    pub(crate) fn take_trace(&mut self) -> Option<Box<MessageTrace>> {
        self.message_trace.take()
    }

    /// Continues a trace that was [taken](Self::take_trace).
    #[expect(dead_code, reason = "no account shares yet")]
    pub(crate) fn resume_trace(&mut self, trace: Option<Box<MessageTrace>>) {
        self.message_trace = trace;
    }

    /// Returns true if no endpoint is left to be flushed and no handler to be run.
    #[inline]
    pub(crate) fn has_flushed(&self) -> bool {
        self.touched.is_empty() && self.handlers.is_empty()
    }

    /// Flushes every endpoint that the current call has delivered to. Endpoints touched by a flush are flushed as
    /// well. Runs no handlers.
    pub(crate) fn flush_queues(&mut self) {
        self.unflushed_bytes = 0;
        if self.touched.is_empty() {
            return;
        }
        let mut touched = std::mem::take(&mut self.touched);
        loop {
            for endpoint in touched.drain(..) {
                endpoint.destination.flush(self);
            }
            if self.touched.is_empty() {
                // Keeps the memory of the list.
                self.touched = touched;
                return;
            }
            std::mem::swap(&mut touched, &mut self.touched);
        }
    }

    /// Records a receiver that asks its publishers to wait, and its pending bytes.
    #[cold]
    pub(crate) fn note_crowded(&mut self, endpoint: &Arc<Endpoint>, pending_bytes: usize) {
        if self.crowded.as_ref().is_none_or(|(most, _)| pending_bytes > *most) {
            self.crowded = Some((pending_bytes, Arc::clone(endpoint)));
        }
    }

    /// Returns true if a receiver of the messages of this call reads them more slowly than they are sent.
    pub fn is_crowded(&self) -> bool {
        self.crowded.is_some()
    }

    /// Records a handler that asks publishers to wait.
    #[cold]
    pub(crate) fn note_behind(&mut self, endpoint: &Arc<Endpoint>) {
        self.behind = Some(Arc::clone(endpoint));
    }

    /// Takes the receiver that publishers should wait for.
    pub(crate) fn take_crowded(&mut self) -> Option<Arc<Endpoint>> {
        let behind = self.behind.take();
        self.crowded.take().map_or(behind, |(_, endpoint)| Some(endpoint))
    }

    /// Returns an empty block with room for at least `bytes`, of full size if `wants_whole`.
    pub(super) fn block(
        &mut self,
        bytes: usize,
        wants_whole: bool,
        memory: &QueueMemory,
    ) -> Vec<u8> {
        self.spare.take(bytes, wants_whole, memory)
    }

    /// Keeps a returned block, or frees it.
    pub(super) fn give_back(&mut self, block: Vec<u8>, memory: &QueueMemory) {
        self.spare.give_back(block, memory);
    }

    /// Returns an empty list with the memory of the previous one.
    pub(super) fn take_pieces(&mut self) -> VecDeque<Piece> {
        std::mem::take(&mut self.pieces)
    }

    #[inline]
    pub(super) fn keep_pieces(&mut self, pieces: VecDeque<Piece>) {
        if pieces.is_empty() && (self.pieces.capacity()..=KEPT_PIECES).contains(&pieces.capacity())
        {
            self.pieces = pieces;
        }
    }

    /// Returns an empty list with the memory of the previous one.
    pub(crate) fn take_messages<'a>(&mut self) -> Vec<Publish<'a>> {
        recycle(std::mem::take(&mut self.messages))
    }

    #[inline]
    pub(crate) fn keep_messages(&mut self, messages: Vec<Publish<'_>>) {
        self.messages = recycle(messages);
    }

    /// Returns a second such list.
    pub(crate) fn take_distributed<'a>(&mut self) -> Vec<Publish<'a>> {
        recycle(std::mem::take(&mut self.distributed))
    }

    pub(crate) fn keep_distributed(&mut self, distributed: Vec<Publish<'_>>) {
        self.distributed = recycle(distributed);
    }
}

/// Reuses the memory of one list for a list of another lifetime. Collecting an emptied list in place keeps its
/// allocation, and the types have one layout.
pub(crate) fn recycle<'b>(mut list: Vec<Publish<'_>>) -> Vec<Publish<'b>> {
    list.clear();
    list.into_iter().map(|_| unreachable!("the list is empty")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Kind, LocalQueues};
    use crate::sync::{AtomicUsize, OnceLock, Ordering};
    use crate::transport::TransportInfo;

    /// Touches another endpoint while it is flushed.
    #[derive(Default)]
    struct Chain {
        next: OnceLock<Arc<Endpoint>>,
        flushed: AtomicUsize,
        queues: LocalQueues,
    }

    impl Destination for Chain {
        fn deliver(&self, _: &Subscription, _: &Run<'_>, _: bool, _: &mut Scratch) -> Accepted {
            Accepted::NOTHING
        }

        fn has_plenty_of_room(&self, _: &Subscription, _: usize, _: usize) -> bool {
            false
        }

        fn flush(&self, scratch: &mut Scratch) {
            self.flushed.fetch_add(1, Ordering::Relaxed);
            scratch.touched.extend(self.next.get().cloned());
        }

        fn end_after(&self, _: &Subscription, _: u64) -> bool {
            false
        }

        fn finish(&self, reason: CloseReason) {
            self.queues.finish(reason);
        }

        fn close(&self, reason: CloseReason) {
            self.queues.close(reason);
        }

        fn wake(&self) {}

        fn set_trace(&self, _: Option<Arc<Trace>>) {}

        fn counts(&self) -> OutCounts {
            OutCounts::default()
        }
    }

    #[test]
    fn endpoints_that_are_touched_by_a_flush_are_flushed_as_well() {
        let chain: Vec<Arc<Chain>> = (0..5).map(|_| Arc::default()).collect();
        let endpoints = chain.iter().map(|chain| {
            let (chain, now) = (Arc::clone(chain), Instant::now());
            Arc::new(Endpoint::new(0, 0, None, TransportInfo::Memory, now, chain, Kind::Internal))
        });
        let endpoints: Vec<_> = endpoints.collect();
        for (chain, next) in chain.iter().zip(&endpoints[1..]) {
            assert!(chain.next.set(Arc::clone(next)).is_ok());
        }
        let mut scratch = Scratch::new();
        scratch.touched.push(Arc::clone(&endpoints[0]));
        scratch.flush_queues();
        for chain in &chain {
            assert_eq!(chain.flushed.load(Ordering::Relaxed), 1);
        }
        assert!(scratch.has_flushed());
    }
}
