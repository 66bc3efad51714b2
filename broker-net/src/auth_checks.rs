//! Expensive checks of credentials, on threads that serve nobody else, and few of them.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use broker_core::auth::{Compute, Denied, Grant};
use tokio::sync::{Semaphore, oneshot};

/// How many checks may wait: at a tenth of a second each, more would only time out.
const WAITING: usize = 64;

/// The pool. A bcrypt check takes 50 to 100 ms of a core; anybody may ask for one by sending a wrong
/// password. So half of the cores at most work on them, and when too many wait the rest are refused.
pub(crate) struct AuthChecks {
    at_work: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl AuthChecks {
    pub(crate) fn new() -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        Self {
            at_work: Arc::new(Semaphore::new((cores / 2).max(1))),
            waiting: Arc::new(Semaphore::new(WAITING)),
        }
    }

    /// Starts a check. The result, or its sender dropped for a check that was refused, comes by the
    /// channel.
    pub(crate) fn start(&self, check: Compute) -> oneshot::Receiver<Result<Grant, Denied>> {
        let (sender, receiver) = oneshot::channel();
        let Ok(place) = Arc::clone(&self.waiting).try_acquire_owned() else {
            // Nobody is left to hear an error.
            let _ = sender.send(Err(Denied::Unavailable));
            return receiver;
        };
        let at_work = Arc::clone(&self.at_work);
        tokio::spawn(async move {
            let mut sender = sender;
            // A client that has gone no longer needs its answer.
            let permit = tokio::select! {
                biased;
                () = sender.closed() => return,
                permit = at_work.acquire_owned() => permit,
            };
            let result = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                check.run()
            });
            let result = result.await.unwrap_or(Err(Denied::Unavailable));
            drop(place);
            let _ = sender.send(result);
        });
        receiver
    }
}
