//! Stage 7 of 8: where deliveries go. Before it: delivery (`deliver`); after it: the connection's
//! writer, which is outside of this crate.
//!
//! An outlet is the only way out of the core, and the only place where a message is dropped, counted.

mod mailbox;
mod wire;

use std::time::Instant;

use bytes::Bytes;

pub(crate) use mailbox::{Mailboxes, sid_number};
pub use wire::{Drained, Link, WireOutlet};

use crate::error::CloseReason;
use crate::proto::Publish;
use crate::receiver::Receiver;
use crate::subscription::Subscription;
use crate::sync::Arc;
use crate::trace::Trace;

/// Messages of one publisher to one subject, to be delivered in this order.
pub(crate) struct Run<'a> {
    pub(crate) subject: &'a [u8],
    pub(crate) messages: &'a [Publish<'a>],
    /// The bytes that the messages lie in, if they are worth sharing.
    pub(crate) shared: Option<&'a Bytes>,
}

/// What became of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Accepted {
    /// How many messages, from the first on, were taken.
    pub(crate) count: usize,
    /// The subscription has had all the messages it wanted.
    pub(crate) is_last: bool,
    /// The outlet has something to flush, and the caller is the one to see to it.
    pub(crate) must_flush: bool,
    /// How many bytes the run has added to what waits.
    pub(crate) added_bytes: usize,
    /// How many wait now.
    pub(crate) pending_bytes: usize,
}

impl Accepted {
    pub(crate) const NOTHING: Self =
        Self { count: 0, is_last: false, must_flush: false, added_bytes: 0, pending_bytes: 0 };
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
    /// Messages that were dropped because their receiver did not keep up.
    pub dropped: u64,
}

/// Where a session's deliveries go.
pub(crate) trait Outlet: Send + Sync {
    /// Takes messages for a subscription. `may_refuse`: take nothing rather than cut the receiver,
    /// because somebody else can have it.
    fn deliver(
        &self,
        subscription: &Subscription,
        run: &Run<'_>,
        may_refuse: bool,
        work: &mut Work,
    ) -> Accepted;

    /// Sends off what waits, as far as that needs no waiting.
    fn flush(&self, work: &mut Work);

    /// Sets the bound at which [`Subscription::admit`] stops; true if messages are still to come.
    fn end_after(&self, subscription: &Subscription, max: u64) -> bool;

    /// Takes nothing more; what waits may still leave. Wakes whoever serves it.
    fn finish(&self, reason: CloseReason);

    /// Takes nothing more, and forgets what waits. Wakes whoever serves it.
    fn close(&self, reason: CloseReason);

    /// Logs what is delivered from now on, or no longer.
    fn set_trace(&self, trace: Option<Arc<Trace>>);

    fn counts(&self) -> OutCounts;
}

/// Working memory, lent to the core for the time of one call. Keep one for each thread that serves
/// sessions and lend it again and again: then serving them allocates nothing.
#[derive(Default)]
pub struct Work {
    /// When this call is.
    now: Option<Instant>,
    /// Receivers that must be flushed before the call returns.
    pub(crate) touched: Vec<Arc<Receiver>>,
    /// What waits for them.
    pub(crate) unflushed_bytes: usize,
    /// The verb, subject and sid of the run at hand.
    pub(crate) prefix: Vec<u8>,
    /// Blocks that no queue needs now.
    spare: Vec<Vec<u8>>,
    /// The memory of a run's messages.
    messages: Vec<Publish<'static>>,
}

/// How much of a receiver's queue lies in one piece.
pub(crate) const BLOCK_BYTES: usize = 64 << 10;

/// How many blocks one thread keeps for later.
const SPARE_BLOCKS: usize = 4;

impl Work {
    /// Memory to lend.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn start(&mut self, now: Instant) {
        self.now = Some(now);
    }

    /// The time of the call; the first one that asks without having been told is a bug of ours.
    pub(crate) fn now(&self) -> Instant {
        debug_assert!(self.now.is_some(), "the entry points of the core set it");
        match self.now {
            Some(now) => now,
            None => unreachable!("the entry points of the core set it"),
        }
    }

    /// An empty block with room for at least `bytes`.
    pub(crate) fn block(&mut self, bytes: usize) -> Vec<u8> {
        if bytes <= BLOCK_BYTES
            && let Some(block) = self.spare.pop()
        {
            return block;
        }
        // Beyond the spare ones, a block is as large as what goes in: there may be thousands.
        let len = if bytes > BLOCK_BYTES { bytes } else { bytes.next_power_of_two().max(1024) };
        Vec::with_capacity(
            if self.spare.is_empty() && len <= BLOCK_BYTES && self.touched.is_empty() {
                BLOCK_BYTES
            } else {
                len
            },
        )
    }

    /// Takes back a block, or frees it.
    pub(crate) fn give_back(&mut self, mut block: Vec<u8>) {
        if block.capacity() >= BLOCK_BYTES
            && block.capacity() <= 2 * BLOCK_BYTES
            && self.spare.len() < SPARE_BLOCKS
        {
            block.clear();
            self.spare.push(block);
        }
    }

    /// An empty list with the memory of the last one.
    pub(crate) fn take_messages<'a>(&mut self) -> Vec<Publish<'a>> {
        recycle(std::mem::take(&mut self.messages))
    }

    pub(crate) fn keep_messages(&mut self, messages: Vec<Publish<'_>>) {
        self.messages = recycle(messages);
    }
}

/// The memory of one list as a list of another lifetime. Collecting an emptied list in place keeps its
/// allocation, and the types have one layout.
fn recycle<'b>(mut list: Vec<Publish<'_>>) -> Vec<Publish<'b>> {
    list.clear();
    list.into_iter().map(|_| unreachable!("the list is empty")).collect()
}
