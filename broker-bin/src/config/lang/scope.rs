//! The open maps, in which variables are looked up.

use std::collections::HashMap;

use super::{Entry, Map};

/// A map that is not closed yet.
#[derive(Debug, Default)]
pub(super) struct Scope {
    map: Map,
    /// Index of maps with more than [`FEW`] keys: a linear search would be quadratic in files with
    /// many keys, while a hash table for each of 100,000 users would take longer than the rest of
    /// the parsing.
    index: HashMap<String, usize>,
}

/// Up to this many keys are searched linearly.
const FEW: usize = 8;

impl Scope {
    /// Adds an entry; an earlier entry with the same key is replaced.
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
