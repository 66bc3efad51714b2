//! The accounts of one session, for the kinds of endpoints that serve several over one
//! connection: routes and gateways.
//!
//! Each account has a seat: its subscriptions, its counters, and its cache of matches. The publisher has
//! one cache, as that of a client; the seat of a message's account lends it its own. Together
//! the caches hold at most [`SESSION_CACHED_BYTES`].

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use foldhash::fast::FixedState;

use super::publisher::Publisher;
use super::traces::{Traced, decide_for_peer};
use crate::account::{Account, Ending};
use crate::endpoint::{AccountMembership, Endpoint, Name, Run, Scratch, Subscription};
use crate::interest::{Interested, MatchCache, PrefetchedBatch};
use crate::limits::SESSION_CACHED_BYTES;
use crate::proto::Batch;
use crate::proto::traced::is_mentioned;
use crate::random::Random;
use crate::routing::{Audience, end};
use crate::shared::Shared;
use crate::sync::{Arc, Ordering};

/// See the module.
pub(crate) struct Accounts {
    shared: Arc<Shared>,
    endpoint: Arc<Endpoint>,
    publisher: Publisher,
    random: Random,
    /// By slot, counted from 1.
    seats: Vec<Option<Seat>>,
    slots: HashMap<Arc<str>, u16, FixedState>,
    /// The slot whose cache the publisher uses; 0 for none.
    current: u16,
    /// The memory of all caches.
    cached_bytes: usize,
    /// [`SESSION_CACHED_BYTES`], except in tests.
    max_cached_bytes: usize,
    /// The next seat whose cache is dropped when the caches take too much memory.
    sweep: usize,
    leaving: VecDeque<(u16, Ending)>,
}

struct Seat {
    account: Arc<Account>,
    membership: Arc<AccountMembership>,
    /// `None` while the publisher uses it.
    cache: Option<Box<MatchCache<Subscription>>>,
    /// Its memory when it was last measured.
    cached_bytes: usize,
}

/// The session has [`SESSION_ACCOUNTS`](crate::limits::SESSION_ACCOUNTS) accounts already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TooManyAccounts;

impl Accounts {
    pub(crate) fn new(shared: Arc<Shared>, endpoint: Arc<Endpoint>, seed: u64) -> Self {
        let publisher = Publisher::new(seed, shared.counted_subjects.clone());
        Self {
            shared,
            endpoint,
            publisher,
            random: Random::new(seed),
            seats: Vec::new(),
            slots: HashMap::with_hasher(FixedState::with_seed(seed)),
            current: 0,
            cached_bytes: 0,
            max_cached_bytes: SESSION_CACHED_BYTES,
            sweep: 0,
            leaving: VecDeque::new(),
        }
    }

    /// Returns true if it is an account of the session.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.seat(self.current).is_some_and(|seat| *seat.account.name == *name)
            || self.slots.contains_key(name)
    }

    /// Adds an account to the session, unless it has it. Returns its slot.
    pub(crate) fn join(&mut self, name: &str) -> Result<u16, TooManyAccounts> {
        // The account of the message before.
        if self.seat(self.current).is_some_and(|seat| *seat.account.name == *name) {
            return Ok(self.current);
        }
        if let Some(slot) = self.slots.get(name) {
            return Ok(*slot);
        }
        let account = self.shared.account(&name.into());
        let space = Arc::clone(&account) as Arc<_>;
        let membership = AccountMembership::one_of_several(space, self.random.next_u64());
        let membership = Arc::new(membership);
        let slot = self.endpoint.add_membership(Arc::clone(&membership)).ok_or(TooManyAccounts)?;
        self.slots.insert(Arc::clone(&account.name), slot);
        let place = usize::from(slot) - 1;
        if place >= self.seats.len() {
            self.seats.resize_with(place + 1, || None);
        }
        self.seats[place] = Some(Seat { account, membership, cache: None, cached_bytes: 0 });
        Ok(slot)
    }

    /// Leaves an account: its subscriptions end slice by slice, by [`Self::step`]. Returns false if it is not an
    /// account of the session.
    pub(crate) fn leave(&mut self, name: &str) -> bool {
        let Some(slot) = self.slots.remove(name) else { return false };
        self.forget_cache(slot);
        if let Some(seat) = self.seats.get_mut(usize::from(slot) - 1).and_then(Option::take) {
            let sids = seat.membership.sids(&self.endpoint).take_all();
            self.leaving.push_back((slot, Ending::new(&seat.account, sids)));
        }
        true
    }

    /// Leaves all accounts.
    pub(crate) fn leave_all(&mut self) {
        let names: Vec<Arc<str>> = self.slots.keys().cloned().collect();
        names.iter().for_each(|name| _ = self.leave(name));
    }

    /// Returns true if subscriptions in accounts that were left have not ended yet.
    pub(crate) fn has_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Leaves the accounts that were removed: the [control mailbox](crate::endpoint::ControlMailbox) reports when there
    /// are some.
    pub(crate) fn leave_removed(&mut self) {
        let removed = self.seats.iter().flatten().filter(|seat| seat.account.is_removed());
        let names: Vec<Arc<str>> = removed.map(|seat| Arc::clone(&seat.account.name)).collect();
        names.iter().for_each(|name| _ = self.leave(name));
    }

    /// Ends a slice of the subscriptions in accounts that were left. Returns false if there are no more. The
    /// slot of an account is free when the last of them has ended, so that none can name another account.
    pub(crate) fn step(&mut self) -> bool {
        let Some((slot, ending)) = self.leaving.front_mut() else { return false };
        if !ending.step(|_| ()) {
            self.shared.depart_from(&self.endpoint, *slot);
            self.leaving.pop_front();
        }
        !self.leaving.is_empty()
    }

    /// Subscribes in an account of the session, which joins it if needed. `weight`: the number of members of
    /// the queue group that the subscription represents, which a second call with the same texts changes. `is_filtered`: the
    /// permissions of the endpoint deny it some of the messages.
    pub(crate) fn subscribe(
        &mut self,
        name: &str,
        (filter, queue, sid): (&[u8], Option<&[u8]>, &[u8]),
        weight: u32,
        is_filtered: bool,
    ) -> Result<(), TooManyAccounts> {
        let slot = self.join(name)?;
        let Some(seat) = self.seat(slot) else { return Ok(()) };
        let sids = seat.membership.sids(&self.endpoint);
        let new = || {
            let endpoint = Arc::clone(&self.endpoint);
            let subscription = Subscription::new(endpoint, filter, queue, sid, is_filtered);
            let subscription = Arc::new(subscription.in_slot(slot).with_weight(weight));
            (subscription, self.endpoint.subscriptions.fetch_add(1, Ordering::Relaxed))
        };
        match sids.get_or_insert(Name::of_interest(filter, queue, sid), new) {
            Ok(new) => seat.account.interest.insert(new),
            Err(known) => seat.account.interest.set_weight(&known, weight),
        }
        Ok(())
    }

    /// Ends a subscription in an account. Returns false if there is none with these texts.
    pub(crate) fn unsubscribe(
        &mut self,
        name: &str,
        (filter, queue, sid): (&[u8], Option<&[u8]>, &[u8]),
    ) -> bool {
        let Some(seat) = self.slots.get(name).and_then(|slot| self.seat(*slot)) else {
            return false;
        };
        let sids = seat.membership.sids(&self.endpoint);
        let Some(subscription) = sids.remove(Name::of_interest(filter, queue, sid)) else {
            return false;
        };
        end(&seat.account, &subscription);
        true
    }

    /// Ends the subscriptions whose filter is not to be kept.
    pub(crate) fn retain(&mut self, keeps: impl Fn(&[u8]) -> bool) {
        for seat in self.seats.iter().flatten() {
            let sids = seat.membership.sids(&self.endpoint);
            for subscription in sids.list(usize::MAX).iter().filter(|one| !keeps(one.filter())) {
                sids.remove(Name::of(subscription));
                end(&seat.account, subscription);
            }
        }
    }

    /// As [`Self::publish_all`], for one run.
    #[cfg(test)]
    pub(crate) fn publish(
        &mut self,
        name: &str,
        run: &Run<'_>,
        audience: Audience<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), TooManyAccounts> {
        let slot = self.join(name)?;
        self.lend_cache(slot);
        let Some(Some(seat)) = self.seats.get(usize::from(slot) - 1) else { return Ok(()) };
        let bytes = self.publisher.relay(&seat.account, &self.endpoint, run, audience, scratch);
        seat.membership.note_in(run.messages.len() as u64, bytes as u64);
        self.bound_caches(slot);
        Ok(())
    }

    /// Delivers messages from the endpoint in an account, which the session joins if needed, to the part of its interest
    /// that they are meant for. Matches of several subjects are prefetched together.
    pub(crate) fn publish_all(
        &mut self,
        name: &str,
        batch: &Batch<'_>,
        shared: Option<&Bytes>,
        audience: Audience<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), TooManyAccounts> {
        let slot = self.join(name)?;
        self.lend_cache(slot);
        let Some(Some(seat)) = self.seats.get(usize::from(slot) - 1) else { return Ok(()) };
        let mut prefetched = PrefetchedBatch::new();
        if !batch.is_one_run() {
            let subjects = batch.runs().map(|run| run[0].subject);
            prefetched = self.publisher.prefetch(&seat.account, subjects);
        }
        let mut bytes = 0;
        for (number, messages) in batch.runs().enumerate() {
            let prefetched = prefetched.get(number).copied();
            let subject = messages[0].subject;
            let run = Run { shown: None, subject, messages, shared, parsed: None, prefetched };
            bytes += self.publisher.relay(&seat.account, &self.endpoint, &run, audience, scratch);
        }
        seat.membership.note_in(batch.messages().len() as u64, bytes as u64);
        self.bound_caches(slot);
        Ok(())
    }

    /// Delivers a message of the endpoint with its trace, if its headers ask for one. Returns false for any other message,
    /// and if the account is unknown.
    pub(crate) fn publish_if_traced(
        &mut self,
        name: &str,
        run: &Run<'_>,
        audience: Audience<'_>,
        by_account: bool,
        scratch: &mut Scratch,
    ) -> bool {
        let Some(message) = run.messages.first() else { return false };
        if !is_mentioned(message.headers(), by_account) {
            return false;
        }
        let Ok(slot) = self.join(name) else { return false };
        let Some(Some(seat)) = self.seats.get(usize::from(slot) - 1) else { return false };
        let of = (&seat.account, &*self.endpoint);
        match decide_for_peer(&self.shared, (of.0, of.1), message, by_account) {
            Traced::By(trace) => {
                let publisher = &mut self.publisher;
                publisher.relay_traced(&self.shared, of, run, audience, trace, scratch);
                let bytes = message.body.len() as u64;
                seat.membership.note_in(1, bytes);
                true
            }
            Traced::Dropped => true,
            // No other server gets it from this one.
            Traced::Not | Traced::Disabled(_) | Traced::Denied(_) => false,
        }
    }

    /// Clears the caches of all accounts, because nothing was published for long.
    pub(crate) fn forget(&mut self) {
        self.publisher.forget();
        self.seats.iter_mut().flatten().for_each(|seat| {
            (seat.cache, seat.cached_bytes) = (None, 0);
        });
        (self.current, self.cached_bytes) = (0, 0);
    }

    fn seat(&self, slot: u16) -> Option<&Seat> {
        self.seats.get(usize::from(slot).checked_sub(1)?)?.as_ref()
    }

    fn seat_mut(&mut self, slot: u16) -> Option<&mut Seat> {
        self.seats.get_mut(usize::from(slot).checked_sub(1)?)?.as_mut()
    }

    /// Gives the publisher the cache of that seat.
    fn lend_cache(&mut self, slot: u16) {
        if self.current == slot {
            return;
        }
        let before = self.publisher.take_cache();
        if let Some(seat) = self.seat_mut(self.current) {
            seat.cache = before;
        }
        self.current = slot;
        let seed = self.random.next_u64();
        let Some(Some(seat)) = self.seats.get_mut(usize::from(slot) - 1) else { return };
        let cache = seat.cache.take().unwrap_or_else(|| {
            let counts = seat.membership.counted_look_ups(&self.endpoint);
            Box::new(MatchCache::new(seat.account.interest.hasher(), seed, counts))
        });
        self.publisher.set_cache(cache);
    }

    /// Drops caches of other seats, one after the other, while all together take too much memory.
    fn bound_caches(&mut self, slot: u16) {
        let bytes = self.publisher.cached_bytes();
        let Some(seat) = self.seat_mut(slot) else { return };
        let before = std::mem::replace(&mut seat.cached_bytes, bytes);
        self.cached_bytes = self.cached_bytes + bytes - before;
        let mut left = self.seats.len();
        while self.cached_bytes > self.max_cached_bytes && left > 0 {
            left -= 1;
            self.sweep = (self.sweep + 1) % self.seats.len();
            let swept = self.sweep as u16 + 1;
            if swept != slot {
                self.forget_cache(swept);
            }
        }
    }

    fn forget_cache(&mut self, slot: u16) {
        if self.current == slot {
            self.publisher.forget();
            self.current = 0;
        }
        let Some(seat) = self.seat_mut(slot) else { return };
        seat.cache = None;
        let bytes = std::mem::take(&mut seat.cached_bytes);
        self.cached_bytes -= bytes;
    }
}

/// Ends all remaining subscriptions at once.
impl Drop for Accounts {
    fn drop(&mut self) {
        self.leave_all();
        while self.step() {}
    }
}

#[cfg(test)]
mod tests;
