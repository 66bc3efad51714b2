//! One subscription, as the interest of its account and the session that made it both hold it.

use crate::interest::Interested;
use crate::receiver::Receiver;
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering};

/// A subscription. A server may hold millions of them: 72 bytes and one text.
pub(crate) struct Subscription {
    /// Filter, queue group and sid, one behind the other.
    text: Box<[u8]>,
    filter_len: u32,
    queue_len: u32,
    pub(crate) receiver: Arc<Receiver>,
    /// Messages delivered so far. Written only with the receiver's queue locked, so that a load and a
    /// store do.
    delivered: AtomicU64,
    /// Ends after so many messages; 0 for never. Written only with the receiver's queue locked.
    max: AtomicU64,
    /// It has ended. The one who ends it takes it out of the interest.
    is_over: AtomicBool,
    /// Some of what its filter matches may not be delivered: each message must be checked.
    is_filtered: AtomicBool,
}

impl Subscription {
    pub(crate) fn new(
        receiver: Arc<Receiver>,
        filter: &[u8],
        queue: Option<&[u8]>,
        sid: &[u8],
        is_filtered: bool,
    ) -> Self {
        let queue = queue.unwrap_or_default();
        let mut text = Vec::with_capacity(filter.len() + queue.len() + sid.len());
        text.extend_from_slice(filter);
        text.extend_from_slice(queue);
        text.extend_from_slice(sid);
        Self {
            text: text.into_boxed_slice(),
            // A control line, which is at most some KiB, held them all.
            filter_len: u32::try_from(filter.len()).unwrap_or(u32::MAX),
            queue_len: u32::try_from(queue.len()).unwrap_or(u32::MAX),
            receiver,
            delivered: AtomicU64::new(0),
            max: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            is_filtered: AtomicBool::new(is_filtered),
        }
    }

    /// Must each message be checked?
    #[inline]
    pub(crate) fn is_filtered(&self) -> bool {
        self.is_filtered.load(Ordering::Relaxed)
    }

    pub(crate) fn set_filtered(&self, is_filtered: bool) {
        self.is_filtered.store(is_filtered, Ordering::Relaxed);
    }

    pub(crate) fn sid(&self) -> &[u8] {
        &self.text[self.filter_len as usize + self.queue_len as usize..]
    }

    /// How many of `count` messages it still takes, counted as delivered, and whether it is the last.
    /// To be called with the receiver's queue locked.
    #[inline]
    pub(crate) fn admit(&self, count: usize) -> Admitted {
        let delivered = self.delivered.load(Ordering::Relaxed);
        let max = self.max.load(Ordering::Relaxed);
        if max == 0 {
            self.delivered.store(delivered + count as u64, Ordering::Relaxed);
            return Admitted { count, is_last: false };
        }
        let room = usize::try_from(max.saturating_sub(delivered)).unwrap_or(usize::MAX);
        let count = count.min(room);
        self.delivered.store(delivered + count as u64, Ordering::Relaxed);
        Admitted { count, is_last: delivered + count as u64 >= max }
    }

    /// Will end after `max` messages, if it has not had them yet. To be called with the receiver's
    /// queue locked.
    pub(crate) fn end_after(&self, max: u64) -> bool {
        let is_ahead = max > self.delivered.load(Ordering::Relaxed);
        self.max.store(if is_ahead { max } else { 0 }, Ordering::Relaxed);
        is_ahead
    }

    /// Ends it. True for the one caller that did: it must take it out of the interest.
    pub(crate) fn end(&self) -> bool {
        !self.is_over.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

/// What [`Subscription::admit`] let through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Admitted {
    pub(crate) count: usize,
    pub(crate) is_last: bool,
}

impl Interested for Subscription {
    fn filter(&self) -> &[u8] {
        &self.text[..self.filter_len as usize]
    }

    fn queue(&self) -> Option<&[u8]> {
        let end = self.filter_len as usize + self.queue_len as usize;
        Some(&self.text[self.filter_len as usize..end]).filter(|queue| !queue.is_empty())
    }

    fn owner(&self) -> u64 {
        self.receiver.id
    }
}
