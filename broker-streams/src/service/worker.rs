//! The thread that does what is due by time, and deliveries that one call did not finish.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::Duration;

use broker_core::Broker;
use broker_core::endpoint::Scratch;

use super::lock::{lock, wait};
use super::task::Task;
use crate::config::Time;

/// The work of the thread.
#[derive(Default)]
pub(super) struct Worker {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Units with deliveries to go on with.
    ready: VecDeque<Arc<dyn Task>>,
    timers: BinaryHeap<Reverse<Timer>>,
    /// The thread sleeps until then.
    sleeps_until: Option<Time>,
    is_ended: bool,
}

struct Timer {
    at: Time,
    unit: Weak<dyn Task>,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

/// What the thread does next.
enum Next {
    Run(Arc<dyn Task>),
    Tick(Arc<dyn Task>),
    End,
}

impl Worker {
    /// Has the deliveries of a unit continued.
    pub(super) fn run_soon(&self, unit: Arc<dyn Task>) {
        lock(&self.state).ready.push_back(unit);
        self.changed.notify_one();
    }

    /// Has [`Task::tick`] called at a time.
    pub(super) fn tick_at(&self, at: Time, unit: Weak<dyn Task>) {
        let mut state = lock(&self.state);
        state.timers.push(Reverse(Timer { at, unit }));
        if state.sleeps_until.is_none_or(|until| at < until) {
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Ends the thread.
    pub(super) fn end(&self) {
        lock(&self.state).is_ended = true;
        self.changed.notify_all();
    }

    /// The thread.
    pub(super) fn serve(&self, broker: &Broker) {
        let mut scratch = Scratch::new();
        loop {
            match self.next(broker) {
                Next::Run(unit) => unit.run(&mut scratch),
                Next::Tick(unit) => unit.tick(&mut scratch),
                Next::End => return,
            }
        }
    }

    fn next(&self, broker: &Broker) -> Next {
        let mut state = lock(&self.state);
        loop {
            if state.is_ended {
                return Next::End;
            }
            let now = Time::from(broker.wall());
            if state.timers.peek().is_some_and(|Reverse(timer)| timer.at <= now) {
                let unit = state.timers.pop().and_then(|Reverse(timer)| timer.unit.upgrade());
                if let Some(unit) = unit {
                    return Next::Tick(unit);
                }
                continue;
            }
            if let Some(unit) = state.ready.pop_front() {
                return Next::Run(unit);
            }
            state.sleeps_until = state.timers.peek().map(|Reverse(timer)| timer.at);
            let most = state.sleeps_until.map(|until| {
                Duration::from_nanos(u64::try_from(until.since(now)).unwrap_or_default())
            });
            state = wait(&self.changed, state, most);
            state.sleeps_until = Some(Time(0));
        }
    }
}
