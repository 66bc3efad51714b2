//! The consumers that select a subject.

use broker_core::SubjectFilter;
use hashbrown::HashMap;

use crate::filters::Filters;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// The consumers of a stream by their filters.
///
/// Filters of the same *form*, which is the number of tokens and the places of the wildcards, are in one table by their literal
/// tokens. Consumers have filters of few forms, so that a subject is looked up a few times whatever the number of consumers is.
#[derive(Default)]
pub(super) struct Interest {
    /// The consumers that select all subjects, by number.
    all: Vec<u32>,
    forms: Vec<Form>,
}

/// Consumers that were found.
#[derive(Default)]
pub(super) struct Found {
    /// Their numbers, in order.
    pub(super) numbers: Vec<u32>,
    /// Memory for the search.
    key: Vec<u8>,
}

/// The filters with the same number of tokens, and wildcards at the same places.
struct Form {
    /// True for each `*`. A last `>` has no place.
    wildcards: Box<[bool]>,
    /// The filters end with `>`.
    is_open: bool,
    /// The consumers, by the other tokens, with a `.` behind each.
    members: Map<Box<[u8]>, Vec<u32>>,
}

impl Interest {
    /// Adds a consumer.
    pub(super) fn add(&mut self, number: u32, filters: &Filters) {
        if filters.is_all() {
            return insert(&mut self.all, number);
        }
        for filter in filters.as_slice() {
            let (wildcards, is_open, key) = parts(filter);
            let same = |form: &&mut Form| *form.wildcards == *wildcards && form.is_open == is_open;
            let form = match self.forms.iter_mut().find(same) {
                Some(form) => form,
                None => self.forms.push_mut(Form {
                    wildcards: wildcards.into(),
                    is_open,
                    members: Map::default(),
                }),
            };
            insert(form.members.entry(key.into()).or_default(), number);
        }
    }

    /// Removes a consumer, which was added with these filters.
    pub(super) fn remove(&mut self, number: u32, filters: &Filters) {
        self.all.retain(|other| *other != number);
        for filter in filters.as_slice() {
            let (wildcards, is_open, key) = parts(filter);
            for form in &mut self.forms {
                if *form.wildcards != *wildcards || form.is_open != is_open {
                    continue;
                }
                let members = form.members.get_mut(&key[..]);
                if members.is_some_and(|members| {
                    members.retain(|other| *other != number);
                    members.is_empty()
                }) {
                    form.members.remove(&key[..]);
                }
            }
        }
        self.forms.retain(|form| !form.members.is_empty());
    }

    /// Finds the consumers that select a subject.
    pub(super) fn find(&self, subject: &[u8], found: &mut Found) {
        let Found { numbers, key } = found;
        numbers.clear();
        numbers.extend_from_slice(&self.all);
        for form in &self.forms {
            if form.key(subject, key)
                && let Some(members) = form.members.get(&key[..])
            {
                numbers.extend_from_slice(members);
            }
        }
        // A consumer with several filters may be there twice.
        numbers.sort_unstable();
        numbers.dedup();
    }

    /// Returns true if a consumer selects a subject.
    pub(super) fn has_any(&self, subject: &[u8]) -> bool {
        let mut key = Vec::new();
        let mut forms = self.forms.iter();
        !self.all.is_empty()
            || forms.any(|form| form.key(subject, &mut key) && form.members.contains_key(&key[..]))
    }
}

impl Form {
    /// Replaces `key` by the tokens of a subject at the places of literal tokens. Returns false if the subject has another number of tokens.
    fn key(&self, subject: &[u8], key: &mut Vec<u8>) -> bool {
        key.clear();
        let mut tokens = subject.split(|byte| *byte == b'.');
        for is_wildcard in &self.wildcards {
            let Some(token) = tokens.next() else { return false };
            if !is_wildcard {
                key.extend_from_slice(token);
                key.push(b'.');
            }
        }
        tokens.next().is_some() == self.is_open
    }
}

/// Returns the places of `*`, whether the filter ends with `>`, and its literal tokens.
fn parts(filter: &SubjectFilter) -> (Vec<bool>, bool, Vec<u8>) {
    let (mut wildcards, mut is_open, mut key) = (Vec::new(), false, Vec::new());
    for token in filter.as_bytes().split(|byte| *byte == b'.') {
        match token {
            b">" => is_open = true,
            b"*" => wildcards.push(true),
            literal => {
                wildcards.push(false);
                key.extend_from_slice(literal);
                key.push(b'.');
            }
        }
    }
    (wildcards, is_open, key)
}

/// Adds a number to a sorted list, unless it is there.
pub(super) fn insert(numbers: &mut Vec<u32>, number: u32) {
    if let Err(at) = numbers.binary_search(&number) {
        numbers.insert(at, number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const TOKENS: [&str; 5] = ["a", "b", "*", "cc", ">"];

    fn filter_of(random: &mut Random, tokens: u64, choices: u64) -> String {
        let words: Vec<_> =
            (0..=random.below(tokens)).map(|_| TOKENS[random.below(choices) as usize]).collect();
        words.join(".")
    }

    #[test]
    fn the_consumers_found_are_those_whose_filters_match() {
        let random = &mut Random::new(7);
        let mut interest = Interest::default();
        let mut known: Vec<(u32, Filters)> = Vec::new();
        let mut found = Found::default();
        for number in 0..2000 {
            let texts = (0..random.below(4)).map(|_| filter_of(random, 4, 5));
            let filters = texts.filter_map(|text| SubjectFilter::parse(text).ok()).collect();
            known.push((number, Filters::new(filters)));
            interest.add(number, &known[known.len() - 1].1);
            if random.below(3) == 0 {
                let (number, filters) = known.remove(random.below(known.len() as u64) as usize);
                interest.remove(number, &filters);
            }
            let subject = filter_of(random, 5, 4).replace('*', "d");
            interest.find(subject.as_bytes(), &mut found);
            let matching = known.iter().filter(|(_, one)| one.matches(subject.as_bytes()));
            let expected: Vec<_> = matching.map(|(number, _)| *number).collect();
            assert_eq!(found.numbers, expected, "{subject}");
            assert_eq!(interest.has_any(subject.as_bytes()), !expected.is_empty());
        }
        for (number, filters) in known {
            interest.remove(number, &filters);
        }
        assert!(interest.all.is_empty() && interest.forms.is_empty());
    }
}
