//! The clock of a server and of its broker.

use std::time::{Instant, SystemTime};

use broker_core::Clock;

/// Reads tokio's clock, so that a test that pauses or advances it also pauses or advances the server. Without tokio's
/// feature `test-util` this is the system clock.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// True once a test has moved the clock of some runtime.
#[cfg(feature = "testing")]
static IS_MOVED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Notes that the clock of a runtime is being moved: from now on, threads outside of it have to ask for its clock.
#[cfg(feature = "testing")]
pub(crate) fn note_move() {
    IS_MOVED.store(true, std::sync::atomic::Ordering::Release);
}

/// The clock of a broker behind a server. The time of day is the machine's, advanced as far as a test has advanced
/// tokio's clock.
pub(crate) struct TokioClock {
    started: Instant,
    started_on_machine: Instant,
    /// The runtime of the server, whose clock counts on all threads.
    #[cfg(feature = "testing")]
    runtime: Option<tokio::runtime::Handle>,
}

impl TokioClock {
    pub(crate) fn new() -> Self {
        Self {
            started: now(),
            started_on_machine: Instant::now(),
            #[cfg(feature = "testing")]
            runtime: tokio::runtime::Handle::try_current().ok(),
        }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        #[cfg(feature = "testing")]
        if IS_MOVED.load(std::sync::atomic::Ordering::Acquire) {
            let _in_runtime = self.runtime.as_ref().map(tokio::runtime::Handle::enter);
            return now();
        }
        now()
    }

    fn wall(&self) -> SystemTime {
        let elapsed = Clock::now(self).saturating_duration_since(self.started);
        let wall = SystemTime::now();
        match elapsed.checked_sub(self.started_on_machine.elapsed()) {
            Some(ahead) => wall + ahead,
            None => wall - self.started_on_machine.elapsed().saturating_sub(elapsed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_time_of_day_advances_with_the_clock_of_tokio() {
        let clock = TokioClock::new();
        let before = clock.wall();
        tokio::time::advance(Duration::from_hours(1)).await;
        let passed = clock.wall().duration_since(before).unwrap();
        let difference = passed.abs_diff(Duration::from_hours(1));
        assert!(difference < Duration::from_secs(1), "{difference:?}");
    }
}
