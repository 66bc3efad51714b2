//! The approximate places of records.

/// The places of some records of a sequence of records, from which others are found by reading on.
#[derive(Clone, Debug)]
pub(crate) struct Marks {
    places: Vec<(u64, u32)>,
    distance: usize,
}

impl Marks {
    /// Creates an empty list, with a mark about every `distance` bytes.
    pub(crate) fn new(distance: usize) -> Self {
        Self { places: Vec::new(), distance }
    }

    /// Adds a record behind all others, if the last mark is far enough.
    pub(crate) fn add(&mut self, sequence: u64, at: usize) {
        let is_far = |(_, last): &(u64, u32)| at - *last as usize >= self.distance;
        if self.places.last().is_none_or(is_far) {
            // Chunks and segments have limits far below 4 GiB.
            self.places.push((sequence, u32::try_from(at).unwrap_or(u32::MAX)));
        }
    }

    /// Returns the place of a record at or before the one with a sequence.
    pub(crate) fn before(&self, sequence: u64) -> usize {
        let after = self.places.partition_point(|(marked, _)| *marked <= sequence);
        after.checked_sub(1).map_or(0, |at| self.places[at].1 as usize)
    }
}
