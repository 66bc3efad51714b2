//! The threads of backups.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::limits::TRANSFERS;

/// The threads of backups, of a bounded number.
#[derive(Clone, Default)]
pub(super) struct Threads(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    running: usize,
    is_ended: bool,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts a thread.
    ///
    /// # Errors
    ///
    /// Those of the system, and if there are too many, or the server ends.
    pub(super) fn start(&self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let running = self.count()?;
        let thread = std::thread::Builder::new().name("streams-backup".to_owned());
        let handle = thread.spawn(move || {
            let _running = running;
            work();
        })?;
        let mut state = self.lock();
        state.handles.retain(|handle| !handle.is_finished());
        state.handles.push(handle);
        Ok(())
    }

    fn count(&self) -> io::Result<Running> {
        let mut state = self.lock();
        if state.is_ended {
            return Err(io::Error::other("server shutting down"));
        }
        if state.running >= TRANSFERS {
            return Err(io::Error::other("too many backups at once"));
        }
        state.running += 1;
        Ok(Running(self.clone()))
    }

    /// Returns true once the server ends: backups end, too.
    pub(super) fn is_ended(&self) -> bool {
        self.lock().is_ended
    }

    /// Ends the threads, and waits for them.
    pub(super) fn end(&self) {
        let handles = {
            let mut state = self.lock();
            state.is_ended = true;
            std::mem::take(&mut state.handles)
        };
        for handle in handles {
            // A thread that has panicked has been reported by the panic.
            let _ = handle.join();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a thread as long as it runs.
struct Running(Threads);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn the_number_of_threads_is_bounded() {
        let threads = Threads::default();
        let (open, door) = mpsc::channel::<()>();
        let door = Arc::new(Mutex::new(door));
        for _ in 0..TRANSFERS {
            let door = Arc::clone(&door);
            threads.start(move || assert!(door.lock().unwrap().recv().is_err())).unwrap();
        }
        assert!(threads.start(|| ()).is_err());
        drop(open);
        threads.end();
        assert_eq!(threads.lock().running, 0);
        assert!(threads.is_ended() && threads.start(|| ()).is_err());
    }
}
