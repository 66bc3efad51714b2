//! Methods for test kits (cargo feature `testing`).

use bytes::Bytes;

use super::Broker;
use crate::endpoint::{ByteQueue, ClientEncoder, Scratch, WriteHandle};
use crate::interest::{Interested, Matches};
use crate::probe::{Held, Probe};
use crate::random::Random;
use crate::routing::{deliver_held, flush_touched};
use crate::subject::SubjectFilter;
use crate::sync::Arc;

impl Broker {
    /// Installs a probe for the lifetime of the broker. Returns false if there is one already.
    pub fn set_probe(&self, probe: impl Probe) -> bool {
        self.shared().seam.0.set(Box::new(probe)).is_ok()
    }

    /// Delivers a message that a probe has held to the subscriptions that match now, without the probe.
    pub fn release(&self, held: &Held) {
        let shared = self.shared();
        let account = shared.account(&held.account);
        let mut scratch = Scratch::new();
        scratch.start_by(&shared.clock);
        deliver_held(held, &account, &mut Random::new(shared.next_seed()), &mut scratch);
        flush_touched(&mut scratch);
        shared.guard_total(&shared.options.load().limits);
    }

    /// Returns true if a subscription of any account covers `filter`.
    pub fn is_subscribed(&self, filter: &SubjectFilter) -> bool {
        self.shared().all_accounts().iter().any(|account| {
            // A wildcard in `filter` is looked up as a token of that name; comparing the filters then tells
            // whether all of it is covered.
            let mut matches = Matches::default();
            account.interest.collect(filter.as_bytes(), &mut matches);
            let all = matches.plain.iter().chain(matches.groups().iter().flatten());
            all.filter_map(|one| SubjectFilter::parse(one.filter()).ok())
                .any(|one| one.covers(filter))
        })
    }

    /// Creates a byte queue for a session that a test creates itself.
    pub fn byte_queue(&self, write_handle: Box<dyn WriteHandle>) -> Arc<ByteQueue> {
        let shared = self.shared();
        let limits = &shared.options.load().limits;
        let (id, _) = shared.next_session();
        Arc::new(ByteQueue::new(
            ClientEncoder::default(),
            id,
            write_handle,
            limits.max_pending_bytes,
            limits.write_deadline,
            Arc::clone(&shared.queues),
        ))
    }

    /// Appends bytes to such a queue.
    pub fn append(queue: &ByteQueue, bytes: &[u8], scratch: &mut Scratch) {
        queue.send(scratch, |out| out.extend_from_slice(bytes));
    }

    /// Sends the bytes of whole lines to a connection, outside of the protocol's order. Returns false if there
    /// is no connection with this id.
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
