//! Waits for expected events, and reports what happened instead.

use std::fmt;
use std::future::IntoFuture;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::kit::Kit;

/// Default timeout: long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Interval of polling conditions without events.
const TICK: Duration = Duration::from_millis(1);

/// Checks the condition, and returns its value if it holds.
type Look<T> = Box<dyn FnMut(&Kit) -> Option<T> + Send>;

/// A pending condition. When awaited, panics if it does not hold in time: ten seconds, or the time
/// set by [`Self::within`].
///
/// It can be awaited on any executor, or passed to [`block_on`](super::block_on).
///
/// # Cancel safety
///
/// If dropped while awaited, it takes nothing.
#[must_use = "waits do nothing unless awaited"]
pub struct Wait<T> {
    kit: Arc<Kit>,
    within: Duration,
    look: Look<T>,
    complain: Box<dyn FnOnce(&Kit) -> String + Send>,
    asked_at: &'static Location<'static>,
}

impl<T> Wait<T> {
    #[track_caller]
    pub(super) fn new(
        kit: &Arc<Kit>,
        look: impl FnMut(&Kit) -> Option<T> + Send + 'static,
        complain: impl FnOnce(&Kit) -> String + Send + 'static,
    ) -> Self {
        Self {
            kit: Arc::clone(kit),
            within: PATIENCE,
            look: Box::new(look),
            complain: Box::new(complain),
            asked_at: Location::caller(),
        }
    }

    /// Sets the timeout.
    pub fn within(self, time: Duration) -> Self {
        Self { within: time, ..self }
    }
}

impl<T> fmt::Debug for Wait<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("within", &self.within).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> IntoFuture for Wait<T> {
    type Output = T;
    type IntoFuture = Pin<Box<dyn Future<Output = T> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { kit, within, mut look, complain, asked_at } = self;
        Box::pin(async move {
            if let Some(happened) = look(&kit) {
                return happened;
            }
            let (sender, receiver) = oneshot::channel();
            let began = Instant::now();
            kit.spawn(watch(Arc::clone(&kit), within, look, sender));
            if let Ok(Some(happened)) = receiver.await {
                return happened;
            }
            let waited = began.elapsed().min(within);
            panic!("{}\n  within {waited:?}, asked for at {asked_at}", complain(&kit));
        })
    }
}

/// Polls until the condition holds, the time is up, or the receiver is gone.
async fn watch<T>(
    kit: Arc<Kit>,
    within: Duration,
    mut look: impl FnMut(&Kit) -> Option<T>,
    mut sender: oneshot::Sender<Option<T>>,
) {
    let began = kit.now();
    let happened = loop {
        let mut changed = pin!(kit.watcher.changed.notified());
        // Events from here on are not missed.
        changed.as_mut().enable();
        if sender.is_closed() {
            return;
        }
        let happened = look(&kit);
        if happened.is_some() || kit.now().saturating_sub(began) >= within {
            break happened;
        }
        tokio::select! {
            biased;
            () = sender.closed() => return,
            () = changed => {}
            () = tokio::time::sleep(TICK) => {}
        }
    };
    // The receiver may be gone.
    let _ = sender.send(happened);
}
