//! The maps that are being read: where a variable is looked for.

use std::collections::HashMap;

use super::{Entry, Map};

/// One map that is not closed yet.
#[derive(Debug, Default)]
pub(super) struct Scope {
    map: Map,
    /// A linear search would make a file of many keys slow without end. Few keys are gone through: a table for
    /// each user of a hundred thousand takes longer than all the rest.
    index: HashMap<String, usize>,
}

/// As many keys are gone through.
const FEW: usize = 8;

impl Scope {
    /// A later entry takes the place of an earlier one with its key.
    pub(super) fn set(&mut self, entry: Entry) {
        match self.find(&entry.key) {
            Some(at) => self.map.entries[at] = entry,
            None => {
                self.map.entries.push(entry);
                if self.map.entries.len() > FEW {
                    let known = self.index.len();
                    let keys = self.map.entries.iter().enumerate().skip(known);
                    self.index.extend(keys.map(|(at, entry)| (entry.key.clone(), at)));
                }
            }
        }
    }

    fn find(&self, key: &str) -> Option<usize> {
        if self.index.is_empty() {
            return self.map.entries.iter().position(|entry| entry.key == key);
        }
        self.index.get(key).copied()
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        self.find(key).map(|at| &mut self.map.entries[at])
    }

    pub(super) fn into_map(mut self) -> Map {
        self.map.entries.shrink_to_fit();
        self.map
    }
}
