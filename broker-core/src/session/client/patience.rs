//! A publisher waits for a receiver that is slower, but reads: its further input stays unread for a moment.
//!
//! Without that a client that sends as fast as it can has every receiver cut that cannot read as fast. A
//! receiver that does not read gets no patience, so that nobody is slower for one that is stalled; and
//! none that is slow holds a publisher for longer than [`PATIENCE`] for each chunk of its input. Other
//! publishers, who do not fill that receiver's queue, are not concerned.

use std::time::Instant;

use super::ClientSession;
use crate::limits::{PATIENCE, PATIENCE_LOOK};
use crate::outlet::Work;
use crate::receiver::Receiver;
use crate::sync::Arc;

/// For whom a session waits.
pub(super) struct Patience {
    receiver: Arc<Receiver>,
    /// Its place among those who wait.
    ticket: Option<u64>,
    /// What the receiver had read in all at the last look; none before the first.
    seen_bytes: Option<u64>,
    /// When it must have read more.
    look_at: Instant,
    ends: Instant,
}

impl ClientSession {
    /// Begins to wait for the receiver whose queue is fullest of those that were delivered to.
    pub(super) fn begin_patience(&mut self, now: Instant, work: &mut Work) {
        let Some(receiver) = work.take_crowded() else { return };
        // A client that is to read what it sends must be able to send it.
        if receiver.id == self.receiver.id {
            return;
        }
        self.patience = Some(Box::new(Patience {
            receiver,
            ticket: None,
            seen_bytes: None,
            look_at: now + PATIENCE_LOOK,
            ends: now + PATIENCE,
        }));
    }

    /// Must input stay unread for now? Then the link is woken as soon as that may have changed, and
    /// [`Self::next_timeout`] is when it changes at the latest.
    #[inline]
    pub fn is_patient(&mut self) -> bool {
        self.patience.is_some() && self.is_still_patient()
    }

    #[cold]
    fn is_still_patient(&mut self) -> bool {
        let Some(patience) = &mut self.patience else { return false };
        match patience.receiver.outlet.look_ahead(&self.receiver, patience.ticket) {
            None => self.patience = None,
            Some(ahead) => {
                patience.ticket = Some(ahead.ticket);
                patience.seen_bytes.get_or_insert(ahead.out_bytes);
            }
        }
        self.patience.is_some()
    }

    /// Goes on waiting only for a receiver that has read something meanwhile.
    pub(super) fn check_patience(&mut self, now: Instant) {
        let Some(patience) = &mut self.patience else { return };
        if now < patience.look_at {
            return;
        }
        let outlet = &patience.receiver.outlet;
        let ahead = outlet.look_ahead(&self.receiver, patience.ticket);
        let is_over = now >= patience.ends;
        match (ahead, patience.seen_bytes) {
            (Some(ahead), Some(seen)) if ahead.out_bytes - seen < ahead.step_bytes => {
                outlet.end_patience();
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
