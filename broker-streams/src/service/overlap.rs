//! Work on several threads, whose results are taken in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

/// Calls `work` with each item, on as many threads, and `take` with the item and the result, in order, on this one. Returns the first error
/// of `take`; work that was begun then ends first.
pub(super) fn overlap<I: Sync, R: Send, E>(
    items: &[I],
    threads: usize,
    work: impl Fn(&I) -> R + Sync,
    mut take: impl FnMut(&I, R) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.min(items.len());
    if threads <= 1 {
        return items.iter().try_for_each(|item| take(item, work(item)));
    }
    let begun = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (sender, done) = sync_channel(threads);
        for _ in 0..threads {
            let (sender, begun, work) = (sender.clone(), &begun, &work);
            scope.spawn(move || {
                loop {
                    let at = begun.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    // Nobody receives any more after an error.
                    if sender.send((at, work(item))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut next = 0;
        for (at, result) in done {
            early.insert(at, result);
            while let Some(result) = early.remove(&next) {
                take(&items[next], result)?;
                next += 1;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn results_are_taken_in_order_whichever_is_done_first() {
        let first_waits = AtomicBool::new(true);
        let work = |item: &u32| {
            while *item == 0 && first_waits.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            // The first one ends after all that another thread can begin.
            first_waits.fetch_and(*item != 2, Ordering::AcqRel);
            item * 2
        };
        let mut taken = Vec::new();
        let result = overlap(&[0, 1, 2, 3, 4], 2, work, |item, result| {
            taken.push((*item, result));
            Ok::<_, ()>(())
        });
        assert_eq!(result, Ok(()));
        assert_eq!(taken, [(0, 0), (1, 2), (2, 4), (3, 6), (4, 8)]);
    }

    #[test]
    fn as_many_items_are_worked_on_at_once_as_there_are_threads() {
        let together = Barrier::new(3);
        let work = |_: &u32| together.wait().is_leader();
        let mut leaders = 0;
        let take = |_: &u32, is_leader| {
            leaders += u32::from(is_leader);
            Ok::<_, ()>(())
        };
        overlap(&[0; 9], 3, work, take).unwrap();
        assert_eq!(leaders, 3);
    }

    #[test]
    fn nothing_is_begun_after_an_error() {
        let (begun, has_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let work = |item: &usize| {
            begun.fetch_add(1, Ordering::Relaxed);
            while *item > 100 && !has_failed.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
        };
        let take = |item: &usize, ()| {
            has_failed.store(*item == 5, Ordering::Release);
            if *item == 5 { Err("five") } else { Ok(()) }
        };
        let items: Vec<_> = (0..10_000).collect();
        assert_eq!(overlap(&items, 4, work, take), Err("five"));
        assert!(begun.into_inner() < 200);
    }
}
