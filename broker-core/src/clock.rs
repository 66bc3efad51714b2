//! The clock that a broker is given.

use std::time::{Instant, SystemTime};

/// Tells one broker the time. The core reads no other clock, so that brokers with clocks of their own can
/// be simulated side by side in one process.
///
/// A pair of functions is a clock: `(Instant::now, SystemTime::now)` is the one of the machine.
///
/// ```
/// use std::time::{Duration, Instant, SystemTime};
/// use broker_core::{Broker, Clock, Options};
///
/// /// Stands still.
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
    /// Monotonic time: deadlines and durations are measured by it.
    fn now(&self) -> Instant;

    /// The time of day: timestamps and dates of expiry are measured by it. It may be set back.
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
