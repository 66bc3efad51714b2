//! Permissions decide alike on every path of a message: what each session receives is what a naive model says.
//!
//! Each round has a publisher and receivers with random permissions and subscriptions, and publishes to every subject
//! of a small universe. `NATSD_DECISIONS` is the number of decisions of each path, `NATSD_SEED` selects others:
//!
//! ```text
//! NATSD_DECISIONS=2000000 cargo test --release -p broker-core --all-features --test permission_paths
//! ```

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;
#[path = "../src/auth/model.rs"]
mod model;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant, SystemTime};

use broker_core::account::{AccountConfig, Export, Import, Mapping};
use broker_core::auth::{
    AllowResponses, Authenticator, Credentials, Decision, Denied, Grant, Permissions,
};
use broker_core::{Broker, Options, SubjectFilter};
use common::{Party, World};
use model::{Entry, Model, Tokens, matches};

const DECISIONS: u64 = 20_000;
const RECEIVERS: usize = 6;
const QUEUES: [&str; 3] = ["a", "b", "a.b"];

/// Returns the subjects of one to three of these tokens, with `>` at the end only.
fn all(alphabet: &[&'static str]) -> Vec<Tokens> {
    let mut found = Vec::new();
    let mut shorter: Vec<Tokens> = vec![Vec::new()];
    for _ in 0..3 {
        let mut longer = Vec::new();
        for tokens in shorter.iter().filter(|tokens| tokens.last() != Some(&">")) {
            longer.extend(alphabet.iter().map(|token| [&tokens[..], &[*token]].concat()));
        }
        found.extend_from_slice(&longer);
        shorter = longer;
    }
    found
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    fn queue(&mut self) -> Option<Tokens> {
        (self.below(2) == 0).then(|| self.pick(&QUEUES).split('.').collect())
    }

    fn entries(&mut self, filters: &[Tokens], with_queues: bool) -> Vec<Entry> {
        let count = self.below(4);
        let mut entries = Vec::new();
        for _ in 0..count {
            let queue = if with_queues { self.queue() } else { None };
            entries.push(Entry { subject: self.pick(filters), queue });
        }
        entries
    }

    fn publisher(&mut self, filters: &[Tokens]) -> Model {
        let publish_allow = (self.below(3) > 0).then(|| self.entries(filters, false));
        Model { publish_allow, publish_deny: self.entries(filters, false), ..Model::default() }
    }

    fn receiver(&mut self, filters: &[Tokens]) -> Model {
        let subscribe_allow = (self.below(3) > 0).then(|| self.entries(filters, true));
        Model { subscribe_allow, subscribe_deny: self.entries(filters, true), ..Model::default() }
    }
}

fn permissions(model: &Model, responses: bool) -> Permissions {
    let written = |entries: &[Entry]| -> Vec<String> {
        let write = |entry: &Entry| match &entry.queue {
            None => entry.subject.join("."),
            Some(queue) => format!("{} {}", entry.subject.join("."), queue.join(".")),
        };
        entries.iter().map(write).collect()
    };
    let mut builder = Permissions::builder()
        .publish_deny(written(&model.publish_deny))
        .subscribe_deny(written(&model.subscribe_deny));
    if let Some(list) = &model.publish_allow {
        builder = builder.publish_allow(written(list));
    }
    if let Some(list) = &model.subscribe_allow {
        builder = builder.subscribe_allow(written(list));
    }
    if responses {
        builder = builder.allow_responses(AllowResponses::new(1, Some(Duration::from_secs(3600))));
    }
    builder.build().unwrap()
}

/// Users by name, with their account.
struct Users(HashMap<String, (&'static str, Permissions)>);

impl Authenticator for Users {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        let Some((account, permissions)) = self.0.get(&*credentials.user) else {
            return Denied::Credentials.into();
        };
        Grant::user("x").with_account(*account).with_permissions(permissions.clone()).into()
    }
}

struct Receiver {
    party: Party,
    model: Model,
    filter: Tokens,
    queue: Option<Tokens>,
    is_subscribed: bool,
}

impl Receiver {
    fn gets(&self, subject: &[&str]) -> bool {
        self.is_subscribed
            && matches(&self.filter, subject)
            && self.model.may_deliver(subject, self.queue.as_deref())
    }
}

/// The accounts of a path: that of the publisher, that of the receivers, and the configuration of both.
struct Accounts {
    publisher: &'static str,
    receivers: &'static str,
    configs: Vec<AccountConfig>,
}

struct Round {
    world: World,
    publisher: Party,
    model: Model,
    /// A client with all permissions in the account of the publisher.
    asker: Party,
    receivers: Vec<Receiver>,
    decisions: u64,
}

impl Round {
    fn new(random: &mut Random, filters: &[Tokens], accounts: Accounts, responses: bool) -> Self {
        let mut model = random.publisher(filters);
        if responses {
            // NATS 2.14: opts.go parseUserPermissions: who may answer may publish to nothing else by default.
            model.publish_allow.get_or_insert_default();
        }
        let models: Vec<Model> = (0..RECEIVERS).map(|_| random.receiver(filters)).collect();
        let mut users = HashMap::new();
        users.insert("p".to_owned(), (accounts.publisher, permissions(&model, responses)));
        let free = Permissions::builder().build().unwrap();
        users.insert("asker".to_owned(), (accounts.publisher, free));
        for (number, model) in models.iter().enumerate() {
            users.insert(format!("r{number}"), (accounts.receivers, permissions(model, false)));
        }
        let configs = accounts.configs.into_iter().map(Into::into).collect();
        let options = Options { accounts: configs, ..Options::default() };
        let clock = (Instant::now, SystemTime::now);
        let mut world = World::of(Broker::with_authenticator(options, clock, Users(users)));
        let mut join = |name: &str| {
            world.join_as(&format!(
                "CONNECT {{\"verbose\":false,\"pedantic\":false,\"headers\":true,\"user\":\"{name}\"}}\r\n"
            ))
        };
        let (publisher, asker) = (join("p"), join("asker"));
        let parties: Vec<Party> =
            (0..RECEIVERS).map(|number| join(&format!("r{number}"))).collect();
        let mut round =
            Self { world, publisher, model, asker, receivers: Vec::new(), decisions: 0 };
        for (party, model) in parties.into_iter().zip(models) {
            round.subscribe(party, model, random.pick(filters), random.queue());
        }
        round
    }

    fn subscribe(&mut self, mut party: Party, model: Model, filter: Tokens, queue: Option<Tokens>) {
        let name = queue.as_ref().map_or(String::new(), |queue| queue.join(".") + " ");
        self.world.send(&mut party, format!("SUB {} {name}1\r\n", filter.join(".")));
        let answer = party.read();
        let is_subscribed = model.may_subscribe(&filter, queue.as_deref());
        assert_eq!(answer.is_empty(), is_subscribed, "SUB {filter:?} {queue:?}: {answer}");
        self.decisions += 1;
        self.receivers.push(Receiver { party, model, filter, queue, is_subscribed });
    }

    /// Publishes a message `m`, behind these headers.
    fn publish(&mut self, subject: &[&str], headers: &str) -> String {
        let subject = subject.join(".");
        let line = if headers.is_empty() {
            format!("PUB {subject} 1\r\nm\r\n")
        } else {
            let block = format!("NATS/1.0\r\n{headers}\r\n");
            format!("HPUB {subject} {} {}\r\n{block}m\r\n", block.len(), block.len() + 1)
        };
        self.world.send(&mut self.publisher, line);
        self.publisher.read()
    }

    /// Checks that the receivers got a message under this subject, and the event of a trace under another one.
    fn check(&mut self, message: Option<&[&str]>, event: Option<&[&str]>, what: &str) {
        let got: Vec<Vec<(String, bool)>> =
            self.receivers.iter().map(|receiver| received(&receiver.party.read())).collect();
        for (expected, is_message) in [(message, true), (event, false)] {
            let text = expected.map(|tokens| tokens.join("."));
            let mut groups: BTreeMap<String, (bool, usize)> = BTreeMap::new();
            for (receiver, got) in self.receivers.iter().zip(&got) {
                let gets = expected.is_some_and(|subject| receiver.gets(subject));
                let own: Vec<_> = got.iter().filter(|(_, kind)| *kind == is_message).collect();
                let about = || {
                    let (filter, queue) = (receiver.filter.join("."), &receiver.queue);
                    format!("{what} as {text:?} to {filter} {queue:?}, which got {own:?}")
                };
                assert!(gets || own.is_empty(), "{}", about());
                assert!(
                    own.iter().all(|(subject, _)| Some(subject) == text.as_ref()),
                    "{}",
                    about()
                );
                match &receiver.queue {
                    None => assert_eq!(own.len(), usize::from(gets), "{}", about()),
                    Some(queue) => {
                        let group = groups.entry(queue.join(".")).or_default();
                        *group = (group.0 || gets, group.1 + own.len());
                    }
                }
                self.decisions += 1;
            }
            for (queue, (gets, count)) in groups {
                assert_eq!(count, usize::from(gets), "{what} as {text:?} to the group {queue}");
            }
        }
    }
}

/// Returns the subjects of received messages, and whether each is a message `m` rather than the event of a trace.
fn received(text: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((line, after)) = rest.split_once("\r\n") {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(matches!(words[0], "MSG" | "HMSG"), "{line}");
        let size: usize = words.last().unwrap().parse().unwrap();
        found.push((words[1].to_owned(), after[..size].ends_with('m')));
        rest = &after[size + 2..];
    }
    found
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Plays rounds until there were enough decisions.
fn play(path: &str, mut round: impl FnMut(&mut Random, &Universe) -> u64) {
    let universe = Universe {
        filters: all(&["a", "b", "*", ">"]),
        subjects: all(&["a", "b", "c", "*", ">"]),
        literals: all(&["a", "b", "c"]),
    };
    let mut random = Random(number("NATSD_SEED", 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (mut decisions, mut rounds) = (0, 0);
    while decisions < number("NATSD_DECISIONS", DECISIONS) {
        decisions += round(&mut random, &universe);
        rounds += 1;
    }
    println!("{path}: {decisions} decisions in {rounds} rounds");
}

struct Universe {
    filters: Vec<Tokens>,
    subjects: Vec<Tokens>,
    /// Those without wildcards.
    literals: Vec<Tokens>,
}

fn one_account(mappings: &[(String, String)]) -> Accounts {
    let account =
        mappings.iter().fold(AccountConfig::new("A"), |account, (source, destination)| {
            account.with_mapping(Mapping::to(source, destination).unwrap())
        });
    Accounts { publisher: "A", receivers: "A", configs: vec![account] }
}

fn denied(subject: &[&str]) -> String {
    format!("-ERR 'Permissions Violation for Publish to \"{}\"'\r\n", subject.join("."))
}

fn answer(may: bool, subject: &[&str]) -> String {
    if may { String::new() } else { denied(subject) }
}

#[test]
fn on_the_live_path() {
    play("live", |random, universe| {
        let mut round = Round::new(random, &universe.filters, one_account(&[]), false);
        for subject in &universe.subjects {
            let may = round.model.may_publish(subject);
            assert_eq!(round.publish(subject, ""), answer(may, subject));
            round.check(may.then_some(&subject[..]), None, &subject.join("."));
        }
        round.decisions
    });
}

/// A mapping of the model: the tokens of its destination are literal, or the number of a wildcard.
struct NaiveMapping {
    source: Tokens,
    destination: Vec<Result<&'static str, usize>>,
}

impl NaiveMapping {
    fn new(random: &mut Random, filters: &[Tokens]) -> Self {
        let source = random.pick(filters);
        let stars = source.iter().filter(|token| **token == "*").count();
        let mut destination = Vec::new();
        for _ in 0..=random.below(2) {
            let star = random.below(stars + 1);
            destination.push(if star == 0 { Ok(random.pick(&["a", "b", "c"])) } else { Err(star) });
        }
        Self { source, destination }
    }

    /// Returns the narrowest mapping: what matters is the first token in which two differ.
    fn narrowest<'a>(all: &'a [Self], subject: &[&str]) -> Option<&'a Self> {
        let covers = |one: &&Self| {
            let only_by_full = subject.iter().position(|token| *token == ">");
            let reach = one.source.iter().position(|token| *token == ">").unwrap_or(usize::MAX);
            matches(&one.source, subject) && only_by_full.is_none_or(|at| at >= reach)
        };
        let rank =
            |token: &&str| ["*", ">"].iter().position(|wild| wild == token).map_or(0, |at| at + 1);
        all.iter()
            .rev()
            .filter(covers)
            .min_by_key(|one| one.source.iter().map(rank).collect::<Vec<_>>())
    }

    fn written(&self) -> (String, String) {
        let write =
            |token: &Result<&str, usize>| token.map_or_else(|star| format!("${star}"), Into::into);
        let mut destination: Vec<String> = self.destination.iter().map(write).collect();
        destination.extend((self.source.last() == Some(&">")).then(|| ">".to_owned()));
        (self.source.join("."), destination.join("."))
    }

    fn apply<'a>(&self, subject: &[&'a str]) -> Vec<&'a str> {
        let at_stars = self.source.iter().zip(subject).filter(|(token, _)| **token == "*");
        let stars: Vec<&str> = at_stars.map(|(_, token)| *token).collect();
        let token = |one: &Result<&'static str, usize>| one.unwrap_or_else(|star| stars[star - 1]);
        let rest = self.source.iter().position(|token| *token == ">").unwrap_or(subject.len());
        self.destination.iter().map(token).chain(subject[rest..].iter().copied()).collect()
    }
}

#[test]
fn on_the_path_of_a_mapping() {
    play("mapping", |random, universe| {
        let count = 1 + random.below(3);
        let mappings: Vec<_> =
            (0..count).map(|_| NaiveMapping::new(random, &universe.filters)).collect();
        let written: Vec<_> = mappings.iter().map(NaiveMapping::written).collect();
        let mut round = Round::new(random, &universe.filters, one_account(&written), false);
        for subject in &universe.subjects {
            let mapping = NaiveMapping::narrowest(&mappings, subject);
            let mapped = mapping.map_or_else(|| subject.clone(), |one| one.apply(subject));
            let may = round.model.may_publish(&mapped);
            let what = format!("{} through {written:?}", subject.join("."));
            assert_eq!(round.publish(subject, ""), answer(may, &mapped), "{what}");
            round.check(may.then_some(&mapped[..]), None, &what);
        }
        round.decisions
    });
}

#[test]
fn on_the_path_of_a_reply() {
    play("reply", |random, universe| {
        let mut round = Round::new(random, &universe.filters, one_account(&[]), true);
        round.world.send(&mut round.publisher, "SUB service 1\r\n");
        for subject in &universe.subjects {
            let request = format!("PUB service {} 1\r\nm\r\n", subject.join("."));
            round.world.send(&mut round.asker, request);
            assert!(round.publisher.read().starts_with("MSG service 1 "));
            round.check(Some(&["service"]), None, "a request");
            // The first response is allowed whatever the lists say, the second one is not.
            for may in [true, round.model.may_publish(subject)] {
                assert_eq!(round.publish(subject, ""), answer(may, subject));
                round.check(may.then_some(&subject[..]), None, &subject.join("."));
            }
        }
        round.decisions
    });
}

#[test]
fn on_the_path_of_a_trace() {
    play("trace", |random, universe| {
        let mut round = Round::new(random, &universe.filters, one_account(&[]), false);
        for subject in &universe.subjects {
            let traces = random.pick(&universe.literals);
            let is_only = random.below(2) == 0;
            let only = if is_only { "Nats-Trace-Only: true\r\n" } else { "" };
            let headers = format!("Nats-Trace-Dest: {}\r\n{only}", traces.join("."));
            let (may, may_trace) =
                (round.model.may_publish(subject), round.model.may_publish(&traces));
            let said = round.publish(subject, &headers);
            let what =
                format!("{} traced to {}, only {is_only}", subject.join("."), traces.join("."));
            if may_trace {
                assert_eq!(said, answer(may, subject), "{what}");
            } else {
                assert_eq!(said, denied(&traces), "{what}");
            }
            let message = (may && may_trace && !is_only).then_some(&subject[..]);
            round.check(message, may_trace.then_some(&traces[..]), &what);
        }
        round.decisions
    });
}

fn filter(tokens: &[&str]) -> SubjectFilter {
    SubjectFilter::parse(tokens.join(".")).unwrap()
}

#[test]
fn on_the_path_of_an_imported_stream() {
    play("stream import", |random, universe| {
        let imported = random.pick(&universe.filters);
        let has_prefix = random.below(2) == 0;
        let mut import = Import::stream("A", filter(&imported));
        if has_prefix {
            import = import.with_prefix("a");
        }
        let exporter = AccountConfig::new("A").with_export(Export::stream(filter(&imported)));
        let configs = vec![exporter, AccountConfig::new("B").with_import(import)];
        let accounts = Accounts { publisher: "A", receivers: "B", configs };
        let mut round = Round::new(random, &universe.filters, accounts, false);
        for subject in &universe.literals {
            let prefix: &[&str] = if has_prefix { &["a"] } else { &[] };
            let local = [prefix, subject].concat();
            let may = round.model.may_publish(subject);
            let what = format!("{} through {imported:?}", subject.join("."));
            assert_eq!(round.publish(subject, ""), answer(may, subject), "{what}");
            let message = (may && matches(&imported, subject)).then_some(&local[..]);
            round.check(message, None, &what);
        }
        round.decisions
    });
}

#[test]
fn on_the_path_of_a_request_to_an_imported_service() {
    play("service import", |random, universe| {
        let imported = random.pick(&universe.filters);
        let exporter = AccountConfig::new("A").with_export(Export::service(filter(&imported)));
        let import = Import::service("A", filter(&imported));
        let configs = vec![exporter, AccountConfig::new("B").with_import(import)];
        let accounts = Accounts { publisher: "B", receivers: "A", configs };
        let mut round = Round::new(random, &universe.filters, accounts, false);
        for subject in &universe.literals {
            let may = round.model.may_publish(subject);
            let what = format!("{} through {imported:?}", subject.join("."));
            assert_eq!(round.publish(subject, ""), answer(may, subject), "{what}");
            let message = (may && matches(&imported, subject)).then_some(&subject[..]);
            round.check(message, None, &what);
        }
        round.decisions
    });
}
