//! The subjects of consumers.

use super::{Cell, Change};
use crate::consumer::subjects;

impl Cell {
    /// Notes that a consumer was added, or has another configuration.
    pub(super) fn note_consumer(&mut self, name: &str) {
        let Some(member) = self.consumers.get(name.as_bytes()) else { return };
        let subjects = subjects(member.consumer.scope(), member.consumer.config());
        self.changes.push(Change::Consumer(name.to_owned(), subjects));
    }
}
