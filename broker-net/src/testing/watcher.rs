//! The probe of a test broker: feeds its taps, applies its faults, and keeps protocol lines.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use broker_core::SubjectFilter;
use broker_core::probe::{Fate, Held, Passing, Probe};
use tokio::sync::Notify;

use super::fault::{Counts, Dice, Fault, Rule, Verdict};
use super::lines::Lines;
use super::tapped::{Recorded, Tapped};

/// Delivers delayed messages in the server's runtime; implemented by the test broker.
pub(super) trait LateDelivery: Send + Sync {
    /// Delivers messages now, unless the broker is restarting.
    fn release(&self, held: &[Held]);

    /// Runs a task until the test broker ends.
    fn later(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>);
}

/// See the module documentation.
pub(super) struct Watcher {
    pub(super) began: Instant,
    pub(super) lines: Lines,
    /// Signals events that a wait may be about.
    pub(super) changed: Notify,
    state: Mutex<State>,
    /// Delivers messages that a fault has delayed.
    deliverer: OnceLock<Weak<dyn LateDelivery>>,
}

struct State {
    taps: Vec<Weak<Recorded>>,
    rules: Vec<Rule>,
    lots: Dice,
    /// Number of delayed messages.
    late: usize,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}

impl Watcher {
    pub(super) fn new(lines: usize, seed: u64) -> Self {
        let began = Instant::now();
        let state = State { taps: Vec::new(), rules: Vec::new(), lots: Dice::new(seed), late: 0 };
        Self {
            began,
            lines: Lines::new(lines, began),
            changed: Notify::new(),
            state: Mutex::new(state),
            deliverer: OnceLock::new(),
        }
    }

    pub(super) fn work_for(&self, deliverer: Weak<dyn LateDelivery>) {
        let _ = self.deliverer.set(deliverer);
    }

    fn deliverer(&self) -> Option<Arc<dyn LateDelivery>> {
        self.deliverer.get().and_then(Weak::upgrade)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add_tap(&self, tap: &Arc<Recorded>) {
        let mut state = self.state();
        state.taps.retain(|tap| tap.strong_count() > 0);
        state.taps.push(Arc::downgrade(tap));
    }

    /// Returns what the fault will have seen and done.
    pub(super) fn add_fault(&self, filter: SubjectFilter, fault: Fault) -> Arc<Counts> {
        let rule = Rule::new(filter, fault);
        let counts = Arc::clone(&rule.counts);
        self.state().rules.push(rule);
        counts
    }

    pub(super) fn end_fault(&self, counts: &Arc<Counts>) {
        let mut ended = Vec::new();
        self.state().rules.retain_mut(|rule| {
            let is_it = Arc::ptr_eq(&rule.counts, counts);
            if is_it {
                ended.extend(rule.give_up(None));
            }
            !is_it
        });
        self.release_now(&ended);
    }

    pub(super) fn end_all_faults(&self) {
        let rules = std::mem::take(&mut self.state().rules);
        let ended: Vec<_> = rules.into_iter().filter_map(|mut rule| rule.give_up(None)).collect();
        self.release_now(&ended);
    }

    /// Returns true if a message is delayed, or waits to be overtaken.
    pub(super) fn holds_messages(&self) -> bool {
        self.state().late > 0
    }

    fn release_now(&self, held: &[Held]) {
        if let Some(deliverer) = self.deliverer() {
            deliverer.release(held);
        }
    }

    fn judge(self: &Arc<Self>, message: &Passing<'_>) -> Fate {
        let mut guard = self.state();
        let state = &mut *guard;
        for rule in &mut state.rules {
            let Some(verdict) = rule.judge(message, &mut state.lots) else { continue };
            let (held, number, after) = match verdict {
                Verdict::Now(fate) => return fate,
                Verdict::Later(held, after) => (Some(held), 0, after),
                Verdict::Overtaken(number, after) => (None, number, after),
            };
            let counts = Arc::clone(&rule.counts);
            state.late += 1;
            drop(guard);
            let Some(deliverer) = self.deliverer() else { return Fate::LOSE };
            let watcher = Arc::clone(self);
            deliverer.later(Box::pin(async move {
                tokio::time::sleep(after).await;
                let held = held.or_else(|| watcher.take_back(&counts, number));
                watcher.release_now(held.as_slice());
                watcher.state().late -= 1;
                watcher.changed.notify_waiters();
            }));
            return Fate::LOSE;
        }
        Fate::DELIVER
    }

    fn take_back(&self, counts: &Arc<Counts>, number: u64) -> Option<Held> {
        let mut state = self.state();
        let rule = state.rules.iter_mut().find(|rule| Arc::ptr_eq(&rule.counts, counts))?;
        rule.give_up(Some(number))
    }

    fn record(&self, message: &Passing<'_>) {
        let taps: Vec<_> = self.state().taps.iter().filter_map(Weak::upgrade).collect();
        let mut tapped = None;
        for tap in taps.iter().filter(|tap| message.matches(&tap.filter)) {
            let tapped = tapped.get_or_insert_with(|| Tapped::of(message, self.began.elapsed()));
            tap.push(tapped.clone());
        }
        if tapped.is_some() {
            self.changed.notify_waiters();
        }
    }
}

/// The probe installed in the broker.
pub(super) struct Watching(pub(super) Arc<Watcher>);

impl Probe for Watching {
    fn pass(&self, message: &Passing<'_>) -> Fate {
        let watcher = &self.0;
        if !message.is_from_connection() && watcher.lines.are_wanted() {
            let client = format!("in process - cid:{}", message.from());
            let published = message.to_message();
            let reply = published.reply.as_ref().map(|reply| format!(" {reply}"));
            watcher.lines.push(
                &client,
                format_args!(
                    "<<- [PUB {}{} {}]",
                    published.subject,
                    reply.unwrap_or_default(),
                    published.payload.len()
                ),
            );
        }
        watcher.record(message);
        watcher.judge(message)
    }

    fn wants_lines(&self) -> bool {
        self.0.lines.are_wanted()
    }

    fn line(&self, client: &str, line: fmt::Arguments<'_>) {
        self.0.lines.push(client, line);
    }
}
