//! An index of the queues by length, to find the longest without a walk through all of them.

use std::collections::HashSet;

use foldhash::fast::FixedState;

use crate::limits::SLICE;
use crate::sync::Mutex;

/// Each class of sizes begins at four times the size where the one before did.
const CLASSES: usize = usize::BITS as usize / 2;

/// The sessions whose queues hold something, by about how much.
///
/// A queue is noted when it comes into another class, which only one does whose client does not take what it
/// gets: that costs system calls anyway. It is noted with the queue locked; nothing is locked meanwhile.
#[derive(Debug)]
pub(crate) struct Backlogs {
    classes: [Mutex<HashSet<u64, FixedState>>; CLASSES],
}

impl Default for Backlogs {
    fn default() -> Self {
        Self { classes: std::array::from_fn(|_| Mutex::default()) }
    }
}

/// None for a queue that is empty.
fn class(bytes: usize) -> Option<usize> {
    bytes.checked_ilog2().map(|log| log as usize / 2)
}

impl Backlogs {
    /// The queue of a session has become longer or shorter.
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
            // The memory of a burst must not stay for ever.
            if class.is_empty() {
                *class = HashSet::default();
            }
        }
        if let Some(now) = now {
            self.classes[now].lock().insert(session);
        }
    }

    /// Sessions whose queues are of the highest class that there is: all of them, or [`SLICE`] if there are
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
    fn the_longest_are_found_among_many_and_only_some_are_looked_at() {
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
