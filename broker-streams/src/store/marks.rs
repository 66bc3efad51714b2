//! The approximate places of records.

use super::record::ALIGNMENT;

/// The places of some records of a sequence of records, from which others are found by reading on.
///
/// A mark takes 4 bytes: it is stored relative to a head before it.
#[derive(Clone, Debug)]
pub(crate) struct Marks {
    heads: Vec<Head>,
    marks: Vec<Mark>,
    distance: usize,
    /// The place of the last mark.
    last: usize,
}

/// A mark to which those behind it are relative, until the next head.
#[derive(Clone, Debug)]
struct Head {
    sequence: u64,
    at: u32,
    /// The number of marks before it.
    marks: u32,
}

/// The distances from the head: of sequences, and of places in units of the alignment of records.
#[derive(Clone, Copy, Debug)]
struct Mark {
    sequence: u16,
    at: u16,
}

impl Marks {
    /// Creates an empty list, with a mark about every `distance` bytes.
    pub(crate) fn new(distance: usize) -> Self {
        Self { heads: Vec::new(), marks: Vec::new(), distance, last: 0 }
    }

    /// Adds a record behind all others, if the last mark is far enough.
    pub(crate) fn add(&mut self, sequence: u64, at: usize) {
        if !self.heads.is_empty() && at - self.last < self.distance {
            return;
        }
        self.last = at;
        match self.heads.last().and_then(|head| head.mark(sequence, at)) {
            Some(mark) => self.marks.push(mark),
            None => {
                let marks = self.marks.len() as u32;
                // Chunks and segments have limits far below 4 GiB.
                self.heads.push(Head { sequence, at: at.try_into().unwrap_or(u32::MAX), marks });
            }
        }
    }

    /// Gives back the room for further marks.
    pub(crate) fn close(&mut self) {
        self.heads.shrink_to_fit();
        self.marks.shrink_to_fit();
    }

    /// Returns the place of a record at or before the one with a sequence.
    pub(crate) fn before(&self, sequence: u64) -> usize {
        let after = self.heads.partition_point(|head| head.sequence <= sequence);
        let Some(head) = after.checked_sub(1).map(|at| &self.heads[at]) else { return 0 };
        let end = self.heads.get(after).map_or(self.marks.len(), |next| next.marks as usize);
        let marks = &self.marks[head.marks as usize..end];
        let distance = sequence - head.sequence;
        let after = marks.partition_point(|mark| u64::from(mark.sequence) <= distance);
        let mark = after.checked_sub(1).map_or(0, |at| usize::from(marks[at].at));
        head.at as usize + mark * ALIGNMENT
    }
}

impl Head {
    /// Returns the mark of a record; `None` if it is too far.
    fn mark(&self, sequence: u64, at: usize) -> Option<Mark> {
        let distance = at - self.at as usize;
        let at = distance.is_multiple_of(ALIGNMENT).then_some(distance / ALIGNMENT)?;
        let sequence = u16::try_from(sequence - self.sequence).ok()?;
        Some(Mark { sequence, at: u16::try_from(at).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mark_before_a_record_is_found() {
        let mut marks = Marks::new(100);
        let (mut all, mut sequence, mut at, mut marked) = (Vec::new(), 7, 64, None);
        for step in 0..5000_u64 {
            all.push((sequence, at));
            marks.add(sequence, at);
            // Large gaps and large records begin with heads of their own.
            sequence += if step % 700 == 0 { 1 << 40 } else { 1 + step % 3 };
            at += if step % 900 == 0 { 1 << 20 } else { 40 + 8 * (step as usize % 5) };
        }
        for (sequence, at) in all {
            if marked.is_none_or(|last| at - last >= 100) {
                marked = Some(at);
            }
            assert_eq!(Some(marks.before(sequence)), marked, "{sequence}");
        }
        assert_eq!(marks.before(6), 0);
        assert_eq!(Some(marks.before(u64::MAX)), marked);
        assert!(marks.heads.len() < 20, "{}", marks.heads.len());
    }
}
