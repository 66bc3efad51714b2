//! The configuration of handshakes, their rate limit, and the limit of concurrent ones.

use std::num::NonZero;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::config::TlsConfig;
use super::expiry;
use super::options::TlsOptions;

/// The state that the handshakes of one listener share.
#[derive(Debug)]
pub(crate) struct TlsAdmission {
    config: ArcSwapOption<TlsConfig>,
    /// The options that it was built from.
    options: Mutex<Option<TlsOptions>>,
    rate: Mutex<Rate>,
    /// The number of connections that the rate limit has refused since the last log line.
    refused: AtomicU32,
    /// Limits concurrent computations: a handshake takes up to some milliseconds of a core. If a thousand begin at
    /// once, connected clients must not wait behind all of them.
    turns: Semaphore,
    /// The background task that checks files and certificates, and its runtime.
    tending: Mutex<Option<AbortHandle>>,
    runtime: Option<Handle>,
}

impl Default for TlsAdmission {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        Self {
            config: ArcSwapOption::empty(),
            options: Mutex::default(),
            rate: Mutex::default(),
            refused: AtomicU32::new(0),
            turns: Semaphore::new(cores),
            tending: Mutex::default(),
            runtime: Handle::try_current().ok(),
        }
    }
}

impl TlsAdmission {
    /// Returns the configuration of new connections; `None` without TLS.
    pub(crate) fn config(&self) -> Option<Arc<TlsConfig>> {
        self.config.load_full()
    }

    /// Returns the earliest expiry of the certificates.
    pub(crate) fn not_after(&self) -> Option<SystemTime> {
        self.config()?.not_after()
    }

    /// Sets the configuration of new connections; handshakes that have begun keep theirs.
    pub(crate) fn set(&self, next: Option<(TlsOptions, TlsConfig)>) {
        let (options, config) = next.unzip();
        if let Some(config) = &config {
            expiry::warn(&config.terms);
        }
        let mut now = self.lock_options();
        *now = options;
        self.config.store(config.map(Arc::new));
    }

    /// Sets another configuration of the same options, if they are still the current ones.
    pub(super) fn replace(&self, options: &TlsOptions, config: TlsConfig) -> bool {
        let now = self.lock_options();
        let is_same = now.as_ref() == Some(options);
        if is_same {
            expiry::warn(&config.terms);
            self.config.store(Some(Arc::new(config)));
        }
        is_same
    }

    pub(crate) fn options(&self) -> Option<TlsOptions> {
        self.lock_options().clone()
    }

    /// Replaces the background task that checks files and certificates.
    pub(super) fn tend(&self, tending: impl Future<Output = ()> + Send + 'static) {
        let next = self.runtime.as_ref().map(|runtime| runtime.spawn(tending).abort_handle());
        let mut now = self.tending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = std::mem::replace(&mut *now, next) {
            before.abort();
        }
    }

    pub(crate) fn stop_tending(&self) {
        let tending = self.tending.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tending) = tending {
            tending.abort();
        }
    }

    fn lock_options(&self) -> MutexGuard<'_, Option<TlsOptions>> {
        self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if another handshake may begin.
    pub(super) fn allows(&self, limit: Option<u32>, now: Instant) -> bool {
        let Some(limit) = limit else { return true };
        self.rate.lock().unwrap_or_else(PoisonError::into_inner).allows(limit, now)
    }

    /// Counts a connection that [`Self::allows`] has refused. Returns true if it is the first since
    /// [`Self::take_refused`]: the caller then schedules the log line.
    pub(super) fn note_refused(&self) -> bool {
        self.refused.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// Returns the number of connections refused since the last call.
    pub(super) fn take_refused(&self) -> u32 {
        self.refused.swap(0, Ordering::Relaxed)
    }

    pub(super) fn turns(&self) -> &Semaphore {
        &self.turns
    }
}

impl Drop for TlsAdmission {
    fn drop(&mut self) {
        self.stop_tending();
    }
}

/// Counts events in each second.
#[derive(Debug, Default)]
struct Rate {
    second_ends: Option<Instant>,
    count: u32,
}

impl Rate {
    // NATS 2.14: rate_counter.go.
    fn allows(&mut self, limit: u32, now: Instant) -> bool {
        if self.second_ends.is_none_or(|end| now > end) {
            self.second_ends = Some(now + Duration::from_secs(1));
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.count <= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_applies_to_each_second() {
        let mut rate = Rate::default();
        let now = Instant::now();
        let allowed = |rate: &mut Rate, now| (0..5).filter(|_| rate.allows(2, now)).count();
        assert_eq!(allowed(&mut rate, now), 2);
        assert_eq!(allowed(&mut rate, now + Duration::from_millis(999)), 0);
        assert_eq!(allowed(&mut rate, now + Duration::from_millis(1001)), 2);
        assert!(!Rate::default().allows(0, now));
    }

    #[test]
    fn without_a_limit_all_are_allowed() {
        let gate = TlsAdmission::default();
        let now = Instant::now();
        assert!((0..1000).all(|_| gate.allows(None, now)));
    }
}
