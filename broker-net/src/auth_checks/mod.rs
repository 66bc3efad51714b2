//! Expensive checks of credentials, on a few threads of their own.
//!
//! A bcrypt check takes 50 to 300 ms of a core, and any client can cause one by sending a wrong password. So few run
//! at once, they are shared among the addresses that ask, and checks beyond the limits are refused with an error that
//! is no authentication error, so that a client retries. [`queue`] decides which check is next.

mod queue;

use std::num::NonZero;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::available_parallelism;

use broker_core::auth::{Compute, Denied, Grant};
use tokio::sync::oneshot;

pub(crate) use queue::Source;
use queue::{Bounds, Queue};

/// Maximum checks that wait for one source. At a tenth of a second each the last of them waits for about as long as
/// clients do.
const WAITING_PER_SOURCE: usize = 32;

/// Maximum checks that wait in all. Each holds a few hundred bytes.
const WAITING: usize = 1024;

/// The checks of one server.
pub(crate) struct AuthChecks {
    queue: Mutex<Queue<Job>>,
}

/// A check and the receiver of its result.
struct Job {
    check: Compute,
    result: oneshot::Sender<Result<Grant, Denied>>,
}

impl AuthChecks {
    pub(crate) fn new() -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        Self { queue: Mutex::new(Queue::new(Bounds::for_cores(cores))) }
    }

    /// Starts a check, or queues it. If too many wait, the result is [`Denied::Unavailable`] at once.
    pub(crate) fn start(self: &Arc<Self>, source: Source, check: Compute) -> Checking {
        let (sender, result) = oneshot::channel();
        let (number, refused) = self.lock().push(source, Job { check, result: sender });
        if let Some(Job { result, .. }) = refused {
            // A dropped receiver needs no result.
            let _ = result.send(Err(Denied::Unavailable));
        }
        self.dispatch();
        Checking { of: Arc::clone(self), number, result }
    }

    /// Spawns a thread for each check whose turn it is.
    fn dispatch(self: &Arc<Self>) {
        loop {
            let Some((source, Job { check, result })) = self.lock().take_next() else { return };
            let auth_checks = Arc::clone(self);
            tokio::task::spawn_blocking(move || {
                let running = Running { of: auth_checks, source };
                let verdict = check.run();
                // Dropped before the result is sent, so that a client that reads it finds the worker free.
                drop(running);
                let _ = result.send(verdict);
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<Job>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running check. Dropping it, also by a panic of the check, starts the next one.
struct Running {
    of: Arc<AuthChecks>,
    source: Source,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.of.lock().finish(self.source);
        self.of.dispatch();
    }
}

/// A future of the result of a check. Dropped before the check has begun, it cancels the check.
pub(crate) struct Checking {
    of: Arc<AuthChecks>,
    number: u64,
    result: oneshot::Receiver<Result<Grant, Denied>>,
}

impl Future for Checking {
    type Output = Result<Grant, Denied>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A check that panicked has dropped its sender.
        Pin::new(&mut self.result).poll(cx).map(|result| result.unwrap_or(Err(Denied::Unavailable)))
    }
}

impl Drop for Checking {
    fn drop(&mut self) {
        self.of.lock().forget(self.number);
    }
}
