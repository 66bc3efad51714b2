//! The only file that names a lock or an atomic, so that loom can take their place.

#![expect(clippy::disallowed_types, reason = "this is the file that they are for")]

use std::cell::Cell;
use std::sync::{LockResult, PoisonError, TryLockError};

pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
pub(crate) use std::sync::{Arc, MutexGuard, OnceLock, RwLockReadGuard, RwLockWriteGuard, Weak};

/// A mutex that does not poison: what it guards is whole between any two statements that can panic.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader-writer lock that does not poison, and knows whether a thread waits for it.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T> {
    lock: std::sync::RwLock<T>,
    waiting: AtomicUsize,
}

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { lock: std::sync::RwLock::new(value), waiting: AtomicUsize::new(0) }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        match self.lock.try_read() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => self.wait_for(|lock| lock.read()),
        }
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        match self.lock.try_write() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => self.wait_for(|lock| lock.write()),
        }
    }

    #[cold]
    fn wait_for<'a, G>(
        &'a self,
        lock: impl FnOnce(&'a std::sync::RwLock<T>) -> LockResult<G>,
    ) -> G {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let guard = lock(&self.lock).unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        guard
    }

    /// Returns true if a thread waits for it. A thread that locks it again and again must let others have it in
    /// between: a thread that is woken when it is free would find it locked again.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

thread_local! {
    /// The number of [`CallPass`]es that the thread holds.
    static PASSES: Cell<u32> = const { Cell::new(0) };
}

/// Lets one thread at a time make calls that may lead back to it.
#[derive(Debug, Default)]
pub(crate) struct CallGate(std::sync::Mutex<()>);

/// Held during the calls.
pub(crate) struct CallPass<'a> {
    _guard: MutexGuard<'a, ()>,
}

impl CallGate {
    /// Waits for its turn. A thread that is within such a call already, by this gate or another, never waits:
    /// two of them could wait for each other. It gets `None` if it is not its turn.
    pub(crate) fn enter(&self) -> Option<CallPass<'_>> {
        if PASSES.get() > 0 {
            return self.try_enter();
        }
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(CallPass::new(guard))
    }

    /// Does not wait.
    pub(crate) fn try_enter(&self) -> Option<CallPass<'_>> {
        match self.0.try_lock() {
            Ok(guard) => Some(CallPass::new(guard)),
            Err(TryLockError::Poisoned(poisoned)) => Some(CallPass::new(poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
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
