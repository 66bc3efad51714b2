//! The only file that names a lock or an atomic, so that a model checker can replace them.
//!
//! The locks are those of [parking_lot](https://docs.rs/parking_lot), whose core dashmap needs anyway: they do not poison, and
//! locking and unlocking one takes half the instructions, because none of them checks for a panic.
//!
//! Under `--cfg shuttle` they are those of [shuttle](https://docs.rs/shuttle), which runs a test repeatedly
//! under different schedules: at each lock and atomic another thread may continue. Shuttle is used instead of
//! loom because its `Arc` is the standard one, so that `Arc<T>` still coerces to `Arc<dyn Destination>`, and because
//! random schedules cover whole queues, where loom's exhaustive ones end at a few operations. It models no weak
//! memory: all threads see one order of writes. Code that depends on `Acquire` and `Release` explains the orderings
//! where it uses them.

#![allow(clippy::disallowed_types, reason = "this is the file that they are for")]

use std::cell::Cell;

#[cfg(all(test, shuttle))]
use modelled as locks;
#[cfg(not(all(test, shuttle)))]
use parking_lot as locks;
#[cfg(all(test, shuttle))]
use shuttle::sync as checked;
#[cfg(not(all(test, shuttle)))]
use std::sync as checked;

pub(crate) use checked::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
pub(crate) use locks::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};
pub(crate) use std::sync::{Arc, OnceLock, Weak};

/// Runs a model under random schedules, half of them uniform and half with few changes of priorities. The schedules are
/// the same each time: a failure prints its schedule, which `shuttle::replay` repeats.
#[cfg(all(test, shuttle))]
pub(crate) fn check_model(model: impl Fn() + Send + Sync + 'static) {
    use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
    use shuttle::{Config, Runner};

    const SCHEDULES: usize = 1_000;
    let mut config = Config::new();
    // Enough for a debug build of the core.
    config.stack_size = 256 << 10;
    let model = Arc::new(model);
    let run = |scheduler: Box<dyn Scheduler + Send>| {
        let model = Arc::clone(&model);
        Runner::new(scheduler, config.clone()).run(move || model());
    };
    run(Box::new(RandomScheduler::new_from_seed(1, SCHEDULES)));
    run(Box::new(PctScheduler::new_from_seed(2, 3, SCHEDULES)));
}

/// A mutex that does not poison: the data it guards is consistent between any two statements that can panic.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(locks::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(locks::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock()
    }
}

/// A reader-writer lock that does not poison, and records whether a thread waits for it.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T> {
    lock: locks::RwLock<T>,
    waiting: AtomicUsize,
}

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { lock: locks::RwLock::new(value), waiting: AtomicUsize::new(0) }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.lock.try_read().unwrap_or_else(|| self.wait_for(|lock| lock.read()))
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.lock.try_write().unwrap_or_else(|| self.wait_for(|lock| lock.write()))
    }

    #[cold]
    fn wait_for<'a, G>(&'a self, lock: impl FnOnce(&'a locks::RwLock<T>) -> G) -> G {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let guard = lock(&self.lock);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        guard
    }

    /// Returns true if a thread waits for it. A thread that locks it repeatedly must let others have it in
    /// between: a thread that is woken when it is free would find it locked again.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

thread_local! {
    /// The number of [`CallPass`]es that the thread holds.
    static PASSES: Cell<u32> = const { Cell::new(0) };
}

/// Lets one thread at a time make calls that may call back into it.
#[derive(Debug, Default)]
pub(crate) struct CallGate(locks::Mutex<()>);

/// Held during the calls.
pub(crate) struct CallPass<'a> {
    _guard: MutexGuard<'a, ()>,
}

impl CallGate {
    /// Waits for its turn. A thread that is within such a call already, by this gate or another, never waits:
    /// two of them could wait for each other. It gets `None` if another thread is within a call.
    pub(crate) fn enter(&self) -> Option<CallPass<'_>> {
        if PASSES.get() > 0 {
            return self.try_enter();
        }
        Some(CallPass::new(self.0.lock()))
    }

    /// Does the same without waiting.
    pub(crate) fn try_enter(&self) -> Option<CallPass<'_>> {
        self.0.try_lock().map(CallPass::new)
    }
}

impl<'a> CallPass<'a> {
    fn new(guard: MutexGuard<'a, ()>) -> Self {
        PASSES.set(PASSES.get() + 1);
        Self { _guard: guard }
    }
}

impl Drop for CallPass<'_> {
    fn drop(&mut self) {
        PASSES.set(PASSES.get() - 1);
    }
}

/// The locks of shuttle with the interface of parking_lot's. A panic ends the model, so that none is poisoned.
#[cfg(all(test, shuttle))]
mod modelled {
    use shuttle::sync;
    use std::sync::PoisonError;

    pub(crate) use sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct RwLock<T>(sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(sync::RwLock::new(value))
        }

        pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
            self.0.try_read().ok()
        }

        pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
            self.0.try_write().ok()
        }
    }
}
