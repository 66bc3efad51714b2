//! The clock of a broker.

use std::time::{Instant, SystemTime};

/// The source of time of one broker. The core reads no other clock, so that brokers with clocks of their own can
/// be simulated side by side in one process.
///
/// A pair of functions is a clock: `(Instant::now, SystemTime::now)` is that of the machine.
///
/// ```
/// use std::time::{Duration, Instant, SystemTime};
/// use broker_core::{Broker, Clock, Options};
///
/// /// Always returns the same time.
/// struct Stopped(Instant);
///
/// impl Clock for Stopped {
///     fn now(&self) -> Instant {
///         self.0
///     }
///
///     fn wall(&self) -> SystemTime {
///         SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
///     }
/// }
///
/// let of_the_machine = Broker::new(Options::default(), (Instant::now, SystemTime::now));
/// let of_a_test = Broker::new(Options::default(), Stopped(Instant::now()));
/// ```
pub trait Clock: Send + Sync + 'static {
    /// Returns monotonic time, for deadlines and durations.
    fn now(&self) -> Instant;

    /// Returns the time of day, for timestamps and dates of expiry. It may be set back.
    fn wall(&self) -> SystemTime;
}

impl<M, W> Clock for (M, W)
where
    M: Fn() -> Instant + Send + Sync + 'static,
    W: Fn() -> SystemTime + Send + Sync + 'static,
{
    fn now(&self) -> Instant {
        (self.0)()
    }

    fn wall(&self) -> SystemTime {
        (self.1)()
    }
}
