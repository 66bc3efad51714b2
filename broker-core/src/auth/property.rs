//! All decisions over a small universe, checked against the naive model. `NATSD_DECISIONS` is their number,
//! `NATSD_SEED` selects others; `tests/permission_paths.rs` checks the paths of messages that depend on them.

use super::Permissions;
use super::model::{Entry, Model, Tokens, matches};
use super::permissions::Subscribe;
use crate::subject::SubjectFilter;

const DECISIONS: u64 = 1_000_000;

const QUEUES: [&str; 8] = ["a", "b", "a.b", "a.*", "a.>", "*", ">", "*.b"];

/// Subjects that a wire client may publish to although no filter matches them.
const MALFORMED: [&str; 4] = ["", "a.", ".a", "a..b"];

/// Returns the next value of a linear congruential generator, from its upper bits.
fn below(seed: &mut u64, bound: usize) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 33).unwrap() % bound
}

/// Returns all token lists of one to `longest` of these, with `>` at the end only.
fn all(alphabet: &[&'static str], longest: usize) -> Vec<Tokens> {
    let mut found: Vec<Tokens> = Vec::new();
    let mut shorter: Vec<Tokens> = vec![Vec::new()];
    for _ in 0..longest {
        let mut longer = Vec::new();
        for tokens in shorter.iter().filter(|tokens| tokens.last() != Some(&">")) {
            for token in alphabet {
                let mut tokens = tokens.clone();
                tokens.push(token);
                longer.push(tokens);
            }
        }
        found.extend_from_slice(&longer);
        shorter = longer;
    }
    found
}

fn tokens(text: &'static str) -> Tokens {
    text.split('.').collect()
}

/// The subjects and filters of subscriptions and publishers.
struct Universe {
    filters: Vec<(Tokens, SubjectFilter)>,
    subjects: Vec<Tokens>,
    queues: Vec<Option<(&'static str, Tokens)>>,
    /// Indexed by filter, then by subject.
    matches: Vec<Vec<bool>>,
}

impl Universe {
    fn new() -> Self {
        let filters = all(&["a", "b", "*", ">"], 3);
        // `c` is on no list, and a fourth token is longer than any entry: both distinguish wildcards.
        let subjects = all(&["a", "b", "c"], 4);
        let by_filter = |filter| subjects.iter().map(|subject| matches(filter, subject)).collect();
        Self {
            matches: filters.iter().map(|filter| by_filter(filter)).collect(),
            queues: [None]
                .into_iter()
                .chain(QUEUES.map(|name| Some((name, tokens(name)))))
                .collect(),
            filters: filters
                .into_iter()
                .map(|tokens| (tokens.clone(), SubjectFilter::parse(tokens.join(".")).unwrap()))
                .collect(),
            subjects,
        }
    }

    fn entries(&self, seed: &mut u64, with_queues: bool) -> Vec<Entry> {
        let count = below(seed, 4);
        let entry = |_| Entry {
            subject: self.filters[below(seed, self.filters.len())].0.clone(),
            queue: (with_queues && below(seed, 2) == 0)
                .then(|| tokens(QUEUES[below(seed, QUEUES.len())])),
        };
        (0..count).map(entry).collect()
    }

    fn model(&self, seed: &mut u64) -> Model {
        Model {
            publish_allow: (below(seed, 3) > 0).then(|| self.entries(seed, false)),
            publish_deny: self.entries(seed, false),
            subscribe_allow: (below(seed, 3) > 0).then(|| self.entries(seed, true)),
            subscribe_deny: self.entries(seed, true),
        }
    }
}

fn written(entries: &[Entry]) -> Vec<String> {
    let write = |entry: &Entry| match &entry.queue {
        None => entry.subject.join("."),
        Some(queue) => format!("{} {}", entry.subject.join("."), queue.join(".")),
    };
    entries.iter().map(write).collect()
}

fn build(model: &Model) -> (Permissions, String) {
    let mut builder = Permissions::builder()
        .publish_deny(written(&model.publish_deny))
        .subscribe_deny(written(&model.subscribe_deny));
    if let Some(list) = &model.publish_allow {
        builder = builder.publish_allow(written(list));
    }
    if let Some(list) = &model.subscribe_allow {
        builder = builder.subscribe_allow(written(list));
    }
    let shown = format!("{builder:?}");
    (builder.build().unwrap(), shown)
}

#[test]
fn a_million_decisions_are_those_of_the_model() {
    let universe = Universe::new();
    let number = |name, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let mut seed = number("NATSD_SEED", 4222);
    let mut decisions = 0;
    while decisions < number("NATSD_DECISIONS", DECISIONS) {
        let model = universe.model(&mut seed);
        let (permissions, shown) = build(&model);

        let published = universe.filters.iter().map(|(tokens, _)| tokens.clone());
        for subject in published.chain(MALFORMED.map(tokens)) {
            let text = subject.join(".");
            let expected = model.may_publish(&subject);
            assert_eq!(permissions.may_publish(text.as_bytes()), expected, "{shown} PUB {text:?}");
            decisions += 1;
        }

        for queue in &universe.queues {
            let name = queue.as_ref().map(|(name, _)| name.as_bytes());
            let queue = queue.as_ref().map(|(_, tokens)| tokens.as_slice());
            let deliverable = universe.subjects.iter().map(|subject| {
                let text = subject.join(".");
                let expected = model.may_deliver(subject, queue);
                let decided = permissions.may_deliver(text.as_bytes(), name);
                assert_eq!(decided, expected, "{shown} MSG {text} {queue:?}");
                decisions += 1;
                expected
            });
            let deliverable: Vec<_> = deliverable.collect();
            for ((filter, parsed), matches) in universe.filters.iter().zip(&universe.matches) {
                let decided = permissions.may_subscribe(parsed, name);
                let expected = model.may_subscribe(filter, queue);
                assert_eq!(decided != Subscribe::Deny, expected, "{shown} SUB {parsed} {queue:?}");
                decisions += 1;
                let some_held_back =
                    || matches.iter().zip(&deliverable).any(|(matches, may)| *matches && !*may);
                match decided {
                    Subscribe::Deny => {}
                    Subscribe::Allow => {
                        assert!(
                            !some_held_back(),
                            "{shown} SUB {parsed} {queue:?} is not filtered"
                        );
                    }
                    // Entries that cover a filter only together are not recognised.
                    Subscribe::AllowAndFilter if model.subscribe_allow.is_some() => {}
                    Subscribe::AllowAndFilter => {
                        assert!(some_held_back(), "{shown} SUB {parsed} {queue:?} needs no filter");
                    }
                }
            }
        }
    }
}
