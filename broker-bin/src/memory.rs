//! Returns freed memory to the system after a peak.
//!
//! glibc keeps freed memory for reuse. After a flood or a million subscriptions this is far more
//! than a quiet server needs, and operators and alarms take it for a leak. Returning it takes a
//! walk through all free memory, so that it happens in quiet moments only. Large blocks are returned at once.

use std::convert::Infallible;
use std::time::Duration;

use broker_core::Broker;
use broker_core::stats::Stats;

/// Interval of the checks. Freed memory is returned within two of them, thus within a minute.
const INTERVAL: Duration = Duration::from_secs(15);

/// At this many messages per interval or fewer, a pause of some milliseconds goes unnoticed.
const QUIET_MESSAGES: u64 = 15_000;

/// This many ended subscriptions per interval may leave some dozen megabytes of free memory, even
/// if their number has not fallen.
const MANY_ENDED: u64 = 100_000;

/// Returns freed memory for as long as it is polled.
pub(crate) async fn look_after(broker: &Broker) -> Infallible {
    let mut quiet = Quiet::default();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let broker = broker.clone();
        // Summing over 100,000 connections takes time too.
        let looked = tokio::task::spawn_blocking(move || {
            let (stats, accounts) = broker.stats_and_accounts();
            let ended = accounts.iter().map(|account| account.interest.removes).sum();
            if quiet.is_time_to_give_back(stats, ended) {
                give_back();
            }
            quiet
        });
        quiet = looked.await.unwrap_or_default();
    }
}

/// Decides when there may be memory to return and when the server is quiet.
#[derive(Debug, Default)]
struct Quiet {
    before: Stats,
    ended_before: u64,
    /// Something has happened since memory was last returned.
    is_due: bool,
}

impl Quiet {
    /// Returns true if memory should be returned now. `ended` counts the subscriptions that have
    /// ended since the start.
    fn is_time_to_give_back(&mut self, now: Stats, ended: u64) -> bool {
        let messages = |stats: &Stats| stats.in_messages + stats.out_messages;
        let is_quiet = messages(&now) - messages(&self.before) <= QUIET_MESSAGES
            && now.total_connections - self.before.total_connections <= QUIET_MESSAGES;
        // The occasional work of a quiet server frees too little to be worth the walk.
        self.is_due |= !is_quiet
            || now.subscriptions.abs_diff(self.before.subscriptions) > 1000
            || ended.saturating_sub(self.ended_before) > MANY_ENDED;
        self.before = now;
        self.ended_before = ended;
        is_quiet && std::mem::take(&mut self.is_due)
    }
}

/// Returns the memory that reading a configuration took, several times the size of the resulting
/// options, on a thread that serves no clients.
pub(crate) fn give_back_soon() {
    drop(tokio::task::spawn_blocking(give_back));
}

#[cfg(target_env = "gnu")]
fn give_back() {
    #[allow(unsafe_code, reason = "no crate offers it; measured: 70 MB become 5 after a flood")]
    // SAFETY: takes a number, may be called by any thread at any time (malloc_trim(3): MT-Safe), and
    // moves nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators manage their memory themselves.
#[cfg(not(target_env = "gnu"))]
fn give_back() {}

/// Limits the free memory that the allocator keeps. Called once, before there are other threads.
///
/// Blocks of 4 MiB and more are ones of their own, which go back to the system when they are freed. glibc does so for smaller ones at first;
/// each such block that is freed raises the limit to its size, up to 32 MiB, and its successors stay in the heap of their thread. A stream reads
/// segments of 8 MiB as a whole from time to time, on several threads.
///
/// Two processors share a heap. glibc makes up to eight for each, and a thread frees what it needs no more into the heap of the thread that
/// it comes from, where others do not find it. Threads seldom meet there: each has a cache of small blocks before its heap, and a small message
/// takes none.
///
/// No freed block waits to be merged with its neighbours. glibc lets those of up to 128 bytes wait, and merges all of them at once, with the heap
/// locked: after a million subscriptions that stopped every thread for a second.
#[cfg(target_env = "gnu")]
pub(crate) fn limit_free_memory() {
    const LARGE: libc::c_int = 4 * 1024 * 1024;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let heaps = libc::c_int::try_from(processors.div_ceil(2)).unwrap_or(libc::c_int::MAX);
    #[allow(
        unsafe_code,
        reason = "no crate offers it; measured: 37 MB of a stream become 32, and 21 become 19"
    )]
    // SAFETY: all take numbers, and may be called before there are other threads (mallopt(3): MT-Unsafe init).
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE / 8);
        libc::mallopt(libc::M_ARENA_MAX, heaps);
        libc::mallopt(libc::M_MXFAST, 0);
    }
}

/// Other allocators manage their memory themselves.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn limit_free_memory() {}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(in_messages: u64, subscriptions: usize) -> Stats {
        let mut stats = Stats::default();
        stats.in_messages = in_messages;
        stats.subscriptions = subscriptions;
        stats
    }

    #[cfg(target_env = "gnu")]
    #[test]
    fn no_freed_blocks_wait_to_be_merged() {
        #[allow(unsafe_code, reason = "no crate offers it")]
        // SAFETY: only reads, and takes the lock of each heap (mallinfo(3)).
        let waiting = || unsafe { libc::mallinfo2() }.fsmblks;
        limit_free_memory();
        let before = waiting();
        // Freeing the list itself, a large block, would merge the small ones.
        let mut blocks = Vec::new();
        for size in [16_usize, 48, 96] {
            blocks.extend((0..10_000).map(|_| vec![1_u8; size]));
        }
        blocks.clear();
        let grown = waiting().saturating_sub(before);
        assert!(grown < 10_000, "{grown} bytes wait");
        drop(blocks);
    }

    #[test]
    fn memory_is_returned_once_after_a_flood() {
        let mut quiet = Quiet::default();
        let told: Vec<bool> = [0, 1_000_000, 2_000_000, 2_000_010, 2_000_020]
            .map(|messages| quiet.is_time_to_give_back(stats(messages, 0), 0))
            .into();
        assert_eq!(told, [false, false, false, true, false]);
    }

    #[test]
    fn memory_of_ended_subscriptions_is_returned() {
        let mut quiet = Quiet::default();
        assert!(quiet.is_time_to_give_back(stats(0, 100_000), 0));
        assert!(!quiet.is_time_to_give_back(stats(0, 100_000), 0));
        assert!(quiet.is_time_to_give_back(stats(0, 0), 0));
    }

    #[test]
    fn memory_of_subscriptions_that_ended_within_one_interval_is_returned() {
        let mut quiet = Quiet::default();
        assert!(!quiet.is_time_to_give_back(stats(0, 0), 0));
        assert!(quiet.is_time_to_give_back(stats(0, 0), 1_000_000));
        assert!(!quiet.is_time_to_give_back(stats(0, 0), 1_000_100));
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn freed_memory_is_returned_to_the_system() {
        let resident_kib = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
        };
        let mut blocks: Vec<Box<[u8]>> = (0..1 << 16).map(|_| vec![1; 1024].into()).collect();
        // A last block keeps the heap from simply shrinking.
        let last = blocks.pop();
        drop(blocks);
        let before = resident_kib();
        give_back();
        let after = resident_kib();
        assert!(after + (32 << 10) < before, "{before} KiB before, {after} KiB after");
        drop(last);
    }
}
