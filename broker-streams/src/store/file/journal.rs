//! The places of the entries of the journal.

use std::collections::BTreeMap;

/// The records of the journal. Each has a number; a record that replaces all before it has many entries.
#[derive(Default)]
pub(super) struct Journal {
    places: BTreeMap<u64, Place>,
    next: u64,
    bytes: u64,
}

/// A record.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Its segment.
    pub(super) segment: u64,
    /// Its length.
    pub(super) length: usize,
    /// The bytes of its entries.
    pub(super) bytes: u64,
}

impl Journal {
    /// Returns the number for a new record.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Adds a record, or moves it. Returns its former place.
    pub(super) fn add(&mut self, number: u64, place: Place) -> Option<Place> {
        self.next = self.next.max(number + 1);
        self.bytes += place.bytes;
        let former = self.places.insert(number, place);
        self.bytes -= former.map_or(0, |former| former.bytes);
        former
    }

    /// Removes the records before a number. Returns their places.
    pub(super) fn remove_before(&mut self, number: u64) -> impl Iterator<Item = Place> {
        let kept = self.places.split_off(&number);
        let removed = std::mem::replace(&mut self.places, kept);
        self.bytes -= removed.values().map(|place| place.bytes).sum::<u64>();
        removed.into_values()
    }

    /// Returns the numbers of the records in a segment.
    pub(super) fn in_segment(&self, segment: u64) -> Vec<u64> {
        let of = self.places.iter().filter(|(_, place)| place.segment == segment);
        of.map(|(number, _)| *number).collect()
    }

    /// Returns true if the segment has the record.
    pub(super) fn is_in(&self, number: u64, segment: u64) -> bool {
        self.places.get(&number).is_some_and(|place| place.segment == segment)
    }

    /// Returns the bytes of all entries.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Returns the payload of a record that has several entries.
pub(super) fn join(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut payload = Vec::new();
    for entry in entries {
        payload.extend_from_slice(&(entry.len() as u32).to_le_bytes());
        payload.extend_from_slice(entry);
    }
    payload
}

/// Returns the entries of such a payload.
pub(super) fn split(mut payload: &[u8]) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    while let Some((length, rest)) = payload.split_first_chunk() {
        let Some((entry, rest)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)
        else {
            break;
        };
        entries.push(entry.to_vec());
        payload = rest;
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_split_as_they_were_joined() {
        for entries in [vec![], vec![vec![]], vec![b"a".to_vec(), vec![], vec![7; 300]]] {
            assert_eq!(split(&join(&entries)), entries);
        }
        assert_eq!(split(&[9, 0, 0, 0, 1]), Vec::<Vec<u8>>::new());
    }
}
