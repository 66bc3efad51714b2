//! An index of the queues by length, to find the longest without a scan of all of them.

use std::collections::HashSet;

use foldhash::fast::FixedState;

use crate::limits::SLICE;
use crate::sync::Mutex;

/// The number of size classes. Each begins at four times the size of the previous one.
const CLASSES: usize = usize::BITS as usize / 2;

/// The sessions with pending bytes, by size class.
///
/// A queue is recorded when its class changes, which happens only if its client does not take its
/// data, at the cost of system calls anyway. The queue is locked then, and nothing is locked meanwhile.
#[derive(Debug)]
pub(crate) struct Backlogs {
    classes: [Mutex<HashSet<u64, FixedState>>; CLASSES],
}

impl Default for Backlogs {
    fn default() -> Self {
        Self { classes: std::array::from_fn(|_| Mutex::default()) }
    }
}

/// Returns `None` for an empty queue.
fn class(bytes: usize) -> Option<usize> {
    bytes.checked_ilog2().map(|log| log as usize / 2)
}

impl Backlogs {
    /// Records a change of a queue's length.
    #[inline]
    pub(crate) fn note(&self, session: u64, before_bytes: usize, now_bytes: usize) {
        let (before, now) = (class(before_bytes), class(now_bytes));
        if before != now {
            self.change(session, before, now);
        }
    }

    #[cold]
    fn change(&self, session: u64, before: Option<usize>, now: Option<usize>) {
        if let Some(before) = before {
            let mut class = self.classes[before].lock();
            class.remove(&session);
            // Frees the memory of a burst.
            if class.is_empty() {
                *class = HashSet::default();
            }
        }
        if let Some(now) = now {
            self.classes[now].lock().insert(session);
        }
    }

    /// Returns sessions whose queues are of the highest class in use: all of them, or [`SLICE`] if there are
    /// more. The longest of these is at least a quarter of the longest of all.
    pub(crate) fn longest(&self) -> Vec<u64> {
        let found = self.classes.iter().rev().find_map(|class| {
            let class = class.lock();
            (!class.is_empty()).then(|| class.iter().take(SLICE).copied().collect())
        });
        found.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_are_found_among_many_by_a_bounded_search() {
        let backlogs = Backlogs::default();
        assert!(backlogs.longest().is_empty());
        for session in 0..10_000 {
            backlogs.note(session, 0, 1000 + session as usize % 24);
        }
        assert_eq!(backlogs.longest().len(), SLICE);
        backlogs.note(4711, 1007, 5000);
        backlogs.note(4712, 1008, 70_000);
        assert_eq!(backlogs.longest(), [4712]);
        backlogs.note(4712, 70_000, 0);
        assert_eq!(backlogs.longest(), [4711]);
        backlogs.note(4711, 5000, 4500);
        assert_eq!(backlogs.longest(), [4711], "the same class");
        backlogs.note(4711, 4500, 0);
        for session in 0..10_000 {
            backlogs.note(session, 1000, 0);
        }
        assert!(backlogs.longest().is_empty());
        assert!(backlogs.classes.iter().all(|class| class.lock().capacity() == 0));
    }
}
