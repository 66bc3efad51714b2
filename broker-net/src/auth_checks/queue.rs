//! The order of checks: fair among sources, bounded for each of them and in all.
//!
//! A source is the origin that one attacker can be expected to control: an IPv4 address, the /64 of an IPv6 address,
//! all sockets in the file system, all streams without an address.
//!
//! - No source may use all workers, so that the check of another one finds a worker at once.
//! - Every other turn goes to the source with the fewest checks outstanding, of equals to the newest: a source that
//!   asks seldom waits only for the check under way, however many checks other sources have queued.
//! - The turns between go to the check that has waited longest, so that each has its turn in the end.
//! - A source with too many waiting checks is refused. If too many wait in all, the last one of the source with
//!   most waiting gives way to a source that has fewer.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::{WAITING, WAITING_PER_SOURCE};

/// The origin of a check.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Source {
    /// An IPv4 address.
    V4([u8; 4]),
    /// The first half of an IPv6 address: one customer of a provider has all of the other half.
    V6([u8; 8]),
    /// A socket in the file system.
    Unix,
    /// A stream of the process itself, or of a program that embeds the server, without an address.
    Stream,
}

impl Source {
    /// Returns the source of a connection over the network, or over a stream without an address.
    pub(crate) fn of(remote: Option<SocketAddr>) -> Self {
        match remote.map(|remote| remote.ip().to_canonical()) {
            Some(IpAddr::V4(address)) => Self::V4(address.octets()),
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
            None => Self::Stream,
        }
    }
}

/// The limits of checks that run and wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Maximum checks that run at once.
    pub(super) workers: usize,
    /// Maximum of them for one source.
    pub(super) workers_per_source: usize,
    /// Maximum checks that wait.
    pub(super) waiting: usize,
    /// Maximum of them for one source.
    pub(super) waiting_per_source: usize,
}

impl Bounds {
    /// Sets the workers to half of the cores, but at least two, of which one source may use one.
    pub(super) fn for_cores(cores: usize) -> Self {
        let workers = (cores / 2).max(2);
        Self {
            workers,
            workers_per_source: workers - 1,
            waiting: WAITING,
            waiting_per_source: WAITING_PER_SOURCE,
        }
    }
}

/// The checks that wait and that run.
///
/// Searches are linear: a thousand steps cost little beside the check that follows.
#[derive(Debug)]
pub(super) struct Queue<J> {
    bounds: Bounds,
    /// In the order of arrival.
    waiting: Vec<Waiting<J>>,
    /// The number of checks that run for each source; none of them is zero.
    running: HashMap<Source, usize>,
    next_number: u64,
    /// The next turn goes to the check that has waited longest.
    is_turn_of_oldest: bool,
}

#[derive(Debug)]
struct Waiting<J> {
    number: u64,
    source: Source,
    job: J,
}

impl<J> Queue<J> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            waiting: Vec::new(),
            running: HashMap::new(),
            next_number: 0,
            is_turn_of_oldest: false,
        }
    }

    /// Adds a job. Returns its number, and the job for which there is no room: this or another one.
    pub(super) fn push(&mut self, source: Source, job: J) -> (u64, Option<J>) {
        let number = self.next_number;
        self.next_number += 1;
        let counts = self.waiting_by_source();
        let waiting = counts.get(&source).copied().unwrap_or_default();
        let mut refused = None;
        if waiting >= self.bounds.waiting_per_source {
            return (number, Some(job));
        }
        if self.waiting.len() >= self.bounds.waiting {
            let Some(at) = self.last_of_longest(&counts, waiting + 1) else {
                return (number, Some(job));
            };
            refused = Some(self.waiting.remove(at).job);
        }
        self.waiting.push(Waiting { number, source, job });
        (number, refused)
    }

    /// Takes the job whose turn it is, if a worker is free for it. [`Self::finish`] must follow.
    pub(super) fn take_next(&mut self) -> Option<(Source, J)> {
        if self.running.values().sum::<usize>() >= self.bounds.workers {
            return None;
        }
        let may_run =
            |waiting: &&Waiting<J>| self.running(waiting.source) < self.bounds.workers_per_source;
        let counts = self.waiting_by_source();
        let chosen = if self.is_turn_of_oldest {
            self.waiting.iter().find(may_run)?.number
        } else {
            let outstanding =
                |source| self.running(source) + counts.get(&source).copied().unwrap_or_default();
            // Iterates in reverse so that of equals the source of the newest check is chosen.
            let newest = self
                .waiting
                .iter()
                .rev()
                .filter(may_run)
                .min_by_key(|waiting| outstanding(waiting.source))?;
            let first_of_source = |waiting: &&Waiting<J>| waiting.source == newest.source;
            self.waiting.iter().find(first_of_source)?.number
        };
        self.is_turn_of_oldest = !self.is_turn_of_oldest;
        let Waiting { source, job, .. } = self.remove(chosen)?;
        *self.running.entry(source).or_default() += 1;
        Some((source, job))
    }

    /// Frees the worker of a completed job.
    pub(super) fn finish(&mut self, source: Source) {
        if let Some(running) = self.running.get_mut(&source) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(&source);
            }
        }
    }

    /// Drops the job with this number, if it waits.
    pub(super) fn forget(&mut self, number: u64) {
        self.remove(number);
    }

    fn remove(&mut self, number: u64) -> Option<Waiting<J>> {
        // Numbers are in ascending order.
        let at = self.waiting.binary_search_by_key(&number, |waiting| waiting.number).ok()?;
        let removed = self.waiting.remove(at);
        if self.waiting.is_empty() {
            // Frees the memory that a flood of checks has taken.
            self.waiting = Vec::new();
        }
        Some(removed)
    }

    fn running(&self, source: Source) -> usize {
        self.running.get(&source).copied().unwrap_or_default()
    }

    fn waiting_by_source(&self) -> HashMap<Source, usize> {
        let mut counts = HashMap::new();
        for waiting in &self.waiting {
            *counts.entry(waiting.source).or_default() += 1;
        }
        counts
    }

    /// Returns the last job of the source with most waiting, if that is more than `least`.
    fn last_of_longest(&self, counts: &HashMap<Source, usize>, least: usize) -> Option<usize> {
        let most = counts.values().copied().max().filter(|most| *most > least)?;
        self.waiting.iter().rposition(|waiting| counts.get(&waiting.source) == Some(&most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds =
        Bounds { workers: 2, workers_per_source: 1, waiting: 12, waiting_per_source: 4 };

    fn host(last: u8) -> Source {
        Source::V4([192, 0, 2, last])
    }

    /// Creates a queue with one worker, so that each turn is a choice among all waiting jobs.
    fn one_worker() -> Queue<&'static str> {
        Queue::new(Bounds { workers: 1, waiting_per_source: 12, ..BOUNDS })
    }

    /// Runs all jobs one after the other and returns their order.
    fn drain(queue: &mut Queue<&'static str>) -> Vec<&'static str> {
        let mut order = Vec::new();
        while let Some((source, job)) = queue.take_next() {
            order.push(job);
            queue.finish(source);
        }
        order
    }

    #[test]
    fn one_source_leaves_a_worker_for_the_others() {
        for cores in [1, 2, 3, 4, 8, 64] {
            let mut queue = Queue::new(Bounds::for_cores(cores));
            for _ in 0..100 {
                queue.push(host(1), "wrong");
            }
            while queue.take_next().is_some() {}
            queue.push(host(2), "right");
            assert_eq!(queue.take_next(), Some((host(2), "right")), "{cores} cores");
            assert_eq!(queue.take_next(), None, "{cores} cores: all workers are busy");
        }
    }

    #[test]
    fn at_most_half_of_many_cores_work() {
        for (cores, workers) in [(1, 2), (2, 2), (4, 2), (8, 4), (64, 32)] {
            let mut queue = Queue::new(Bounds::for_cores(cores));
            for last in 0..100 {
                queue.push(host(last), "");
            }
            let begun = std::iter::from_fn(|| queue.take_next()).count();
            assert_eq!(begun, workers, "{cores} cores");
        }
    }

    #[test]
    fn a_new_source_goes_before_the_queued_checks_of_others() {
        let mut queue = one_worker();
        for job in ["a1", "a2", "a3"] {
            queue.push(host(1), job);
        }
        assert_eq!(queue.take_next(), Some((host(1), "a1")));
        queue.push(host(2), "b1");
        queue.push(host(3), "c1");
        queue.finish(host(1));
        // The oldest, then a new source, then the oldest again.
        assert_eq!(drain(&mut queue), ["a2", "c1", "a3", "b1"]);
    }

    #[test]
    fn sources_take_turns() {
        let mut queue = one_worker();
        for job in ["a1", "a2", "a3", "a4"] {
            queue.push(host(1), job);
        }
        for job in ["b1", "b2", "b3", "b4"] {
            queue.push(host(2), job);
        }
        let order = drain(&mut queue);
        for half in order.chunks(4) {
            let of_a = half.iter().filter(|job| job.starts_with('a')).count();
            assert!((1..=3).contains(&of_a), "{order:?}");
        }
        let of = |source| order.iter().filter(|job| job.starts_with(source)).copied().collect();
        let (a, b): (Vec<_>, Vec<_>) = (of('a'), of('b'));
        assert_eq!(a, ["a1", "a2", "a3", "a4"], "in the order of arrival");
        assert_eq!(b, ["b1", "b2", "b3", "b4"], "in the order of arrival");
    }

    #[test]
    fn an_endless_stream_of_new_sources_does_not_starve_old_checks() {
        let mut queue = Queue::new(Bounds { workers: 1, ..BOUNDS });
        for job in ["old 1", "old 2", "old 3"] {
            queue.push(host(0), job);
        }
        let mut served = 0;
        for last in 1..=6 {
            queue.push(host(last), "new");
            let (source, job) = queue.take_next().unwrap();
            served += usize::from(job != "new");
            queue.finish(source);
        }
        assert_eq!(served, 3);
    }

    #[test]
    fn only_the_source_with_too_many_waiting_is_refused() {
        let mut queue = Queue::new(BOUNDS);
        for _ in 0..BOUNDS.waiting_per_source {
            assert_eq!(queue.push(host(1), "in").1, None);
        }
        assert_eq!(queue.push(host(1), "one more").1, Some("one more"));
        assert_eq!(queue.push(host(2), "in").1, None);
        assert!(queue.take_next().is_some_and(|(source, _)| source == host(2)));
        assert!(queue.take_next().is_some_and(|(source, _)| source == host(1)));
        assert_eq!(queue.push(host(1), "in again").1, None);
    }

    #[test]
    fn a_full_queue_drops_a_check_of_the_source_with_most_waiting() {
        let mut queue = Queue::new(BOUNDS);
        for last in 1..=3 {
            for job in ["first", "second", "third", "fourth"] {
                assert_eq!(queue.push(host(last), job).1, None);
            }
        }
        // Each new check replaces the last one of a source, while that source has more waiting.
        let refused: Vec<_> = (10..20).filter_map(|last| queue.push(host(last), "new").1).collect();
        assert_eq!(refused.iter().filter(|job| **job == "fourth").count(), 3, "{refused:?}");
        assert_eq!(refused.iter().filter(|job| **job == "first").count(), 0, "{refused:?}");
        assert_eq!(refused.last(), Some(&"new"), "no source has more waiting");
        assert_eq!(queue.waiting.len(), BOUNDS.waiting);
    }

    #[test]
    fn a_forgotten_check_does_not_run_and_makes_room() {
        let mut queue = Queue::new(BOUNDS);
        let numbers: Vec<_> = ["a", "b", "c", "d"].map(|job| queue.push(host(1), job).0).into();
        queue.forget(numbers[1]);
        queue.forget(numbers[1]);
        assert_eq!(queue.push(host(1), "e").1, None);
        assert_eq!(drain(&mut queue), ["a", "c", "d", "e"]);
        queue.forget(numbers[0]);
        assert!(queue.running.is_empty() && queue.waiting.is_empty());
    }

    #[test]
    fn addresses_of_one_customer_are_one_source() {
        let source = |text: &str| Source::of(Some(text.parse().unwrap()));
        assert_eq!(source("192.0.2.1:1"), source("192.0.2.1:2"));
        assert_ne!(source("192.0.2.1:1"), source("192.0.2.2:1"));
        assert_eq!(source("192.0.2.1:1"), source("[::ffff:192.0.2.1]:1"));
        assert_eq!(source("[2001:db8::1]:1"), source("[2001:db8::ffff:1]:1"));
        assert_ne!(source("[2001:db8::1]:1"), source("[2001:db8:0:1::1]:1"));
        assert_ne!(Source::of(None), Source::Unix);
    }
}
