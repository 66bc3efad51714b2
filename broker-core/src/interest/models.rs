//! Models of a session's cache during changes of the interest, run by shuttle under many schedules.

use crate::sync::{AtomicU8, AtomicU32, Ordering};

use shuttle::thread;

use super::{Interest, Interested, LookUps, MatchCache};
use crate::subject_counts::Verdict;
use crate::sync::{Arc, check_model};

const LOOK_UPS: usize = 6;

struct Wants {
    id: u64,
    filter: &'static str,
    mark: AtomicU8,
}

impl Interested for Wants {
    fn filter(&self) -> &[u8] {
        self.filter.as_bytes()
    }

    fn touch_memory(&self) -> usize {
        self.filter.len()
    }

    fn queue(&self) -> Option<&[u8]> {
        None
    }

    fn owner(&self) -> u64 {
        self.id
    }

    fn kind_bit(&self) -> u8 {
        1
    }

    fn mark(&self) -> u8 {
        self.mark.load(Ordering::Relaxed)
    }

    fn set_mark(&self, mark: u8) {
        self.mark.store(mark, Ordering::Relaxed);
    }
}

/// The stages of a subscriber: before SUB, SUB under way, subscribed, UNSUB under way, unsubscribed.
#[derive(Default)]
struct Stage(AtomicU32);

const SUBSCRIBED: u32 = 2;
const GONE: u32 = 4;

impl Stage {
    fn next(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn now(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A publisher looks up a subject repeatedly while others subscribe and unsubscribe. A look-up that
/// begins after SUB has returned finds the subscriber; one that begins after UNSUB has returned does not.
fn model(filters: &[&'static str]) {
    let interest = Arc::new(Interest::new(1));
    let subscribers: Vec<(Arc<Wants>, Arc<Stage>)> = filters
        .iter()
        .zip(1..)
        .map(|(filter, id)| {
            (Arc::new(Wants { id, filter, mark: AtomicU8::new(0) }), Arc::default())
        })
        .collect();
    let threads: Vec<_> = subscribers
        .iter()
        .map(|(wants, stage)| {
            let (interest, wants) = (Arc::clone(&interest), Arc::clone(wants));
            let stage = Arc::clone(stage);
            thread::spawn(move || {
                stage.next();
                interest.insert(Arc::clone(&wants));
                stage.next();
                thread::yield_now();
                stage.next();
                interest.remove(&[wants]);
                stage.next();
            })
        })
        .collect();
    let mut cache = MatchCache::new(interest.hasher(), 1, Arc::<LookUps>::default());
    for look_up in 0..LOOK_UPS {
        let stages =
            |_: &()| -> Vec<u32> { subscribers.iter().map(|(_, stage)| stage.now()).collect() };
        let before = stages(&());
        // A look-up of another subject replaces the previous one.
        let subject: &[u8] = if look_up % 3 == 2 { b"a.c" } else { b"a.b" };
        let known = cache.look_up(&interest, subject, None, |_| Verdict::ALLOWED);
        let found: Vec<u64> = known.matches.plain.iter().map(|wants| wants.id).collect();
        let after = stages(&());
        for (place, (wants, _)) in subscribers.iter().enumerate() {
            let is_meant = subject == b"a.b" || wants.filter != "a.b";
            let is_found = found.contains(&wants.id);
            if before[place] == SUBSCRIBED && after[place] == SUBSCRIBED && is_meant {
                assert!(is_found, "{} is subscribed", wants.filter);
            }
            if before[place] == GONE || after[place] == 0 || !is_meant {
                assert!(!is_found, "{} is not subscribed", wants.filter);
            }
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(interest.len(), 0);
}

#[test]
fn a_look_up_sees_all_changes_that_have_returned() {
    check_model(|| model(&["a.b", "a.b"]));
}

#[test]
fn a_look_up_sees_changes_of_wildcards_too() {
    check_model(|| model(&["a.*", ">", "a.b"]));
}
