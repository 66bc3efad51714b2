//! The progress of a consumer as entries of the journal.
//!
//! An entry contains the sequences of the consumer and the messages that changed since the last entry, so that its length does
//! not depend on the size of the state. All numbers are LEB128:
//!
//! ```text
//! version, flags (1: replaces all entries before)
//! next delivery, last delivered sequence, floor of deliveries, floor of sequences
//! time of the last delivery, time of the last acknowledgement
//! last sequence of the search for the last of each subject, or 0
//! number of changed messages, for each: difference to the sequence before, delivery (0: not pending), time
//! number of changed counts, for each: difference to the sequence before, count (0: none)
//! ```

use super::pending::Pending;
use super::start::LastOnes;
use super::{Consumer, Point};
use crate::config::Time;

const VERSION: u64 = 1;
const WHOLE: u64 = 1;

/// The length at which a list of changes is first searched for repetitions.
const REPEATED: usize = 1024;

/// The changes since the last entry.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The state is in the journal. Otherwise no entry is ever taken, and no change is kept.
    is_recorded: bool,
    is_changed: bool,
    is_whole: bool,
    pending: Vec<u64>,
    counted: Vec<u64>,
}

impl Changes {
    /// Creates an empty list.
    pub(super) fn new(is_recorded: bool) -> Self {
        Self { is_recorded, ..Self::default() }
    }

    /// Records a change of the sequences.
    pub(super) fn note(&mut self) {
        self.is_changed = true;
    }

    /// Records that the whole state changed.
    pub(super) fn whole(&mut self) {
        (self.is_changed, self.is_whole) = (true, true);
        self.pending.clear();
        self.counted.clear();
    }

    /// Records that a message was delivered or acknowledged, or that its wait was extended.
    pub(super) fn pending(&mut self, sequence: u64) {
        self.is_changed = true;
        if self.is_recorded && !self.is_whole && self.pending.last() != Some(&sequence) {
            add(&mut self.pending, sequence);
        }
    }

    /// Records a change of the number of deliveries of a message.
    pub(super) fn counted(&mut self, sequence: u64) {
        self.is_changed = true;
        if self.is_recorded && !self.is_whole {
            add(&mut self.counted, sequence);
        }
    }
}

/// Adds a sequence to a list that is sorted later. Repetitions are removed before the list grows, so that clients that
/// change the same messages while the disk hangs cannot make it longer than twice the number of messages.
fn add(list: &mut Vec<u64>, sequence: u64) {
    if list.len() >= REPEATED && list.len() == list.capacity() {
        list.sort_unstable();
        list.dedup();
        if list.len() > list.capacity() / 2 {
            list.reserve(list.capacity());
        }
    }
    list.push(sequence);
}

impl Consumer {
    /// Returns true if [`Self::take_changes`] has something to append.
    pub fn has_changes(&self) -> bool {
        self.changes.is_changed && self.changes.is_recorded
    }

    /// Appends the changes since the last call as one entry for [`Self::apply`]. Returns false, and appends nothing, if there are none, or if
    /// the state of the consumer is not stored.
    pub fn take_changes(&mut self, entry: &mut Vec<u8>) -> bool {
        let mut changes = std::mem::take(&mut self.changes);
        let is_taken = changes.is_changed && changes.is_recorded;
        if is_taken && changes.is_whole {
            self.snapshot(entry);
        } else if is_taken {
            changes.pending.sort_unstable();
            changes.pending.dedup();
            changes.counted.sort_unstable();
            changes.counted.dedup();
            self.write_entry(0, &changes.pending, &changes.counted, entry);
        }
        changes.pending.clear();
        changes.counted.clear();
        self.changes = Changes { is_changed: false, is_whole: false, ..changes };
        is_taken
    }

    /// Appends the whole state as one entry, which replaces all entries before. Appends nothing at recovery, as long as
    /// no entry was applied.
    pub fn snapshot(&self, entry: &mut Vec<u8>) {
        if !self.has_state {
            return;
        }
        let pending: Vec<_> = self.pending.iter().map(|pending| pending.sequence).collect();
        let counted: Vec<_> = self.again.counts().map(|(sequence, _)| sequence).collect();
        self.write_entry(WHOLE, &pending, &counted, entry);
    }

    fn write_entry(&self, flags: u64, pending: &[u64], counted: &[u64], entry: &mut Vec<u8>) {
        let stored = &self.stored;
        for number in [
            VERSION,
            flags,
            self.next_delivery,
            stored.delivered.sequence,
            stored.floor.delivery,
            stored.floor.sequence,
            self.last_delivered.0.max(0).cast_unsigned(),
            self.last_acked.0.max(0).cast_unsigned(),
            self.last_ones.as_ref().map_or(0, |ones| ones.resume),
        ] {
            write_number(entry, number);
        }
        // Readers drop all messages up to the floor by themselves.
        let above = pending.partition_point(|sequence| *sequence <= stored.floor.sequence);
        let pending = &pending[above..];
        write_number(entry, pending.len() as u64);
        let mut before = 0;
        for sequence in pending {
            let found = self.pending.get(*sequence);
            write_number(entry, sequence - before);
            write_number(entry, found.map_or(0, |pending| pending.delivery));
            write_number(entry, found.map_or(0, |pending| pending.time.0.max(0).cast_unsigned()));
            before = *sequence;
        }
        write_number(entry, counted.len() as u64);
        before = 0;
        for sequence in counted {
            write_number(entry, sequence - before);
            write_number(entry, self.again.count(*sequence));
            before = *sequence;
        }
    }

    /// Applies an entry that [`Self::take_changes`] or [`Self::snapshot`] has written. Returns false for other bytes, which
    /// change nothing.
    pub fn apply(&mut self, entry: &[u8]) -> bool {
        let Some(entry) = Entry::read(entry) else { return false };
        self.has_state = true;
        if entry.is_whole {
            self.pending.clear();
            self.again.clear();
        }
        self.stored.delivered =
            Point { delivery: entry.next_delivery - 1, sequence: entry.delivered };
        self.stored.floor = entry.floor;
        self.next_delivery = entry.next_delivery;
        (self.last_delivered, self.last_acked) = (entry.last_delivered, entry.last_acked);
        let resume = entry.resume;
        self.last_ones = (resume > 0).then_some(LastOnes { sequences: Vec::new(), resume });
        while let Some(first) = self.pending.first().map(|pending| pending.sequence)
            && first <= entry.floor.sequence
        {
            self.pending.remove(first);
        }
        for pending in entry.pending {
            if pending.delivery == 0 {
                self.pending.remove(pending.sequence);
            } else {
                self.pending.insert(pending);
            }
        }
        for (sequence, count) in entry.counted {
            if count == 0 {
                self.again.forget(sequence);
            } else {
                self.again.set_count(sequence, count);
            }
        }
        true
    }
}

/// An entry that was read.
struct Entry {
    is_whole: bool,
    next_delivery: u64,
    delivered: u64,
    floor: Point,
    last_delivered: Time,
    last_acked: Time,
    resume: u64,
    pending: Vec<Pending>,
    counted: Vec<(u64, u64)>,
}

impl Entry {
    fn read(mut bytes: &[u8]) -> Option<Self> {
        let mut number = || read_number(&mut bytes);
        let time = |nanos: u64| Time(i64::try_from(nanos).unwrap_or_default());
        if number()? != VERSION {
            return None;
        }
        let is_whole = number()? & WHOLE != 0;
        let next_delivery = number()?;
        let delivered = number()?;
        let floor = Point { delivery: number()?, sequence: number()? };
        let (last_delivered, last_acked) = (time(number()?), time(number()?));
        let resume = number()?;
        // Lengths are not trusted: a vector grows with the elements that were read.
        let (mut pending, mut sequence) = (Vec::new(), 0_u64);
        for _ in 0..number()? {
            sequence = sequence.checked_add(number()?)?;
            pending.push(Pending { sequence, delivery: number()?, time: time(number()?) });
        }
        let mut counted = Vec::new();
        sequence = 0;
        for _ in 0..number()? {
            sequence = sequence.checked_add(number()?)?;
            counted.push((sequence, number()?));
        }
        let entry = Self {
            is_whole,
            next_delivery,
            delivered,
            floor,
            last_delivered,
            last_acked,
            resume,
            pending,
            counted,
        };
        (bytes.is_empty() && next_delivery > 0 && delivered < u64::MAX).then_some(entry)
    }
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f).checked_shl(shift)?;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_changes_take_no_more_room_than_the_messages() {
        let mut changes = Changes::new(true);
        for turn in 0..1_000_000 {
            changes.pending(turn % 2000);
            changes.counted(turn % 2000);
        }
        assert!(changes.pending.capacity() <= 8000, "{}", changes.pending.capacity());
        assert!(changes.counted.capacity() <= 8000, "{}", changes.counted.capacity());
    }

    #[test]
    fn changes_that_no_journal_records_are_not_kept() {
        let mut changes = Changes::new(false);
        for sequence in 0..10 {
            changes.pending(sequence);
            changes.counted(sequence);
        }
        assert!(changes.pending.is_empty() && changes.counted.is_empty());
    }

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            assert_eq!(read_number(&mut &bytes[..]), Some(number));
            assert_eq!(read_number(&mut &bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(read_number(&mut &[0x80; 11][..]), None);
    }
}
