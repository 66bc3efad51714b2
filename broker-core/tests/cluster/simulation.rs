//! Random faults in clusters of three to five servers, by seed. A seed replays exactly.
//!
//! Each round subscribes and unsubscribes, publishes numbered messages, and breaks things: partitions in both directions
//! or one, resets, restarts, lame ducks, reloads. Then the network heals. The promises are checked all the time (order,
//! no duplicates, accounts), after the round (no loss between servers that stayed connected), and two seconds after
//! the network has healed (all interest is known everywhere, the mesh is complete).
//!
//! `SEEDS=10000 cargo test --release -p broker-core --test cluster simulation` runs that many seeds, `SEED=7` one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use broker_core::account::{AccountConfig, Export, Import};
use broker_core::auth::Grant;
use broker_core::subject::SubjectFilter;
use broker_core::{Options, Subscriber};
use futures_executor::block_on;

use super::mesh::{Mesh, address, options};
use super::network::{Dice, Network};

/// The account I imports `pub.>` of A.
const ACCOUNTS: [&str; 3] = ["A", "B", "I"];
const SUBJECTS: [&str; 6] = ["x", "x.y", "x.y.z", "pub.x", "pub.x.y", "w"];
const FILTERS: [&str; 9] = ["x", "x.*", "x.>", ">", "pub.>", "pub.x", "*.y.z", "w", "*"];
/// Each queue group has one filter.
const GROUPS: [(&str, &str); 4] = [("q1", "x.>"), ("q2", "w"), ("q3", ">"), ("q4", "pub.*")];
const PUBLISHERS: usize = 2;
/// The time from the end of a partition until all is well, with round trips up to 100 ms.
const CONVERGED: Duration = Duration::from_secs(2);
/// The same if a pool was reloaded meanwhile: its connections are made one behind the other, and others wait for them.
const RELOADED: Duration = Duration::from_secs(5);

struct Member {
    node: usize,
    account: &'static str,
    filter: &'static str,
    queue: Option<&'static str>,
    subscriber: Subscriber,
    /// The last number by publisher.
    last: BTreeMap<(usize, u64, usize, &'static str), u64>,
    /// The round since whose end all servers know of it.
    is_known: bool,
    /// The messages that have arrived in this round.
    seen: BTreeSet<u64>,
}

struct Sent {
    account: &'static str,
    subject: &'static str,
    node: usize,
    /// The queue groups that have received it, by account.
    groups: BTreeSet<(&'static str, &'static str)>,
}

struct World {
    seed: u64,
    dice: Dice,
    mesh: Mesh,
    options: Vec<Options>,
    members: Vec<Member>,
    /// The messages of the round, by number.
    sent: BTreeMap<u64, Sent>,
    count: u64,
    /// The number of starts of a server: after each one a publisher is another one.
    lives: Vec<u64>,
    /// Pairs of servers whose connections may be lost in this round, and servers.
    disturbed: BTreeSet<(usize, usize)>,
    /// Queue groups that a member has left in this round: what was on its way to it goes on to another one, and may come
    /// behind later messages.
    left: BTreeSet<(&'static str, &'static str)>,
    /// A pool was reloaded in this round.
    is_reloaded: bool,
    /// The operations so far, for the report of a failure.
    story: Vec<String>,
}

fn accounts() -> Vec<AccountConfig> {
    let filter = || SubjectFilter::parse("pub.>").unwrap();
    vec![
        AccountConfig::new("A").with_export(Export::stream(filter())),
        AccountConfig::new("B"),
        AccountConfig::new("I").with_import(Import::stream("A", filter())),
    ]
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let count = 3 + dice.below(3);
        let is_star = dice.chance(30);
        let pool = *dice.pick(&[Some(1), Some(3), Some(3), Some(5)]);
        let has_pinned = dice.chance(30);
        let mut all = Vec::new();
        for node in 0..count {
            // Each pair has a server that is configured to dial the other one, or one reports the others.
            let before: Vec<usize> = (0..node).collect();
            let others: Vec<usize> = (0..count).filter(|other| *other != node).collect();
            let dials = match is_star {
                true if node > 0 => vec![0],
                true => Vec::new(),
                false if dice.chance(50) => others,
                false => before,
            };
            let mut options = options(node, &dials);
            options.accounts = accounts().into_iter().map(Into::into).collect();
            let cluster = options.cluster.as_mut().unwrap();
            cluster.pool_size = pool;
            cluster.connect_retries = 1000;
            if has_pinned {
                cluster.accounts = vec!["B".into()];
            }
            options.seed = seed * 1000 + node as u64;
            all.push(options);
        }
        let slowest = *dice.pick(&[1, 10, 30, 50]);
        let network = Network::random(&mut dice, count, slowest);
        let mesh = Mesh::start_in(network, all.clone());
        let mut world = Self {
            seed,
            dice,
            mesh,
            options: all,
            members: Vec::new(),
            sent: BTreeMap::new(),
            count: 0,
            lives: vec![0; count],
            disturbed: BTreeSet::new(),
            left: BTreeSet::new(),
            is_reloaded: false,
            story: vec![format!(
                "{count} servers, star {is_star}, pool {pool:?}, pinned {has_pinned}"
            )],
        };
        world.mesh.pass(Duration::from_secs(5));
        world
    }

    fn note(&mut self, what: &str) {
        self.story.push(format!("{:>7} ms  {what}", self.mesh.clock.millis()));
    }

    fn fail(&self, what: &str) -> ! {
        panic!("seed {}: {what}\n{}", self.seed, self.story.join("\n"));
    }

    fn nodes(&self) -> usize {
        self.mesh.nodes.len()
    }

    fn up(&self) -> Vec<usize> {
        (0..self.nodes()).filter(|node| self.mesh.is_up(*node)).collect()
    }

    fn pair(&mut self) -> (usize, usize) {
        let one = self.dice.below(self.nodes());
        let other = (one + 1 + self.dice.below(self.nodes() - 1)) % self.nodes();
        (one, other)
    }

    fn disturb(&mut self, one: usize, other: usize) {
        self.disturbed.insert((one.min(other), one.max(other)));
    }

    fn disturb_all(&mut self, node: usize) {
        for other in (0..self.nodes()).filter(|other| *other != node) {
            self.disturb(node, other);
        }
    }

    fn is_disturbed(&self, one: usize, other: usize) -> bool {
        self.disturbed.contains(&(one.min(other), one.max(other)))
    }

    fn subscribe(&mut self) {
        let node = *self.dice.pick(&self.up());
        let account = *self.dice.pick(&ACCOUNTS);
        let group = *self.dice.pick(&GROUPS);
        let is_member = account != "I" && self.dice.chance(50);
        let (queue, filter) = match is_member {
            true => (Some(group.0), group.1),
            false => (None, *self.dice.pick(&FILTERS)),
        };
        let client =
            self.mesh.nodes[node].broker.client_as(Grant::anonymous().with_account(account));
        let subscriber = match queue {
            Some(queue) => block_on(client.queue_subscribe(filter, queue)),
            None => block_on(client.subscribe(filter)),
        };
        let subscriber = subscriber.unwrap();
        let (last, seen) = (BTreeMap::new(), BTreeSet::new());
        self.note(&format!("n{node} subscribes in {account} to {filter} {queue:?}"));
        let is_known = false;
        self.members.push(Member {
            node,
            account,
            filter,
            queue,
            subscriber,
            last,
            is_known,
            seen,
        });
    }

    fn unsubscribe(&mut self) {
        if self.members.is_empty() {
            return;
        }
        let number = self.dice.below(self.members.len());
        self.read(number);
        let member = self.members.swap_remove(number);
        self.left.extend(member.queue.map(|queue| (member.account, queue)));
        self.note(&format!(
            "n{} unsubscribes from {} in {}",
            member.node, member.filter, member.account
        ));
        // A group with fewer members may lose what was on its way to the one that has left.
        for other in self.members.iter_mut().filter(|other| other.queue == member.queue) {
            other.is_known &= member.queue.is_none() || other.account != member.account;
        }
    }

    fn publish(&mut self) {
        let node = *self.dice.pick(&self.up());
        let account = *self.dice.pick(&ACCOUNTS);
        let subject = *self.dice.pick(&SUBJECTS);
        self.publish_from(node, account, subject);
    }

    fn publish_from(&mut self, node: usize, account: &'static str, subject: &'static str) {
        self.count += 1;
        let publisher = self.dice.below(PUBLISHERS);
        let payload =
            format!("{} {node} {} {publisher} {account} {subject}", self.count, self.lives[node]);
        let client =
            self.mesh.nodes[node].broker.client_as(Grant::anonymous().with_account(account));
        block_on(client.publish(subject, payload.into())).unwrap();
        self.sent.insert(self.count, Sent { account, subject, node, groups: BTreeSet::new() });
    }

    /// Reads what a member has received, and checks what must hold for each message.
    fn read(&mut self, number: usize) {
        while let Some(message) = self.members[number].subscriber.try_next() {
            let text = String::from_utf8_lossy(&message.payload).into_owned();
            let words: Vec<&str> = text.split(' ').collect();
            let [count, node, life, publisher, account, subject] = *words else {
                self.fail(&format!("a payload is {text:?}"))
            };
            let id: u64 = count.parse().unwrap();
            let account = *ACCOUNTS.iter().find(|one| **one == account).unwrap();
            let from =
                (node.parse().unwrap(), life.parse().unwrap(), publisher.parse().unwrap(), account);
            let member = &mut self.members[number];
            let before = member.last.insert(from, id);
            let receives = is_for(account, subject, member.account);
            // A server sends on a message of a group whose last member there has just left. Its line says for which groups
            // it is, and is for plain subscriptions besides, which did not exist for the first server yet.
            let is_sent_on = self.left.iter().any(|(of, _)| is_for(account, subject, of));
            let may_be_late = match member.queue {
                Some(queue) => self.left.contains(&(member.account, queue)),
                None => is_sent_on && !member.is_known,
            };
            let is_in_order = may_be_late || before.is_none_or(|before| before < id);
            member.seen.insert(id);
            let (own, filter, queue) = (member.account, member.filter, member.queue);
            let what = format!("n{} {own} {filter} {queue:?} gets {text}", member.node);
            if !receives || !matches(filter, subject) {
                self.fail(&format!("{what}, which is not for it"));
            }
            if !is_in_order {
                self.fail(&format!("{what} after {before:?}"));
            }
            let is_first = match (queue, self.sent.get_mut(&id)) {
                (Some(queue), Some(sent)) => sent.groups.insert((own, queue)),
                _ => true,
            };
            if !is_first {
                self.fail(&format!("{what}, as another member of the group did"));
            }
        }
    }

    fn read_all(&mut self) {
        for number in 0..self.members.len() {
            self.read(number);
        }
    }

    /// Breaks something.
    fn break_something(&mut self) {
        let (one, other) = self.pair();
        match self.dice.below(11) {
            0 | 1 => {
                self.note(&format!("n{one} and n{other} are parted"));
                self.mesh.cut(one, other);
                self.disturb(one, other);
            }
            2 => {
                self.note(&format!("nothing passes from n{one} to n{other}"));
                self.mesh.network.cut(one, other);
                self.disturb(one, other);
            }
            3 => {
                self.note(&format!("n{one} is isolated"));
                (0..self.nodes())
                    .filter(|node| *node != one)
                    .for_each(|node| self.mesh.cut(one, node));
                self.disturb_all(one);
            }
            4 | 5 => {
                self.note(&format!("connections of n{one} and n{other} are reset"));
                let mut dice = Dice::new(self.dice.roll());
                self.mesh.reset(one, other, || dice.chance(60));
                self.disturb(one, other);
            }
            6 => self.stop(one),
            7 => {
                if self.mesh.is_up(one) {
                    self.note(&format!("n{one} announces its end"));
                    self.mesh.nodes[one].broker.announce_end();
                }
            }
            8 => self.reload_routes(one, other),
            9 => self.reload_accounts(),
            _ => {
                let delay = Duration::from_millis(self.dice.below(50) as u64);
                self.note(&format!("n{one} to n{other} takes {delay:?}"));
                self.mesh.network.set_delay(one, other, delay);
            }
        }
    }

    fn stop(&mut self, node: usize) {
        if self.up().len() < 2 || !self.mesh.is_up(node) {
            return;
        }
        self.note(&format!("n{node} stops"));
        (0..self.members.len()).for_each(|number| self.read(number));
        let before = self.members.len();
        let lost = self.members.iter().filter(|member| member.node == node);
        self.left.extend(lost.filter_map(|member| Some((member.account, member.queue?))));
        self.members.retain(|member| member.node != node);
        if self.members.len() < before {
            self.members.iter_mut().for_each(|one| one.is_known &= one.queue.is_none());
        }
        self.mesh.kill(node);
        self.disturb_all(node);
    }

    fn start(&mut self, node: usize) {
        self.note(&format!("n{node} starts"));
        self.lives[node] += 1;
        let mut options = self.options[node].clone();
        options.seed += self.lives[node] * 100;
        self.mesh.restart(node, options);
    }

    /// Has one of two servers, which both dial each other, not do it for a while; or changes the size of the pool.
    fn reload_routes(&mut self, one: usize, other: usize) {
        let dials = |world: &Self, from: usize, to: usize| {
            let cluster = world.options[from].cluster.as_ref().unwrap();
            cluster.routes.contains(&address(to))
        };
        if !self.mesh.is_up(one) {
            return;
        }
        self.is_reloaded = true;
        let mut changed = self.options[one].clone();
        let cluster = changed.cluster.as_mut().unwrap();
        if dials(self, one, other) && dials(self, other, one) {
            self.note(&format!("n{one} is reloaded: no longer dials n{other}"));
            cluster.routes.retain(|route| *route != address(other));
            self.disturb(one, other);
        } else {
            let size = *self.dice.pick(&[1, 2, 3, 4]);
            self.note(&format!("n{one} is reloaded: a pool of {size}"));
            cluster.pool_size = Some(size);
            self.disturb_all(one);
        }
        self.options[one] = changed;
        self.apply(one);
    }

    /// Gives an account routes of its own, or takes them, by a reload of one server after the other.
    ///
    /// Not while servers are parted: a request that arrives after the account has been taken its routes again would give
    /// it routes of their own on one server only, here and with servers of NATS.
    fn reload_accounts(&mut self) {
        if self.mesh.network.has_cuts() {
            return;
        }
        self.is_reloaded = true;
        let is_pinned = !self.options[0].cluster.as_ref().unwrap().accounts.is_empty();
        let accounts = if is_pinned { Vec::new() } else { vec!["B".into()] };
        for node in 0..self.nodes() {
            self.note(&format!("n{node} is reloaded: routes of their own for {accounts:?}"));
            self.options[node].cluster.as_mut().unwrap().accounts.clone_from(&accounts);
            if self.mesh.is_up(node) {
                self.apply(node);
            }
            self.disturb_all(node);
            let time = self.dice.below(500) as u64;
            self.mesh.pass(Duration::from_millis(time));
        }
    }

    fn apply(&mut self, node: usize) {
        let cluster = self.options[node].cluster.clone();
        let _ = self.mesh.nodes[node].broker.update_options(|options| options.cluster = cluster);
    }

    /// Publishes from everywhere, and checks that each message arrives exactly where it should.
    fn check_interest(&mut self) {
        self.read_all();
        let first = self.count + 1;
        for node in 0..self.nodes() {
            for account in ACCOUNTS {
                for subject in SUBJECTS {
                    self.publish_from(node, account, subject);
                }
            }
        }
        self.mesh.pass(Duration::from_millis(250));
        self.read_all();
        for (id, sent) in self.sent.range(first..) {
            let mut groups = BTreeSet::new();
            for member in &self.members {
                if !is_for(sent.account, sent.subject, member.account)
                    || !matches(member.filter, sent.subject)
                {
                    continue;
                }
                let has_it = match member.queue {
                    Some(queue) => {
                        groups.insert((member.account, queue));
                        sent.groups.contains(&(member.account, queue))
                    }
                    None => member.seen.contains(id),
                };
                if !has_it {
                    let Member { node, account, filter, queue, .. } = member;
                    let from = sent.node;
                    self.fail(&format!(
                        "{} s after all healed, {} in {} from n{from} does not reach n{node} {account} {filter} {queue:?}",
                        CONVERGED.as_secs(), sent.subject, sent.account
                    ));
                }
            }
        }
    }

    /// Checks that nothing was lost between servers that stayed connected.
    fn check_loss(&mut self) {
        self.read_all();
        for (id, sent) in &self.sent {
            for member in self.members.iter().filter(|member| member.is_known) {
                if self.is_disturbed(sent.node, member.node)
                    || !is_for(sent.account, sent.subject, member.account)
                    || !matches(member.filter, sent.subject)
                {
                    continue;
                }
                let is_lost = match member.queue {
                    None => !member.seen.contains(id),
                    // Every member of the group must be within reach.
                    Some(queue) => {
                        let group = || {
                            let all = self.members.iter();
                            all.filter(|one| {
                                one.queue == Some(queue) && one.account == member.account
                            })
                        };
                        group().all(|one| one.is_known && !self.is_disturbed(sent.node, one.node))
                            && !sent.groups.contains(&(member.account, queue))
                    }
                };
                if is_lost {
                    let Member { node, account, filter, queue, .. } = member;
                    self.fail(&format!(
                        "message {id} to {} in {} from n{} is lost on its way to n{node} {account} {filter} {queue:?}",
                        sent.subject, sent.account, sent.node
                    ));
                }
            }
        }
    }

    fn check_mesh(&mut self) {
        for node in 0..self.nodes() {
            if self.mesh.peers(node) != self.nodes() - 1 {
                self.fail(&format!("n{node} has {} peers", self.mesh.peers(node)));
            }
            let cluster = |node: usize| self.options[node].cluster.as_ref().unwrap();
            let size = |node: usize| usize::from(cluster(node).pool_size.unwrap());
            let pinned = cluster(node).accounts.len() + 1;
            let others = (0..self.nodes()).filter(|other| *other != node);
            let expected: usize = others.map(|other| size(node).max(size(other)) + pinned).sum();
            if self.mesh.routes(node) != expected {
                self.fail(&format!(
                    "n{node} has {} routes, not {expected}",
                    self.mesh.routes(node)
                ));
            }
        }
    }

    fn round(&mut self) {
        self.disturbed.clear();
        self.is_reloaded = false;
        self.left.clear();
        self.sent.clear();
        self.members.iter_mut().for_each(|member| member.seen.clear());
        let steps = 3 + self.dice.below(5);
        for _ in 0..steps {
            for _ in 0..self.dice.below(4) {
                self.subscribe();
            }
            if self.dice.chance(40) {
                self.unsubscribe();
            }
            for _ in 0..self.dice.below(12) {
                self.publish();
            }
            if self.dice.chance(50) {
                self.break_something();
            }
            let limit = if self.dice.chance(30) { 5_000 } else { 300 };
            let time = self.dice.below(limit) as u64;
            self.mesh.pass(Duration::from_millis(time));
            self.read_all();
        }
        self.heal();
        self.mesh.pass(if self.is_reloaded { RELOADED } else { CONVERGED });
        self.check_interest();
        self.mesh.pass(Duration::from_secs(3));
        self.check_mesh();
        self.check_loss();
        for member in &mut self.members {
            member.is_known = true;
        }
    }

    fn heal(&mut self) {
        self.note("all heals");
        self.mesh.heal();
        let down: Vec<usize> = (0..self.nodes()).filter(|node| !self.mesh.is_up(*node)).collect();
        down.into_iter().for_each(|node| self.start(node));
    }

    fn play(mut self) {
        let rounds = 2 + self.dice.below(3);
        for _ in 0..rounds {
            self.round();
        }
        self.members.clear();
        self.mesh.pass(Duration::from_secs(1));
        for node in 0..self.nodes() {
            let broker = &self.mesh.nodes[node].broker;
            let (_, accounts) = broker.stats_and_accounts();
            let of_user = accounts.iter().filter(|one| ACCOUNTS.contains(&&*one.name));
            let left: usize = of_user.map(|one| one.interest.subscriptions).sum();
            if left > 0 {
                self.fail(&format!("n{node} holds {left} subscriptions though nobody is left"));
            }
        }
        let connections = self.mesh.connection_count();
        let routes: usize = (0..self.nodes()).map(|node| self.mesh.routes(node)).sum();
        if connections * 2 != routes {
            self.fail(&format!("{connections} connections for {routes} ends of routes"));
        }
    }
}

/// Returns true if messages of one account reach receivers in another one.
fn is_for(account: &str, subject: &str, receiver: &str) -> bool {
    account == receiver || (account == "A" && receiver == "I" && subject.starts_with("pub."))
}

fn matches(filter: &str, subject: &str) -> bool {
    let (filter, subject): (Vec<_>, Vec<_>) =
        (filter.split('.').collect(), subject.split('.').collect());
    let has_tail = filter.last() == Some(&">");
    let fits = |(one, other): (&&str, &&str)| *one == "*" || *one == ">" || one == other;
    let is_long =
        if has_tail { subject.len() >= filter.len() } else { subject.len() == filter.len() };
    is_long && filter.iter().zip(&subject).all(fits)
}

/// Plays the seeds of one of two tests, which run at the same time.
fn play(part: u64) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("SEED") {
        if part == 0 {
            World::new(seed).play();
        }
        return;
    }
    let count = number("SEEDS").unwrap_or(200);
    for seed in (0..count).filter(|seed| seed % 2 == part) {
        let shown = Arc::new(seed);
        let guard = Shown(Arc::clone(&shown));
        World::new(seed).play();
        std::mem::forget(guard);
    }
}

/// Names the seed if it panics elsewhere than in a check.
struct Shown(Arc<u64>);

impl Drop for Shown {
    fn drop(&mut self) {
        eprintln!("replay with SEED={}", self.0);
    }
}

#[test]
fn promises_hold_with_even_seeds() {
    play(0);
}

#[test]
fn promises_hold_with_odd_seeds() {
    play(1);
}
