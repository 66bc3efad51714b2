//! The approximate places of records.

use super::record::ALIGNMENT;

/// The places of some records of a sequence of records, from which others are found by reading on.
///
/// A mark takes 4 bytes: it is stored relative to a head before it. Where records are at the same distance from each other, as those of messages of
/// one length are, the place of each follows from the first and the last: only these are marked.
#[derive(Clone, Debug)]
pub(crate) struct Marks {
    heads: Vec<Head>,
    marks: Vec<Mark>,
    distance: usize,
    /// The place of the last mark.
    last: usize,
    /// The sequence and the place of the last record.
    before: (u64, usize),
    /// The distance of the records since the last mark from each other; 0 without a second one, `None` if it differs or sequences are missing.
    stride: Option<usize>,
}

/// The place at which a reader begins, to find a record.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Start {
    /// The place of a record at or before the one that is looked for.
    pub(crate) at: usize,
    /// It is the place of that record.
    pub(crate) is_exact: bool,
}

/// A mark to which those behind it are relative, until the next head.
#[derive(Clone, Debug)]
struct Head {
    sequence: u64,
    at: u32,
    /// The number of marks before it.
    marks: u32,
    is_even: bool,
}

/// The bit of a mark from which on records are at the same distance from each other, until the next mark.
const EVEN: u16 = 1 << 15;

/// The distances from the head: of sequences in 15 bits, and of places in units of the alignment of records.
#[derive(Clone, Copy, Debug)]
struct Mark {
    sequence: u16,
    at: u16,
}

impl Marks {
    /// Creates an empty list, with a mark about every `distance` bytes.
    pub(crate) fn new(distance: usize) -> Self {
        Self {
            heads: Vec::new(),
            marks: Vec::new(),
            distance,
            last: 0,
            before: (0, 0),
            stride: Some(0),
        }
    }

    /// Adds a record behind all others. Marks it if the last mark is far enough, unless its place follows from the records before it.
    pub(crate) fn add(&mut self, sequence: u64, at: usize) {
        let (before, step) = (self.before, at - self.before.1);
        self.before = (sequence, at);
        if !self.heads.is_empty() {
            let is_next = sequence == before.0 + 1;
            if is_next && matches!(self.stride, Some(0)) {
                self.stride = Some(step);
            } else if !is_next || self.stride != Some(step) {
                // The row that is even may be long: it ends with its last record.
                if self.is_even() && before.1 - self.last >= self.distance {
                    self.mark(before);
                    self.stride = is_next.then_some(step);
                } else {
                    self.stride = None;
                }
            }
            if self.is_even() || at - self.last < self.distance {
                return;
            }
        }
        self.mark((sequence, at));
    }

    /// Returns true if the records since the last mark are at the same distance from each other.
    fn is_even(&self) -> bool {
        self.stride.is_some_and(|stride| stride > 0)
    }

    /// Marks a record. It ends the row that the last mark begins, and begins another one.
    fn mark(&mut self, (sequence, at): (u64, usize)) {
        self.end_row();
        self.last = at;
        match self.heads.last().and_then(|head| head.mark(sequence, at)) {
            Some(mark) => self.marks.push(mark),
            None => {
                let marks = self.marks.len() as u32;
                // Chunks and segments have limits far below 4 GiB.
                let at = at.try_into().unwrap_or(u32::MAX);
                self.heads.push(Head { sequence, at, marks, is_even: false });
            }
        }
    }

    /// Notes whether the records since the last mark are at the same distance from each other.
    fn end_row(&mut self) {
        let is_even = self.stride.replace(0).is_some();
        let last_head = self.heads.last_mut().filter(|_| is_even);
        let Some(head) = last_head else { return };
        match self.marks.get_mut(head.marks as usize..).and_then(<[Mark]>::last_mut) {
            Some(mark) => mark.sequence |= EVEN,
            None => head.is_even = true,
        }
    }

    /// Gives back the room for further marks.
    pub(crate) fn close(&mut self) {
        self.heads.shrink_to_fit();
        self.marks.shrink_to_fit();
    }

    /// Returns the place of a record at or before the one with a sequence.
    pub(crate) fn before(&self, sequence: u64) -> usize {
        self.start(sequence).at
    }

    /// Returns the place at which a reader begins, to find the record with a sequence.
    pub(crate) fn start(&self, sequence: u64) -> Start {
        let after = self.heads.partition_point(|head| head.sequence <= sequence);
        let Some(head) = after.checked_sub(1).map(|at| &self.heads[at]) else {
            return Start::default();
        };
        let next_head = self.heads.get(after);
        let end = next_head.map_or(self.marks.len(), |next| next.marks as usize);
        let marks = &self.marks[head.marks as usize..end];
        let distance = sequence - head.sequence;
        let after = marks.partition_point(|mark| mark.distance() <= distance);
        let (first, at, is_even) = match after.checked_sub(1).map(|at| marks[at]) {
            Some(mark) => (head.sequence + mark.distance(), head.place(mark), mark.is_even()),
            None => (head.sequence, head.at as usize, head.is_even),
        };
        let next = match marks.get(after) {
            Some(mark) => Some((head.sequence + mark.distance(), head.place(*mark))),
            None => next_head.map(|next| (next.sequence, next.at as usize)),
        };
        let is_even = if next.is_some() { is_even } else { self.is_even() };
        let (behind, end) = next.unwrap_or(self.before);
        if !is_even {
            return Start { at, is_exact: sequence == first };
        }
        if sequence > behind {
            return Start { at: end, is_exact: false };
        }
        let stride = (end - at) / (behind - first) as usize;
        Start { at: at + (sequence - first) as usize * stride, is_exact: true }
    }
}

impl Head {
    /// Returns the mark of a record; `None` if it is too far.
    fn mark(&self, sequence: u64, at: usize) -> Option<Mark> {
        let distance = at - self.at as usize;
        let at = distance.is_multiple_of(ALIGNMENT).then_some(distance / ALIGNMENT)?;
        let sequence = u16::try_from(sequence - self.sequence).ok()?;
        (sequence < EVEN).then_some(Mark { sequence, at: u16::try_from(at).ok()? })
    }

    fn place(&self, mark: Mark) -> usize {
        self.at as usize + usize::from(mark.at) * ALIGNMENT
    }
}

impl Mark {
    fn distance(self) -> u64 {
        u64::from(self.sequence & !EVEN)
    }

    fn is_even(self) -> bool {
        self.sequence & EVEN != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Checks that each record is found by reading less than the distance of marks.
    fn assert_near(marks: &Marks, all: &[(u64, usize)]) {
        for (at, (sequence, place)) in all.iter().enumerate() {
            let start = marks.start(*sequence);
            assert!(start.at <= *place, "{sequence}: {start:?}, not {place}");
            assert!(place - start.at < marks.distance, "{sequence}: {start:?}, not {place}");
            assert!(all[..=at].iter().rev().any(|(_, known)| *known == start.at), "{start:?}");
            assert!(!start.is_exact || start.at == *place, "{sequence}: {start:?}, not {place}");
        }
    }

    #[test]
    fn a_mark_is_near_before_each_record() {
        let mut marks = Marks::new(100);
        let (mut all, mut sequence, mut at) = (Vec::new(), 7, 64);
        for step in 0..5000_u64 {
            all.push((sequence, at));
            marks.add(sequence, at);
            // Large gaps and large records begin with heads of their own.
            sequence += if step % 700 == 0 { 1 << 40 } else { 1 + step % 3 };
            at += if step % 900 == 0 { 1 << 20 } else { 40 + 8 * (step as usize % 5) };
        }
        assert_near(&marks, &all);
        assert_eq!(marks.before(6), 0);
        assert!(at - marks.before(u64::MAX) < 200);
        assert!(marks.heads.len() < 20, "{}", marks.heads.len());
    }

    #[test]
    fn rows_that_are_even_at_times_have_marks_near_each_record() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let mut marks = Marks::new(200);
            let (mut all, mut sequence, mut at, mut length) = (Vec::new(), 1, 0, 40);
            for _ in 0..500 {
                all.push((sequence, at));
                marks.add(sequence, at);
                if random.below(8) == 0 {
                    assert_near(&marks, &all);
                }
                if random.below(20) == 0 {
                    length = 8 * (4 + random.below(40) as usize);
                }
                sequence += 1 + u64::from(random.below(30) == 0);
                at += length + if random.below(30) == 0 { 32 } else { 0 };
            }
            assert_near(&marks, &all);
        }
    }

    #[test]
    fn records_of_one_length_need_few_marks() {
        let mut marks = Marks::new(4096);
        let (mut at, mut sequence) = (64, 1);
        while at < 8 << 20 {
            // A batch begins with a record of its own.
            at += if sequence % 2000 == 0 { 40 } else { 0 };
            marks.add(sequence, at);
            (at, sequence) = (at + 184, sequence + 1);
        }
        marks.close();
        let bytes = marks.heads.capacity() * size_of::<Head>() + marks.marks.capacity() * 4;
        assert!(bytes < 1024, "{bytes}");
    }

    #[test]
    fn the_place_of_each_record_of_an_even_row_is_known() {
        let mut marks = Marks::new(500);
        let (mut all, mut at) = (Vec::new(), 64);
        for sequence in 1..=40_000_u64 {
            // A batch begins with a record of its own.
            at += if sequence % 1000 == 0 { 32 } else { 0 };
            sequence.is_multiple_of(7777).then(|| at += 1 << 20);
            all.push((sequence + sequence / 5000 * 3, at));
            at += 72;
        }
        all.iter().for_each(|(sequence, at)| marks.add(*sequence, *at));
        let mut exact = 0;
        for (sequence, at) in &all {
            let start = marks.start(*sequence);
            assert!(start.at <= *at && at - start.at < 600, "{sequence}: {start:?}, not {at}");
            assert!(!start.is_exact || start.at == *at, "{sequence}: {start:?}, not {at}");
            exact += usize::from(start.is_exact);
        }
        assert!(exact > all.len() * 9 / 10, "{exact}");
    }
}
