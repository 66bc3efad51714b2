//! The thread that reads what streams have stored, and reports damage before a client needs what is lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::Duration;

use super::lock::{lock, wait};
use super::task::Task;
use crate::store::Damage;

/// The pause after each read of a quarter of a mebibyte: at most 2 MiB/s are read, which no disk notices, and 1 TB takes six days.
const READ_PAUSE: Duration = Duration::from_millis(125);

/// The pause after all streams were read.
const ROUND_PAUSE: Duration = Duration::from_secs(3600);

/// The work of the thread.
#[derive(Default)]
pub(super) struct Scrubber {
    state: Mutex<State>,
    changed: Condvar,
    damaged: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The streams in files.
    streams: Vec<Stored>,
    is_ended: bool,
}

#[derive(Clone)]
struct Stored {
    account: Arc<str>,
    stream: Arc<str>,
    unit: Weak<dyn Task>,
}

impl Scrubber {
    /// Adds a stream.
    pub(super) fn add(&self, account: &str, stream: &str, unit: Weak<dyn Task>) {
        let mut state = lock(&self.state);
        state.streams.retain(|stored| stored.unit.strong_count() > 0);
        let (account, stream) = (account.into(), stream.into());
        state.streams.push(Stored { account, stream, unit });
    }

    /// Returns the number of damaged parts that were found.
    pub(super) fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Logs and counts damaged parts.
    pub(super) fn report(&self, account: &str, stream: &str, damage: &[Damage]) {
        self.damaged.fetch_add(damage.len() as u64, Ordering::Relaxed);
        for Damage { file, offset, bytes, sequences } in damage {
            let lost = sequences.map_or_else(String::new, |(first, last)| {
                format!(", among them messages {first} to {last}")
            });
            tracing::error!(
                "Stream {stream:?} of account {account:?}: {bytes} bytes of {file} at {offset} are damaged{lost}"
            );
        }
    }

    /// Ends the thread.
    pub(super) fn end(&self) {
        let mut state = lock(&self.state);
        state.is_ended = true;
        state.streams.clear();
        drop(state);
        self.changed.notify_all();
    }

    /// The thread.
    pub(super) fn serve(&self) {
        // A store that was just opened was just read, for the most part.
        while self.pause(ROUND_PAUSE) {
            let round = lock(&self.state).streams.clone();
            round.iter().for_each(|stored| self.check(stored));
        }
    }

    /// Checks all segments of a stream. It is not kept at work meanwhile.
    fn check(&self, stored: &Stored) {
        let Stored { account, stream, unit } = stored;
        while let Some(mut scrub) = unit.upgrade().and_then(|unit| unit.begin_scrub()) {
            let result = scrub.run(&mut |_| self.pause(READ_PAUSE));
            let Some(unit) = unit.upgrade() else { return };
            if let Err(error) = result {
                tracing::error!("Stream {stream:?} of account {account:?} cannot be read: {error}");
                return;
            }
            let damage = unit.finish_scrub(&scrub);
            self.report(account, stream, &damage);
        }
    }

    /// Waits. Returns false at the end.
    fn pause(&self, time: Duration) -> bool {
        let mut state = lock(&self.state);
        if !state.is_ended {
            state = wait(&self.changed, state, Some(time));
        }
        !state.is_ended
    }
}
