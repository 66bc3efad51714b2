//! Waiting of a publisher for a receiver that is slower, but reads: its further input stays unread for a moment.
//!
//! Without it, a client that sends at full speed would turn every receiver that reads more slowly into a slow
//! consumer. A publisher does not wait for a receiver that does not read, so that a stalled receiver slows down no
//! publisher; and a slow one holds a publisher for no longer than [`PATIENCE`] for each chunk of its input. Publishers
//! that do not fill that receiver's queue are not affected.

use std::time::Instant;

use super::ClientSession;
use crate::endpoint::{Endpoint, Scratch};
use crate::limits::{PATIENCE, PATIENCE_LOOK};
use crate::sync::Arc;

/// The receiver that a session waits for.
pub(super) struct Patience {
    endpoint: Arc<Endpoint>,
    /// Its place in the queue of waiting publishers.
    ticket: Option<u64>,
    /// The bytes that the receiver had read at the last check; `None` before the first.
    seen_bytes: Option<u64>,
    /// The time by which it must have read more.
    look_at: Instant,
    ends: Instant,
}

impl ClientSession {
    /// Begins to wait for the fullest queue of the receivers that the last call has delivered to.
    pub(super) fn begin_patience(&mut self, now: Instant, scratch: &mut Scratch) {
        let Some(endpoint) = scratch.take_crowded() else { return };
        // A client that receives its own messages must be able to send them.
        if endpoint.id == self.endpoint.id {
            return;
        }
        self.patience = Some(Box::new(Patience {
            endpoint,
            ticket: None,
            seen_bytes: None,
            look_at: now + PATIENCE_LOOK,
            ends: now + PATIENCE,
        }));
    }

    /// Returns true if input must stay unread for now. Then the write handle is woken as soon as that may have
    /// changed, and it changes at [`Self::next_timeout`] at the latest.
    #[inline]
    pub fn is_patient(&mut self) -> bool {
        self.patience.is_some() && self.is_still_patient()
    }

    #[cold]
    fn is_still_patient(&mut self) -> bool {
        let Some(patience) = &mut self.patience else { return false };
        match patience.endpoint.destination.look_ahead(&self.endpoint, patience.ticket) {
            None => self.patience = None,
            Some(ahead) => {
                patience.ticket = Some(ahead.ticket);
                patience.seen_bytes.get_or_insert(ahead.out_bytes);
            }
        }
        self.patience.is_some()
    }

    /// Continues to wait only if the receiver has read something meanwhile.
    pub(super) fn check_patience(&mut self, now: Instant) {
        let Some(patience) = &mut self.patience else { return };
        if now < patience.look_at {
            return;
        }
        let byte_queue = &patience.endpoint.destination;
        let ahead = byte_queue.look_ahead(&self.endpoint, patience.ticket);
        let is_over = now >= patience.ends;
        match (ahead, patience.seen_bytes) {
            (Some(ahead), Some(seen)) if ahead.out_bytes - seen < ahead.step_bytes => {
                byte_queue.end_patience();
                self.patience = None;
            }
            (Some(ahead), _) if !is_over => {
                patience.ticket = Some(ahead.ticket);
                patience.seen_bytes = Some(ahead.out_bytes);
                patience.look_at = (now + PATIENCE_LOOK).min(patience.ends);
            }
            _ => self.patience = None,
        }
    }

    pub(super) fn patience_timeout(&self) -> Option<Instant> {
        self.patience.as_ref().map(|patience| patience.look_at)
    }
}
