//! Blocks the program's threads on request of a test.

use std::sync::{Arc, Barrier};

use tokio::runtime::Handle;

/// Set by a test to block the program's threads.
const VARIABLE: &str = "TEST_STALL_WORKERS";

/// Blocks all threads that serve clients forever, if the environment requests it.
pub(crate) fn all_workers_if_asked_to() {
    if std::env::var_os(VARIABLE).is_none() {
        return;
    }
    let runtime = Handle::current();
    let workers = runtime.metrics().num_workers();
    let all = Arc::new(Barrier::new(workers + 1));
    for _ in 0..workers {
        let all = Arc::clone(&all);
        runtime.spawn(async move {
            all.wait();
            loop {
                std::thread::park();
            }
        });
    }
    all.wait();
    tracing::info!("All workers are stalled");
}
