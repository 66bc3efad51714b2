//! The sublist and its cache against the model.

use std::collections::HashSet;

use proptest::prelude::*;

use super::model::Model;
use super::*;
use crate::subject_counts::Verdict;
use crate::sync::{AtomicU8, AtomicU32, Ordering};

/// The filter of responses of services.
const RESPONSES: &str = "_R_.a.>";
/// The filter of the answers to the requests of a client inside the process.
const ANSWERS: &str = "_INBOX.a.*";

#[derive(Debug)]
pub(super) struct Fake {
    id: u64,
    filter: String,
    queue: Option<String>,
    kind: u8,
    weight: AtomicU32,
    mark: AtomicU8,
}

impl Fake {
    pub(super) fn id(&self) -> u64 {
        self.id
    }
}

impl Interested for Fake {
    fn filter(&self) -> &[u8] {
        self.filter.as_bytes()
    }

    fn queue(&self) -> Option<&[u8]> {
        self.queue.as_deref().map(str::as_bytes)
    }

    fn touch_memory(&self) -> usize {
        0
    }

    fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Ordering::Relaxed);
    }

    fn kind_bit(&self) -> u8 {
        self.kind
    }

    fn mark(&self) -> u8 {
        self.mark.load(Ordering::Relaxed)
    }

    fn set_mark(&self, mark: u8) {
        self.mark.store(mark, Ordering::Relaxed);
    }

    fn owner(&self) -> u64 {
        self.id % 3
    }

    fn is_service(&self) -> bool {
        self.filter == RESPONSES
    }

    fn is_used_once(&self) -> bool {
        self.is_service() || self.filter == ANSWERS
    }
}

pub(super) fn fake(id: u64, filter: &str, queue: Option<&str>) -> Arc<Fake> {
    fake_of_kind(1, id, filter, queue)
}

pub(super) fn fake_of_kind(kind: u8, id: u64, filter: &str, queue: Option<&str>) -> Arc<Fake> {
    let (weight, mark) = (AtomicU32::new(1), AtomicU8::new(0));
    Arc::new(Fake { id, filter: filter.into(), queue: queue.map(Into::into), kind, weight, mark })
}

fn ids(matches: &Matches<Fake>) -> Vec<u64> {
    let mut ids: Vec<u64> =
        matches.plain.iter().chain(matches.groups().iter().flatten()).map(|s| s.id).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn members_of_one_name_are_one_group_for_all_filters() {
    let interest = Interest::new(1);
    interest.insert(fake(1, "a.b", Some("q")));
    interest.insert(fake(2, "a.*", Some("q")));
    interest.insert(fake(3, "a.>", Some("r")));
    interest.insert(fake(4, "a.b", None));
    let mut matches = Matches::default();
    interest.collect(b"a.b", &mut matches);
    assert_eq!(matches.plain.len(), 1);
    let mut sizes: Vec<usize> = matches.groups().iter().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 2]);
}

#[test]
fn a_change_of_another_first_token_invalidates_nothing() {
    let interest = Interest::new(1);
    interest.insert(fake(1, "orders.new", None));
    let mut matches = Matches::default();
    let known = interest.collect(b"orders.new", &mut matches);
    let inbox = fake(2, "_INBOX.x", None);
    interest.insert(Arc::clone(&inbox));
    interest.remove(&[inbox]);
    assert!(interest.is_current(known));
    interest.insert(fake(3, "orders.old", None));
    assert!(!interest.is_current(known), "the same first token");
    let known = interest.generation(b"orders.new");
    interest.insert(fake(4, "*.x", None));
    assert!(!interest.is_current(known), "a wildcard matches every first token");
}

#[test]
fn a_subscription_never_inserted_is_not_removed() {
    let interest = Interest::new(1);
    interest.insert(fake(1, "a", None));
    interest.insert(fake(2, "a.*", None));
    interest.remove(&[fake(1, "a", None), fake(2, "a.*", None), fake(3, "b.>", None)]);
    assert_eq!(interest.len(), 2);
}

#[test]
fn the_table_shrinks_when_a_burst_is_over() {
    let interest = Interest::new(1);
    let many: Vec<_> = (0..20_000).map(|id| fake(id, &format!("x.{id}"), None)).collect();
    for subscription in &many {
        interest.insert(Arc::clone(subscription));
    }
    interest.remove(&many[..19_990]);
    assert_eq!(interest.len(), 10);
    let mut matches = Matches::default();
    interest.collect(b"x.19995", &mut matches);
    assert_eq!(ids(&matches), [19_995]);
    interest.remove(&many[19_990..]);
    assert_eq!(interest.len(), 0);
}

#[test]
fn the_cache_of_a_session_without_repeated_subjects_is_bounded() {
    let interest: Interest<Fake> = Interest::new(1);
    interest.insert(fake(1, "x.>", None));
    let mut cache = MatchCache::new(interest.hasher(), 1, Arc::default());
    for round in 0..200_000 {
        let subject = format!("x.{round}");
        let known = cache.look_up(&interest, subject.as_bytes(), None, |_| Verdict::ALLOWED);
        assert_eq!(known.matches.plain.len(), 1);
    }
    assert!(cache.remembered() <= crate::limits::CACHED_SUBJECTS);
}

/// Tests a cache that holds all subjects, and one that holds hardly any of them.
#[test]
fn a_prefetched_subject_is_looked_up_correctly_after_changes() {
    for subjects in [3_000, 50_000] {
        let interest: Interest<Fake> = Interest::new(1);
        let all: Vec<_> = (0..subjects).map(|id| fake(id, &format!("x.{id}"), None)).collect();
        all.iter().for_each(|one| interest.insert(Arc::clone(one)));
        let mut cache = MatchCache::new(interest.hasher(), 1, Arc::default());
        let mut random = crate::random::Random::new(subjects);
        let mut prefetched_subjects = 0;
        for round in 0..4_000 {
            let batch: Vec<u64> = (0..16).map(|_| random.below(subjects as usize) as u64).collect();
            let texts: Vec<String> = batch.iter().map(|id| format!("x.{id}")).collect();
            let prefetched = cache.prefetch(&interest, texts.iter().map(|text| text.as_bytes()));
            prefetched_subjects += prefetched.len();
            // One subscription is removed, and added again later.
            let gone = batch[random.below(16)];
            let is_churned = round % 500 == 499;
            if is_churned {
                interest.remove(std::slice::from_ref(&all[gone as usize]));
            }
            for (number, (id, text)) in batch.iter().zip(&texts).enumerate() {
                let prefetched = prefetched.get(number).copied();
                let known =
                    cache.look_up(&interest, text.as_bytes(), prefetched, |_| Verdict::ALLOWED);
                let expected: &[u64] = if is_churned && *id == gone { &[] } else { &[*id] };
                assert_eq!(ids(known.matches), expected, "{text} of {subjects}");
            }
            if is_churned {
                interest.insert(Arc::clone(&all[gone as usize]));
            }
        }
        assert!(prefetched_subjects > 10_000, "{prefetched_subjects} of {subjects}");
    }
}

#[test]
fn a_session_that_begins_to_repeat_subjects_is_cached() {
    let interest: Interest<Fake> = Interest::new(1);
    let mut cache = MatchCache::new(interest.hasher(), 1, Arc::default());
    for round in 0..100_000 {
        cache.look_up(&interest, format!("once.{round}").as_bytes(), None, |_| Verdict::ALLOWED);
    }
    let mut asked = 0;
    for round in 0..2_000_000 {
        cache.look_up(&interest, format!("again.{}", round % 10_000).as_bytes(), None, |_| {
            asked += usize::from(round >= 1_900_000);
            Verdict::ALLOWED
        });
    }
    assert!(asked < 1_000, "{asked} of the last 100,000 were not cached");
}

/// With a linear search for each removal, a client with 100,000 of them would take minutes.
#[test]
fn one_of_many_with_the_same_filter_is_removed_in_one_step() {
    for filter in ["a", "a.*", "a.>", "a.*.b"] {
        let interest = Interest::new(1);
        let many: Vec<_> = (0..60_000).map(|id| fake(id, filter, None)).collect();
        many.iter().for_each(|one| interest.insert(Arc::clone(one)));
        for at in 0..many.len() {
            // Removes from all over the list.
            interest.remove(std::slice::from_ref(&many[at * 7_919 % many.len()]));
        }
        assert_eq!(interest.len(), 0);
        assert_eq!(interest.trie_size(), (0, 0));
    }
}

#[test]
fn a_filter_without_a_shared_prefix_takes_no_node() {
    let interest = Interest::new(1);
    for number in 0..1_000 {
        interest.insert(fake(number, &format!("a.{number}.*.b.c.>"), None));
    }
    assert_eq!(interest.trie_size(), (1, 1 + 1_000), "one node for the common token");
    let second = fake(1_000, "a.7.*.b.d", None);
    interest.insert(Arc::clone(&second));
    // Behind 7, * and b; each with the edge to it, and two edges from the last.
    assert_eq!(interest.trie_size(), (4, 1 + 1_000 + 3));
    let mut matches = Matches::default();
    interest.collect(b"a.7.x.b.c.y.z", &mut matches);
    interest.collect(b"a.7.x.b.d", &mut matches);
    assert_eq!(ids(&matches), [7, 1_000]);
    interest.remove(&[second]);
    assert!(interest.trie_size().0 <= 4);
}

#[derive(Clone, Debug)]
enum Step {
    Insert(String, Option<String>),
    Remove(prop::sample::Index),
    Publish(String),
}

/// A token. The long ones are compared in pieces.
fn token() -> impl Strategy<Value = String> {
    prop_oneof![5 => "[abc]", 1 => "(of-)?twelve-bytes[ab]"]
}

fn step() -> impl Strategy<Value = Step> {
    let filter = proptest::collection::vec(prop_oneof![4 => token(), 1 => "\\*"], 0..3)
        .prop_flat_map(|tokens| {
            let last = prop_oneof![3 => token(), 1 => "\\*", 1 => ">"];
            last.prop_map(move |last| {
                let mut tokens = tokens.clone();
                tokens.push(last);
                tokens.join(".")
            })
        });
    let subject = proptest::collection::vec(prop_oneof![12 => token(), 1 => "\\*", 1 => ""], 1..5)
        .prop_map(|tokens| tokens.join("."));
    prop_oneof![
        3 => (filter, proptest::option::of("[pq]")).prop_map(|(f, q)| Step::Insert(f, q)),
        1 => any::<prop::sample::Index>().prop_map(Step::Remove),
        4 => subject.prop_map(Step::Publish),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_sublist_and_its_cache_agree_with_the_model(
        steps in proptest::collection::vec(step(), 1..80)
    ) {
        let interest = Interest::new(7);
        let mut cache = MatchCache::new(interest.hasher(), 7, Arc::default());
        let mut model = Model(Vec::new());
        for (id, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert(filter, queue) => {
                    let subscription = fake(id as u64, &filter, queue.as_deref());
                    interest.insert(Arc::clone(&subscription));
                    model.0.push(subscription);
                }
                Step::Remove(which) => {
                    if !model.0.is_empty() {
                        let gone = model.0.swap_remove(which.index(model.0.len()));
                        interest.remove(&[gone]);
                    }
                }
                Step::Publish(subject) => {
                    let mut expected: Vec<u64> =
                        model.matching(&subject).iter().map(|s| s.id).collect();
                    expected.sort_unstable();
                    let mut fresh = Matches::default();
                    interest.collect(subject.as_bytes(), &mut fresh);
                    prop_assert_eq!(&ids(&fresh), &expected);
                    let known = cache.look_up(&interest, subject.as_bytes(), None, |_| Verdict::ALLOWED);
                    prop_assert_eq!(&ids(known.matches), &expected, "cached");
                    let owners: Vec<u64> = known.matches.plain.iter().map(|s| s.owner()).collect();
                    prop_assert!(owners.is_sorted());
                    let members = known.matches.groups().iter().flatten();
                    let all = known.matches.plain.iter().chain(members).map(|s| s.owner());
                    let distinct: HashSet<u64> = all.clone().collect();
                    let differ = distinct.len() == all.count();
                    prop_assert_eq!(differ, known.matches.owners_differ());
                }
            }
            prop_assert_eq!(interest.len(), model.0.len());
        }
        interest.remove(&model.0);
        prop_assert_eq!((interest.len(), interest.trie_size()), (0, (0, 0)));
    }
}

/// Filters that begin as reply subjects of services and clients do, or match them.
fn reply_filter() -> impl Strategy<Value = String> {
    let first = prop_oneof![2 => "_R_", 2 => "_INBOX", 1 => "\\*"];
    let tokens = (first, "[ab*]", "[xy*]", "[xy*]");
    (tokens, 1..=4usize, any::<bool>()).prop_map(
        |((first, second, third, fourth), count, is_full)| {
            let mut tokens = [first, second, third, fourth];
            if is_full {
                tokens[count - 1] = ">".into();
            }
            tokens[..count].join(".")
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The matches of one reply subject are those of others only if these have the same.
    #[test]
    fn reply_subjects_agree_with_the_model(
        steps in proptest::collection::vec(
            prop_oneof![
                1 => reply_filter().prop_map(|filter| Step::Insert(filter, None)),
                1 => any::<prop::sample::Index>().prop_map(Step::Remove),
                6 => ("_R_|_INBOX", "\\.[ab]", "(\\.[xyz]?){1,2}")
                    .prop_map(|(first, a, b)| Step::Publish(format!("{first}{a}{b}"))),
            ],
            1..80,
        )
    ) {
        let interest = Interest::new(7);
        let counts = Arc::new(LookUps::default());
        let mut cache = MatchCache::new(interest.hasher(), 7, Arc::clone(&counts));
        let mut model = Model(vec![fake(u64::MAX, RESPONSES, None), fake(u64::MAX - 1, ANSWERS, None)]);
        model.0.iter().for_each(|one| interest.insert(Arc::clone(one)));
        let mut judged = HashSet::new();
        for (id, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert(filter, _) => {
                    let subscription = fake(id as u64, &filter, None);
                    interest.insert(Arc::clone(&subscription));
                    model.0.push(subscription);
                }
                Step::Remove(which) => {
                    let at = which.index(model.0.len());
                    if at > 1 {
                        interest.remove(&[model.0.swap_remove(at)]);
                    }
                }
                Step::Publish(subject) => {
                    let mut expected: Vec<u64> =
                        model.matching(&subject).iter().map(|s| s.id).collect();
                    expected.sort_unstable();
                    let known = cache.look_up(&interest, subject.as_bytes(), None, |subject| {
                        judged.insert(subject.to_vec());
                        Verdict::ALLOWED
                    });
                    let services = known.matches.services().iter().map(|s| s.id);
                    let mut found: Vec<u64> = ids(known.matches).into_iter().chain(services).collect();
                    found.sort_unstable();
                    prop_assert_eq!(found, expected, "{}", subject);
                    if known.matches.is_used_once() {
                        prop_assert!(judged.contains(subject.as_bytes()), "each has its own verdict");
                    }
                }
            }
        }
    }
}

#[test]
fn one_look_up_serves_the_responses_of_an_account() {
    let interest = Interest::new(7);
    let counts = Arc::new(LookUps::default());
    let mut cache = MatchCache::new(interest.hasher(), 7, Arc::clone(&counts));
    let insert = |filter: &str| {
        let subscription = fake(1, filter, None);
        interest.insert(Arc::clone(&subscription));
        subscription
    };
    let _responses = insert(RESPONSES);
    let mut hits = |subjects: &[&str]| {
        let before = counts.stats().cache_hits;
        for subject in subjects {
            let known = cache.look_up(&interest, subject.as_bytes(), None, |_| Verdict::ALLOWED);
            assert!(known.matches.is_used_once());
        }
        counts.stats().cache_hits - before
    };
    assert_eq!(hits(&["_R_.a.1", "_R_.a.2", "_R_.a.3"]), 2);
    let all = insert(">");
    assert_eq!(hits(&["_R_.a.4", "_R_.a.5"]), 1, "the interest has changed");
    let one = insert("_R_.a.x");
    assert_eq!(hits(&["_R_.a.6", "_R_.a.7"]), 0, "a subscription tells them apart");
    interest.remove(&[one, all]);
    assert_eq!(hits(&["_R_.a.8", "_R_.a.9", "_R_.a.9.m.T"]), 1);
}

#[test]
fn answers_of_requests_inside_the_process_are_not_cached() {
    let interest = Interest::new(7);
    let mut cache = MatchCache::new(interest.hasher(), 7, Arc::default());
    let answers = fake(1, ANSWERS, None);
    interest.insert(Arc::clone(&answers));
    interest.insert(fake(2, "orders", None));
    let mut look_up = |subject: &str, expected: &[u64]| {
        let known = cache.look_up(&interest, subject.as_bytes(), None, |_| Verdict::ALLOWED);
        assert_eq!(ids(known.matches), expected, "{subject}");
        cache.remembered()
    };
    assert_eq!(look_up("orders", &[2]), 1);
    for subject in ["_INBOX.a.1", "_INBOX.a.2", "_INBOX.a.2"] {
        assert_eq!(look_up(subject, &[1]), 1, "it is used once");
    }
    interest.remove(&[answers]);
    assert_eq!(look_up("_INBOX.a.2", &[]), 2);
    assert_eq!(look_up("orders", &[2]), 2);
}

#[test]
fn one_look_up_serves_the_answers_to_a_client_inside_the_process() {
    let interest = Interest::new(7);
    let counts = Arc::new(LookUps::default());
    let mut cache = MatchCache::new(interest.hasher(), 7, Arc::clone(&counts));
    let answers = fake(1, ANSWERS, None);
    interest.insert(Arc::clone(&answers));
    let mut hits = |subjects: &[&str], expected: &[u64]| {
        let before = counts.stats().cache_hits;
        for subject in subjects {
            let known = cache.look_up(&interest, subject.as_bytes(), None, |_| Verdict::ALLOWED);
            assert_eq!(ids(known.matches), expected, "{subject}");
        }
        counts.stats().cache_hits - before
    };
    assert_eq!(hits(&["_INBOX.a.1", "_INBOX.a.2", "_INBOX.a.3"], &[1]), 2);
    let observer = fake(5, "_INBOX.>", None);
    interest.insert(Arc::clone(&observer));
    assert_eq!(hits(&["_INBOX.a.4", "_INBOX.a.5"], &[1, 5]), 1, "the interest has changed");
    interest.remove(&[observer]);
    for filter in ["_INBOX.a.x", "_INBOX.b.x", "_INBOX.*.x"] {
        let one = fake(2, filter, None);
        interest.insert(Arc::clone(&one));
        assert_eq!(hits(&["_INBOX.a.6", "_INBOX.a.7"], &[1]), 0, "{filter} may tell them apart");
        if filter != "_INBOX.b.x" {
            assert_eq!(hits(&["_INBOX.a.x"], &[1, 2]), 0);
        }
        interest.remove(&[one]);
    }
    interest.insert(fake(3, "_INBOX.single", None));
    assert_eq!(hits(&["_INBOX.a.8", "_INBOX.a.9"], &[1]), 1, "another inbox");
    interest.remove(&[answers]);
    assert_eq!(hits(&["_INBOX.a.8", "_INBOX.a.9"], &[]), 0);
}

#[test]
fn siblings_are_kept_for_the_client_that_is_answered_most() {
    let interest = Interest::new(7);
    let counts = Arc::new(LookUps::default());
    let mut cache = MatchCache::new(interest.hasher(), 7, Arc::clone(&counts));
    interest.insert(fake(1, ANSWERS, None));
    interest.insert(fake(2, RESPONSES, None));
    let mut hits = |subject: &str, times: usize| {
        let before = counts.stats().cache_hits;
        for _ in 0..times {
            cache.look_up(&interest, subject.as_bytes(), None, |_| Verdict::ALLOWED);
        }
        counts.stats().cache_hits - before
    };
    assert_eq!(hits("_INBOX.a.1", 3), 2);
    for _ in 0..20 {
        assert_eq!((hits("_R_.a.1", 1), hits("_INBOX.a.1", 1)), (0, 1), "by turns");
    }
    assert_eq!(hits("_R_.a.1", 10), 2, "the eighth in a row is kept");
}
