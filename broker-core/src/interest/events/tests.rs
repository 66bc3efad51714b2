//! The changes that listeners receive, checked against a list of subscriptions.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::interest::InterestChange;
use crate::interest::pending::Progress;
use crate::interest::tests::{Fake, fake, fake_of_kind};
use crate::limits::INTEREST_BATCH;
use crate::random::Random;
use crate::sync::{AtomicBool, Mutex, Ordering, Weak};
use crate::table::MOST;

type Told = BTreeMap<(String, Option<String>), u32>;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The changes that one listener received.
#[derive(Default)]
struct Diary {
    told: Told,
    events: usize,
}

impl Diary {
    /// Checks that each event begins at the count of the one before: none is lost, repeated or out of order.
    fn write(&mut self, change: &InterestChange<'_>) {
        let key = (text(change.filter), change.queue.map(text));
        let before = match change.now {
            0 => self.told.remove(&key),
            now => self.told.insert(key.clone(), now),
        };
        assert_eq!(before.unwrap_or_default(), change.before, "{key:?}");
        assert_ne!(change.before, change.now, "{key:?}");
        self.events += 1;
    }
}

/// A listener that records the changes.
struct Reader {
    kinds: u8,
    diary: Arc<Mutex<Diary>>,
    listener: Arc<EventListener>,
}

impl Reader {
    fn new(interest: &Interest<Fake>, kinds: u8) -> Self {
        let diary: Arc<Mutex<Diary>> = Arc::default();
        let theirs = Arc::clone(&diary);
        let call = ListenerCall::each(move |change| theirs.lock().write(change));
        Self { kinds, diary, listener: interest.listen(kinds, call) }
    }

    /// Creates one that is called with several changes at once.
    fn of_several(interest: &Interest<Fake>, kinds: u8) -> Self {
        let diary: Arc<Mutex<Diary>> = Arc::default();
        let theirs = Arc::clone(&diary);
        let call = ListenerCall::several(move |changes| {
            assert!((1..=INTEREST_BATCH).contains(&changes.iter().count()));
            changes.iter().for_each(|change| theirs.lock().write(&change));
        });
        Self { kinds, diary, listener: interest.listen(kinds, call) }
    }

    fn catch_up(&self, interest: &Interest<Fake>, existing: &[Arc<Fake>]) {
        if !interest.is_counted() {
            existing.chunks(32).for_each(|batch| interest.count(&self.listener, batch));
            interest.finish_counting();
        }
        while interest.tell_part(&self.listener) {}
    }

    fn told(&self) -> Told {
        self.diary.lock().told.clone()
    }

    fn events(&self) -> usize {
        self.diary.lock().events
    }
}

fn counted(all: &[Arc<Fake>], kinds: u8) -> Told {
    let mut counts = Told::new();
    for one in all.iter().filter(|one| one.kind_bit() & kinds != 0 && one.weight() > 0) {
        let count = counts.entry((text(one.filter()), one.queue().map(text))).or_default();
        *count = if one.queue().is_none() { 1 } else { *count + one.weight() };
    }
    counts
}

#[test]
fn plain_interest_is_one_event_and_each_queue_group_member_counts() {
    let interest = Interest::new(1);
    let reader = Reader::new(&interest, 1);
    let plain = [fake(1, "a.*", None), fake(2, "a.*", None)];
    let members = [fake(3, "a.*", Some("q")), fake(4, "a.*", Some("q"))];
    for one in plain.iter().chain(&members) {
        interest.insert(Arc::clone(one));
    }
    assert_eq!(reader.events(), 3, "a second plain subscription is no event");
    interest.set_weight(&members[0], 5);
    assert_eq!(reader.told()[&("a.*".into(), Some("q".into()))], 6);
    interest.remove(&plain[..1]);
    assert_eq!(reader.events(), 4);
    interest.remove(&plain[1..]);
    interest.remove(&members);
    assert!(reader.told().is_empty());
    interest.remove(&members);
    assert_eq!(reader.events(), 6, "a batch is one change, and a second removal is none");
}

#[test]
fn a_listener_receives_the_kinds_that_it_selects() {
    let interest = Interest::new(1);
    let (local, remote) = (Reader::new(&interest, 0b01), Reader::new(&interest, 0b11));
    let subscriptions =
        [fake_of_kind(2, 1, "a", None), fake_of_kind(2, 2, "b", Some("q")), fake(3, "a", None)];
    interest.insert(Arc::clone(&subscriptions[0]));
    interest.insert(Arc::clone(&subscriptions[1]));
    assert_eq!((local.events(), remote.events()), (0, 2));
    interest.insert(Arc::clone(&subscriptions[2]));
    assert_eq!((local.events(), remote.events()), (1, 2));
    interest.remove(&subscriptions[..1]);
    assert_eq!((local.events(), remote.events()), (1, 2));
}

/// Most of the interest of a server of a cluster is that of others, which no listener of it has selected.
#[test]
fn kinds_are_counted_once_a_listener_selects_them() {
    let interest = Interest::new(1);
    let kept = || interest.state.read().events.counts.as_ref().map_or(0, |counts| counts.len());
    let local = Reader::new(&interest, 0b01);
    let mut all = vec![fake_of_kind(1, 1, "a", None)];
    all.extend(
        (2..100).map(|id| fake_of_kind(2, id, &format!("b.{id}"), (id % 2 == 0).then_some("q"))),
    );
    all.iter().for_each(|one| interest.insert(Arc::clone(one)));
    assert_eq!((kept(), local.told()), (1, counted(&all, 0b01)));
    interest.set_weight(&all[2], 5);
    let removed = all.pop().into_iter().collect::<Vec<_>>();
    interest.remove(&removed);
    assert_eq!(kept(), 1);
    let both = Reader::new(&interest, 0b11);
    assert!(!interest.is_counted());
    // Added while others are counted.
    all.push(fake_of_kind(2, 200, "c", None));
    interest.insert(Arc::clone(&all[all.len() - 1]));
    let before = local.events();
    both.catch_up(&interest, &all);
    assert_eq!(both.told(), counted(&all, 0b11));
    assert_eq!(local.events(), before, "it has all of its interest already");
    let third = Reader::new(&interest, 0b01);
    third.catch_up(&interest, &[]);
    assert_eq!(third.told(), counted(&all, 0b01));
    interest.remove(&all);
    assert!(both.told().is_empty() && local.told().is_empty());
    assert_eq!(kept(), 0);
}

#[test]
fn changes_are_in_order_and_follow_a_complete_batch() {
    let interest: Arc<Interest<Fake>> = Arc::new(Interest::new(1));
    let seen: Arc<Mutex<Vec<(String, usize)>>> = Arc::default();
    let (theirs, inner) = (Arc::clone(&seen), Arc::clone(&interest));
    let call = move |change: &InterestChange<'_>| {
        // The listener may read the interest: no lock is held.
        theirs.lock().push((text(change.filter), inner.len()));
    };
    let listener = interest.listen(1, ListenerCall::each(call));
    let all: Vec<_> = (0..5).map(|id| fake(id, &format!("s.{id}"), None)).collect();
    all.iter().for_each(|one| interest.insert(Arc::clone(one)));
    interest.remove(&all);
    let expected: Vec<(String, usize)> = (1..6)
        .map(|len| (format!("s.{}", len - 1), len))
        .chain((0..5).map(|id| (format!("s.{id}"), 0)))
        .collect();
    assert_eq!(*seen.lock(), expected);
    interest.stop_listening(&listener);
}

/// Changes that are made during a call, and those of a batch, are pending together.
#[test]
fn several_changes_are_passed_at_once_in_order() {
    let interest: Arc<Interest<Fake>> = Arc::new(Interest::new(1));
    let own: Weak<Interest<Fake>> = Arc::downgrade(&interest);
    let seen: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
    let theirs = Arc::clone(&seen);
    let listener = interest.listen(
        1,
        ListenerCall::several(move |changes| {
            theirs.lock().push(changes.iter().map(|change| text(change.filter)).collect());
            if changes.iter().any(|change| change.filter == b"first") {
                let interest = own.upgrade().unwrap();
                (0..100).for_each(|id| interest.insert(fake(id, &format!("s.{id}"), None)));
            }
        }),
    );
    interest.insert(fake(100, "first", None));
    let seen = std::mem::take(&mut *seen.lock());
    let lens: Vec<usize> = seen.iter().map(Vec::len).collect();
    assert_eq!(lens, [1, INTEREST_BATCH, INTEREST_BATCH, INTEREST_BATCH, 100 - 3 * INTEREST_BATCH]);
    let expected = (0..100).map(|id| format!("s.{id}"));
    assert!(seen.into_iter().skip(1).flatten().eq(expected));
    interest.stop_listening(&listener);
}

#[test]
fn a_removed_listener_is_not_called_and_is_freed() {
    let interest = Interest::new(1);
    let (one, other) = (Reader::new(&interest, 1), Reader::new(&interest, 1));
    interest.insert(fake(1, "a", None));
    interest.stop_listening(&one.listener);
    interest.insert(fake(2, "b", None));
    assert_eq!((one.events(), other.events()), (1, 2));
    assert_eq!(Arc::strong_count(&one.diary), 2, "the call is dropped with the handle");
    interest.stop_listening(&other.listener);
    assert!(interest.state.read().events.counts.is_none());
    interest.insert(fake(3, "c", None));
    assert_eq!(other.events(), 2);
}

/// Counting is abandoned again and again, with one subscription counted each time.
#[test]
fn abandoned_counting_can_be_restarted_any_number_of_times() {
    let interest = Interest::new(1);
    let all = [fake(1, "a", None), fake(2, "b", None), fake(3, "c", Some("q"))];
    all.iter().for_each(|one| interest.insert(Arc::clone(one)));
    for _ in 0..600 {
        let reader = Reader::new(&interest, 1);
        interest.count(&reader.listener, &all[..1]);
        interest.stop_listening(&reader.listener);
    }
    let reader = Reader::new(&interest, 1);
    reader.catch_up(&interest, &all);
    assert_eq!(reader.told(), counted(&all, 1));
}

/// Changes are pending while a call is under way.
#[test]
fn pending_changes_of_a_slow_listener_are_bounded_and_updated() {
    let interest: Arc<Interest<Fake>> = Arc::new(Interest::new(1));
    let own: Weak<Interest<Fake>> = Arc::downgrade(&interest);
    let diary: Arc<Mutex<Diary>> = Arc::default();
    let (theirs, is_first) = (Arc::clone(&diary), AtomicBool::new(true));
    let call = move |change: &InterestChange<'_>| {
        theirs.lock().write(change);
        if !is_first.swap(false, Ordering::Relaxed) {
            return;
        }
        let interest = own.upgrade().unwrap();
        // Inboxes are added and removed, members are added, and then one that it has received is removed.
        for id in 0..10_000 {
            let inbox = fake(id, &format!("_INBOX.{id}"), None);
            interest.insert(Arc::clone(&inbox));
            interest.remove(&[inbox]);
        }
        (0..1_000).for_each(|id| interest.insert(fake(id, "jobs", Some("q"))));
        let counts = interest.state.read().events.listeners();
        assert_eq!(counts[0].waiting(), 1);
    };
    let listener = interest.listen(1, ListenerCall::each(call));
    interest.insert(fake(1, "a", None));
    let diary = diary.lock();
    assert_eq!(diary.events, 2);
    assert_eq!(diary.told[&("jobs".into(), Some("q".into()))], 1_000);
    drop(diary);
    interest.stop_listening(&listener);
}

#[test]
fn existing_interest_is_passed_in_slices_once_while_it_changes() {
    let interest = Interest::new(1);
    let mut all: Vec<Arc<Fake>> = Vec::new();
    for id in 0..50_000 {
        let filter = if id % 7 == 0 { format!("a.{id}.*") } else { format!("a.{}", id / 3) };
        let one = fake(id, &filter, (id % 5 == 0).then_some("q"));
        interest.insert(Arc::clone(&one));
        all.push(one);
    }
    let reader = Reader::new(&interest, 1);
    let mut random = Random::new(7);
    let mut churn = |all: &mut Vec<Arc<Fake>>, id: u64| {
        for id in id * 100..id * 100 + 40 {
            let gone = all.swap_remove(random.below(all.len()));
            interest.remove(&[gone]);
            let filter = format!("a.{}", random.below(40_000));
            let one = fake(id, &filter, (id % 2 == 0).then_some("q"));
            interest.insert(Arc::clone(&one));
            all.push(one);
        }
    };
    let existing = all.clone();
    for (number, batch) in existing.chunks(32).enumerate() {
        churn(&mut all, number as u64);
        interest.count(&reader.listener, batch);
    }
    let told = reader.told();
    assert!(told.len() > 1_000, "{} plain filters are passed when they are counted", told.len());
    assert!(told.keys().all(|(_, queue)| queue.is_none()), "groups are when all members are");
    interest.finish_counting();
    let (mut slices, mut told) = (0, 0);
    loop {
        let before = reader.events();
        let has_more = interest.tell_part(&reader.listener);
        assert!(reader.events() - before <= MOST, "{} in one slice", reader.events() - before);
        told += reader.events() - before;
        slices += 1;
        if !has_more {
            break;
        }
        churn(&mut all, 1_000_000 + slices);
    }
    assert!(slices > 50 && told > 10_000, "{told} in {slices} slices");
    assert_eq!(reader.told(), counted(&all, 1));
    // A second listener needs no counting.
    let second = Reader::new(&interest, 1);
    assert!(interest.is_counted());
    second.catch_up(&interest, &[]);
    assert_eq!(second.told(), reader.told());
}

/// The first listener may be one to a server that does not read: another one then counts what it has not counted.
#[test]
fn a_filter_that_another_listener_counted_is_passed_when_all_are_counted() {
    let interest = Interest::new(1);
    let all: Vec<_> = (0..3_000).map(|id| fake(id, &format!("a.{id}"), None)).collect();
    all.iter().for_each(|one| interest.insert(Arc::clone(one)));
    let (first, second) = (Reader::new(&interest, 1), Reader::new(&interest, 1));
    interest.count(&first.listener, &all[..1_000]);
    assert_eq!(first.told(), counted(&all[..1_000], 1));
    interest.count(&second.listener, &all);
    assert_eq!((first.events(), second.events()), (1_000, 0));
    // One that was passed ends, one that was not ends, and one comes back.
    interest.remove(&all[999..1_001]);
    interest.remove(&all[500..501]);
    interest.insert(Arc::clone(&all[500]));
    interest.finish_counting();
    first.catch_up(&interest, &[]);
    assert_eq!(second.events(), 0);
    second.catch_up(&interest, &[]);
    let left = [&all[..999], &all[1_001..]].concat();
    assert_eq!((first.told(), second.told()), (counted(&left, 1), counted(&left, 1)));
    assert_eq!((first.events(), second.events()), (3_002, 2_998));
}

/// Listeners are added while threads subscribe and unsubscribe, and each subscription has been passed to listeners
/// when SUB returns.
#[test]
fn no_listener_misses_or_repeats_a_change_of_concurrent_threads() {
    let interest: Arc<Interest<Fake>> = Arc::new(Interest::new(1));
    let existing: Vec<_> = (0..3_000).map(|id| fake(id, &format!("e.{id}"), None)).collect();
    existing.iter().for_each(|one| interest.insert(Arc::clone(one)));
    let early = Reader::new(&interest, 1);
    let left: Vec<Vec<Arc<Fake>>> = std::thread::scope(|scope| {
        let (interest, early) = (&interest, &early);
        let churners: Vec<_> = (0..4_u64)
            .map(|thread| {
                scope.spawn(move || {
                    let (mut held, mut random) = (Vec::new(), Random::new(thread));
                    for round in 0..3_000 {
                        let id = 10_000 * (thread + 1) + round;
                        let one = match random.below(3) {
                            0 => fake(id, "jobs", Some("q")),
                            1 => fake(id, &format!("s.{}", random.below(20)), None),
                            _ => fake(id, &format!("own.{id}"), None),
                        };
                        let has_caught_up = early.listener.progress() == Progress::All;
                        interest.insert(Arc::clone(&one));
                        if has_caught_up && one.filter().starts_with(b"own") {
                            let key = (text(one.filter()), None);
                            let is_told = early.diary.lock().told.contains_key(&key);
                            assert!(is_told, "{} was not told", one.id());
                        }
                        held.push(one);
                        if held.len() > 50 {
                            let gone = held.swap_remove(random.below(held.len()));
                            interest.remove(&[gone]);
                        }
                    }
                    held
                })
            })
            .collect();
        early.catch_up(interest, &existing);
        churners.into_iter().map(|churner| churner.join().unwrap()).collect()
    });
    let late = Reader::of_several(&interest, 1);
    late.catch_up(&interest, &[]);
    let all: Vec<_> = existing.into_iter().chain(left.into_iter().flatten()).collect();
    assert_eq!(early.told(), counted(&all, 1));
    assert_eq!(late.told(), counted(&all, 1));
}

#[derive(Clone, Debug)]
enum Step {
    Insert(String, Option<String>, u8),
    Remove(prop::sample::Index, usize),
    Weigh(prop::sample::Index, u32),
    Listen(u8, bool),
    Count(prop::sample::Index, prop::sample::Index),
    CatchUp(prop::sample::Index),
    Leave(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => ("[ab](\\.[ab*])?", proptest::option::of("[pq]"), 0..3_u8)
            .prop_map(|(filter, queue, kind)| Step::Insert(filter, queue, 1 << kind)),
        4 => (index(), 1..4_usize).prop_map(|(which, count)| Step::Remove(which, count)),
        2 => (index(), 0..4_u32).prop_map(|(which, weight)| Step::Weigh(which, weight)),
        1 => (1..8_u8, any::<bool>()).prop_map(|(kinds, several)| Step::Listen(kinds, several)),
        1 => (index(), index()).prop_map(|(who, which)| Step::Count(who, which)),
        1 => index().prop_map(Step::CatchUp),
        1 => index().prop_map(Step::Leave),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_changes_of_a_listener_add_up_to_the_interest(
        steps in proptest::collection::vec(step(), 1..120)
    ) {
        let interest = Interest::new(7);
        let (mut all, mut readers) = (Vec::<Arc<Fake>>::new(), Vec::<(Reader, bool)>::new());
        for (id, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert(filter, queue, kind) => {
                    let one = fake_of_kind(kind, id as u64, &filter, queue.as_deref());
                    interest.insert(Arc::clone(&one));
                    all.push(one);
                }
                Step::Remove(which, count) if !all.is_empty() => {
                    let at = which.index(all.len());
                    let gone: Vec<_> = all.drain(at..all.len().min(at + count)).collect();
                    interest.remove(&gone);
                }
                Step::Weigh(which, weight) if !all.is_empty() => {
                    let one = &all[which.index(all.len())];
                    if one.queue().is_some() {
                        interest.set_weight(one, weight);
                    }
                }
                Step::Listen(kinds, several) => {
                    let make = if several { Reader::of_several } else { Reader::new };
                    readers.push((make(&interest, kinds), false));
                }
                // Any listener may count a part, and another one go on.
                Step::Count(who, which) if !readers.is_empty() && !all.is_empty() => {
                    let by = &readers[who.index(readers.len())].0;
                    if !interest.is_counted() {
                        interest.count(&by.listener, &all[which.index(all.len())..]);
                    }
                }
                Step::CatchUp(which) if !readers.is_empty() => {
                    let at = which.index(readers.len());
                    readers[at].0.catch_up(&interest, &all);
                    readers[at].1 = true;
                }
                Step::Leave(which) if !readers.is_empty() => {
                    let at = which.index(readers.len());
                    let (reader, _) = readers.swap_remove(at);
                    interest.stop_listening(&reader.listener);
                }
                _ => {}
            }
            for (reader, has_caught_up) in &readers {
                if *has_caught_up {
                    prop_assert_eq!(reader.told(), counted(&all, reader.kinds));
                }
            }
        }
    }
}
