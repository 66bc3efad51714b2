//! Stage 7 of 8: where deliveries go. Before it: delivery (`deliver`); after it: the connection's
//! writer, which is outside of this crate.
//!
//! A destination is the only way out of the core, and the only place where a message is dropped, counted.

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
use crate::proto::Publish;
use crate::subject::Subject;
use crate::sync::Arc;
use crate::trace::Trace;

/// Messages of one publisher to one subject, to be delivered in this order.
pub(crate) struct Run<'a> {
    pub(crate) subject: &'a [u8],
    pub(crate) messages: &'a [Publish<'a>],
    /// The bytes that the messages lie in, if they are worth sharing.
    pub(crate) shared: Option<&'a Bytes>,
    /// The subject as in-process clients have it, if the publisher is one.
    pub(crate) parsed: Option<&'a Subject>,
    /// What is known already of who wants the subject.
    pub(crate) prefetched: Option<Prefetched>,
}

/// What became of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Accepted {
    /// How many messages, from the first on, were taken.
    pub(crate) count: usize,
    /// The subscription has had all the messages it wanted.
    pub(crate) is_last: bool,
    /// The destination has something to flush, and the caller is the one to see to it.
    pub(crate) must_flush: bool,
    /// How many bytes the run has added to what waits.
    pub(crate) added_bytes: usize,
    /// How many wait now.
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

/// How many messages and bytes went out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OutCounts {
    /// Messages delivered.
    pub messages: u64,
    /// Their bytes, headers and payload.
    pub bytes: u64,
    /// What waits to be read, in bytes.
    pub pending_bytes: usize,
    /// The memory of these bytes.
    pub held_bytes: usize,
    /// Messages that were dropped because their receiver did not keep up.
    pub dropped: u64,
    /// When messages last left.
    pub last: Option<Instant>,
    /// When the party itself last published or subscribed.
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

/// Where a session's deliveries go.
pub(crate) trait Destination: Send + Sync {
    /// Takes messages for a subscription. `may_refuse`: take nothing rather than cut the receiver,
    /// because somebody else can have it.
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

    /// Would it take so much for that subscription, and far more? What is told may have changed a moment
    /// later, but not by that much.
    fn has_plenty_of_room(
        &self,
        subscription: &Subscription,
        messages: usize,
        body_bytes: usize,
    ) -> bool;

    /// Ready when there is room for what comes for that subscription. Who is not made to wait for it,
    /// because its queue has other bounds, always has.
    fn poll_room(&self, _subscription: &Subscription, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// Returns the progress that a publisher, which has this ticket or none, should wait for; `None` if it
    /// should go on. The publisher is woken as soon as that may have changed.
    fn look_ahead(&self, _publisher: &Arc<Endpoint>, _ticket: Option<u64>) -> Option<Ahead> {
        None
    }

    /// Reports that a publisher has waited in vain: no other waits until the receiver reads again.
    fn end_patience(&self) {}

    /// Sends off what waits, as far as that needs no waiting.
    fn flush(&self, scratch: &mut Scratch);

    /// Calls the handler with what waits for it. Called at the end of a call into the core, when no lock is held
    /// and no delivery is under way.
    fn run_handler(&self, _scratch: &mut Scratch) {}

    /// Sets the bound at which [`Subscription::admit`] stops; true if messages are still to come.
    fn end_after(&self, subscription: &Subscription, max: u64) -> bool;

    /// Takes nothing more; what waits may still leave. Wakes whoever serves it.
    fn finish(&self, reason: CloseReason);

    /// Takes nothing more, and forgets what waits. Wakes whoever serves it.
    fn close(&self, reason: CloseReason);

    /// Wakes whoever serves it: the session has something to do.
    fn wake(&self);

    /// Logs what is delivered from now on, or no longer.
    fn set_trace(&self, trace: Option<Arc<Trace>>);

    fn counts(&self) -> OutCounts;
}

/// Working memory, lent to the core for the time of one call. Keep one for each thread that serves
/// sessions and lend it again and again: then serving them allocates nothing.
#[derive(Default)]
pub struct Scratch {
    /// When this call is, or who tells.
    now: Option<Instant>,
    clock: Option<Arc<dyn Clock>>,
    /// Endpoints that must be flushed before the call returns.
    pub(crate) touched: Vec<Arc<Endpoint>>,
    /// Endpoints whose handlers must run at the end of the call, once no lock is held.
    pub(crate) handlers: Vec<Arc<Endpoint>>,
    /// What waits for them.
    pub(crate) unflushed_bytes: usize,
    /// Of the receivers that ask for patience, the one with most pending bytes.
    crowded: Option<(usize, Arc<Endpoint>)>,
    /// They need not be flushed by the call at hand.
    expects_more: bool,
    /// The verb, subject and sid of the run at hand.
    pub(crate) prefix: Vec<u8>,
    spare: SpareBlocks,
    /// The memory of a list of blocks.
    pieces: VecDeque<Piece>,
    /// The memory of a run's messages, and of the same in the order in which they are dealt.
    messages: Vec<Publish<'static>>,
    distributed: Vec<Publish<'static>>,
}

/// The longest list of blocks whose memory is kept: 64 KiB each, as much as may wait for one receiver.
const KEPT_PIECES: usize = 1024;

impl Scratch {
    /// Memory to lend.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that the next call brings more of the same session's input, and comes at once: what the call
    /// before it delivers may wait for that, so that it leaves in fewer and larger pieces. If it turns
    /// out that no more comes, the session must [flush](crate::session::ClientSession::flush) before
    /// this is lent to another.
    pub fn expect_more(&mut self) {
        self.expects_more = true;
    }

    pub(crate) fn take_expects_more(&mut self) -> bool {
        std::mem::take(&mut self.expects_more)
    }

    pub(crate) fn start(&mut self, now: Instant) {
        self.now = Some(now);
    }

    /// The same for who is not told the time: the clock is only looked at if the call needs it.
    pub(crate) fn start_by(&mut self, clock: &Arc<dyn Clock>) {
        self.now = None;
        if self.clock.as_ref().is_none_or(|known| !Arc::ptr_eq(known, clock)) {
            self.clock = Some(Arc::clone(clock));
        }
    }

    /// The time of the call; the first one that asks without having been told is a bug of ours.
    pub(crate) fn now(&mut self) -> Instant {
        match (self.now, &self.clock) {
            (Some(now), _) => now,
            (None, Some(clock)) => *self.now.insert(clock.now()),
            (None, None) => unreachable!("the entry points of the core set it"),
        }
    }

    /// Returns true if nothing is left to be flushed or run.
    #[inline]
    pub(crate) fn has_flushed(&self) -> bool {
        self.touched.is_empty() && self.handlers.is_empty()
    }

    /// Flushes every endpoint that the current call has delivered to. What a flush delivers in its turn is
    /// flushed as well. Runs no handlers.
    pub(crate) fn flush_queues(&mut self) {
        self.unflushed_bytes = 0;
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

    /// Records a receiver that asks for patience, and its pending bytes.
    #[cold]
    pub(crate) fn note_crowded(&mut self, endpoint: &Arc<Endpoint>, pending_bytes: usize) {
        if self.crowded.as_ref().is_none_or(|(most, _)| pending_bytes > *most) {
            self.crowded = Some((pending_bytes, Arc::clone(endpoint)));
        }
    }

    pub(crate) fn take_crowded(&mut self) -> Option<Arc<Endpoint>> {
        self.crowded.take().map(|(_, endpoint)| endpoint)
    }

    /// An empty block with room for at least `bytes`, of full size if `wants_whole`.
    pub(super) fn block(
        &mut self,
        bytes: usize,
        wants_whole: bool,
        memory: &QueueMemory,
    ) -> Vec<u8> {
        self.spare.take(bytes, wants_whole, memory)
    }

    /// Takes back a block, or frees it.
    pub(super) fn give_back(&mut self, block: Vec<u8>, memory: &QueueMemory) {
        self.spare.give_back(block, memory);
    }

    /// An empty list with the memory of the last one.
    pub(super) fn take_pieces(&mut self) -> VecDeque<Piece> {
        std::mem::take(&mut self.pieces)
    }

    pub(super) fn keep_pieces(&mut self, pieces: VecDeque<Piece>) {
        if pieces.is_empty() && (self.pieces.capacity()..=KEPT_PIECES).contains(&pieces.capacity())
        {
            self.pieces = pieces;
        }
    }

    /// An empty list with the memory of the last one.
    pub(crate) fn take_messages<'a>(&mut self) -> Vec<Publish<'a>> {
        recycle(std::mem::take(&mut self.messages))
    }

    pub(crate) fn keep_messages(&mut self, messages: Vec<Publish<'_>>) {
        self.messages = recycle(messages);
    }

    /// Another such list.
    pub(crate) fn take_distributed<'a>(&mut self) -> Vec<Publish<'a>> {
        recycle(std::mem::take(&mut self.distributed))
    }

    pub(crate) fn keep_distributed(&mut self, distributed: Vec<Publish<'_>>) {
        self.distributed = recycle(distributed);
    }
}

/// The memory of one list as a list of another lifetime. Collecting an emptied list in place keeps its
/// allocation, and the types have one layout.
fn recycle<'b>(mut list: Vec<Publish<'_>>) -> Vec<Publish<'b>> {
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
