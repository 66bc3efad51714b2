//! Subscriptions, shared by the interest of an account and the session that made them.

use std::any::Any;

use super::admission::{Admission, Admitted};
use super::subscriber_queue::SubscriberQueue;
use crate::endpoint::Endpoint;
use crate::interest::Interested;
use crate::subject::Rewrite;
use crate::sync::{Arc, AtomicU8, AtomicU32, Ordering};

/// A subscription. A server may hold millions of them: 64 bytes, and a text if that is long.
pub(crate) struct Subscription {
    text: Text,
    pub(crate) endpoint: Arc<Endpoint>,
    admission: Admission,
    /// [`OVER`], [`FILTERED`], [`LINKED`], [`SHADOWED`] and [`USED_ONCE`].
    flags: AtomicU8,
    /// Set by the interest that contains it.
    mark: AtomicU8,
    /// The slot of its account among those of its endpoint.
    slot: u16,
    /// The number of members of its queue group that it represents. More than one only for a peer.
    weight: AtomicU32,
}

/// The subscription has ended. The caller that ends it removes it from the interest.
const OVER: u8 = 1;
/// Its filter matches subjects that may not be delivered to it: each message must be checked.
const FILTERED: u8 = 2;
/// It stands for something else: see [`Link`].
const LINKED: u8 = 4;
/// It has shadows in other accounts, or had some.
const SHADOWED: u8 = 8;
/// Each subject of its messages is used once: it gets the answers to requests.
const USED_ONCE: u8 = 16;

// The atomics of a model checker are larger.
#[cfg(not(shuttle))]
const _: () = assert!(size_of::<Subscription>() == 64);

/// Filter, queue group and sid in one piece, inline if they are short: with a million subscriptions,
/// each pointer that is followed is a cache miss.
enum Text {
    Short { filter_len: u8, queue_len: u8, len: u8, bytes: [u8; SHORT] },
    Long { filter_len: u32, queue_len: u32, bytes: Box<[u8]> },
    With { filter_len: u32, queue_len: u32, more: Box<More> },
}

/// A text and what only some subscriptions have.
struct More {
    bytes: Box<[u8]>,
    part: Part,
}

enum Part {
    Link(Link),
    /// The queue of a subscription inside the process.
    Queue(Arc<SubscriberQueue>),
}

/// The target of a subscription that stands for one of another account.
pub(crate) enum Link {
    /// A subscription of another account, which imports the stream. It gets the messages, under the subject that the
    /// import gives them.
    Shadow {
        origin: Arc<Subscription>,
        rewrite: Arc<Rewrite>,
        /// Message traces continue in that account.
        allow_trace: bool,
    },
    /// An imported service, whose type is that of the account.
    Service(Arc<dyn Any + Send + Sync>),
    /// The responses of the services that the account exports.
    Responses,
}

/// The inline capacity: the size of the long form, and eight bytes more.
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
        let [filter_len, queue_len] = lens(filter, queue);
        Self::Long { filter_len, queue_len, bytes: [filter, queue, sid].concat().into() }
    }

    fn with(filter: &[u8], queue: &[u8], sid: &[u8], part: Part) -> Self {
        let [filter_len, queue_len] = lens(filter, queue);
        let more = Box::new(More { bytes: [filter, queue, sid].concat().into(), part });
        Self::With { filter_len, queue_len, more }
    }

    #[inline]
    fn part(&self) -> Option<&Part> {
        match self {
            Self::With { more, .. } => Some(&more.part),
            Self::Short { .. } | Self::Long { .. } => None,
        }
    }

    /// Returns the whole text, and the ends of the filter and of the queue group.
    #[inline]
    fn parts(&self) -> (&[u8], usize, usize) {
        match self {
            Self::With { filter_len, queue_len, more } => {
                let filter_end = *filter_len as usize;
                (&more.bytes, filter_end, filter_end + *queue_len as usize)
            }
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

/// Returns the lengths as they are stored. They fit: the parts came in one control line, which is at most some KiB.
fn lens(filter: &[u8], queue: &[u8]) -> [u32; 2] {
    [filter.len(), queue.len()].map(|len| u32::try_from(len).unwrap_or(u32::MAX))
}

impl Subscription {
    pub(crate) fn new(
        endpoint: Arc<Endpoint>,
        filter: &[u8],
        queue: Option<&[u8]>,
        sid: &[u8],
        is_filtered: bool,
    ) -> Self {
        let flags = if is_filtered { FILTERED } else { 0 };
        Self::of(endpoint, Text::new(filter, queue.unwrap_or_default(), sid), flags)
    }

    fn of(endpoint: Arc<Endpoint>, text: Text, flags: u8) -> Self {
        Self {
            text,
            endpoint,
            admission: Admission::default(),
            flags: AtomicU8::new(flags),
            mark: AtomicU8::new(0),
            slot: 0,
            weight: AtomicU32::new(1),
        }
    }

    /// Creates a subscription inside the process, with its queue.
    pub(crate) fn with_queue(
        endpoint: Arc<Endpoint>,
        filter: &[u8],
        queue: Option<&[u8]>,
        messages: &Arc<SubscriberQueue>,
        is_filtered: bool,
    ) -> Self {
        let (queue, sid) = (queue.unwrap_or_default(), messages.sid().to_le_bytes());
        let text = Text::with(filter, queue, &sid, Part::Queue(Arc::clone(messages)));
        Self::of(endpoint, text, if is_filtered { FILTERED } else { 0 })
    }

    /// Creates a subscription that stands for something else.
    pub(crate) fn linked(
        endpoint: Arc<Endpoint>,
        filter: &[u8],
        queue: Option<&[u8]>,
        sid: &[u8],
        link: Link,
    ) -> Self {
        let used_once = if matches!(link, Link::Responses) { USED_ONCE } else { 0 };
        let text = Text::with(filter, queue.unwrap_or_default(), sid, Part::Link(link));
        Self::of(endpoint, text, LINKED | used_once)
    }

    /// Returns its queue, if it is inside the process and not that of a handler.
    #[inline(always)]
    pub(crate) fn local_queue(&self) -> Option<&SubscriberQueue> {
        match self.text.part() {
            Some(Part::Queue(queue)) => Some(queue),
            Some(Part::Link(_)) | None => None,
        }
    }

    /// Returns what it stands for, if that is not a subscription of its endpoint.
    pub(crate) fn link(&self) -> Option<&Link> {
        match self.text.part() {
            Some(Part::Link(link)) => Some(link),
            Some(Part::Queue(_)) | None => None,
        }
    }

    /// Returns true if nothing must be checked before a delivery to it.
    #[inline]
    pub(crate) fn is_ordinary(&self) -> bool {
        self.flags.load(Ordering::Acquire) & (OVER | FILTERED | LINKED) == 0
    }

    /// Returns true if it stands for something else.
    #[inline]
    pub(crate) fn is_linked(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & LINKED != 0
    }

    /// Records that each subject of its messages is used once: caches leave them out.
    pub(crate) fn set_used_once(&self) {
        self.flags.fetch_or(USED_ONCE, Ordering::Relaxed);
    }

    /// Records that it has shadows. Returns false if it has ended: then nobody will end them.
    pub(crate) fn set_shadowed(&self) -> bool {
        self.flags.fetch_or(SHADOWED, Ordering::AcqRel) & OVER == 0
    }

    /// Returns true if it may have shadows.
    pub(crate) fn is_shadowed(&self) -> bool {
        self.flags.load(Ordering::Acquire) & SHADOWED != 0
    }

    /// Assigns it to one of several accounts of its endpoint.
    pub(crate) fn in_slot(self, slot: u16) -> Self {
        Self { slot, ..self }
    }

    /// Makes it represent several members of its queue group.
    pub(crate) fn with_weight(self, weight: u32) -> Self {
        Self { weight: AtomicU32::new(weight), ..self }
    }

    /// Returns the slot of its account among those of its endpoint.
    pub(crate) fn slot(&self) -> u16 {
        self.slot
    }

    /// Returns the number of messages delivered.
    pub(crate) fn delivered(&self) -> u64 {
        self.admission.delivered()
    }

    /// Returns the number of messages after which it ends.
    pub(crate) fn max(&self) -> Option<u64> {
        Some(self.admission.max()).filter(|max| *max > 0)
    }

    /// Returns its counter of messages, for the queue that they go to.
    #[inline]
    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Returns true if each message must be checked.
    #[inline]
    pub(crate) fn is_filtered(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & FILTERED != 0
    }

    pub(crate) fn set_filtered(&self, is_filtered: bool) {
        if is_filtered {
            self.flags.fetch_or(FILTERED, Ordering::Relaxed);
        } else {
            self.flags.fetch_and(!FILTERED, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn sid(&self) -> &[u8] {
        let (text, _, queue_end) = self.text.parts();
        &text[queue_end..]
    }

    /// As [`Admission::admit`].
    #[inline(always)]
    pub(crate) fn admit(&self, count: usize) -> Admitted {
        self.admission.admit(count)
    }

    /// As [`Admission::end_after`].
    pub(crate) fn end_after(&self, max: u64) -> bool {
        self.admission.end_after(max)
    }

    /// Returns true if it ends after a number of messages.
    pub(crate) fn ends_by_itself(&self) -> bool {
        match self.link() {
            Some(Link::Shadow { origin, .. }) => origin.ends_by_itself(),
            _ => self.admission.max() != 0,
        }
    }

    /// Ends it. Returns true to one caller only, which must remove it from the interest.
    pub(crate) fn end(&self) -> bool {
        self.flags.fetch_or(OVER, Ordering::AcqRel) & OVER == 0
    }

    pub(crate) fn is_over(&self) -> bool {
        self.flags.load(Ordering::Acquire) & OVER != 0
    }
}

impl Interested for Subscription {
    #[inline]
    fn filter(&self) -> &[u8] {
        let (text, filter_end, _) = self.text.parts();
        &text[..filter_end]
    }

    #[inline]
    fn touch_memory(&self) -> usize {
        // Reads all cache lines of the subscription, and its endpoint.
        self.text.parts().1 + usize::from(self.is_over()) + usize::from(self.endpoint.wants_echo())
    }

    #[inline]
    fn queue(&self) -> Option<&[u8]> {
        let (text, filter_end, queue_end) = self.text.parts();
        Some(&text[filter_end..queue_end]).filter(|queue| !queue.is_empty())
    }

    fn is_peer(&self) -> bool {
        self.endpoint.kind.is_peer()
    }

    fn is_service(&self) -> bool {
        matches!(self.link(), Some(Link::Service(_) | Link::Responses))
    }

    fn is_used_once(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & USED_ONCE != 0
    }

    fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Ordering::Relaxed);
    }

    fn kind_bit(&self) -> u8 {
        self.endpoint.kind.bit()
    }

    fn mark(&self) -> u8 {
        self.mark.load(Ordering::Relaxed)
    }

    fn set_mark(&self, mark: u8) {
        self.mark.store(mark, Ordering::Relaxed);
    }

    fn owner(&self) -> u64 {
        self.endpoint.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_every_length_are_returned_unchanged() {
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
