//! Stage 5 of 8: who wants a subject. Before it: permissions ([`crate::auth`]); after it: delivery
//! (`deliver`).
//!
//! The answer usually comes from a session's own cache, which costs a comparison of the subject and
//! two loads. Behind it stands the account's [`Interest`].

mod cache;
mod counts;
mod event_listener;
mod events;
mod generations;
mod look_ups;
mod matches;
mod members;
#[cfg(test)]
mod model;
#[cfg(all(test, shuttle))]
mod models;
mod pending;
mod sublist;
mod trie;

pub(crate) use cache::{MatchCache, Prefetched, PrefetchedBatch};
pub(crate) use event_listener::EventListener;
pub(crate) use look_ups::LookUps;
pub(crate) use matches::{Matches, PeerMatch};
pub use pending::InterestChange;

use std::hash::BuildHasher;

use crate::stats::InterestStats;
use crate::subject::first_token;
use crate::sync::{Arc, RwLock};
use events::{Events, tell};
use foldhash::fast::FixedState;
use generations::Generations;
use sublist::Sublist;

/// Something that waits for messages.
pub(crate) trait Interested {
    /// A valid filter.
    fn filter(&self) -> &[u8];
    /// Reads a little of all that a delivery to it reads, so that it is near then.
    fn touch_memory(&self) -> usize;
    /// The queue group it is a member of.
    fn queue(&self) -> Option<&[u8]>;
    /// Returns true if it belongs to a peer server, which gets each message once.
    fn is_peer(&self) -> bool {
        false
    }
    /// How many members of the queue group it stands for, behind a peer.
    fn weight(&self) -> u32 {
        1
    }
    /// Makes it stand for another number of members.
    fn set_weight(&self, weight: u32) {
        let _ = weight;
    }
    /// The kind of its endpoint: one bit.
    fn kind_bit(&self) -> u8;
    /// What [`Self::set_mark`] has set last; 0 at first.
    fn mark(&self) -> u8;
    /// Marks it as counted. Only called with the interest locked.
    fn set_mark(&self, mark: u8);
    /// Who it belongs to: those of one owner stand together in [`Matches`].
    fn owner(&self) -> u64;
}

/// All the interest in one account.
pub(crate) struct Interest<S> {
    state: RwLock<State<S>>,
    /// Seeded, so that nobody can choose subjects that meet in one slot.
    hasher: FixedState,
    generations: Generations,
}

struct State<S> {
    sublist: Sublist<S>,
    events: Events,
}

impl<S: Interested> Interest<S> {
    pub(crate) fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self {
            state: RwLock::new(State {
                sublist: Sublist::new(hasher.clone()),
                events: Events::default(),
            }),
            hasher,
            generations: Generations::default(),
        }
    }

    /// Puts a subscription in. When it returns, listeners have been told of it.
    pub(crate) fn insert(&self, subscription: Arc<S>) {
        let mut state = self.state.write();
        let place = Generations::place(first_token(subscription.filter()));
        state.events.insert(&*subscription);
        state.sublist.insert(subscription);
        self.generations.advance(place);
        let listeners = state.events.listeners();
        drop(state);
        tell(&listeners, true);
    }

    /// Takes out what was inserted; does nothing for anything else. Listeners are told, but not waited for: the
    /// caller may be within a delivery.
    pub(crate) fn remove(&self, subscriptions: &[Arc<S>]) {
        let mut state = self.state.write();
        for subscription in subscriptions {
            if state.sublist.remove(subscription) {
                state.events.remove(&**subscription);
            }
            let place = Generations::place(first_token(subscription.filter()));
            self.generations.advance(place);
        }
        let listeners = state.events.listeners();
        drop(state);
        tell(&listeners, false);
    }

    /// Makes it stand for another number of members of its queue group. Caches need not know: the weight is
    /// read for each message.
    pub(crate) fn set_weight(&self, subscription: &Arc<S>, weight: u32) {
        let mut state = self.state.write();
        state.events.set_weight(&**subscription, weight);
        let listeners = state.events.listeners();
        drop(state);
        tell(&listeners, true);
    }

    /// Returns true if another thread waits to read or change it.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.state.is_waited_for()
    }

    /// Who would get a message published to `subject`; added to `matches`, which must be empty.
    /// Returns the generation that this is true for.
    pub(crate) fn collect(&self, subject: &[u8], matches: &mut Matches<S>) -> Generation {
        self.collect_hashed(self.hasher.hash_one(subject), subject, matches)
    }

    /// The same with the subject's hash.
    fn collect_hashed(&self, hash: u64, subject: &[u8], matches: &mut Matches<S>) -> Generation {
        let generation = self.generation(subject);
        self.state.read().sublist.collect(hash, subject, matches);
        matches.arrange();
        generation
    }

    /// What subjects are hashed by.
    pub(crate) fn hasher(&self) -> FixedState {
        self.hasher.clone()
    }

    /// Who wants these subjects will be asked next.
    fn prefetch(&self, subjects: &[Prefetched]) {
        self.state.read().sublist.prefetch(subjects);
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

    /// Returns the number of nodes and edges of the trie.
    #[cfg(test)]
    fn trie_size(&self) -> (usize, usize) {
        self.state.read().sublist.trie_size()
    }

    /// The part of the counts that sessions do not keep.
    pub(crate) fn stats(&self) -> InterestStats {
        self.state.read().sublist.stats()
    }
}

/// Reads of all of them what a delivery will read. None of these loads waits for another, so that the
/// processor has them under way at the same time; what they bring does not matter.
fn touch_all<'a, S: Interested + 'a>(subscriptions: impl Iterator<Item = &'a Arc<S>>) {
    let sum = subscriptions.fold(0, |sum: usize, subscription| {
        sum.wrapping_add(Arc::strong_count(subscription)).wrapping_add(subscription.touch_memory())
    });
    std::hint::black_box(sum);
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
