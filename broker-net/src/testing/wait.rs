//! Waiting for what must happen, and saying what did instead.

use std::fmt;
use std::future::IntoFuture;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::kit::Kit;

/// How long is waited if nothing is said: long enough for a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often is looked whether what nobody tells of has happened.
const TICK: Duration = Duration::from_millis(1);

/// Has it happened? Then what is there by it.
type Look<T> = Box<dyn FnMut(&Kit) -> Option<T> + Send>;

/// Ready when something has happened. Awaited, it panics if that is not soon: after ten seconds, or as
/// long as [`Self::within`] says.
///
/// It can be awaited on any executor, or given to [`block_on`](super::block_on).
///
/// # Cancel safety
///
/// Dropped while it is awaited, it takes nothing with it.
#[must_use = "nothing is waited for before it is awaited"]
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

    /// Waits so long and no longer.
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

/// Looks until it has happened, time is up, or nobody waits any more.
async fn watch<T>(
    kit: Arc<Kit>,
    within: Duration,
    mut look: impl FnMut(&Kit) -> Option<T>,
    mut sender: oneshot::Sender<Option<T>>,
) {
    let began = kit.now();
    let happened = loop {
        let mut news = pin!(kit.watcher.news.notified());
        // What happens from here on is not missed.
        news.as_mut().enable();
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
            () = news => {}
            () = tokio::time::sleep(TICK) => {}
        }
    };
    // Whoever no longer waits does not need it.
    let _ = sender.send(happened);
}
