//! The thread that makes changes durable: a round writes and syncs all changes since the last one.

use std::sync::{Arc, Condvar, Mutex};

use broker_core::endpoint::Scratch;

use super::counters::Counters;
use super::lock::{lock, wait};
use super::task::Task;

/// The work of the thread.
#[derive(Default)]
pub(super) struct Syncer {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<Arc<dyn Task>>,
    is_ended: bool,
}

impl Syncer {
    /// Has the changes of a unit made durable. The unit sees to it that it is not added twice.
    pub(super) fn sync_soon(&self, unit: Arc<dyn Task>) {
        let mut state = lock(&self.state);
        state.waiting.push(unit);
        let is_first = state.waiting.len() == 1;
        drop(state);
        if is_first {
            self.changed.notify_one();
        }
    }

    /// Ends the thread after the syncs that wait.
    pub(super) fn end(&self) {
        lock(&self.state).is_ended = true;
        self.changed.notify_all();
    }

    /// The thread.
    pub(super) fn serve(&self, counters: &Counters) {
        let mut scratch = Scratch::new();
        let mut round = Vec::new();
        while self.take(&mut round) {
            let jobs: Vec<_> =
                round.drain(..).filter_map(|unit| Some((unit.begin_sync()?, unit))).collect();
            for (mut job, unit) in jobs {
                job.run();
                counters.note_written(job.written());
                unit.finish_sync(job, &mut scratch);
            }
        }
    }

    /// Waits for work and takes it all. Returns false at the end.
    fn take(&self, round: &mut Vec<Arc<dyn Task>>) -> bool {
        let mut state = lock(&self.state);
        loop {
            if !state.waiting.is_empty() {
                std::mem::swap(round, &mut state.waiting);
                return true;
            }
            if state.is_ended {
                return false;
            }
            state = wait(&self.changed, state, None);
        }
    }
}
