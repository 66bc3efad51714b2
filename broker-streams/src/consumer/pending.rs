//! The messages that were delivered and not acknowledged.

use std::collections::VecDeque;

use crate::config::Time;

/// A message that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Pending {
    /// The sequence of the message.
    pub(super) sequence: u64,
    /// The number of its first delivery.
    pub(super) delivery: u64,
    /// When it was last delivered, or since when its acknowledgement is waited for.
    pub(super) time: Time,
}

/// All of them, by sequence.
///
/// First deliveries have rising sequences, and most messages are acknowledged soon: a queue whose acknowledged entries are marked
/// needs no tree, no hash and no allocation for each message. Marked entries are removed at both ends, and everywhere when they are
/// more than the others.
#[derive(Debug, Default)]
pub(super) struct PendingAcks {
    entries: VecDeque<(Pending, bool)>,
    live: usize,
}

impl PendingAcks {
    pub(super) fn len(&self) -> usize {
        self.live
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live == 0
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.live = 0;
    }

    #[inline]
    pub(super) fn get(&self, sequence: u64) -> Option<&Pending> {
        let (entry, is_live) = &self.entries[self.locate(sequence).ok()?];
        is_live.then_some(entry)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, sequence: u64) -> Option<&mut Pending> {
        let at = self.locate(sequence).ok()?;
        let (entry, is_live) = &mut self.entries[at];
        is_live.then_some(entry)
    }

    pub(super) fn contains(&self, sequence: u64) -> bool {
        self.get(sequence).is_some()
    }

    /// Adds an entry, or replaces that of the same sequence.
    pub(super) fn insert(&mut self, pending: Pending) {
        match self.locate(pending.sequence) {
            Ok(at) => {
                self.live += usize::from(!self.entries[at].1);
                self.entries[at] = (pending, true);
            }
            Err(at) => {
                self.live += 1;
                self.entries.insert(at, (pending, true));
            }
        }
    }

    pub(super) fn remove(&mut self, sequence: u64) -> Option<Pending> {
        let at = self.locate(sequence).ok()?;
        let (entry, is_live) = &mut self.entries[at];
        if !std::mem::take(is_live) {
            return None;
        }
        let removed = *entry;
        self.live -= 1;
        self.drop_marked();
        Some(removed)
    }

    fn drop_marked(&mut self) {
        while self.entries.front().is_some_and(|(_, is_live)| !is_live) {
            self.entries.pop_front();
        }
        while self.entries.back().is_some_and(|(_, is_live)| !is_live) {
            self.entries.pop_back();
        }
        if self.entries.len() > 2 * self.live + 64 {
            self.entries.retain(|(_, is_live)| *is_live);
        }
    }

    pub(super) fn first(&self) -> Option<&Pending> {
        self.entries.front().map(|(entry, _)| entry)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.entries.iter().filter(|(_, is_live)| *is_live).map(|(entry, _)| entry)
    }

    /// Returns the place of a sequence, or where it would be.
    fn locate(&self, sequence: u64) -> Result<usize, usize> {
        let (Some((first, _)), Some((last, _))) = (self.entries.front(), self.entries.back())
        else {
            return Err(0);
        };
        if sequence > last.sequence {
            return Err(self.entries.len());
        }
        // Without gaps, which is usual, the place is known.
        let guess = usize::try_from(sequence.wrapping_sub(first.sequence)).unwrap_or(usize::MAX);
        match self.entries.get(guess) {
            Some((entry, _)) if entry.sequence == sequence => Ok(guess),
            _ => self.entries.binary_search_by_key(&sequence, |(entry, _)| entry.sequence),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::random::Random;

    #[test]
    fn the_queue_is_a_map() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let (mut queue, mut map) = (PendingAcks::default(), BTreeMap::new());
            let mut next = 1 + random.below(5);
            for _ in 0..400 {
                let known = random.below(next + 2);
                match random.below(5) {
                    0 | 1 => {
                        next += 1 + random.below(2) * random.below(5);
                        let pending = Pending { sequence: next, delivery: next * 2, time: Time(1) };
                        queue.insert(pending);
                        map.insert(next, pending);
                    }
                    2 | 3 => assert_eq!(queue.remove(known), map.remove(&known)),
                    _ => {
                        let pending = Pending { sequence: known, delivery: 7, time: Time(2) };
                        queue.insert(pending);
                        map.insert(known, pending);
                    }
                }
                assert_eq!(queue.len(), map.len());
                assert_eq!(queue.get(known), map.get(&known));
                assert_eq!(queue.first(), map.values().next());
                assert!(queue.iter().eq(map.values()));
                assert!(queue.entries.len() <= 2 * queue.live + 64);
            }
        }
    }
}
