//! The subscriptions with wildcards, and a few others: a compressed trie by token.
//!
//! Clients subscribe to `orders.<number>.*` a million times, and each of these filters has a path of its own
//! from the second token on. So the part of a path that only one filter uses is not stored: the branch where it
//! leaves the others holds the subscription, whose filter contains the rest. A node is made only where two
//! filters diverge. All edges by literal tokens are in one table, by node and token, so that a node is small
//! whatever the number of its edges, and adding one never takes longer.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

use super::Interested;
use super::matches::Matches;
use super::members::{self, Members};
use crate::arena::Arena;
use crate::subject::{Token, tokens};
use crate::sync::Arc;
use crate::table::{Entry, Table};

/// The subscriptions with wildcards, by filter.
pub(super) struct Trie<S> {
    root: Node<S>,
    nodes: Arena<Node<S>>,
    /// The edges by a literal token.
    edges: Table<Edge<S>>,
    hasher: FixedState,
}

/// The number of the root, which is not in the arena.
const ROOT: u32 = u32::MAX;

/// A point where filters diverge, or where one ends and others continue.
struct Node<S> {
    /// The literal token of the edge to this node; empty for `*`.
    token: Box<[u8]>,
    /// The number of literal edges from this node.
    literals: u32,
    /// Filters that continue with `*`.
    partial: Option<Way<S>>,
    /// Filters that end at this node.
    ending: Option<Members<S>>,
    /// Filters whose last token, right behind this node, is `>`.
    full: Option<Members<S>>,
}

/// The target of an edge.
enum Way<S> {
    /// A single filter.
    Leaf(Members<S>),
    /// Several filters.
    Node(u32),
}

/// An edge by a literal token. Its token is stored in its target: the node or the filter.
struct Edge<S> {
    /// The node that it starts from.
    from: u32,
    /// The offset of the token in the filter.
    at: u32,
    way: Way<S>,
}

const _: () = assert!(size_of::<Edge<()>>() == 24);

impl<S: Interested> Entry for Edge<S> {
    fn touch(&self) -> usize {
        match &self.way {
            Way::Leaf(members) => filter_of(members).first().map_or(0, |byte| usize::from(*byte)),
            // Nodes are adjacent to each other.
            Way::Node(_) => 0,
        }
    }
}

/// A step on the path to a subscription.
#[derive(Clone, Copy)]
struct Step {
    from: u32,
    /// The offset of the token in the filter.
    at: usize,
}

impl<S> Node<S> {
    fn new(token: &[u8]) -> Self {
        Self { token: token.into(), literals: 0, partial: None, ending: None, full: None }
    }

    fn is_empty(&self) -> bool {
        self.literals == 0 && self.partial.is_none() && self.ending.is_none() && self.full.is_none()
    }
}

/// Returns the token that begins at `at`, and the offset of the next one, which is past the end if there is none.
#[inline]
fn token_at(filter: &[u8], at: usize) -> (&[u8], usize) {
    let rest = filter.get(at..).unwrap_or_default();
    let token = tokens(rest).next().unwrap_or_default();
    (token, at + token.len() + 1)
}

/// The text of a subject behind the tokens that were followed already; `None` behind the last one.
type Rest<'a> = Option<&'a [u8]>;

/// Splits the next token off.
#[inline]
fn split(text: &[u8]) -> (&[u8], Rest<'_>) {
    match text.iter().position(|byte| *byte == b'.') {
        Some(end) => (&text[..end], Some(&text[end + 1..])),
        None => (text, None),
    }
}

/// A search for the filters that match a subject.
struct Search<'s, S> {
    subject: &'s [u8],
    /// `None` until a `>` makes it matter, for all of them.
    has_empty_token: Option<bool>,
    matches: &'s mut Matches<S>,
}

impl<S> Search<'_, S> {
    /// Returns true if a `>` matches tokens of the subject.
    // NATS 2.14: a subject with an empty token matches nothing.
    fn may_be_full(&mut self) -> bool {
        let has_empty_token = || tokens(self.subject).any(<[u8]>::is_empty);
        !*self.has_empty_token.get_or_insert_with(has_empty_token)
    }
}

/// Returns true if the filter matches the subject of a search from `at` on.
fn goes_on<S>(filter: &[u8], at: usize, rest: Rest<'_>, search: &mut Search<'_, S>) -> bool {
    let (mut wanted, mut given) = match (filter.get(at..), rest) {
        (Some(wanted), Some(given)) => (wanted, given),
        (wanted, given) => return wanted.is_none() && given.is_none(),
    };
    loop {
        // Usually the filter is equal up to its wildcard. A wildcard matches itself as a token of the subject.
        let same = same_len(wanted, given);
        if same == wanted.len() && same == given.len() {
            return true;
        }
        let dot = wanted[..same].iter().rposition(|byte| *byte == b'.');
        let begin = dot.map_or(0, |dot| dot + 1);
        let (token, next_wanted) = split(&wanted[begin..]);
        let text = &given[begin..];
        match Token::of(token) {
            Token::Full => return search.may_be_full(),
            Token::Literal(_) => return false,
            Token::Partial => match (next_wanted, split(text)) {
                // An empty token matches nothing.
                (None, (token, None)) => return !token.is_empty(),
                (Some(next), (token, Some(rest))) if !token.is_empty() => {
                    (wanted, given) = (next, rest);
                }
                _ => return false,
            },
        }
    }
}

/// Returns the number of bytes at the beginning that are the same.
#[inline]
fn same_len(a: &[u8], b: &[u8]) -> usize {
    let ((a_chunks, _), (b_chunks, _)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let chunks = a_chunks.iter().zip(b_chunks).take_while(|(a, b)| a == b).count();
    let whole = 8 * chunks;
    whole + a[whole..].iter().zip(&b[whole..]).take_while(|(a, b)| a == b).count()
}

#[inline]
fn filter_of<S: Interested>(members: &Members<S>) -> &[u8] {
    members.first().map_or(&[], |first| first.filter())
}

fn add<S: Interested>(place: &mut Option<Members<S>>, subscription: Arc<S>, hasher: &FixedState) {
    match place {
        Some(members) => members.insert(subscription, hasher),
        None => *place = Some(Members::One(subscription)),
    }
}

impl<S: Interested> Trie<S> {
    pub(super) fn new(hasher: FixedState) -> Self {
        Self { root: Node::new(&[]), nodes: Arena::default(), edges: Table::default(), hasher }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.root.is_empty()
    }

    fn node_mut(&mut self, number: u32) -> Option<&mut Node<S>> {
        if number == ROOT { Some(&mut self.root) } else { self.nodes.get_mut(number) }
    }

    #[inline]
    fn hash(&self, from: u32, token: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u32(from);
        hasher.write(token);
        hasher.finish()
    }

    fn edge(&self, from: u32, token: &[u8]) -> Option<&Edge<S>> {
        let is_it = |edge: &Edge<S>| is_edge(&self.nodes, edge, from, token);
        self.edges.find(self.hash(from, token), is_it)
    }

    /// Returns the edge from a node by the token that begins at `at`; not for `>`.
    fn way_mut(&mut self, Step { from, at }: Step, filter: &[u8]) -> Option<&mut Way<S>> {
        let (token, _) = token_at(filter, at);
        if token == b"*" {
            return self.node_mut(from)?.partial.as_mut();
        }
        let hash = self.hash(from, token);
        let nodes = &self.nodes;
        let is_it = |edge: &Edge<S>| is_edge(nodes, edge, from, token);
        self.edges.find_mut(hash, is_it).map(|edge| &mut edge.way)
    }

    /// Adds a missing edge.
    fn add_way(&mut self, Step { from, at }: Step, filter: &[u8], way: Way<S>) {
        let (token, _) = token_at(filter, at);
        if token == b"*" {
            if let Some(node) = self.node_mut(from) {
                node.partial = Some(way);
            }
            return;
        }
        let hash = self.hash(from, token);
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        let edge = Edge { from, at: at as u32, way };
        self.edges.insert(hash, edge, |edge| hash_of(nodes, hasher, edge));
        if let Some(node) = self.node_mut(from) {
            node.literals += 1;
        }
    }

    fn remove_way(&mut self, Step { from, at }: Step, filter: &[u8]) {
        let (token, _) = token_at(filter, at);
        if token == b"*" {
            if let Some(node) = self.node_mut(from) {
                node.partial = None;
            }
            return;
        }
        let hash = self.hash(from, token);
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        let is_it = |edge: &Edge<S>| is_edge(nodes, edge, from, token);
        let removed = self.edges.remove(hash, is_it, |edge| hash_of(nodes, hasher, edge));
        if removed.is_some()
            && let Some(node) = self.node_mut(from)
        {
            node.literals -= 1;
        }
    }

    pub(super) fn insert(&mut self, subscription: Arc<S>) {
        let owned = Arc::clone(&subscription);
        let filter = owned.filter();
        let hasher = self.hasher.clone();
        let mut step = Step { from: ROOT, at: 0 };
        loop {
            let (token, next) = token_at(filter, step.at);
            if token == b">" {
                if let Some(node) = self.node_mut(step.from) {
                    add(&mut node.full, subscription, &hasher);
                }
                return;
            }
            let node = match self.way_mut(step, filter) {
                None => return self.add_way(step, filter, Way::Leaf(Members::One(subscription))),
                Some(Way::Leaf(members)) if filter_of(members) == filter => {
                    return members.insert(subscription, &hasher);
                }
                Some(Way::Leaf(_)) => self.part(step, filter),
                Some(Way::Node(node)) => *node,
            };
            if next > filter.len() {
                if let Some(node) = self.node_mut(node) {
                    add(&mut node.ending, subscription, &hasher);
                }
                return;
            }
            step = Step { from: node, at: next };
        }
    }

    /// Replaces a leaf by a node, and moves its filter one token further. Returns the number of the
    /// node.
    fn part(&mut self, step: Step, filter: &[u8]) -> u32 {
        let (token, next) = token_at(filter, step.at);
        let text = if token == b"*" { &[] } else { token };
        let number = self.nodes.insert(Node::new(text));
        let Some(way) = self.way_mut(step, filter) else { return number };
        let Way::Leaf(members) = std::mem::replace(way, Way::Node(number)) else { return number };
        let first = members.first().cloned();
        let old = first.as_ref().map_or(&[][..], |first| first.filter());
        if next > old.len() || old.get(next..) == Some(b">") {
            if let Some(node) = self.nodes.get_mut(number) {
                let place = if next > old.len() { &mut node.ending } else { &mut node.full };
                *place = Some(members);
            }
        } else {
            self.add_way(Step { from: number, at: next }, old, Way::Leaf(members));
        }
        number
    }

    /// Removes a subscription. Returns false if it was not there.
    pub(super) fn remove(&mut self, subscription: &Arc<S>) -> bool {
        let filter = subscription.filter();
        let hasher = self.hasher.clone();
        let mut steps: Vec<Step> = Vec::new();
        let mut step = Step { from: ROOT, at: 0 };
        let removed = loop {
            let (token, next) = token_at(filter, step.at);
            if token == b">" {
                let node = self.node_mut(step.from);
                break node
                    .is_some_and(|node| members::remove(&mut node.full, subscription, &hasher));
            }
            let node = match self.way_mut(step, filter) {
                None => break false,
                Some(Way::Leaf(_)) => break self.remove_leaf(step, subscription),
                Some(Way::Node(node)) => *node,
            };
            steps.push(step);
            if next > filter.len() {
                let node = self.node_mut(node);
                break node
                    .is_some_and(|node| members::remove(&mut node.ending, subscription, &hasher));
            }
            step = Step { from: node, at: next };
        };
        if removed {
            self.tidy(&steps, filter);
        }
        removed
    }

    fn remove_leaf(&mut self, step: Step, subscription: &Arc<S>) -> bool {
        let hasher = self.hasher.clone();
        let filter = subscription.filter();
        let Some(Way::Leaf(members)) = self.way_mut(step, filter) else { return false };
        match members {
            Members::One(only) if Arc::ptr_eq(only, subscription) => {
                self.remove_way(step, filter);
                true
            }
            Members::One(_) => false,
            Members::Many(crowd) => {
                let removed = crowd.remove(subscription, &hasher);
                if crowd.len() == 1
                    && let Some(last) = crowd.pop(&hasher)
                {
                    *members = Members::One(last);
                }
                removed
            }
        }
    }

    /// Removes the nodes behind these steps that are no longer needed, from the last one on.
    fn tidy(&mut self, steps: &[Step], filter: &[u8]) {
        for step in steps.iter().rev() {
            let Some(Way::Node(number)) = self.way_mut(*step, filter) else { return };
            let number = *number;
            let Some(node) = self.nodes.get_mut(number) else { return };
            if node.is_empty() {
                self.remove_way(*step, filter);
                self.nodes.remove(number);
                continue;
            }
            let Some(members) = node.take_alone() else { return };
            // The edge is found by the node's token while it leads to the node.
            if let Some(way) = self.way_mut(*step, filter) {
                *way = Way::Leaf(members);
            }
            self.nodes.remove(number);
        }
    }

    pub(super) fn collect(&self, subject: &[u8], matches: &mut Matches<S>) {
        let mut search = Search { subject, has_empty_token: None, matches };
        self.collect_from(ROOT, &self.root, 0, Some(subject), &mut search);
    }

    /// `at` is the length of the prefix of all filters at `node`, the dot behind it included. The recursion is as
    /// deep as filters have tokens, which a control line bounds to some thousands of small frames.
    fn collect_from(
        &self,
        number: u32,
        node: &Node<S>,
        at: usize,
        rest: Rest<'_>,
        search: &mut Search<'_, S>,
    ) {
        let Some(text) = rest else {
            if let Some(ending) = &node.ending {
                ending.collect(search.matches);
            }
            return;
        };
        let (token, rest) = split(text);
        // NATS 2.14: a subject with an empty token matches nothing.
        if token.is_empty() {
            return;
        }
        if let Some(full) = &node.full
            && search.may_be_full()
        {
            full.collect(search.matches);
        }
        if let Some(way) = &node.partial {
            self.collect_behind(way, at + 2, rest, search);
        }
        if node.literals > 0
            && let Some(edge) = self.edge(number, token)
        {
            self.collect_behind(&edge.way, at + token.len() + 1, rest, search);
        }
    }

    #[inline]
    fn collect_behind(&self, way: &Way<S>, at: usize, rest: Rest<'_>, search: &mut Search<'_, S>) {
        match way {
            Way::Leaf(members) => {
                if goes_on(filter_of(members), at, rest, search) {
                    members.collect(search.matches);
                }
            }
            Way::Node(number) => {
                if let Some(node) = self.nodes.get(*number) {
                    self.collect_from(*number, node, at, rest, search);
                }
            }
        }
    }

    /// Returns true if filters may tell apart the subjects that consist of `prefix` and one token.
    pub(super) fn tells_apart(&self, prefix: &[u8]) -> bool {
        self.tells_apart_from(ROOT, &self.root, 0, tokens(prefix))
    }

    /// Follows the way of [`Self::collect_from`] to the last token.
    fn tells_apart_from<'a>(
        &self,
        number: u32,
        node: &Node<S>,
        at: usize,
        mut rest: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> bool {
        let Some(token) = rest.next() else { return node.literals > 0 };
        if let Some(way) = &node.partial
            && self.tells_apart_behind(way, at + 2, rest.clone())
        {
            return true;
        }
        let edge = if node.literals > 0 { self.edge(number, token) } else { None };
        edge.is_some_and(|edge| self.tells_apart_behind(&edge.way, at + token.len() + 1, rest))
    }

    fn tells_apart_behind<'a>(
        &self,
        way: &Way<S>,
        at: usize,
        mut rest: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> bool {
        match way {
            Way::Node(number) => {
                let node = self.nodes.get(*number);
                node.is_some_and(|node| self.tells_apart_from(*number, node, at, rest))
            }
            Way::Leaf(members) => {
                let Some(wanted) = filter_of(members).get(at..) else { return false };
                for token in tokens(wanted) {
                    match (Token::of(token), rest.next()) {
                        (Token::Full, _) | (Token::Partial, None) => return false,
                        (Token::Literal(_), None) => return true,
                        (Token::Literal(text), Some(given)) if text != given => return false,
                        (Token::Literal(_) | Token::Partial, Some(_)) => {}
                    }
                }
                false
            }
        }
    }

    /// Returns the number of nodes and edges.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.nodes.len(), self.edges.len())
    }
}

impl<S: Interested> Node<S> {
    /// Takes the members of the only filter of this node, if there is only one, which needs no node. (A filter that
    /// continues with a literal token is not found from here; its node stays until the filter is removed.)
    fn take_alone(&mut self) -> Option<Members<S>> {
        if self.literals > 0 {
            return None;
        }
        match (&self.partial, &self.ending, &self.full) {
            (Some(Way::Leaf(_)), None, None) => match self.partial.take() {
                Some(Way::Leaf(members)) => Some(members),
                _ => None,
            },
            (None, Some(_), None) => self.ending.take(),
            (None, None, Some(_)) => self.full.take(),
            _ => None,
        }
    }
}

/// Returns true if it is the edge by that token.
#[inline]
fn is_edge<S: Interested>(nodes: &Arena<Node<S>>, edge: &Edge<S>, from: u32, token: &[u8]) -> bool {
    edge.from == from
        && match &edge.way {
            Way::Leaf(members) => {
                let rest = filter_of(members).get(edge.at as usize..).unwrap_or_default();
                rest.strip_prefix(token)
                    .is_some_and(|rest| matches!(rest.first(), None | Some(b'.')))
            }
            Way::Node(number) => nodes.get(*number).is_some_and(|node| *node.token == *token),
        }
}

/// Returns the literal token of an edge.
fn token_of<'a, S: Interested>(nodes: &'a Arena<Node<S>>, edge: &'a Edge<S>) -> &'a [u8] {
    match &edge.way {
        Way::Leaf(members) => token_at(filter_of(members), edge.at as usize).0,
        Way::Node(number) => nodes.get(*number).map_or(&[], |node| &node.token),
    }
}

fn hash_of<S: Interested>(nodes: &Arena<Node<S>>, hasher: &FixedState, edge: &Edge<S>) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write_u32(edge.from);
    hasher.write(token_of(nodes, edge));
    hasher.finish()
}
