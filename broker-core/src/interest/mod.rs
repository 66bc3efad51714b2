//! Stage 5 of 8: who wants a subject. Before it: permissions ([`crate::auth`]); after it: delivery
//! (`deliver`).
//!
//! The answer usually comes from a session's own cache, which costs a comparison of the subject and
//! two loads. Behind it stands the account's [`Interest`].

mod cache;
mod generations;
mod look_ups;
mod matches;
#[cfg(test)]
mod model;
mod sublist;

pub(crate) use cache::MatchCache;
pub(crate) use look_ups::LookUps;
pub(crate) use matches::Matches;

use crate::stats::InterestStats;
use crate::subject::first_token;
use crate::sync::{Arc, RwLock};
use generations::Generations;
use sublist::Sublist;

/// Something that waits for messages.
pub(crate) trait Interested {
    /// A valid filter.
    fn filter(&self) -> &[u8];
    /// The queue group it is a member of.
    fn queue(&self) -> Option<&[u8]>;
    /// Who it belongs to: those of one owner stand together in [`Matches`].
    fn owner(&self) -> u64;
}

/// All the interest in one account.
pub(crate) struct Interest<S> {
    sublist: RwLock<Sublist<S>>,
    generations: Generations,
}

impl<S: Interested> Interest<S> {
    pub(crate) fn new(seed: u64) -> Self {
        Self { sublist: RwLock::new(Sublist::new(seed)), generations: Generations::default() }
    }

    pub(crate) fn insert(&self, subscription: Arc<S>) {
        let mut sublist = self.sublist.write();
        let first = first_token(subscription.filter()).to_owned();
        sublist.insert(subscription);
        self.generations.advance(&first);
    }

    /// Takes out what was inserted; does nothing for anything else.
    pub(crate) fn remove(&self, subscriptions: &[Arc<S>]) {
        let mut sublist = self.sublist.write();
        for subscription in subscriptions {
            sublist.remove(subscription);
            self.generations.advance(first_token(subscription.filter()));
        }
    }

    /// Who would get a message published to `subject`; added to `matches`, which must be empty.
    /// Returns the generation that this is true for.
    pub(crate) fn collect(&self, subject: &[u8], matches: &mut Matches<S>) -> Generation {
        let generation = self.generation(subject);
        self.sublist.read().collect(subject, matches);
        matches.arrange();
        generation
    }

    /// Grows whenever the interest in any subject with this one's first token changes.
    pub(crate) fn generation(&self, subject: &[u8]) -> Generation {
        self.generation_of(Generations::shard(first_token(subject)))
    }

    #[inline]
    fn generation_of(&self, shard: u8) -> Generation {
        Generation::new(shard, self.generations.count(shard))
    }

    /// Is what was collected at `generation` still all there is?
    #[inline]
    pub(crate) fn is_current(&self, generation: Generation) -> bool {
        self.generation_of(generation.shard()) == generation
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.stats().subscriptions
    }

    /// The part of the counts that sessions do not keep.
    pub(crate) fn stats(&self) -> InterestStats {
        self.sublist.read().stats()
    }
}

/// A point in the history of the interest in subjects with one first token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Generation {
    /// The shard in the lowest byte; the count above it, which would take a billion years to fill.
    packed: u64,
}

impl Generation {
    fn new(shard: u8, count: u64) -> Self {
        Self { packed: (count << 8) | u64::from(shard) }
    }

    fn shard(self) -> u8 {
        self.packed as u8
    }
}

#[cfg(test)]
mod tests;
