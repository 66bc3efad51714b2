//! The clock that a broker is given.

use std::time::Instant;

/// Tells the time. The core has no clock of its own.
pub type Clock = fn() -> Instant;
