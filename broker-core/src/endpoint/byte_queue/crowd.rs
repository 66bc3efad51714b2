//! Publishers that wait for a receiver that reads, but more slowly than they publish.
//!
//! A queue that is [crowded](CROWDED_SHARE) asks the publishers that fill it to wait, if its receiver has read
//! since the queue first grew long: bytes that its socket takes before that do not prove that the client reads. The
//! session of a publisher ([`crate::session::client`]) decides whether and how long it waits; the queue only reports
//! the progress of its receiver and wakes waiting publishers, in order of arrival and a few at a time, so that they
//! do not fill it all at once.

use std::collections::VecDeque;

use super::{ByteQueue, Encoder, State};
use crate::endpoint::{Ahead, Endpoint};
use crate::limits::{CROWDED_SHARE, PATIENCE_STEP_SHARE};
use crate::sync::{Arc, Weak};

/// The number of publishers that are woken each time a part of the queue has been written.
const CALLED: usize = 4;

/// The waiting publishers of one queue and the progress of its receiver.
#[derive(Default)]
pub(super) struct Crowd {
    /// The count of written bytes from which the receiver last had to prove that it reads.
    proof_from: u64,
    /// The waiting publishers. Their tickets are in ascending order.
    waiting: VecDeque<(u64, Weak<Endpoint>)>,
    next_ticket: u64,
}

/// Returns three levels of a queue with this bound, in bytes: watched, crowded, and no longer crowded.
pub(super) fn levels(max_pending_bytes: usize) -> (usize, usize, usize) {
    let crowded = max_pending_bytes / CROWDED_SHARE;
    (crowded / 2, crowded, crowded - crowded / 8)
}

impl<E: Encoder> ByteQueue<E> {
    /// Returns true if the queue, which has grown long, is crowded and its receiver reads.
    #[cold]
    pub(super) fn asks_patience(&self, state: &mut State) -> bool {
        let out_bytes = state.out_bytes;
        let crowd = state
            .crowd
            .get_or_insert_with(|| Box::new(Crowd { proof_from: out_bytes, ..Crowd::default() }));
        let (_, crowded, _) = levels(self.max_pending_bytes);
        state.pending_bytes >= crowded && out_bytes - crowd.proof_from >= self.step_bytes()
    }

    /// Returns the number of bytes that count as progress of a receiver.
    fn step_bytes(&self) -> u64 {
        (self.max_pending_bytes / PATIENCE_STEP_SHARE).max(1) as u64
    }

    /// See [`Destination::look_ahead`](crate::endpoint::Destination::look_ahead).
    pub(super) fn look_ahead_for(
        &self,
        publisher: &Arc<Endpoint>,
        ticket: Option<u64>,
    ) -> Option<Ahead> {
        let mut state = self.state.lock();
        let (_, _, relieved) = levels(self.max_pending_bytes);
        if !state.is_open() || state.pending_bytes <= relieved {
            return None;
        }
        let out_bytes = state.out_bytes;
        let crowd = state.crowd.as_mut()?;
        if out_bytes - crowd.proof_from < self.step_bytes() {
            return None;
        }
        let is_waiting =
            |ticket: &u64| crowd.waiting.front().is_some_and(|(first, _)| first <= ticket);
        let ticket = ticket.filter(is_waiting).unwrap_or_else(|| {
            crowd.next_ticket += 1;
            crowd.waiting.push_back((crowd.next_ticket, Arc::downgrade(publisher)));
            crowd.next_ticket
        });
        Some(Ahead { ticket, out_bytes, step_bytes: self.step_bytes() })
    }

    /// Requires the receiver to prove again that it reads; until then no publisher waits for it.
    pub(super) fn end_patience_here(&self) {
        let mut state = self.state.lock();
        let out_bytes = state.out_bytes;
        if let Some(crowd) = &mut state.crowd {
            crowd.proof_from = out_bytes;
        }
        let called = state.call_all();
        drop(state);
        wake(&called);
    }
}

impl State {
    /// Takes the publishers to be woken because a part of the queue has been written.
    pub(super) fn call_some(&mut self, max_pending_bytes: usize) -> Vec<Weak<Endpoint>> {
        let (_, _, relieved) = levels(max_pending_bytes);
        let (pending_bytes, Some(crowd)) = (self.pending_bytes, &mut self.crowd) else {
            return Vec::new();
        };
        if crowd.waiting.is_empty() || pending_bytes > relieved {
            return Vec::new();
        }
        // An empty queue wakes all: no later write would wake the others.
        let count = if pending_bytes == 0 { usize::MAX } else { CALLED };
        let count = crowd.waiting.len().min(count);
        crowd.waiting.drain(..count).map(|(_, publisher)| publisher).collect()
    }

    /// Takes all publishers, because waiting has no further use.
    pub(super) fn call_all(&mut self) -> Vec<Weak<Endpoint>> {
        let waiting = self.crowd.as_mut().map(|crowd| std::mem::take(&mut crowd.waiting));
        waiting.into_iter().flatten().map(|(_, publisher)| publisher).collect()
    }
}

/// Wakes the connections of publishers. No queue may be locked.
#[inline]
pub(super) fn wake(publishers: &[Weak<Endpoint>]) {
    for publisher in publishers.iter().filter_map(Weak::upgrade) {
        publisher.destination.wake();
    }
}
