//! Where a test broker lives: in the runtime of whoever starts it, or on a thread of its own.

use std::sync::Arc;
use std::{io, thread};

use tokio::sync::oneshot;

use super::kit::Kit;
use super::start_error::StartError;

/// What comes of a start.
type Started = oneshot::Receiver<Result<Arc<Kit>, StartError>>;

/// A thread with a runtime of its own, for one broker. Dropped, it ends soon; nobody waits for it.
#[derive(Debug)]
pub(super) struct OwnThread {
    /// Dropped, it ends.
    _stay: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl OwnThread {
    /// Begins, and tells by the channel what came of it.
    pub(super) fn start<F>(
        start: impl FnOnce() -> F + Send + 'static,
    ) -> io::Result<(Self, Started)>
    where
        F: Future<Output = Result<Arc<Kit>, StartError>>,
    {
        let (started, is_started) = oneshot::channel();
        let (stay, leave) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let live = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(async {
                    let result = start().await;
                    let is_there = result.is_ok();
                    if started.send(result).is_ok() && is_there {
                        // An error is what it waits for.
                        let _ = leave.await;
                    }
                }),
                Err(error) => drop(started.send(Err(StartError::Runtime(error)))),
            }
            // Here the runtime is gone, with all that lived in it.
            let _ = end.send(());
        };
        thread::Builder::new().name("test-broker".into()).spawn(live)?;
        Ok((Self { _stay: stay, ended }, is_started))
    }

    /// Ends it; returns when nothing is left of it.
    pub(super) async fn end(self) {
        let Self { _stay: stay, ended } = self;
        drop(stay);
        // The thread may have ended otherwise, with the same effect.
        let _ = ended.await;
    }
}
