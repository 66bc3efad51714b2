//! The membership of an endpoint in an account.
//!
//! A client has one account, and its membership is stored in the endpoint. A connection of another server
//! carries several accounts: their memberships are stored in a list beside it, and each of its subscriptions
//! holds the slot of its own. A subscription thus leads to the account whose interest contains it, independently
//! of the account of a message.

use crate::endpoint::{Endpoint, Kind, Sids, Subscription};
use crate::interest::LookUps;
use crate::limits::SESSION_ACCOUNTS;
use crate::stats::{InterestStats, Traffic};
use crate::sync::{Arc, AtomicU64, Ordering, RwLock};

/// The part of an account that an endpoint needs.
pub(crate) trait SubjectSpace: Send + Sync {
    fn name(&self) -> &Arc<str>;

    /// Removes subscriptions from the account's interest.
    fn remove(&self, subscriptions: &[Arc<Subscription>]);

    /// Records that an endpoint of that kind, which had no other account, has left.
    fn leave(&self, kind: Kind);
}

/// The membership of an endpoint in one account, from authentication until it leaves.
pub(crate) struct AccountMembership {
    space: Arc<dyn SubjectSpace>,
    share: Share,
    /// The number of its departure, counted from 1; 0 for a current member. Totals use it to count each
    /// member once.
    departure: AtomicU64,
}

/// The part of an endpoint's counters that belongs to the account.
enum Share {
    /// All of them since the membership began.
    Since { before: Traffic, before_look_ups: InterestStats },
    /// Those of one of several accounts.
    Own(Box<OwnShare>),
}

/// Counters and subscriptions in one of several accounts. Messages from the endpoint are counted by its
/// session, messages to it by the publishers.
struct OwnShare {
    sids: Sids,
    in_messages: AtomicU64,
    in_bytes: AtomicU64,
    out_messages: AtomicU64,
    out_bytes: AtomicU64,
    look_ups: Arc<LookUps>,
}

impl AccountMembership {
    /// Creates the membership of an endpoint that has one account.
    pub(crate) fn begin(space: Arc<dyn SubjectSpace>, endpoint: &Endpoint) -> Self {
        let (before, before_look_ups) = (endpoint.traffic(), endpoint.look_ups());
        let share = Share::Since { before, before_look_ups };
        Self { space, share, departure: AtomicU64::new(0) }
    }

    /// Creates the membership of an endpoint in one of several accounts. `seed`: for the table of subscriptions.
    pub(crate) fn one_of_several(space: Arc<dyn SubjectSpace>, seed: u64) -> Self {
        let share = OwnShare {
            sids: Sids::new(seed),
            in_messages: AtomicU64::new(0),
            in_bytes: AtomicU64::new(0),
            out_messages: AtomicU64::new(0),
            out_bytes: AtomicU64::new(0),
            look_ups: Arc::default(),
        };
        Self { space, share: Share::Own(Box::new(share)), departure: AtomicU64::new(0) }
    }

    /// Returns the account's name.
    pub(crate) fn account(&self) -> &Arc<str> {
        self.space.name()
    }

    /// Returns true if it is a membership in that account.
    pub(crate) fn is_in<T: SubjectSpace + 'static>(&self, account: &Arc<T>) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.space), Arc::as_ptr(account))
    }

    /// Removes subscriptions from the account's interest.
    pub(crate) fn remove(&self, subscriptions: &[Arc<Subscription>]) {
        self.space.remove(subscriptions);
    }

    /// Returns the table of the endpoint's subscriptions in the account.
    pub(crate) fn sids<'a>(&'a self, endpoint: &'a Endpoint) -> &'a Sids {
        match &self.share {
            Share::Since { .. } => &endpoint.sids,
            Share::Own(share) => &share.sids,
        }
    }

    /// Counts messages from the endpoint, unless the endpoint's own counters suffice.
    pub(crate) fn note_in(&self, messages: u64, bytes: u64) {
        if let Share::Own(share) = &self.share {
            share.in_messages.fetch_add(messages, Ordering::Relaxed);
            share.in_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Counts messages to the endpoint, unless the endpoint's own counters suffice.
    pub(crate) fn note_out(&self, messages: u64, bytes: u64) {
        if let Share::Own(share) = &self.share {
            share.out_messages.fetch_add(messages, Ordering::Relaxed);
            share.out_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Returns the traffic since the membership began.
    pub(crate) fn traffic(&self, endpoint: &Endpoint) -> Traffic {
        match &self.share {
            Share::Since { before, .. } => endpoint.traffic().since(*before),
            Share::Own(share) => Traffic {
                in_messages: share.in_messages.load(Ordering::Relaxed),
                in_bytes: share.in_bytes.load(Ordering::Relaxed),
                out_messages: share.out_messages.load(Ordering::Relaxed),
                out_bytes: share.out_bytes.load(Ordering::Relaxed),
            },
        }
    }

    /// Returns the counters of the match cache since the membership began.
    pub(crate) fn look_ups(&self, endpoint: &Endpoint) -> InterestStats {
        match &self.share {
            Share::Since { before_look_ups: before, .. } => {
                let now = endpoint.look_ups();
                InterestStats {
                    look_ups: now.look_ups.saturating_sub(before.look_ups),
                    cache_hits: now.cache_hits.saturating_sub(before.cache_hits),
                    ..now
                }
            }
            Share::Own(share) => share.look_ups.stats(),
        }
    }

    /// Returns the counters for the match cache of a separate account.
    pub(crate) fn counted_look_ups(&self, endpoint: &Endpoint) -> Arc<LookUps> {
        match &self.share {
            Share::Since { .. } => Arc::clone(endpoint.counted_look_ups.get_or_init(Arc::default)),
            Share::Own(share) => Arc::clone(&share.look_ups),
        }
    }

    pub(crate) fn end(&self, departure: u64) {
        self.departure.store(departure, Ordering::Release);
    }

    /// Makes room in the account for another endpoint of that kind.
    pub(crate) fn leave(&self, kind: Kind) {
        if let Share::Since { .. } = self.share {
            self.space.leave(kind);
        }
    }

    /// Returns true if it is among the first `departures`.
    pub(crate) fn had_ended(&self, departures: u64) -> bool {
        let departure = self.departure.load(Ordering::Acquire);
        (1..=departures).contains(&departure)
    }
}

/// The memberships of an endpoint in several accounts, by slot. Slots count from 1: 0 is the membership of
/// a client.
#[derive(Default)]
pub(super) struct Memberships {
    state: RwLock<Slots>,
}

#[derive(Default)]
struct Slots {
    list: Vec<Option<Arc<AccountMembership>>>,
    free: Vec<u16>,
}

impl Slots {
    fn place(&mut self, slot: u16) -> Option<&mut Option<Arc<AccountMembership>>> {
        self.list.get_mut(usize::from(slot).checked_sub(1)?)
    }
}

impl Memberships {
    /// Puts it into a free slot. Returns `None` if the endpoint has [`SESSION_ACCOUNTS`] already.
    pub(super) fn add(&self, membership: Arc<AccountMembership>) -> Option<u16> {
        let mut state = self.state.write();
        if let Some(slot) = state.free.pop() {
            *state.place(slot)? = Some(membership);
            return Some(slot);
        }
        if state.list.len() >= SESSION_ACCOUNTS {
            return None;
        }
        state.list.push(Some(membership));
        u16::try_from(state.list.len()).ok()
    }

    pub(super) fn get(&self, slot: u16) -> Option<Arc<AccountMembership>> {
        self.state.read().list.get(usize::from(slot).checked_sub(1)?)?.clone()
    }

    /// Returns the highest slot that was ever used.
    pub(super) fn last(&self) -> u16 {
        self.state.read().list.len() as u16
    }

    /// Frees a slot. No subscription may hold it any more.
    pub(super) fn remove(&self, slot: u16) -> Option<Arc<AccountMembership>> {
        let mut state = self.state.write();
        let gone = state.place(slot)?.take()?;
        state.free.push(slot);
        Some(gone)
    }

    pub(super) fn all(&self) -> Vec<Arc<AccountMembership>> {
        self.state.read().list.iter().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nowhere(Arc<str>);

    impl SubjectSpace for Nowhere {
        fn name(&self) -> &Arc<str> {
            &self.0
        }

        fn remove(&self, _: &[Arc<Subscription>]) {}

        fn leave(&self, _: Kind) {}
    }

    #[test]
    fn an_endpoint_has_a_bounded_number_of_accounts_and_slots_are_used_again() {
        let space: Arc<dyn SubjectSpace> = Arc::new(Nowhere("A".into()));
        let one = Arc::new(AccountMembership::one_of_several(space, 1));
        let memberships = Memberships::default();
        for number in 1..=SESSION_ACCOUNTS {
            assert_eq!(memberships.add(Arc::clone(&one)).map(usize::from), Some(number));
        }
        assert_eq!(memberships.add(Arc::clone(&one)), None);
        assert!(memberships.remove(7).is_some());
        assert!(memberships.remove(7).is_none());
        assert!(memberships.get(7).is_none());
        assert_eq!(memberships.add(one), Some(7));
        assert_eq!(memberships.all().len(), SESSION_ACCOUNTS);
    }
}
