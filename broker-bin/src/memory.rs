//! Gives memory back to the system when the storm is over.
//!
//! glibc keeps what was freed, in case it is wanted again, and after a flood or a million subscriptions
//! that is far more than a quiet server needs: operators read it as a leak, and so do their alarms. To
//! give it back takes a walk through all free memory, so that it is done in quiet moments only.

use std::convert::Infallible;
use std::time::Duration;

use broker_core::Broker;
use broker_core::stats::Stats;

/// How often to look. What was freed is given back within twice that, and so within a minute.
const INTERVAL: Duration = Duration::from_secs(15);

/// With no more messages than that in an interval nobody is served fast enough to notice a pause of some
/// milliseconds.
const QUIET_MESSAGES: u64 = 15_000;

/// So many subscriptions that have ended in an interval may have left something behind, though there were no
/// fewer at its end than at its beginning: some dozen megabytes.
const MANY_ENDED: u64 = 100_000;

/// Looks after the memory of the process for as long as it is polled.
pub(crate) async fn look_after(broker: &Broker) -> Infallible {
    let mut quiet = Quiet::default();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let broker = broker.clone();
        // Adding up a hundred thousand connections takes its time as well.
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

/// Knows when there may be something to give back, and when the time is right.
#[derive(Debug, Default)]
struct Quiet {
    before: Stats,
    ended_before: u64,
    /// Something has happened since the last time.
    is_due: bool,
}

impl Quiet {
    /// `ended`: how many subscriptions have ended since the server began.
    fn is_time_to_give_back(&mut self, now: Stats, ended: u64) -> bool {
        let messages = |stats: &Stats| stats.in_messages + stats.out_messages;
        let is_quiet = messages(&now) - messages(&self.before) <= QUIET_MESSAGES
            && now.total_connections - self.before.total_connections <= QUIET_MESSAGES;
        // What a quiet server does now and then takes no memory worth the walk.
        self.is_due |= !is_quiet
            || now.subscriptions.abs_diff(self.before.subscriptions) > 1000
            || ended.saturating_sub(self.ended_before) > MANY_ENDED;
        self.before = now;
        self.ended_before = ended;
        is_quiet && std::mem::take(&mut self.is_due)
    }
}

/// Gives back what reading a configuration took, on a thread that serves nobody: that is several times what the
/// options take that come of it.
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

/// Other allocators are left to their own ways.
#[cfg(not(target_env = "gnu"))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(in_messages: u64, subscriptions: usize) -> Stats {
        let mut stats = Stats::default();
        stats.in_messages = in_messages;
        stats.subscriptions = subscriptions;
        stats
    }

    #[test]
    fn memory_is_given_back_once_when_the_flood_is_over() {
        let mut quiet = Quiet::default();
        let told: Vec<bool> = [0, 1_000_000, 2_000_000, 2_000_010, 2_000_020]
            .map(|messages| quiet.is_time_to_give_back(stats(messages, 0), 0))
            .into();
        assert_eq!(told, [false, false, false, true, false]);
    }

    #[test]
    fn memory_of_subscriptions_is_given_back_when_they_are_gone() {
        let mut quiet = Quiet::default();
        assert!(quiet.is_time_to_give_back(stats(0, 100_000), 0));
        assert!(!quiet.is_time_to_give_back(stats(0, 100_000), 0));
        assert!(quiet.is_time_to_give_back(stats(0, 0), 0));
    }

    #[test]
    fn memory_of_subscriptions_that_came_and_went_between_two_looks_is_given_back() {
        let mut quiet = Quiet::default();
        assert!(!quiet.is_time_to_give_back(stats(0, 0), 0));
        assert!(quiet.is_time_to_give_back(stats(0, 0), 1_000_000));
        assert!(!quiet.is_time_to_give_back(stats(0, 0), 1_000_100));
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn what_was_freed_goes_back_to_the_system() {
        let resident_kib = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
        };
        let mut blocks: Vec<Box<[u8]>> = (0..1 << 16).map(|_| vec![1; 1024].into()).collect();
        // One block behind them all keeps the heap from just getting shorter.
        let last = blocks.pop();
        drop(blocks);
        let before = resident_kib();
        give_back();
        let after = resident_kib();
        assert!(after + (32 << 10) < before, "{before} KiB before, {after} KiB after");
        drop(last);
    }
}
