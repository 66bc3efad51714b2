//! Random exports and imports against a model that follows each message by brute force.
//!
//! `SHARE_CASES` sets the number of random configurations, `SHARE_SEED` the first seed.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use broker_core::account::{
    AccountConfig, Export, ExportAccess, Import, ShareError, ShareItem, ShareKind, check_shares,
};
use broker_core::auth::{Authenticator, Credentials, Decision, Grant};
use broker_core::{Broker, Options, Subject, SubjectFilter};
use common::{Party, World};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn subject(&mut self) -> String {
        let tokens = 1 + self.below(3);
        (0..tokens).map(|_| self.pick(&["a", "b", "p"])).collect::<Vec<_>>().join(".")
    }

    fn filter(&mut self) -> SubjectFilter {
        let count = 1 + self.below(3);
        let mut tokens: Vec<&str> =
            (0..count).map(|_| self.pick(&["a", "b", "p", "*", "*"])).collect();
        if self.below(4) == 0 {
            tokens.push(">");
        }
        filter(&tokens.join("."))
    }

    /// Returns the subjects of an import in its account: the wildcards of `subject` in another order.
    fn local(&mut self, subject: &SubjectFilter) -> String {
        let wildcards = subject.to_string().split('.').filter(|token| *token == "*").count();
        let mut tokens: Vec<String> = (1..=wildcards).map(|number| format!("${number}")).collect();
        for at in (1..tokens.len()).rev() {
            tokens.swap(at, self.below(at + 1));
        }
        tokens.insert(self.below(tokens.len() + 1), self.pick(&["a", "b", "x"]).to_owned());
        if subject.to_string().ends_with('>') {
            tokens.push(">".to_owned());
        }
        tokens.join(".")
    }
}

fn filter(text: &str) -> SubjectFilter {
    SubjectFilter::parse(text).unwrap()
}

fn name(number: usize) -> String {
    format!("A{number}")
}

fn configs(random: &mut Random, accounts: usize) -> Vec<AccountConfig> {
    let mut all: Vec<AccountConfig> =
        (0..accounts).map(|number| AccountConfig::new(name(number))).collect();
    for config in &mut all {
        for _ in 0..2 + random.below(3) {
            let kind = [ShareKind::Stream, ShareKind::Service][random.below(2)];
            let access = match random.below(6) {
                0 => ExportAccess::Accounts(vec![name(random.below(accounts)).into()]),
                1 => ExportAccess::Activation,
                _ => ExportAccess::Public,
            };
            config.exports.push(Export::new(kind, random.filter()).with_access(access));
        }
    }
    let exports: Vec<Vec<Export>> = all.iter().map(|config| config.exports.clone()).collect();
    for config in &mut all {
        for _ in 0..random.below(4) {
            let exporter = random.below(accounts);
            let export = &exports[exporter][random.below(exports[exporter].len())];
            let (mut kind, mut subject) = (export.kind, export.subject.clone());
            match random.below(8) {
                0 => subject = random.filter(),
                1 => kind = [ShareKind::Stream, ShareKind::Service][random.below(2)],
                _ => {}
            }
            let import = Import::new(kind, name(exporter), subject.clone());
            let import = import.with_activation(random.below(2) == 0);
            config.imports.push(match random.below(3) {
                0 => import.with_to(random.local(&subject)),
                1 if kind == ShareKind::Stream => import.with_prefix("p"),
                _ => import,
            });
        }
    }
    all
}

/// The model of one import.
struct Way {
    kind: ShareKind,
    importer: usize,
    exporter: usize,
    /// The place of the export.
    export: usize,
    subject: SubjectFilter,
    local: SubjectFilter,
    /// In the importing account, with `$1` for the first wildcard.
    written: String,
}

impl Way {
    /// Returns the subject in the importing account.
    fn to_local(&self, subject: &str) -> String {
        let wildcards = matched(&self.subject.to_string(), subject);
        fill(&self.written, &wildcards)
    }

    /// Returns the subject in the exporting account.
    fn to_exporter(&self, local: &str) -> String {
        let source = self.subject.to_string();
        let mut wildcards = vec![String::new(); source.matches('*').count()];
        let tokens: Vec<&str> = local.split('.').collect();
        let mut rest = String::new();
        for (at, token) in self.written.split('.').enumerate() {
            match token.strip_prefix('$') {
                Some(number) => {
                    wildcards[number.parse::<usize>().unwrap() - 1] = tokens[at].to_owned();
                }
                None if token == ">" => rest = tokens[at..].join("."),
                None => {}
            }
        }
        wildcards.push(rest);
        fill(&numbered(&source), &wildcards)
    }
}

/// Returns the tokens that matched `*`, and behind them what matched `>`.
fn matched(filter: &str, subject: &str) -> Vec<String> {
    let tokens: Vec<&str> = subject.split('.').collect();
    let mut found = Vec::new();
    for (at, token) in filter.split('.').enumerate() {
        match token {
            "*" => found.push(tokens[at].to_owned()),
            ">" => found.push(tokens[at..].join(".")),
            _ => {}
        }
    }
    if !filter.ends_with('>') {
        found.push(String::new());
    }
    found
}

fn fill(written: &str, wildcards: &[String]) -> String {
    let fill = |token: &str| match token.strip_prefix('$') {
        Some(number) => wildcards[number.parse::<usize>().unwrap() - 1].clone(),
        None if token == ">" => wildcards.last().unwrap().clone(),
        None => token.to_owned(),
    };
    written.split('.').map(fill).collect::<Vec<_>>().join(".")
}

fn numbered(filter: &str) -> String {
    let mut count = 0;
    let number = |token: &str| {
        if token == "*" {
            count += 1;
            return format!("${count}");
        }
        token.to_owned()
    };
    filter.split('.').map(number).collect::<Vec<_>>().join(".")
}

fn wild(written: &str) -> SubjectFilter {
    let wild = |token: &str| if token.starts_with('$') { "*".to_owned() } else { token.to_owned() };
    filter(&written.split('.').map(wild).collect::<Vec<_>>().join("."))
}

/// The model: every rule in its simplest form.
#[derive(Default)]
struct Model {
    ways: Vec<Way>,
    refused: Vec<(usize, usize, Option<ShareError>)>,
}

impl Model {
    fn new(configs: &[AccountConfig]) -> Self {
        let mut model = Self::default();
        for kind in [ShareKind::Stream, ShareKind::Service] {
            for (importer, config) in configs.iter().enumerate() {
                for (at, import) in config.imports.iter().enumerate() {
                    if import.kind == kind
                        && let Err(why) = model.add(configs, importer, import)
                    {
                        model.refused.push((importer, at, why));
                    }
                }
            }
        }
        model.refused.sort_by_key(|(importer, at, _)| (*importer, *at));
        model
    }

    /// Adds an import; `Err(None)` if it is refused for another reason than a cycle.
    fn add(
        &mut self,
        configs: &[AccountConfig],
        importer: usize,
        import: &Import,
    ) -> Result<(), Option<ShareError>> {
        let exporter = configs.iter().position(|config| config.name == import.account).unwrap();
        let exports = &configs[exporter].exports;
        let is_exact =
            |export: &&Export| export.kind == import.kind && export.subject == import.subject;
        let covers =
            |export: &&Export| export.kind == import.kind && export.subject.covers(&import.subject);
        let exact = exports.iter().rev().find(is_exact);
        let export = exact.or_else(|| exports.iter().find(covers)).ok_or(None)?;
        let is_allowed = match &export.access {
            ExportAccess::Accounts(names) => names.contains(&configs[importer].name),
            ExportAccess::Activation => import.activated,
            _ => true,
        };
        if !is_allowed {
            return Err(None);
        }
        let subject = import.subject.clone();
        let own = numbered(&subject.to_string());
        let written = match (&import.prefix, &import.to) {
            (Some(prefix), _) => format!("{prefix}.{own}"),
            (None, Some(to)) => to.to_string(),
            (None, None) => own,
        };
        let local = wild(&written);
        let met = if import.kind == ShareKind::Stream {
            // The text as it was written, in which `$1` is no wildcard.
            let literal = match (&import.prefix, &import.to) {
                (Some(prefix), _) => format!("{prefix}.{subject}"),
                (None, Some(to)) => to.to_string(),
                (None, None) => subject.to_string(),
            };
            vec![filter(&literal), subject.clone()]
        } else {
            vec![local.clone()]
        };
        for subject in met {
            if self.leads_back(configs, import.kind, importer, exporter, &subject, 0) {
                return Err(Some(ShareError::Cycle));
            }
        }
        let is_same = |way: &&Way| {
            way.kind == import.kind
                && way.importer == importer
                && way.exporter == exporter
                && match import.kind {
                    ShareKind::Stream => way.subject == subject,
                    ShareKind::Service => way.local == local,
                }
        };
        if self.ways.iter().any(|way| is_same(&way)) {
            return Err(None);
        }
        let export = exports.iter().position(|one| std::ptr::eq(one, export)).unwrap();
        let kind = import.kind;
        self.ways.push(Way { kind, importer, exporter, export, subject, local, written });
        Ok(())
    }

    fn leads_back(
        &self,
        configs: &[AccountConfig],
        kind: ShareKind,
        origin: usize,
        account: usize,
        subject: &SubjectFilter,
        depth: usize,
    ) -> bool {
        let is_exported = |export: &Export| export.kind == kind && export.subject.covers(subject);
        if depth > 12
            || (kind == ShareKind::Stream && !configs[account].exports.iter().any(is_exported))
        {
            return false;
        }
        self.ways.iter().filter(|way| way.kind == kind && way.importer == account).any(|way| {
            let met = if kind == ShareKind::Stream { &way.local } else { &way.subject };
            if !met.overlaps(subject) {
                return false;
            }
            let next = if subject.covers(&way.local) { &way.local } else { subject };
            way.exporter == origin
                || self.leads_back(configs, kind, origin, way.exporter, next, depth + 1)
        })
    }

    /// Returns what subscribers get of a message: account, sid and subject.
    fn receivers(
        &self,
        subscriptions: &[Vec<SubjectFilter>],
        account: usize,
        subject: &str,
    ) -> Vec<(usize, usize, String)> {
        let mut all = Vec::new();
        self.follow(subscriptions, account, subject, &mut Vec::new(), &mut all);
        all.sort();
        all
    }

    fn follow(
        &self,
        subscriptions: &[Vec<SubjectFilter>],
        account: usize,
        subject: &str,
        passed: &mut Vec<(usize, usize)>,
        all: &mut Vec<(usize, usize, String)>,
    ) {
        let parsed = Subject::parse(subject).unwrap();
        let mut subscribers = |account: usize, subject: &str| {
            let parsed = Subject::parse(subject).unwrap();
            for (sid, filter) in subscriptions[account].iter().enumerate() {
                if filter.matches(&parsed) {
                    all.push((account, sid, subject.to_owned()));
                }
            }
        };
        subscribers(account, subject);
        let streams = self.ways.iter().filter(|way| way.kind == ShareKind::Stream);
        for way in streams.filter(|way| passed.is_empty() && way.exporter == account) {
            if way.subject.matches(&parsed) {
                subscribers(way.importer, &way.to_local(subject));
            }
        }
        for way in self.ways.iter().filter(|way| way.kind == ShareKind::Service) {
            let export = (way.exporter, way.export);
            if way.importer == account && way.local.matches(&parsed) && !passed.contains(&export) {
                passed.push(export);
                self.follow(subscriptions, way.exporter, &way.to_exporter(subject), passed, all);
                passed.pop();
            }
        }
    }
}

/// Assigns each client to the account that it names.
struct ByName;

impl Authenticator for ByName {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        Grant::user("x").with_account(&*credentials.user).into()
    }
}

/// Returns what a client has received: sid and subject.
fn received(party: &Party) -> Vec<(usize, String)> {
    let text = party.read();
    let messages =
        text.lines().filter(|line| line.starts_with("MSG ") || line.starts_with("HMSG "));
    messages
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[2].parse().unwrap(), words[1].to_owned())
        })
        .collect()
}

/// Configures accounts one by one in any order, each perhaps with another configuration before.
fn configure_in_turn(broker: &Broker, random: &mut Random, accounts: &[AccountConfig]) {
    let mut left: Vec<AccountConfig> =
        configs(random, accounts.len()).into_iter().chain(accounts.iter().cloned()).collect();
    let mut last = vec![false; accounts.len()];
    while !left.is_empty() {
        let config = left.swap_remove(random.below(left.len()));
        let number: usize = config.name[1..].parse().unwrap();
        last[number] = config == accounts[number];
        broker.configure_account(&config);
        if random.below(8) == 0 {
            broker.configure_account(&AccountConfig::new(config.name));
            last[number] = false;
        }
    }
    for (config, _) in accounts.iter().zip(last).filter(|(_, is_last)| !is_last) {
        broker.configure_account(config);
    }
}

/// Returns true if no import is refused because of a cycle, whatever the order of the accounts. The last one meets the
/// imports of all others.
fn is_free_of_cycles(accounts: &[AccountConfig]) -> bool {
    (0..accounts.len()).all(|last| {
        let mut order = accounts.to_vec();
        let last = order.remove(last);
        order.push(last);
        check_shares(&order).iter().all(|fault| fault.error != ShareError::Cycle)
    })
}

/// Checks one random configuration. `in_turn`: the accounts are configured one by one, while they have clients, unless
/// imports form cycles: then the order of the accounts decides which is refused. Returns the numbers of imports in force, of those refused because of a cycle, and
/// of messages that crossed accounts.
fn check(seed: u64, accounts: usize, messages: usize, in_turn: bool) -> [usize; 3] {
    let mut random = Random(seed);
    let configs = configs(&mut random, accounts);
    let model = Model::new(&configs);
    let begin = Instant::now();
    let faults = check_shares(&configs);
    // Bounds the order of magnitude: a search that grows exponentially takes hours.
    assert!(begin.elapsed().as_secs() < 5, "seed {seed}");
    let mut refused: Vec<(usize, usize)> = Vec::new();
    let mut cycles = BTreeMap::new();
    for fault in &faults {
        let ShareItem::Import(at) = fault.item else { panic!("{fault:?}") };
        let importer = fault.account[1..].parse().unwrap();
        refused.push((importer, at));
        cycles.insert((importer, at), fault.error == ShareError::Cycle);
    }
    refused.sort_unstable();
    let expected: Vec<(usize, usize)> =
        model.refused.iter().map(|(importer, at, _)| (*importer, *at)).collect();
    assert_eq!(refused, expected, "seed {seed}: {configs:#?}");
    for (importer, at, why) in &model.refused {
        let is_cycle = why == &Some(ShareError::Cycle);
        assert_eq!(
            cycles[&(*importer, *at)],
            is_cycle,
            "seed {seed}: {importer} {at} {configs:#?}"
        );
    }

    let in_turn = in_turn && is_free_of_cycles(&configs);
    let at_start = if in_turn { &[][..] } else { &configs };
    let options = Options {
        accounts: at_start.iter().cloned().map(Into::into).collect(),
        ..Options::default()
    };
    let clock = (Instant::now, SystemTime::now);
    let mut world = World::of(Broker::with_authenticator(options, clock, ByName));
    let mut parties = Vec::new();
    let mut subscriptions = Vec::new();
    for number in 0..accounts {
        let connect =
            format!("CONNECT {{\"verbose\":false,\"headers\":true,\"user\":\"A{number}\"}}\r\n");
        let mut party = world.join_as(&connect);
        let filters: Vec<SubjectFilter> = (0..3).map(|_| random.filter()).collect();
        for (sid, filter) in filters.iter().enumerate() {
            world.send(&mut party, format!("SUB {filter} {sid}\r\n"));
        }
        party.read();
        parties.push(party);
        subscriptions.push(filters);
    }
    if in_turn {
        configure_in_turn(&world.broker, &mut random, &configs);
    }
    let mut crossed = 0;
    for _ in 0..messages {
        let (account, subject) = (random.below(accounts), random.subject());
        world.send(&mut parties[account], format!("PUB {subject} 0\r\n\r\n"));
        let mut got = Vec::new();
        for (account, party) in parties.iter().enumerate() {
            got.extend(received(party).into_iter().map(|(sid, subject)| (account, sid, subject)));
        }
        got.sort();
        let expected = model.receivers(&subscriptions, account, &subject);
        crossed += expected.iter().filter(|(receiver, ..)| *receiver != account).count();
        assert_eq!(got, expected, "seed {seed}: {subject} in A{account}, {configs:#?}");
    }
    [model.ways.len(), cycles.into_values().filter(|is_cycle| *is_cycle).count(), crossed]
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn messages_reach_whom_the_model_says() {
    let first = from_environment("SHARE_SEED", 1);
    let mut totals = [0; 3];
    for seed in first..first + from_environment("SHARE_CASES", 300) {
        let mut random = Random(seed ^ 0x5eed);
        let counts = check(seed, 2 + random.below(7), 20, false);
        totals.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
    }
    // The configurations are not trivial.
    assert!(totals.iter().all(|total| *total > 10), "{totals:?}");
}

#[test]
fn accounts_that_are_configured_in_turn_share_the_same() {
    let first = from_environment("SHARE_SEED", 1);
    let mut totals = [0; 3];
    for seed in first..first + from_environment("SHARE_CASES", 300) {
        let mut random = Random(seed ^ 0x5eed);
        let counts = check(seed, 2 + random.below(7), 20, true);
        totals.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
    }
    assert!(totals[0] > 10 && totals[2] > 10, "{totals:?}");
}

#[test]
fn large_graphs_are_no_different() {
    let first = from_environment("SHARE_SEED", 1);
    for seed in first..first + from_environment("SHARE_CASES", 100).div_ceil(20) {
        let [imports, ..] = check(seed, 50, 20, false);
        assert!(imports > 20, "{imports}");
    }
}
