//! The phases of a server's life.

use std::time::{Duration, Instant};

/// What the server is about. Only ever goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    Serving,
    /// No new connections; those that are there are let go one by one.
    LameDuck(LameDuck),
    /// No new connections; those that are there end once they have read what waits for them, which
    /// they must by then.
    Finishing(Instant),
}

/// How the server takes leave of its clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LameDuck {
    /// Within this time clients are let go, all in all. `lame_duck_duration`, NATS 2.14: 2 minutes.
    pub duration: Duration,
    /// Of that, the time before the first is. `lame_duck_grace_period`, NATS 2.14: 10 seconds.
    pub grace_period: Duration,
}

impl Default for LameDuck {
    fn default() -> Self {
        Self { duration: Duration::from_mins(2), grace_period: Duration::from_secs(10) }
    }
}

impl LameDuck {
    /// Lets all go within `duration`, beginning after `grace_period`.
    pub fn new(duration: Duration, grace_period: Duration) -> Self {
        Self { duration, grace_period }
    }
}
