//! The open batches of all streams of a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::stream::limits::MAX_BATCH_BYTES_TOTAL;

/// The numbers of open batches of all streams of a server, and the bytes of the messages that they hold in memory.
#[derive(Debug, Default)]
pub struct OpenBatches {
    atomic: AtomicUsize,
    fast: AtomicUsize,
    bytes: AtomicUsize,
}

/// The share of one batch in [`OpenBatches`]. It ends with the batch.
#[derive(Debug)]
pub(super) struct Share {
    of: Arc<OpenBatches>,
    is_atomic: bool,
    bytes: usize,
}

impl OpenBatches {
    fn count(&self, is_atomic: bool) -> &AtomicUsize {
        if is_atomic { &self.atomic } else { &self.fast }
    }
}

impl Share {
    /// Counts a batch; `None` if there are `max` already.
    pub(super) fn take(of: &Arc<OpenBatches>, is_atomic: bool, max: usize) -> Option<Self> {
        let share = Self { of: Arc::clone(of), is_atomic, bytes: 0 };
        let before = of.count(is_atomic).fetch_add(1, Ordering::Relaxed);
        (before < max).then_some(share)
    }

    /// Counts bytes of a message. Returns false, and counts nothing, if all batches have too many.
    pub(super) fn add_bytes(&mut self, bytes: usize) -> bool {
        let before = self.of.bytes.fetch_add(bytes, Ordering::Relaxed);
        let has_room = before + bytes <= MAX_BATCH_BYTES_TOTAL;
        if has_room {
            self.bytes += bytes;
        } else {
            self.of.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        has_room
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.count(self.is_atomic).fetch_sub(1, Ordering::Relaxed);
        self.of.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_of_all_streams_share_a_limit() {
        let all = Arc::new(OpenBatches::default());
        let take = |is_atomic| Share::take(&all, is_atomic, 2);
        let (first, second) = (take(true), take(true));
        assert!(first.is_some() && second.is_some() && take(true).is_none());
        assert!(take(false).is_some());
        drop(first);
        assert!(take(true).is_some());
    }

    #[test]
    fn messages_of_all_batches_share_a_limit() {
        let all = Arc::new(OpenBatches::default());
        let mut first = Share::take(&all, true, 2).unwrap();
        let mut second = Share::take(&all, true, 2).unwrap();
        assert!(first.add_bytes(MAX_BATCH_BYTES_TOTAL - 1));
        assert!(second.add_bytes(1) && !second.add_bytes(1));
        drop(first);
        assert!(second.add_bytes(MAX_BATCH_BYTES_TOTAL - 1));
    }
}
