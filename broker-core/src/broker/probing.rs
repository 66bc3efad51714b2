//! What a test kit does to a broker that it watches (cargo feature `testing`).

use bytes::Bytes;

use super::Broker;
use crate::endpoint::Scratch;
use crate::interest::{Interested, Matches};
use crate::probe::{Held, Probe};
use crate::random::Random;
use crate::routing::{deliver_held, flush_touched};
use crate::subject::SubjectFilter;

impl Broker {
    /// Has somebody watch, for as long as the broker lives. False if somebody does already.
    pub fn set_probe(&self, probe: impl Probe) -> bool {
        self.shared().seam.0.set(Box::new(probe)).is_ok()
    }

    /// Delivers a message that a probe has held, past the probe, to whoever wants it now.
    pub fn release(&self, held: &Held) {
        let shared = self.shared();
        let account = shared.account(&held.account);
        let mut scratch = Scratch::new();
        scratch.start_by(&shared.clock);
        deliver_held(held, &account, &mut Random::new(shared.next_seed()), &mut scratch);
        flush_touched(&mut scratch);
        shared.guard_total(&shared.options.load().limits);
    }

    /// Does somebody, in any account, get everything that is published to `filter`?
    pub fn is_subscribed(&self, filter: &SubjectFilter) -> bool {
        self.shared().all_accounts().iter().any(|account| {
            // Wildcards match themselves as if they were tokens; that they match more than that is seen
            // by comparing the filters.
            let mut matches = Matches::default();
            account.interest.collect(filter.as_bytes(), &mut matches);
            let all = matches.plain.iter().chain(matches.groups().iter().flatten());
            all.filter_map(|one| SubjectFilter::parse(one.filter()).ok())
                .any(|one| one.covers(filter))
        })
    }

    /// Tells a connection something beyond the protocol's turn: the bytes of whole lines. False if there
    /// is none of that number.
    pub fn tell(&self, id: u64, lines: impl Into<Bytes>) -> bool {
        let lines = lines.into();
        let Some(endpoint) = self.shared().endpoint(id) else { return false };
        let is_told = endpoint.control.leave(None, |control| control.lines.push(lines));
        if is_told {
            endpoint.destination.wake();
        }
        is_told
    }
}
