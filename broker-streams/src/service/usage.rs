//! The bytes that streams use, and their limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::config::limits::AccountLimits;
use crate::config::{StorageType, StreamConfig};
use crate::stream::Room;

/// The bytes of streams of one kind of storage.
#[derive(Debug)]
pub(super) struct Usage {
    used: AtomicU64,
    reserved: AtomicI64,
    most: AtomicU64,
}

impl Usage {
    fn new(most: u64) -> Self {
        Self { used: AtomicU64::new(0), reserved: AtomicI64::new(0), most: AtomicU64::new(most) }
    }

    fn room(&self) -> u64 {
        self.most().saturating_sub(self.used())
    }

    /// Returns the bytes that are used.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns the bytes that limits of streams reserve.
    pub(super) fn reserved(&self) -> i64 {
        self.reserved.load(Ordering::Relaxed)
    }

    /// Returns the bytes that may be used and reserved; `u64::MAX` for no limit.
    pub(super) fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }

    /// Replaces the bytes that may be used and reserved.
    pub(super) fn set_most(&self, bytes: u64) {
        self.most.store(bytes, Ordering::Relaxed);
    }

    fn change(&self, before: (u64, i64), now: (u64, i64)) {
        self.used.fetch_add(now.0.wrapping_sub(before.0), Ordering::Relaxed);
        self.reserved.fetch_add(now.1 - before.1, Ordering::Relaxed);
    }
}

/// The bytes of streams in memory and in files.
#[derive(Debug)]
pub(super) struct Usages {
    memory: Usage,
    storage: Usage,
    memory_stream: AtomicU64,
    storage_stream: AtomicU64,
}

impl Usages {
    /// Creates the totals of a server, which may use that much.
    pub(super) fn of_server(memory: u64, storage: u64) -> Self {
        let unlimited = || AtomicU64::new(u64::MAX);
        let (memory, storage) = (Usage::new(memory), Usage::new(storage));
        Self { memory, storage, memory_stream: unlimited(), storage_stream: unlimited() }
    }

    /// Creates the totals of an account.
    pub(super) fn of_account(limits: Option<&AccountLimits>) -> Self {
        let usages = Self::of_server(u64::MAX, u64::MAX);
        usages.set_limits(limits);
        usages
    }

    /// Replaces the limits. Of tiers that of one replica counts: no stream has more.
    pub(super) fn set_limits(&self, limits: Option<&AccountLimits>) {
        let Some((_, limits)) = limits.and_then(|limits| limits.select(1)) else { return };
        let bytes = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
        let of_stream = |limit: i64| bytes(limit).checked_sub(1).map_or(u64::MAX, |less| less + 1);
        self.memory.set_most(bytes(limits.max_memory));
        self.storage.set_most(bytes(limits.max_storage));
        self.memory_stream.store(of_stream(limits.memory_max_stream_bytes), Ordering::Relaxed);
        self.storage_stream.store(of_stream(limits.storage_max_stream_bytes), Ordering::Relaxed);
    }

    /// Returns the totals of one kind of storage.
    pub(super) fn of(&self, storage: StorageType) -> &Usage {
        match storage {
            StorageType::Memory => &self.memory,
            StorageType::File => &self.storage,
        }
    }

    fn of_stream(&self, storage: StorageType) -> u64 {
        let most = match storage {
            StorageType::Memory => &self.memory_stream,
            StorageType::File => &self.storage_stream,
        };
        most.load(Ordering::Relaxed)
    }
}

/// The part of one stream in the totals of its account and of the server. It ends with it.
#[derive(Debug)]
pub(super) struct Share {
    server: Arc<Usages>,
    account: Arc<Usages>,
    storage: StorageType,
    /// The bytes used and reserved.
    counted: (u64, i64),
}

impl Share {
    pub(super) fn new(server: Arc<Usages>, account: Arc<Usages>, storage: StorageType) -> Self {
        Self { server, account, storage, counted: (0, 0) }
    }

    /// Returns the bytes that may still be stored.
    pub(super) fn room(&self) -> Room {
        Room {
            server: self.server.of(self.storage).room(),
            account: self.account.of(self.storage).room(),
            stream: self.account.of_stream(self.storage),
        }
    }

    /// Updates the bytes of the stream.
    pub(super) fn count(&mut self, config: &StreamConfig, bytes: u64) {
        self.set((bytes, config.max_bytes.max(0)));
    }

    fn set(&mut self, now: (u64, i64)) {
        if now != self.counted {
            self.server.of(self.storage).change(self.counted, now);
            self.account.of(self.storage).change(self.counted, now);
            self.counted = now;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set((0, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::limits::TierLimits;

    #[test]
    fn a_stream_has_the_room_that_others_leave() {
        let limits = AccountLimits::flat(TierLimits {
            max_memory: 100,
            memory_max_stream_bytes: 50,
            ..TierLimits::default()
        });
        let server = Arc::new(Usages::of_server(120, 1000));
        let account = Arc::new(Usages::of_account(Some(&limits)));
        let share = || Share::new(Arc::clone(&server), Arc::clone(&account), StorageType::Memory);
        let (mut first, second) = (share(), share());
        first.count(&StreamConfig { max_bytes: 70, ..StreamConfig::default() }, 60);
        assert_eq!(second.room(), Room { server: 60, account: 40, stream: 50 });
        assert_eq!(server.of(StorageType::Memory).reserved(), 70);
        assert_eq!(server.of(StorageType::File).reserved(), 0);
        drop(first);
        assert_eq!(second.room(), Room { server: 120, account: 100, stream: 50 });
        account.set_limits(Some(&AccountLimits::default()));
        assert_eq!(second.room(), Room { server: 120, account: u64::MAX, stream: u64::MAX });
    }
}
