//! The time.

use std::time::Instant;

/// What time it is, by tokio's clock: so that a test that pauses it, or moves it on, takes the server with
/// it. Without tokio's feature `test-util` this is the system's clock and nothing else.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
