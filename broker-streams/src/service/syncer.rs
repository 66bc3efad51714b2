//! The thread that makes changes durable: a round writes and syncs all changes since the last one.

use std::sync::{Arc, Mutex};

use broker_core::endpoint::Scratch;

use super::counters::Counters;
use super::lock::lock;
use super::signal::{Signal, Wake};
use super::task::Task;

/// The work of the thread.
#[derive(Default)]
pub(super) struct Syncer {
    state: Mutex<State>,
    changed: Signal,
}

#[derive(Default)]
struct State {
    waiting: Vec<Arc<dyn Task>>,
    is_ended: bool,
    #[cfg(feature = "testing")]
    is_abandoned: bool,
}

impl Syncer {
    /// Creates a syncer: for a thread without `wake`.
    pub(super) fn new(wake: Option<Wake>) -> Self {
        Self { state: Mutex::default(), changed: Signal::new(wake) }
    }

    /// Has the changes of a unit made durable. The unit sees to it that it is not added twice.
    pub(super) fn sync_soon(&self, unit: Arc<dyn Task>) {
        let mut state = lock(&self.state);
        #[cfg(feature = "testing")]
        if state.is_abandoned {
            return;
        }
        state.waiting.push(unit);
        let is_first = state.waiting.len() == 1;
        drop(state);
        if is_first {
            self.changed.notify();
        }
    }

    /// Ends the thread after the syncs that wait.
    pub(super) fn end(&self) {
        lock(&self.state).is_ended = true;
        self.changed.notify();
    }

    /// The thread.
    pub(super) fn serve(&self, counters: &Counters) {
        let mut scratch = Scratch::new();
        let mut round = Vec::new();
        while self.take(&mut round) {
            sync(&mut round, counters, &mut scratch);
        }
    }

    /// Makes durable what waits. Returns false if nothing does.
    #[cfg(feature = "testing")]
    pub(super) fn step(&self, counters: &Counters, scratch: &mut Scratch) -> bool {
        let mut round = std::mem::take(&mut lock(&self.state).waiting);
        let has_work = !round.is_empty();
        sync(&mut round, counters, scratch);
        has_work
    }

    /// Forgets what waits, and whatever comes.
    #[cfg(feature = "testing")]
    pub(super) fn abandon(&self) {
        let mut state = lock(&self.state);
        state.is_abandoned = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
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
            state = self.changed.wait(state, None);
        }
    }
}

fn sync(round: &mut Vec<Arc<dyn Task>>, counters: &Counters, scratch: &mut Scratch) {
    let jobs: Vec<_> =
        round.drain(..).filter_map(|unit| Some((unit.begin_sync()?, unit))).collect();
    for (mut job, unit) in jobs {
        job.run();
        counters.note_written(job.written());
        unit.finish_sync(job, scratch);
    }
}
