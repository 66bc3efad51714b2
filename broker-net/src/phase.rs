//! The phases of a server's life.

use std::time::{Duration, Instant};

use tokio::sync::watch;

/// The phase of a server. It only moves forward.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    Serving,
    /// No new connections; the open ones are closed one by one.
    LameDuck(LameDuck),
    /// No new connections; the open ones close once their queues are written, at this time at the latest.
    Finishing(Instant),
}

/// The pace of lame duck mode.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LameDuck {
    /// The time within which all clients are closed. `lame_duck_duration`, NATS 2.14: 2 minutes.
    pub duration: Duration,
    /// The part of the duration before the first one is closed. `lame_duck_grace_period`, NATS 2.14: 10 seconds.
    pub grace_period: Duration,
}

impl Default for LameDuck {
    fn default() -> Self {
        Self { duration: Duration::from_mins(2), grace_period: Duration::from_secs(10) }
    }
}

impl LameDuck {
    /// Creates a plan that closes all within `duration`, beginning after `grace_period`.
    pub fn new(duration: Duration, grace_period: Duration) -> Self {
        Self { duration, grace_period }
    }
}

/// Returns when the phase is another one, or the server was dropped.
pub(crate) async fn has_left(phase: &mut watch::Receiver<Phase>, left: Phase) {
    // The returned value is dropped here: it would hold a lock across the caller's await.
    let _ = phase.wait_for(|phase| *phase != left).await.is_ok();
}
