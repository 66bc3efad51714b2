//! The thread of timers, and of deliveries that one call did not finish.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use broker_core::Broker;
use broker_core::endpoint::Scratch;

use super::lock::lock;
use super::signal::{Signal, Wake};
use super::task::Task;
use crate::config::Time;

/// The work of the thread.
#[derive(Default)]
pub(super) struct Worker {
    state: Mutex<State>,
    changed: Signal,
    numbers: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Units with unfinished deliveries.
    ready: VecDeque<Arc<dyn Task>>,
    /// By time, and by the number of the unit: each has one at most, so that units whose times change often leave none
    /// behind.
    timers: BTreeMap<(Time, u64), Weak<dyn Task>>,
    /// The times of the units' timers, by number.
    times: HashMap<u64, Time>,
    /// The thread sleeps until then.
    sleeps_until: Option<Time>,
    is_ended: bool,
}

impl State {
    /// Removes the timer of a unit.
    fn remove_timer(&mut self, number: u64) {
        if let Some(at) = self.times.remove(&number) {
            self.timers.remove(&(at, number));
        }
    }

    /// Takes what is to be done now.
    fn next(&mut self, now: Time) -> Next {
        // Until it waits again, nobody needs to wake it.
        self.sleeps_until = Some(Time(0));
        if self.is_ended {
            return Next::End;
        }
        while let Some(first) = self.timers.first_entry()
            && first.key().0 <= now
        {
            let ((_, number), unit) = first.remove_entry();
            self.times.remove(&number);
            if let Some(unit) = unit.upgrade() {
                return Next::Tick(unit);
            }
        }
        if let Some(unit) = self.ready.pop_front() {
            return Next::Run(unit);
        }
        self.sleeps_until = self.timers.first_key_value().map(|((at, _), _)| *at);
        let nanos = |until: Time| u64::try_from(until.since(now)).unwrap_or_default();
        Next::Wait(self.sleeps_until.map(|until| Duration::from_nanos(nanos(until))))
    }
}

/// The next action of the thread.
enum Next {
    Run(Arc<dyn Task>),
    Tick(Arc<dyn Task>),
    Wait(Option<Duration>),
    End,
}

#[cfg(feature = "testing")]
/// The result of a worker's step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Something was done.
    Done,
    /// There is nothing to do for that time, or until something comes.
    Wait(Option<Duration>),
    /// Nothing will come.
    End,
}

impl Worker {
    /// Creates a worker: for a thread without `wake`.
    pub(super) fn new(wake: Option<Wake>) -> Self {
        Self { changed: Signal::new(wake), ..Self::default() }
    }

    /// Has the deliveries of a unit continued; drops the unit if the thread has ended.
    pub(super) fn run_soon(&self, unit: Arc<dyn Task>) {
        let mut state = lock(&self.state);
        if !state.is_ended {
            state.ready.push_back(unit);
            drop(state);
            self.changed.notify();
        }
    }

    /// Returns a number that names the timer of one unit.
    pub(super) fn timer(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Has [`Task::tick`] called at a time, or earlier if the unit's timer is.
    pub(super) fn tick_at(&self, at: Time, number: u64, unit: Weak<dyn Task>) {
        let mut state = lock(&self.state);
        if state.times.get(&number).is_some_and(|known| *known <= at) {
            return;
        }
        state.remove_timer(number);
        state.timers.insert((at, number), unit);
        state.times.insert(number, at);
        if state.sleeps_until.is_none_or(|until| at < until) {
            drop(state);
            self.changed.notify();
        }
    }

    /// Removes the timer of a unit that has ended.
    pub(super) fn forget(&self, number: u64) {
        lock(&self.state).remove_timer(number);
    }

    /// Ends the thread. Units that wait are dropped: each owns the server, which owns this.
    pub(super) fn end(&self) {
        let mut state = lock(&self.state);
        state.is_ended = true;
        let ready = std::mem::take(&mut state.ready);
        drop(state);
        self.changed.notify();
        // A unit that ends removes its timer.
        drop(ready);
    }

    /// The thread.
    pub(super) fn serve(&self, broker: &Broker) {
        let mut scratch = Scratch::new();
        loop {
            match self.wait(broker) {
                Next::Run(unit) => unit.run(&mut scratch),
                Next::Tick(unit) => unit.tick(&mut scratch),
                Next::Wait(_) | Next::End => return,
            }
        }
    }

    /// Returns what is to be done, and waits for it.
    fn wait(&self, broker: &Broker) -> Next {
        let mut state = lock(&self.state);
        loop {
            match state.next(broker.wall().into()) {
                Next::Wait(most) => state = self.changed.wait(state, most),
                next => return next,
            }
        }
    }

    /// Does one thing, without waiting for it.
    #[cfg(feature = "testing")]
    pub(super) fn step(&self, broker: &Broker, scratch: &mut Scratch) -> Step {
        let next = lock(&self.state).next(broker.wall().into());
        match next {
            Next::Run(unit) => unit.run(scratch),
            Next::Tick(unit) => unit.tick(scratch),
            Next::Wait(most) => return Step::Wait(most),
            Next::End => return Step::End,
        }
        Step::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SyncJob;

    struct Nothing;

    impl Task for Nothing {
        fn run(self: Arc<Self>, _scratch: &mut Scratch) {}

        fn tick(self: Arc<Self>, _scratch: &mut Scratch) {}

        fn begin_sync(&self) -> Option<Box<dyn SyncJob>> {
            None
        }

        fn finish_sync(self: Arc<Self>, _job: Box<dyn SyncJob>, _scratch: &mut Scratch) {}
    }

    #[test]
    fn no_unit_is_kept_after_the_end() {
        let (worker, unit) = (Worker::default(), Arc::new(Nothing));
        worker.run_soon(Arc::clone(&unit) as _);
        assert_eq!(Arc::strong_count(&unit), 2);
        worker.end();
        worker.run_soon(Arc::clone(&unit) as _);
        assert_eq!(Arc::strong_count(&unit), 1);
    }

    #[test]
    fn a_unit_has_one_timer() {
        let worker = Worker::default();
        let unit: Weak<Nothing> = Weak::new();
        let (first, second) = (worker.timer(), worker.timer());
        for at in [50, 70, 30, 60] {
            worker.tick_at(Time(at), first, unit.clone());
        }
        worker.tick_at(Time(30), second, unit);
        let times = || lock(&worker.state).timers.keys().copied().collect::<Vec<_>>();
        assert_eq!(times(), [(Time(30), first), (Time(30), second)]);
        worker.forget(first);
        assert_eq!(times(), [(Time(30), second)]);
        assert_eq!(lock(&worker.state).times.len(), 1);
    }
}
