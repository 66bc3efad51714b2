//! The work of the service for a program that does it by itself, on the thread and with the clock that it chooses.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker_core::endpoint::Scratch;

use super::lock::lock;
use super::server::Server;
use super::worker::Step;

/// The steps of one turn: other tasks of the thread run between two.
const STEPS: usize = 64;

/// When the next turn of [`Work`] is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Due {
    /// At once.
    Now,
    /// When it is woken.
    WhenWoken,
    /// After that time, by the clock of the broker; earlier when it is woken.
    After(Duration),
    /// Never: the streams have ended.
    Never,
}

/// The work of streams that have no threads.
pub struct Work(Arc<Mutex<Option<Shift>>>);

pub(super) struct Shift {
    server: Arc<Server>,
    scratch: Scratch,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}

impl Work {
    /// Returns the work, and what ends it by [`end`].
    pub(super) fn new(server: &Arc<Server>) -> (Self, Arc<Mutex<Option<Shift>>>) {
        let shift = Shift { server: Arc::clone(server), scratch: Scratch::new() };
        let shift = Arc::new(Mutex::new(Some(shift)));
        (Self(Arc::clone(&shift)), shift)
    }

    /// Does what is due, for a turn. It waits for the disk as threads would.
    pub fn turn(&self) -> Due {
        let mut shift = lock(&self.0);
        let Some(Shift { server, scratch }) = &mut *shift else { return Due::Never };
        for _ in 0..STEPS {
            // Stored messages come first: requests may wait for them.
            if server.syncer.step(&server.counters, scratch) {
                continue;
            }
            let step = server.worker.step(&server.broker, scratch);
            let tell_dropped = |dropped| server.report_dropped(dropped);
            if step == Step::Done || server.requests.step(&server.broker, scratch, tell_dropped) {
                continue;
            }
            return match step {
                Step::Done => Due::Now,
                Step::Wait(Some(time)) => Due::After(time),
                Step::Wait(None) => Due::WhenWoken,
                Step::End => Due::Never,
            };
        }
        Due::Now
    }
}

/// Ends the work, after the turn that is at work.
pub(super) fn end(shift: &Mutex<Option<Shift>>) {
    let shift = lock(shift).take();
    drop(shift);
}
