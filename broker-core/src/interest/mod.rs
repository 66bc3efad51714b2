//! Stage 5 of 8: finds the subscriptions that match a subject. Before it: permissions ([`crate::auth`]); after it:
//! delivery (`deliver`).
//!
//! The matches usually come from a session's own cache, at the cost of a comparison of the subject and
//! two loads. A miss is looked up in the account's [`Interest`].

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
mod siblings;
mod sublist;
mod trie;

pub(crate) use cache::{Known, MatchCache, Prefetched, PrefetchedBatch};
pub(crate) use event_listener::{Changes, EventListener, ListenerCall};
pub(crate) use look_ups::LookUps;
pub(crate) use matches::{Matches, PeerMatch};
pub use pending::InterestChange;

use std::hash::BuildHasher;

use crate::stats::InterestStats;
use crate::subject::{Mappings, first_token};
use crate::sync::{Arc, AtomicBool, Ordering, RwLock};
use crate::table::Entry;
use arc_swap::ArcSwapOption;
use events::{Events, tell};
use foldhash::fast::FixedState;
use generations::Generations;
use sublist::Sublist;

/// A subscription, as the interest sees it.
pub(crate) trait Interested {
    /// Returns its filter, which is valid.
    fn filter(&self) -> &[u8];
    /// Loads a little of each object that a delivery to it reads, so that they are in the processor's cache.
    fn touch_memory(&self) -> usize;
    /// Returns its queue group.
    fn queue(&self) -> Option<&[u8]>;
    /// Returns true if it belongs to a peer server, which gets each message once.
    fn is_peer(&self) -> bool {
        false
    }
    /// Returns true if it is an imported service, or the responses of exported ones: the publisher passes messages on
    /// to another account.
    fn is_service(&self) -> bool {
        false
    }
    /// Returns true if it gets messages to subjects that are used once each.
    fn is_used_once(&self) -> bool {
        false
    }
    /// Returns the number of members of the queue group that it stands for, behind a peer.
    fn weight(&self) -> u32 {
        1
    }
    /// Sets the number of members that it stands for.
    fn set_weight(&self, weight: u32) {
        let _ = weight;
    }
    /// Returns the kind of its endpoint, as one bit.
    fn kind_bit(&self) -> u8;
    /// Returns the last mark from [`Self::set_mark`]; 0 at first.
    fn mark(&self) -> u8;
    /// Marks it as counted. Only called with the interest locked.
    fn set_mark(&self, mark: u8);
    /// Returns its owner: the subscriptions of one owner are adjacent in [`Matches`].
    fn owner(&self) -> u64;
}

/// All subscriptions of one account.
pub(crate) struct Interest<S> {
    state: RwLock<State<S>>,
    /// Seeded, so that no client can choose subjects whose hashes collide.
    hasher: FixedState,
    generations: Generations,
    /// False while there are no mappings, so that looking up a subject then costs one load more.
    is_mapped: AtomicBool,
    mappings: ArcSwapOption<Mappings>,
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
            is_mapped: AtomicBool::new(false),
            mappings: ArcSwapOption::empty(),
        }
    }

    /// Replaces the mappings of the account. Each look-up that begins when it has returned uses them.
    pub(crate) fn set_mappings(&self, mappings: Option<Mappings>) {
        let is_mapped = mappings.is_some();
        self.mappings.store(mappings.map(Arc::new));
        self.is_mapped.store(is_mapped, Ordering::Release);
        // Every cached look-up is out of date. A look-up that reads the new generation sees the new mappings.
        self.generations.advance(None);
    }

    /// Returns the mappings of the account.
    pub(crate) fn mappings(&self) -> Option<Arc<Mappings>> {
        if self.is_mapped() { self.mappings.load_full() } else { None }
    }

    #[inline]
    fn is_mapped(&self) -> bool {
        self.is_mapped.load(Ordering::Acquire)
    }

    /// Adds a subscription. When it returns, listeners have received the change.
    pub(crate) fn insert(&self, subscription: Arc<S>) {
        let mut state = self.state.write();
        let place = Generations::place(first_token(subscription.filter()));
        let is_counted = state.events.insert(&*subscription);
        state.sublist.insert(subscription);
        self.generations.advance(place);
        let listeners = if is_counted { state.events.listeners() } else { Default::default() };
        drop(state);
        tell(&listeners, true);
    }

    /// Removes subscriptions; ignores those that were never inserted. Listeners are called, but not waited for: the
    /// caller may be within a delivery.
    pub(crate) fn remove(&self, subscriptions: &[Arc<S>]) {
        let mut state = self.state.write();
        let mut is_counted = false;
        for subscription in subscriptions {
            if state.sublist.remove(subscription) {
                is_counted |= state.events.remove(&**subscription);
            }
            let place = Generations::place(first_token(subscription.filter()));
            self.generations.advance(place);
        }
        let listeners = if is_counted { state.events.listeners() } else { Default::default() };
        drop(state);
        tell(&listeners, false);
    }

    /// Changes the number of queue group members that a subscription stands for. Caches need no update: the weight is
    /// read for each message.
    pub(crate) fn set_weight(&self, subscription: &Arc<S>, weight: u32) {
        let mut state = self.state.write();
        state.events.set_weight(&**subscription, weight);
        let listeners = state.events.listeners();
        drop(state);
        tell(&listeners, true);
    }

    /// Returns true if another thread waits for its lock.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.state.is_waited_for()
    }

    /// Adds the matches of `subject` to `matches`, which must be empty. Returns the generation for which they are
    /// valid.
    pub(crate) fn collect(&self, subject: &[u8], matches: &mut Matches<S>) -> Generation {
        self.collect_hashed(self.hasher.hash_one(subject), subject, matches)
    }

    /// As [`Self::collect`], with the subject's hash.
    fn collect_hashed(&self, hash: u64, subject: &[u8], matches: &mut Matches<S>) -> Generation {
        let generation = self.generation(subject);
        self.state.read().sublist.collect(hash, subject, matches);
        matches.arrange();
        generation
    }

    /// Returns the hasher of subjects.
    pub(crate) fn hasher(&self) -> FixedState {
        self.hasher.clone()
    }

    /// Prefetches the memory of subjects that will be looked up next.
    fn prefetch(&self, subjects: &[Prefetched]) {
        self.state.read().sublist.prefetch(subjects);
    }

    /// Returns true if all subjects of one more token than `prefix`, a part of a reply subject that is used once, have
    /// the same matches.
    fn is_same_for_siblings(&self, prefix: &[u8]) -> bool {
        self.state.read().sublist.is_same_for_siblings(prefix)
    }

    /// Returns the generation, which changes with the interest in any subject with this one's first token.
    #[inline]
    pub(crate) fn generation(&self, subject: &[u8]) -> Generation {
        self.generation_of(Generations::shard(first_token(subject)))
    }

    #[inline]
    fn generation_of(&self, shard: u8) -> Generation {
        Generation::new(shard, self.generations.count(shard))
    }

    /// Returns true if matches collected at `generation` are still complete.
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

    /// Returns the counters that sessions do not keep.
    pub(crate) fn stats(&self) -> InterestStats {
        self.state.read().sublist.stats()
    }
}

/// Loads a value that a delivery will read from each of them. None of these loads depends on another, so that the
/// processor runs them at the same time; the values do not matter.
pub(crate) fn touch_all<'a, S: Interested + 'a>(subscriptions: impl Iterator<Item = &'a Arc<S>>) {
    let sum = subscriptions.fold(0, |sum: usize, subscription| {
        sum.wrapping_add(Arc::strong_count(subscription)).wrapping_add(subscription.touch_memory())
    });
    std::hint::black_box(sum);
}

impl<S: Interested> Entry for Arc<S> {
    #[inline]
    fn touch(&self) -> usize {
        // Both ends: a text may be in two cache lines.
        let filter = self.filter();
        filter.first().map_or(0, |byte| usize::from(*byte))
            + filter.last().map_or(0, |byte| usize::from(*byte))
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
