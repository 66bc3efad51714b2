//! The consumers of one stream.

use broker_core::SubjectFilter;
use hashbrown::HashMap;

use crate::config::ConsumerConfig;
use crate::consumer::Consumer;
use crate::filters::Filters;

/// A consumer in its cell.
pub(super) struct Member {
    pub(super) consumer: Consumer,
    /// Names it in the journal.
    pub(super) number: u32,
    pub(super) filters: Filters,
    /// [`Consumer::deliver`] has something to do.
    pub(super) is_due: bool,
    /// The same, as soon as the last message is visible.
    pub(super) awaits_visible: bool,
}

/// Consumers by name, in the order of their creation.
#[derive(Default)]
pub(super) struct ConsumerSet {
    members: Vec<Member>,
    places: HashMap<Box<[u8]>, usize, foldhash::fast::RandomState>,
    /// The number of push consumers.
    push: usize,
    /// The highest number that a consumer has had.
    last_number: u32,
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

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.iter_mut()
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<&Member> {
        self.members.get(*self.places.get(name)?)
    }

    pub(super) fn get_mut(&mut self, name: &[u8]) -> Option<&mut Member> {
        self.members.get_mut(*self.places.get(name)?)
    }

    pub(super) fn by_number(&mut self, number: u32) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.number == number)
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
        self.places.insert(consumer.name().as_bytes().into(), self.members.len());
        self.push += usize::from(consumer.delivers_to().is_some());
        let filters = filters_of(consumer.config());
        self.members.push(Member {
            consumer,
            number,
            filters,
            is_due: true,
            awaits_visible: false,
        });
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Option<Member> {
        let place = self.places.remove(name)?;
        let member = self.members.remove(place);
        self.push -= usize::from(member.consumer.delivers_to().is_some());
        self.places.values_mut().filter(|other| **other > place).for_each(|other| *other -= 1);
        Some(member)
    }
}

/// Returns the filters of a configuration.
pub(super) fn filters_of(config: &ConsumerConfig) -> Filters {
    let one = (!config.filter_subject.is_empty()).then_some(&config.filter_subject);
    let all = one.into_iter().chain(&config.filter_subjects);
    Filters::new(all.filter_map(|filter| SubjectFilter::parse(filter).ok()).collect())
}
