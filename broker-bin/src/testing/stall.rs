//! A program whose threads hang, on demand of the test that starts it.

use std::sync::{Arc, Barrier};

use tokio::runtime::Handle;

/// Set for a program that is to hang.
const VARIABLE: &str = "TEST_STALL_WORKERS";

/// Holds all threads that serve clients, for ever, if the environment says so.
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
