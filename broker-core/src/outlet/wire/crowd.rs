//! Publishers that wait for a receiver that is slower than they are, but reads.
//!
//! A queue that is [crowded](CROWDED_SHARE) asks the publishers that fill it for patience, if its receiver
//! has been seen to read since the queue first grew long: what its socket swallows before that says
//! nothing of the client. Which publisher waits, and for how long, is decided by the publisher's session
//! ([`crate::session::client`]); the queue only tells how far its receiver is and calls those who wait,
//! in the order in which they came and a few at a time, so that they do not fill it at one blow.

use std::collections::VecDeque;

use super::{State, WireOutlet};
use crate::limits::{CROWDED_SHARE, PATIENCE_STEP_SHARE};
use crate::outlet::Ahead;
use crate::receiver::Receiver;
use crate::sync::{Arc, Weak};

/// How many publishers are called each time that some of the queue has left.
const CALLED: usize = 4;

/// See the module.
#[derive(Default)]
pub(super) struct Crowd {
    /// How many bytes had left when the receiver last had to show that it reads.
    proof_from: u64,
    /// Those who wait. Their tickets are in ascending order.
    waiting: VecDeque<(u64, Weak<Receiver>)>,
    next_ticket: u64,
}

/// From how many bytes on a queue with this bound is watched, and is crowded; at how many it is no more.
pub(super) fn levels(max_pending_bytes: usize) -> (usize, usize, usize) {
    let crowded = max_pending_bytes / CROWDED_SHARE;
    (crowded / 2, crowded, crowded - crowded / 8)
}

impl WireOutlet {
    /// Is the queue, which has grown long, crowded by a receiver that reads?
    #[cold]
    pub(super) fn asks_patience(&self, state: &mut State) -> bool {
        let out_bytes = state.out_bytes;
        let crowd = state
            .crowd
            .get_or_insert_with(|| Box::new(Crowd { proof_from: out_bytes, ..Crowd::default() }));
        let (_, crowded, _) = levels(self.max_pending_bytes);
        state.pending_bytes >= crowded && out_bytes - crowd.proof_from >= self.step_bytes()
    }

    /// How much a receiver must have read to have made progress.
    fn step_bytes(&self) -> u64 {
        (self.max_pending_bytes / PATIENCE_STEP_SHARE).max(1) as u64
    }

    /// See [`Outlet::look_ahead`](crate::outlet::Outlet::look_ahead).
    pub(super) fn look_ahead_for(
        &self,
        publisher: &Arc<Receiver>,
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

    /// The receiver must show anew that it reads; until then nobody waits for it.
    pub(super) fn end_patience_here(&self) {
        let mut state = self.state.lock();
        let out_bytes = state.out_bytes;
        if let Some(crowd) = &mut state.crowd {
            crowd.proof_from = out_bytes;
        }
        let called = state.call_all();
        drop(state);
        wake(called);
    }
}

impl State {
    /// Who is to be woken because some of the queue has left.
    pub(super) fn call_some(&mut self, max_pending_bytes: usize) -> Vec<Weak<Receiver>> {
        let (_, _, relieved) = levels(max_pending_bytes);
        let (pending_bytes, Some(crowd)) = (self.pending_bytes, &mut self.crowd) else {
            return Vec::new();
        };
        if crowd.waiting.is_empty() || pending_bytes > relieved {
            return Vec::new();
        }
        // Nothing that leaves would call the others.
        let count = if pending_bytes == 0 { usize::MAX } else { CALLED };
        let count = crowd.waiting.len().min(count);
        crowd.waiting.drain(..count).map(|(_, publisher)| publisher).collect()
    }

    /// Who is to be woken because waiting is of no use any more.
    pub(super) fn call_all(&mut self) -> Vec<Weak<Receiver>> {
        let waiting = self.crowd.as_mut().map(|crowd| std::mem::take(&mut crowd.waiting));
        waiting.into_iter().flatten().map(|(_, publisher)| publisher).collect()
    }
}

/// Wakes the connections of publishers. No queue may be locked.
pub(super) fn wake(publishers: Vec<Weak<Receiver>>) {
    for publisher in publishers.iter().filter_map(Weak::upgrade) {
        publisher.outlet.wake();
    }
}
