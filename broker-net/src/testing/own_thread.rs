//! The thread of a test broker that does not run in its caller's runtime.

use std::sync::Arc;
use std::{io, thread};

use tokio::sync::oneshot;

use super::kit::Kit;
use super::start_error::StartError;

/// The outcome of a start.
type Started = oneshot::Receiver<Result<Arc<Kit>, StartError>>;

/// A thread with its own runtime for one broker. Ends soon after it is dropped, without blocking.
#[derive(Debug)]
pub(super) struct OwnThread {
    /// Ends the thread when dropped.
    _stay: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl OwnThread {
    /// Starts the thread, and sends the outcome through the channel.
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
                        // The sender was dropped, which is the signal.
                        let _ = leave.await;
                    }
                }),
                Err(error) => drop(started.send(Err(StartError::Runtime(error)))),
            }
            // The runtime has ended here, with all of its tasks.
            let _ = end.send(());
        };
        thread::Builder::new().name("test-broker".into()).spawn(live)?;
        Ok((Self { _stay: stay, ended }, is_started))
    }

    /// Ends the thread; returns when nothing is left running.
    pub(super) async fn end(self) {
        let Self { _stay: stay, ended } = self;
        drop(stay);
        // The thread may have ended otherwise, with the same effect.
        let _ = ended.await;
    }
}
