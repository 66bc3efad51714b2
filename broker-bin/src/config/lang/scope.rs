//! The maps that are being read: where a variable is looked for.

use std::collections::HashMap;

use super::{Entry, Map};

/// One map that is not closed yet.
#[derive(Debug, Default)]
pub(super) struct Scope {
    map: Map,
    /// A linear search would make a file of many keys slow without end.
    index: HashMap<String, usize>,
}

impl Scope {
    /// A later entry takes the place of an earlier one with its key.
    pub(super) fn set(&mut self, entry: Entry) {
        match self.index.get(&entry.key) {
            Some(at) => self.map.entries[*at] = entry,
            None => {
                self.index.insert(entry.key.clone(), self.map.entries.len());
                self.map.entries.push(entry);
            }
        }
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        self.index.get(key).map(|at| &mut self.map.entries[*at])
    }

    pub(super) fn into_map(self) -> Map {
        self.map
    }
}
