//! One subscription, as the interest of its account and the session that made it both hold it.

use crate::endpoint::Endpoint;
use crate::interest::Interested;
use crate::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, Ordering};

/// A subscription. A server may hold millions of them: 64 bytes, and a text if that is long.
pub(crate) struct Subscription {
    text: Text,
    pub(crate) endpoint: Arc<Endpoint>,
    /// Messages delivered so far. Written only with the receiver's queue locked, so that a load and a
    /// store do.
    delivered: AtomicU64,
    /// Ends after so many messages; 0 for never. Written only with the receiver's queue locked.
    max: AtomicU64,
    /// It has ended. The one who ends it takes it out of the interest.
    is_over: AtomicBool,
    /// Some of what its filter matches may not be delivered: each message must be checked.
    is_filtered: AtomicBool,
    /// How many members of its queue group it stands for. More than one only for a peer.
    weight: AtomicU32,
}

const _: () = assert!(size_of::<Subscription>() == 64);

/// Filter, queue group and sid, one behind the other. If they are short they are where all else is: who
/// looks for one of a million subscriptions waits for memory.
enum Text {
    Short { filter_len: u8, queue_len: u8, len: u8, bytes: [u8; SHORT] },
    Long { filter_len: u32, queue_len: u32, bytes: Box<[u8]> },
}

/// As much as fits in what a long text needs anyway, and eight bytes more.
const SHORT: usize = 28;

impl Text {
    fn new(filter: &[u8], queue: &[u8], sid: &[u8]) -> Self {
        let len = filter.len() + queue.len() + sid.len();
        if len <= SHORT {
            let mut bytes = [0; SHORT];
            let (filter_place, rest) = bytes.split_at_mut(filter.len());
            let (queue_place, rest) = rest.split_at_mut(queue.len());
            filter_place.copy_from_slice(filter);
            queue_place.copy_from_slice(queue);
            rest[..sid.len()].copy_from_slice(sid);
            let [filter_len, queue_len, len] =
                [filter.len(), queue.len(), len].map(|len| len as u8);
            return Self::Short { filter_len, queue_len, len, bytes };
        }
        // A control line, which is at most some KiB, held them all.
        let [filter_len, queue_len] =
            [filter.len(), queue.len()].map(|len| u32::try_from(len).unwrap_or(u32::MAX));
        Self::Long { filter_len, queue_len, bytes: [filter, queue, sid].concat().into() }
    }

    /// All of it, and where the filter and the queue group end.
    #[inline]
    fn parts(&self) -> (&[u8], usize, usize) {
        match self {
            Self::Short { filter_len, queue_len, len, bytes } => {
                let filter_end = usize::from(*filter_len);
                (&bytes[..usize::from(*len)], filter_end, filter_end + usize::from(*queue_len))
            }
            Self::Long { filter_len, queue_len, bytes } => {
                let filter_end = *filter_len as usize;
                (bytes, filter_end, filter_end + *queue_len as usize)
            }
        }
    }
}

impl Subscription {
    pub(crate) fn new(
        endpoint: Arc<Endpoint>,
        filter: &[u8],
        queue: Option<&[u8]>,
        sid: &[u8],
        is_filtered: bool,
    ) -> Self {
        Self {
            text: Text::new(filter, queue.unwrap_or_default(), sid),
            endpoint,
            delivered: AtomicU64::new(0),
            max: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            is_filtered: AtomicBool::new(is_filtered),
            weight: AtomicU32::new(1),
        }
    }

    /// How many messages it was delivered.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// After how many it ends.
    pub(crate) fn max(&self) -> Option<u64> {
        Some(self.max.load(Ordering::Relaxed)).filter(|max| *max > 0)
    }

    /// Must each message be checked?
    #[inline]
    pub(crate) fn is_filtered(&self) -> bool {
        self.is_filtered.load(Ordering::Relaxed)
    }

    pub(crate) fn set_filtered(&self, is_filtered: bool) {
        self.is_filtered.store(is_filtered, Ordering::Relaxed);
    }

    /// Stands for so many members of its queue group from now on.
    #[cfg(test)]
    pub(crate) fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Ordering::Relaxed);
    }

    pub(crate) fn sid(&self) -> &[u8] {
        let (text, _, queue_end) = self.text.parts();
        &text[queue_end..]
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

    /// Is there a number of messages after which it ends?
    pub(crate) fn ends_by_itself(&self) -> bool {
        self.max.load(Ordering::Relaxed) != 0
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
        let (text, filter_end, _) = self.text.parts();
        &text[..filter_end]
    }

    fn touch_memory(&self) -> usize {
        // From the first to the last of it, and who gets it.
        self.text.parts().1 + usize::from(self.is_over()) + usize::from(self.endpoint.wants_echo())
    }

    fn queue(&self) -> Option<&[u8]> {
        let (text, filter_end, queue_end) = self.text.parts();
        Some(&text[filter_end..queue_end]).filter(|queue| !queue.is_empty())
    }

    fn is_peer(&self) -> bool {
        self.endpoint.kind.is_peer()
    }

    fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    fn owner(&self) -> u64 {
        self.endpoint.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_every_length_come_back_as_they_were() {
        for len in 0..40 {
            let (filter, queue, sid) =
                (vec![b'f'; len], vec![b'q'; len % 7], vec![b's'; 1 + len % 5]);
            let text = Text::new(&filter, &queue, &sid);
            let (all, filter_end, queue_end) = text.parts();
            assert_eq!(all[..filter_end], filter);
            assert_eq!(all[filter_end..queue_end], queue);
            assert_eq!(all[queue_end..], sid);
        }
    }
}
