//! The open requests of one account, by token and by age.
//!
//! Each request that is passed on is added here and, usually soon, removed, so that neither may cost much: the table
//! contains only the numbers of slots, the slots are reused, and the order of age is a list through them.

use std::hash::BuildHasher;
use std::time::Instant;

use foldhash::fast::FixedState;

use super::{Response, Token};
use crate::table::Table;

/// The number of no slot.
const NONE: u32 = u32::MAX;

/// The number of slots whose memory is kept when no request is open.
const KEPT_SLOTS: usize = 1024;

/// The open requests.
pub(super) struct Open {
    /// The numbers of slots, by token.
    places: Table<u32>,
    hasher: FixedState,
    slots: Vec<Slot>,
    /// The first free slot; each contains the number of the next one.
    free: u32,
    oldest: u32,
    newest: u32,
    /// The slot that is checked next for having timed out.
    next_checked: u32,
}

struct Slot {
    token: Token,
    /// `None` if the slot is free.
    response: Option<Response>,
    /// It has timed out once this has passed. `None` if it never does.
    due: Option<Instant>,
    older: u32,
    newer: u32,
}

impl Slot {
    fn is_over(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| now > due)
    }
}

impl Default for Open {
    fn default() -> Self {
        Self {
            places: Table::default(),
            hasher: FixedState::default(),
            slots: Vec::new(),
            free: NONE,
            oldest: NONE,
            newest: NONE,
            next_checked: NONE,
        }
    }
}

impl Open {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn contains(&self, token: Token) -> bool {
        self.place(token).is_some()
    }

    pub(super) fn get(&self, token: Token) -> Option<&Response> {
        self.slots[self.place(token)? as usize].response.as_ref()
    }

    /// Returns the requests and their tokens, in any order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Token, &Response)> {
        self.slots.iter().filter_map(|slot| Some((slot.token, slot.response.as_ref()?)))
    }

    /// Adds a request, whose token must be new.
    pub(super) fn insert(&mut self, token: Token, response: Response, due: Option<Instant>) {
        let older = self.newest;
        let slot = Slot { token, response: Some(response), due, older, newer: NONE };
        let at = match self.slots.get_mut(self.free as usize) {
            Some(free) => {
                self.newest = std::mem::replace(&mut self.free, free.newer);
                *free = slot;
                self.newest
            }
            None => {
                self.newest = self.slots.len() as u32;
                self.slots.push(slot);
                self.newest
            }
        };
        match self.slots.get_mut(older as usize) {
            Some(older) => older.newer = at,
            None => self.oldest = at,
        }
        let (slots, hasher) = (&self.slots, &self.hasher);
        let hash_of = |at: &u32| hasher.hash_one(slots[*at as usize].token);
        self.places.insert(hasher.hash_one(token), at, hash_of);
    }

    /// Removes a request.
    pub(super) fn remove(&mut self, token: Token) -> Option<Response> {
        self.remove_at(self.place(token)?)
    }

    /// Removes the oldest request.
    pub(super) fn remove_oldest(&mut self) -> Option<(Token, Response)> {
        let token = self.slots.get(self.oldest as usize)?.token;
        Some((token, self.remove_at(self.oldest)?))
    }

    /// Returns a request that is answered, unless it has timed out, and removes it if it gets no further response.
    pub(super) fn answer(&mut self, token: Token, now: Instant) -> Option<Response> {
        let at = self.place(token)?;
        let slot = &self.slots[at as usize];
        let response = slot.response.as_ref().filter(|_| !slot.is_over(now))?;
        if response.is_single() { self.remove_at(at) } else { Some(response.clone()) }
    }

    /// Sets when a request times out.
    pub(super) fn set_due(&mut self, token: Token, due: impl FnOnce(&Response) -> Option<Instant>) {
        let Some(at) = self.place(token) else { return };
        let slot = &mut self.slots[at as usize];
        slot.due = slot.response.as_ref().and_then(due);
    }

    /// Begins to check again with the oldest request.
    pub(super) fn check_from_oldest(&mut self) {
        self.next_checked = NONE;
    }

    /// Checks the next request, from older to newer ones and from the oldest again, and removes it if it has timed
    /// out.
    #[inline]
    pub(super) fn check_next(&mut self, now: Instant) -> Option<(Token, Response)> {
        let at = if self.next_checked == NONE { self.oldest } else { self.next_checked };
        let slot = self.slots.get(at as usize)?;
        self.next_checked = slot.newer;
        let (token, is_over) = (slot.token, slot.is_over(now));
        if is_over { Some((token, self.remove_at(at)?)) } else { None }
    }

    #[inline]
    fn place(&self, token: Token) -> Option<u32> {
        let slots = &self.slots;
        let is_it = |at: &u32| slots[*at as usize].token == token;
        self.places.find(self.hasher.hash_one(token), is_it).copied()
    }

    fn remove_at(&mut self, at: u32) -> Option<Response> {
        let slot = self.slots.get_mut(at as usize)?;
        let response = slot.response.take()?;
        let (token, older, newer) = (slot.token, slot.older, slot.newer);
        slot.newer = std::mem::replace(&mut self.free, at);
        match self.slots.get_mut(older as usize) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(newer as usize) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        if self.next_checked == at {
            self.next_checked = newer;
        }
        let (slots, hasher) = (&self.slots, &self.hasher);
        let hash_of = |at: &u32| hasher.hash_one(slots[*at as usize].token);
        self.places.remove(hasher.hash_one(token), |other| *other == at, hash_of);
        if self.places.is_empty() && self.slots.len() > KEPT_SLOTS {
            (self.slots, self.free) = (Vec::new(), NONE);
        }
        Some(response)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::{Asked, To};
    use super::*;
    use crate::account::share::service::ServiceExport;
    use crate::options::ResponseType;
    use crate::subject::SubjectFilter;
    use crate::sync::{Arc, Weak};

    fn response(number: u64, response_type: ResponseType) -> Response {
        let export = ServiceExport {
            subject: SubjectFilter::parse("a").unwrap(),
            response_type,
            threshold: Duration::from_secs(1),
            latency: None,
            allow_trace: false,
        };
        let (requester, export) = (Weak::new(), Arc::new(export));
        let asked = Asked { requester, requester_name: "A".into(), export, share: false };
        Response {
            to: To::from_slice(&number.to_be_bytes()),
            asked: Arc::new(asked),
            measured: None,
        }
    }

    fn number(response: &Response) -> u64 {
        u64::from_be_bytes(response.to[..].try_into().unwrap())
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// It times out after so many seconds.
        Insert {
            is_single: bool,
            after: Option<u64>,
        },
        Answer(prop::sample::Index),
        Remove(prop::sample::Index),
        RemoveOldest,
        Renew(prop::sample::Index),
        CheckAll,
        CheckNext,
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let index = any::<prop::sample::Index>;
        prop_oneof![
            6 => (any::<bool>(), proptest::option::of(0..9u64))
                .prop_map(|(is_single, after)| Step::Insert { is_single, after }),
            3 => index().prop_map(Step::Answer),
            1 => index().prop_map(Step::Remove),
            1 => Just(Step::RemoveOldest),
            1 => index().prop_map(Step::Renew),
            1 => Just(Step::CheckAll),
            3 => Just(Step::CheckNext),
            2 => (0..4u64).prop_map(Step::Pass),
        ]
    }

    proptest! {
        /// The model is a list in the order of age.
        #[test]
        fn requests_agree_with_a_list(steps in proptest::collection::vec(step(), 1..120)) {
            let mut now = Instant::now();
            let mut open = Open::default();
            let mut list: VecDeque<(u64, bool, Option<Instant>)> = VecDeque::new();
            let mut gone = Vec::new();
            for (next, step) in (1..).zip(steps) {
                let place = |index: prop::sample::Index| {
                    (!list.is_empty()).then(|| index.index(list.len()))
                };
                match step {
                    Step::Insert { is_single, after } => {
                        let kind = if is_single { ResponseType::Singleton } else { ResponseType::Streamed };
                        let due = after.map(|after| now + Duration::from_secs(after));
                        open.insert(Token(next), response(next, kind), due);
                        list.push_back((next, is_single, due));
                    }
                    Step::Answer(index) => {
                        let Some(at) = place(index) else { continue };
                        let (one, is_single, due) = list[at];
                        let is_over = due.is_some_and(|due| now > due);
                        let answered = open.answer(Token(one), now);
                        prop_assert_eq!(answered.as_ref().map(number), (!is_over).then_some(one));
                        if is_single && !is_over {
                            list.remove(at);
                            gone.push(one);
                        }
                    }
                    Step::Remove(index) => {
                        let Some(at) = place(index) else { continue };
                        let (one, ..) = list.remove(at).unwrap();
                        prop_assert_eq!(open.remove(Token(one)).as_ref().map(number), Some(one));
                        gone.push(one);
                    }
                    Step::RemoveOldest => {
                        let oldest = list.pop_front().map(|(one, ..)| one);
                        let removed = open.remove_oldest();
                        prop_assert_eq!(removed.map(|(token, one)| (token.0, number(&one))), oldest.map(|one| (one, one)));
                        gone.extend(oldest);
                    }
                    Step::Renew(index) => {
                        let Some(at) = place(index) else { continue };
                        open.set_due(Token(list[at].0), |_| Some(now));
                        list[at].2 = Some(now);
                    }
                    Step::CheckAll => {
                        open.check_from_oldest();
                        let is_over = |due: &Option<Instant>| due.is_some_and(|due| now > due);
                        let over: Vec<u64> =
                            list.iter().filter(|(.., due)| is_over(due)).map(|(one, ..)| *one).collect();
                        let removed: Vec<u64> = (0..list.len())
                            .filter_map(|_| open.check_next(now))
                            .map(|(token, _)| token.0)
                            .collect();
                        prop_assert_eq!(&removed, &over, "each is checked once, the oldest first");
                        list.retain(|(one, ..)| !over.contains(one));
                        gone.extend(over);
                    }
                    Step::CheckNext => {
                        if let Some((token, one)) = open.check_next(now) {
                            prop_assert_eq!(token.0, number(&one));
                            let at = list.iter().position(|(one, ..)| *one == token.0);
                            let (.., due) = list.remove(at.unwrap()).unwrap();
                            prop_assert!(due.is_some_and(|due| now > due));
                            gone.push(token.0);
                        }
                    }
                    Step::Pass(seconds) => now += Duration::from_secs(seconds),
                }
                prop_assert_eq!(open.len(), list.len());
                let mut all: Vec<u64> = open.iter().map(|(token, _)| token.0).collect();
                all.sort_unstable();
                prop_assert!(all.iter().eq(list.iter().map(|(one, ..)| one)), "the list has the order of age");
                prop_assert!(list.iter().all(|(one, ..)| open.contains(Token(*one))));
                prop_assert!(!gone.iter().any(|one| open.contains(Token(*one))));
            }
        }
    }

    #[test]
    fn the_memory_of_a_burst_is_freed_and_slots_are_reused() {
        let mut open = Open::default();
        for burst in [2 * KEPT_SLOTS as u64, 100, 100] {
            let all = 1..=burst;
            all.clone().for_each(|one| {
                open.insert(Token(one), response(one, ResponseType::Singleton), None);
            });
            assert_eq!(open.slots.len(), burst as usize);
            all.for_each(|one| assert!(open.remove(Token(one)).is_some()));
            assert_eq!(open.slots.len(), if burst == 100 { 100 } else { 0 });
        }
    }
}
