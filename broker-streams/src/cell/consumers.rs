//! The consumers of one stream.

use std::collections::BTreeMap;

use broker_core::SubjectFilter;
use hashbrown::HashMap;

use super::interest::{Found, Interest, insert};
use crate::config::ConsumerConfig;
use crate::consumer::Consumer;
use crate::filters::Filters;
use crate::store::Position;

/// A consumer in its cell.
pub(super) struct Member {
    pub(super) consumer: Consumer,
    /// Names it in the journal.
    pub(super) number: u32,
    pub(super) filters: Filters,
    /// [`Consumer::deliver`] has something to do.
    pub(super) is_due: bool,
    /// The same, with the end of the next sync: its creation or the last message is not on disk yet.
    pub(super) awaits_sync: bool,
    /// The position up to which the store is durable before anything is delivered: the answer to its creation leaves first.
    pub(super) begins_at: Position,
}

/// Consumers by name, in the order of their creation.
///
/// A stream may have thousands of consumers, most of which a message or a request does not concern: those that have something to
/// do are in lists.
#[derive(Default)]
pub(super) struct ConsumerSet {
    /// By number, which is the order of their creation.
    members: BTreeMap<u32, Box<Member>>,
    numbers: HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>,
    interest: Interest,
    lists: Lists,
    found: Found,
    /// The number of push consumers.
    push: usize,
    /// The highest number that a consumer has had.
    last_number: u32,
}

/// The numbers of consumers that have something to do, sorted.
#[derive(Default)]
struct Lists {
    /// Those with [`Member::is_due`].
    due: Vec<u32>,
    /// Those with [`Member::awaits_sync`].
    awaiting: Vec<u32>,
    /// Those with [`Consumer::has_changes`].
    changed: Vec<u32>,
}

impl Lists {
    fn note(&mut self, number: u32, member: &Member) {
        let Self { due, awaiting, changed } = self;
        let has_changes = member.consumer.has_changes();
        let all = [(member.is_due, due), (member.awaits_sync, awaiting), (has_changes, changed)];
        for (_, list) in all.into_iter().filter(|(is_so, _)| *is_so) {
            insert(list, number);
        }
    }
}

impl std::fmt::Debug for ConsumerSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsumerSet").field("len", &self.members.len()).finish_non_exhaustive()
    }
}

impl ConsumerSet {
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Returns true if there are push consumers.
    pub(super) fn has_push(&self) -> bool {
        self.push > 0
    }

    /// Returns true if a consumer may have changes that are not in the journal.
    pub(super) fn has_changes(&self) -> bool {
        !self.lists.changed.is_empty()
    }

    /// Returns true if a consumer selects a subject.
    pub(super) fn is_wanted(&self, subject: &[u8]) -> bool {
        self.interest.has_any(subject)
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values().map(|member| &**member)
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<&Member> {
        Some(self.members.get(self.numbers.get(name)?)?)
    }

    /// Returns a consumer, to be changed; [`Self::note`] follows.
    pub(super) fn get_mut(&mut self, name: &[u8]) -> Option<&mut Member> {
        Some(self.members.get_mut(self.numbers.get(name)?)?)
    }

    /// Returns a consumer, to be changed at the recovery.
    pub(super) fn by_number(&mut self, number: u32) -> Option<&mut Member> {
        Some(self.members.get_mut(&number)?)
    }

    /// Notes what a consumer that was changed has to do.
    pub(super) fn note(&mut self, name: &[u8]) {
        let Some(number) = self.numbers.get(name) else { return };
        if let Some(member) = self.members.get(number) {
            self.lists.note(*number, member);
        }
    }

    /// Changes all consumers.
    pub(super) fn visit_all(&mut self, mut visit: impl FnMut(&mut Member)) {
        for (number, member) in &mut self.members {
            visit(member);
            self.lists.note(*number, member);
        }
    }

    /// Changes the consumers that select a subject.
    pub(super) fn visit_interested(&mut self, subject: &[u8], mut visit: impl FnMut(&mut Member)) {
        let Self { members, interest, lists, found, .. } = self;
        interest.find(subject, found);
        visit_some(members, lists, &found.numbers, &mut visit);
    }

    /// Changes the consumers with [`Member::is_due`].
    pub(super) fn visit_due(&mut self, mut visit: impl FnMut(&mut Member)) {
        let numbers = std::mem::take(&mut self.lists.due);
        visit_some(&mut self.members, &mut self.lists, &numbers, &mut visit);
        reuse(numbers, &mut self.lists.due);
    }

    /// Changes the consumers with [`Member::awaits_sync`].
    pub(super) fn visit_awaiting(&mut self, mut visit: impl FnMut(&mut Member)) {
        let numbers = std::mem::take(&mut self.lists.awaiting);
        visit_some(&mut self.members, &mut self.lists, &numbers, &mut visit);
        reuse(numbers, &mut self.lists.awaiting);
    }

    /// Changes the consumers that may have changes which are not in the journal.
    pub(super) fn visit_changed(&mut self, mut visit: impl FnMut(&mut Member)) {
        let numbers = std::mem::take(&mut self.lists.changed);
        visit_some(&mut self.members, &mut self.lists, &numbers, &mut visit);
        reuse(numbers, &mut self.lists.changed);
    }

    /// Returns a number that no consumer has had.
    pub(super) fn next_number(&mut self) -> u32 {
        self.last_number += 1;
        self.last_number
    }

    /// Adds a consumer; replaces one of the same name.
    pub(super) fn add(&mut self, consumer: Consumer, number: u32) {
        self.remove(consumer.name().as_bytes());
        self.last_number = self.last_number.max(number);
        self.numbers.insert(consumer.name().as_bytes().into(), number);
        self.push += usize::from(consumer.delivers_to().is_some());
        let filters = filters_of(consumer.config());
        self.interest.add(number, &filters);
        let (is_due, awaits_sync, begins_at) = (true, false, 0);
        let member = Member { consumer, number, filters, is_due, awaits_sync, begins_at };
        let member = Box::new(member);
        self.lists.note(number, &member);
        self.members.insert(number, member);
    }

    /// Gives a consumer other filters.
    pub(super) fn set_filters(&mut self, name: &[u8], filters: Filters) {
        let Some(number) = self.numbers.get(name) else { return };
        if let Some(member) = self.members.get_mut(number) {
            self.interest.remove(*number, &member.filters);
            self.interest.add(*number, &filters);
            member.filters = filters;
        }
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Option<Box<Member>> {
        let number = self.numbers.remove(name)?;
        let member = self.members.remove(&number)?;
        let Lists { due, awaiting, changed } = &mut self.lists;
        for list in [due, awaiting, changed] {
            list.retain(|other| *other != number);
        }
        self.interest.remove(number, &member.filters);
        self.push -= usize::from(member.consumer.delivers_to().is_some());
        Some(member)
    }
}

fn visit_some(
    members: &mut BTreeMap<u32, Box<Member>>,
    lists: &mut Lists,
    numbers: &[u32],
    visit: &mut dyn FnMut(&mut Member),
) {
    for number in numbers {
        if let Some(member) = members.get_mut(number) {
            visit(member);
            lists.note(*number, member);
        }
    }
}

/// Keeps the memory of a list that was taken, if there is no other yet.
fn reuse(mut taken: Vec<u32>, list: &mut Vec<u32>) {
    if list.capacity() == 0 {
        taken.clear();
        *list = taken;
    }
}

/// Returns the filters of a configuration.
pub(super) fn filters_of(config: &ConsumerConfig) -> Filters {
    let one = (!config.filter_subject.is_empty()).then_some(&config.filter_subject);
    let all = one.into_iter().chain(&config.filter_subjects);
    Filters::new(all.filter_map(|filter| SubjectFilter::parse(filter).ok()).collect())
}
