//! The mappings of one account, as a look-up uses them.

use foldhash::fast::FixedState;
use std::collections::HashMap;

use super::{Mapping, SubjectTransform, Token};
use crate::random::Random;
use crate::sort::sort_by;
use crate::sync::Arc;

/// The mappings of an account on a server. Of several whose sources match a subject the narrowest counts, whatever
/// their order.
// NATS 2.14: the first one counts, in the order of a hash table.
#[derive(Debug)]
pub(crate) struct Mappings {
    /// As configured.
    list: Arc<[Mapping]>,
    /// The cluster for which they are resolved.
    cluster: Option<Box<str>>,
    /// By subject, for sources without wildcards.
    literal: HashMap<Box<[u8]>, Shares, FixedState>,
    wildcard: Vec<(Mapping, Shares)>,
}

/// The destinations of a mapping on a server, with the sums of the weights up to each.
type Shares = Vec<(u8, Arc<SubjectTransform>)>;

/// The result of a mapping for one subject.
#[derive(Clone, Debug)]
pub(crate) enum Mapped {
    /// Each message goes to this subject.
    To(Box<[u8]>),
    /// The subject of each message is picked.
    Among(Arc<Choices>),
}

/// The subjects among which one is picked for each message.
#[derive(Debug)]
pub(crate) struct Choices(Vec<(u8, Choice)>);

#[derive(Debug)]
enum Choice {
    Fixed(Box<[u8]>),
    /// Differs from message to message.
    Random(Arc<SubjectTransform>),
}

impl Mappings {
    /// Resolves the mappings for a server of that cluster; `None` without mappings. `seed` is that of hashes.
    pub(crate) fn new(list: &[Mapping], cluster: Option<&str>, seed: u64) -> Option<Self> {
        if list.is_empty() {
            return None;
        }
        let mut literal = HashMap::with_hasher(FixedState::with_seed(seed));
        let mut wildcard: Vec<(Mapping, Shares)> = Vec::new();
        for mapping in list {
            let shares = shares(mapping, cluster);
            if mapping.source.tokens().all(|token| matches!(token, Token::Literal(_))) {
                literal.insert(mapping.source.as_bytes().into(), shares);
            } else {
                wildcard.retain(|(other, _)| other.source != mapping.source);
                wildcard.push((mapping.clone(), shares));
            }
        }
        sort_by(&mut wildcard, |(one, _), (other, _)| one.cmp_narrowness(other));
        Some(Self { list: list.into(), cluster: cluster.map(Into::into), literal, wildcard })
    }

    /// Returns the mappings as configured.
    pub(crate) fn list(&self) -> Arc<[Mapping]> {
        Arc::clone(&self.list)
    }

    /// Returns true if they may be others for a server of that cluster.
    pub(crate) fn depends_on(&self, cluster: Option<&str>) -> bool {
        let mut destinations = self.list.iter().flat_map(|mapping| &mapping.destinations);
        self.cluster.as_deref() != cluster && destinations.any(|one| one.cluster.is_some())
    }

    /// Returns the result for a subject; `None` if no mapping matches it.
    // NATS 2.14: accounts.go selectMappedSubject.
    pub(crate) fn map(&self, subject: &[u8]) -> Option<Mapped> {
        let shares = self.literal.get(subject).or_else(|| {
            let first = self.wildcard.iter().find(|(mapping, _)| mapping.matches(subject));
            first.map(|(_, shares)| shares)
        })?;
        if let [(100, transform)] = &**shares
            && !transform.is_random()
        {
            return Some(Mapped::To(fixed(transform, subject)));
        }
        let choices = shares.iter().map(|(sum, transform)| {
            let choice = if transform.is_random() {
                Choice::Random(Arc::clone(transform))
            } else {
                Choice::Fixed(fixed(transform, subject))
            };
            (*sum, choice)
        });
        Some(Mapped::Among(Arc::new(Choices(choices.collect()))))
    }
}

fn shares(mapping: &Mapping, cluster: Option<&str>) -> Shares {
    let mut sum = 0;
    let share = mapping.destinations_in(cluster).map(|one| {
        sum += one.weight;
        (sum, Arc::new(one.transform.clone()))
    });
    share.collect()
}

fn fixed(transform: &SubjectTransform, subject: &[u8]) -> Box<[u8]> {
    let mut out = Vec::new();
    transform.apply(subject, || 0, &mut out);
    out.into()
}

impl Mapped {
    /// Returns the number of bytes of its subjects.
    pub(crate) fn cost(&self) -> usize {
        match self {
            Self::To(subject) => subject.len(),
            Self::Among(choices) => choices.0.iter().map(|(_, choice)| choice.cost()).sum(),
        }
    }

    /// Returns all subjects that it may pick; one in place of many random ones.
    pub(crate) fn all(self, subject: &[u8]) -> Vec<Box<[u8]>> {
        match self {
            Self::To(to) => vec![to],
            Self::Among(choices) => {
                let each = choices.0.iter().map(|(_, choice)| match choice {
                    Choice::Fixed(to) => to.clone(),
                    Choice::Random(transform) => fixed(transform, subject),
                });
                each.collect()
            }
        }
    }

    /// Returns the subject of one message; an empty one if the message is lost.
    pub(crate) fn pick(self, subject: &[u8], random: &mut Random) -> Vec<u8> {
        match self {
            Self::To(to) => to.into(),
            Self::Among(choices) => {
                let mut out = Vec::new();
                let choice = choices.pick(random);
                choices.write(choice, subject, random, &mut out);
                out
            }
        }
    }
}

impl Choice {
    fn cost(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Fixed(subject) => subject.len(),
                Self::Random(_) => 0,
            }
    }
}

impl Choices {
    /// Picks one by weight. `None` if the message is lost.
    pub(crate) fn pick(&self, random: &mut Random) -> Option<usize> {
        let number = random.below(100);
        self.0.iter().position(|(sum, _)| number < usize::from(*sum))
    }

    /// Returns true if messages with this choice may have different subjects.
    pub(crate) fn differs(&self, choice: Option<usize>) -> bool {
        let choice = choice.and_then(|at| self.0.get(at));
        matches!(choice, Some((_, Choice::Random(_))))
    }

    /// Appends the subject of a message to `out`; nothing if it is lost.
    pub(crate) fn write(
        &self,
        choice: Option<usize>,
        subject: &[u8],
        random: &mut Random,
        out: &mut Vec<u8>,
    ) {
        match choice.and_then(|at| self.0.get(at)) {
            None => {}
            Some((_, Choice::Fixed(to))) => out.extend_from_slice(to),
            Some((_, Choice::Random(transform))) => {
                transform.apply(subject, || random.next_u64(), out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mappings(list: &[Mapping]) -> Mappings {
        Mappings::new(list, Some("east"), 1).unwrap()
    }

    fn pick(mappings: &Mappings, subject: &str, random: &mut Random) -> Option<String> {
        let mapped = mappings.map(subject.as_bytes())?.pick(subject.as_bytes(), random);
        Some(String::from_utf8(mapped).unwrap())
    }

    #[test]
    fn the_narrowest_source_counts() {
        let list = [
            Mapping::to(">", "all.>").unwrap(),
            Mapping::to("a.*", "old.$1").unwrap(),
            Mapping::to("a.*", "star.$1").unwrap(),
            Mapping::to("a.b", "old").unwrap(),
            Mapping::to("a.b", "literal").unwrap(),
        ];
        let mappings = mappings(&list);
        assert_eq!(*mappings.list(), list);
        let mut random = Random::new(1);
        for (subject, mapped) in
            [("a.b", "literal"), ("a.c", "star.c"), ("a.b.c", "all.a.b.c"), ("x", "all.x")]
        {
            assert_eq!(pick(&mappings, subject, &mut random).as_deref(), Some(mapped));
        }
        assert!(Mappings::new(&[], None, 1).is_none());
        let one = Mappings::new(&list[1..2], None, 1).unwrap();
        assert!(one.map(b"x").is_none());
    }

    #[test]
    fn messages_are_shared_out_by_weight() {
        let mapping = Mapping::builder("a.*")
            .to("x.$1", 10)
            .to("y", 60)
            .to_in_cluster("west", "z", 100)
            .build();
        let mappings = mappings(&[mapping.unwrap()]);
        let mut random = Random::new(1);
        let mut counts: HashMap<String, u32> = HashMap::new();
        for _ in 0..10_000 {
            *counts.entry(pick(&mappings, "a.b", &mut random).unwrap()).or_default() += 1;
        }
        assert_eq!(counts.len(), 3);
        for (subject, expected) in [("x.b", 1_000), ("y", 6_000), ("a.b", 3_000)] {
            assert!(counts[subject].abs_diff(expected) < 200, "{counts:?}");
        }
    }

    #[test]
    fn a_mapping_with_loss_loses_messages() {
        let list = [Mapping::builder("a").to("a", 20).build().unwrap()];
        let mappings = mappings(&list);
        let mut random = Random::new(1);
        let lost = (0..1_000).filter(|_| pick(&mappings, "a", &mut random).unwrap().is_empty());
        assert!((750..850).contains(&lost.count()));
    }

    #[test]
    fn the_weights_of_the_cluster_count() {
        let mapping = Mapping::builder("a").to("x", 100).to_in_cluster("east", "y", 100).build();
        let mappings = mappings(&[mapping.unwrap()]);
        assert_eq!(pick(&mappings, "a", &mut Random::new(1)).as_deref(), Some("y"));
    }
}
