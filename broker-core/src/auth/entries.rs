//! One list of permissions, stored as text or as a tree of tokens.

use std::collections::HashMap;

use crate::subject::{SubjectFilter, Token, tokens};

/// One list of allowed or denied subjects, some of them for certain queue groups only.
///
/// A short list is its text, searched line by line: it takes a hundred bytes or two, where a tree takes
/// thousands, and a server may have a hundred thousand users with two lists each. A long list is a tree by
/// token: the cost of a look-up depends on the wildcards that could match, never on the number of literal subjects.
/// A look-up allocates nothing.
#[derive(Clone, Eq, PartialEq)]
pub(super) enum Entries {
    /// One line per entry, in order: the subject, then the queue group after a blank.
    Few(Box<[u8]>),
    Many(Box<Tree>),
}

/// The longest list that is searched linearly, which takes about as long as a look-up in the tree.
const FEW: usize = 16;

/// The entries of a list that match one subject and queue group.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Found {
    /// An entry without a queue group matches the subject.
    pub(super) plain: bool,
    /// An entry for a queue group, not necessarily this one, matches the subject.
    pub(super) queue_listed: bool,
    /// An entry for this queue group matches the subject.
    pub(super) queue_matched: bool,
}

/// The meaning of a wildcard in the subject that is looked up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wildcards {
    /// A token like any other: `*` in the list matches a `>` that is looked up.
    Literal,
    /// A wildcard: an entry matches only if it matches every subject that the wildcard does.
    Covered,
}

/// A subject, for one queue group (which may hold wildcards) or without one: its line.
pub(super) struct Entry(Vec<u8>);

impl Entry {
    /// Takes a text that is a valid filter.
    pub(super) fn of(subject: impl Into<Vec<u8>>) -> Self {
        Self(subject.into())
    }

    /// Takes texts that are valid filters, and so without white space.
    pub(super) fn with_queue(subject: &[u8], queue: &[u8]) -> Self {
        Self([subject, queue].join(&b' '))
    }
}

impl FromIterator<Entry> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut lines: Vec<Vec<u8>> = entries.into_iter().map(|entry| entry.0).collect();
        lines.sort_unstable();
        lines.dedup();
        match lines.len() {
            // The most frequent lists of many users are not copied.
            0 | 1 => Self::Few(lines.pop().unwrap_or_default().into()),
            ..=FEW => Self::Few(lines.join(&b'\n').into()),
            _ => {
                let mut tree = Tree::default();
                lines.iter().for_each(|line| tree.insert(Line::of(line)));
                Self::Many(Box::new(tree))
            }
        }
    }
}

impl Default for Entries {
    fn default() -> Self {
        Self::Few(Box::default())
    }
}

impl Entries {
    /// Adds a subject for all queue groups.
    #[cfg(feature = "jwt")]
    pub(super) fn insert(&mut self, subject: &SubjectFilter) {
        match self {
            Self::Few(text) => {
                let known = texts_of(text).map(Entry::of);
                *self = known.chain([Entry::of(subject.as_bytes())]).collect();
            }
            Self::Many(tree) => tree.insert(Line { subject: subject.as_bytes(), queue: None }),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(text) => lines(text).count(),
            Self::Many(tree) => tree.len,
        }
    }

    /// Returns the entries in order.
    pub(super) fn to_texts(&self) -> Vec<String> {
        let mut texts = Vec::with_capacity(self.len());
        match self {
            Self::Few(text) => {
                texts.extend(texts_of(text).map(|line| String::from_utf8_lossy(line).into_owned()));
            }
            Self::Many(tree) => {
                tree.root.list(&mut Vec::new(), &mut texts);
                texts.sort_unstable();
            }
        }
        texts
    }

    /// Looks up the entries that match `subject`. A subject with an empty token matches none.
    pub(super) fn find(&self, subject: &[u8], queue: Option<&[u8]>, mode: Wildcards) -> Found {
        let mut found = Found::default();
        // NATS 2.14: a look-up in the sublist ends at an empty token, whatever was matched so far.
        if self.is_empty() || tokens(subject).any(<[u8]>::is_empty) {
            return found;
        }
        match self {
            Self::Few(text) => {
                for line in lines(text).filter(|line| line.matches(subject, mode)) {
                    match &line.queue {
                        None => found.plain = true,
                        Some(pattern) => {
                            found.queue_listed = true;
                            found.queue_matched |=
                                queue.is_some_and(|queue| pattern.matches(queue));
                        }
                    }
                }
            }
            Self::Many(tree) => tree.root.find(tokens(subject), queue, mode, &mut found),
        }
        found
    }

    /// Returns true if `filter` and an entry without a queue group or for `queue` match a common subject.
    pub(super) fn overlaps(&self, filter: &SubjectFilter, queue: Option<&[u8]>) -> bool {
        match self {
            Self::Few(text) => {
                lines(text).any(|line| line.concerns(queue) && line.overlaps(filter.as_bytes()))
            }
            Self::Many(tree) => tree.root.overlaps(filter.tokens(), queue),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Few(text) if text.is_empty())
    }
}

/// The texts of the entries of a short list.
fn texts_of(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// The entries of a short list.
fn lines(list: &[u8]) -> impl Iterator<Item = Line<'_>> {
    texts_of(list).map(Line::of)
}

/// One entry of a list.
#[derive(Clone, Copy)]
struct Line<'a> {
    subject: &'a [u8],
    queue: Option<QueuePattern<'a>>,
}

impl<'a> Line<'a> {
    fn of(line: &'a [u8]) -> Self {
        match memchr::memchr(b' ', line) {
            None => Self { subject: line, queue: None },
            Some(at) => Self { subject: &line[..at], queue: Some(QueuePattern(&line[at + 1..])) },
        }
    }

    // NATS 2.14: sublist matchLevel.
    fn matches(&self, subject: &[u8], mode: Wildcards) -> bool {
        let (mut ours, mut theirs) = (tokens(self.subject), tokens(subject));
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) | (Some(b">"), Some(_)) => return true,
                (Some(b"*"), Some(their)) if mode == Wildcards::Literal || their != b">" => {}
                (Some(our), Some(their)) if our != b"*" && our == their => {}
                _ => return false,
            }
        }
    }

    fn overlaps(&self, filter: &[u8]) -> bool {
        let (mut ours, mut theirs) = (tokens(self.subject), tokens(filter));
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) | (Some(b">"), Some(_)) | (Some(_), Some(b">")) => return true,
                (Some(b"*"), Some(_)) | (Some(_), Some(b"*")) => {}
                (Some(our), Some(their)) if our == their => {}
                _ => return false,
            }
        }
    }

    fn concerns(&self, queue: Option<&[u8]>) -> bool {
        match &self.queue {
            None => true,
            Some(pattern) => queue.is_some_and(|queue| pattern.matches(queue)),
        }
    }
}

#[derive(Clone, Default, Eq, PartialEq)]
pub(super) struct Tree {
    root: Node,
    len: usize,
}

impl Tree {
    fn insert(&mut self, line: Line<'_>) {
        let mut node = &mut self.root;
        let mut leaf = None;
        for token in tokens(line.subject) {
            match Token::of(token) {
                Token::Literal(text) => node = node.literals.get_or_insert(text),
                Token::Partial => node = node.partial.get_or_insert_default(),
                // Always the last token, which parsing the filter has checked.
                Token::Full => leaf = Some(&mut node.full),
            }
            if leaf.is_some() {
                break;
            }
        }
        let leaf = match leaf {
            Some(leaf) => leaf,
            None => &mut node.here,
        };
        match line.queue {
            None => leaf.plain = true,
            Some(QueuePattern(name)) => leaf.queues.push(name.into()),
        }
        self.len += 1;
    }
}

#[derive(Clone, Default, Eq, PartialEq)]
struct Node {
    literals: Literals,
    partial: Option<Box<Node>>,
    full: Leaf,
    here: Leaf,
}

impl Node {
    // NATS 2.14: sublist matchLevel. Wildcards are never among the literals, so that a wildcard
    // that is looked up matches only `*` and `>`.
    fn find<'a>(
        &self,
        mut rest: impl Iterator<Item = &'a [u8]> + Clone,
        queue: Option<&[u8]>,
        mode: Wildcards,
        found: &mut Found,
    ) {
        let Some(token) = rest.next() else {
            return self.here.find(queue, found);
        };
        self.full.find(queue, found);
        if let Some(next) = &self.partial
            && (mode == Wildcards::Literal || token != b">")
        {
            next.find(rest.clone(), queue, mode, found);
        }
        if let Some(next) = self.literals.get(token) {
            next.find(rest, queue, mode, found);
        }
    }

    fn overlaps<'a>(
        &self,
        mut rest: impl Iterator<Item = Token<'a>> + Clone,
        queue: Option<&[u8]>,
    ) -> bool {
        let Some(token) = rest.next() else {
            return self.here.concerns(queue);
        };
        if self.full.concerns(queue) {
            return true;
        }
        match token {
            Token::Full => self.children().any(|next| next.any(queue)),
            Token::Partial => self.children().any(|next| next.overlaps(rest.clone(), queue)),
            Token::Literal(text) => {
                let same = self.literals.get(text);
                let mut nexts = self.partial.as_deref().into_iter().chain(same);
                nexts.any(|next| next.overlaps(rest.clone(), queue))
            }
        }
    }

    /// Adds the entries that begin with `tokens` and continue in this node.
    fn list<'a>(&'a self, tokens: &mut Vec<&'a [u8]>, texts: &mut Vec<String>) {
        self.here.list(tokens, texts);
        tokens.push(b">");
        self.full.list(tokens, texts);
        tokens.pop();
        let partial = self.partial.iter().map(|next| (&b"*"[..], &**next));
        for (token, next) in partial.chain(self.literals.iter()) {
            tokens.push(token);
            next.list(tokens, texts);
            tokens.pop();
        }
    }

    fn any(&self, queue: Option<&[u8]>) -> bool {
        self.here.concerns(queue)
            || self.full.concerns(queue)
            || self.children().any(|next| next.any(queue))
    }

    fn children(&self) -> impl Iterator<Item = &Self> {
        self.partial.as_deref().into_iter().chain(self.literals.values())
    }
}

/// The tokens that follow a token: usually one or none, for which a table would be large.
#[derive(Clone, Default, Eq, PartialEq)]
enum Literals {
    #[default]
    None,
    One(Box<(Box<[u8]>, Node)>),
    #[expect(clippy::box_collection, reason = "there are many nodes, and few have a table")]
    Many(Box<HashMap<Box<[u8]>, Node>>),
}

impl Literals {
    fn get(&self, token: &[u8]) -> Option<&Node> {
        match self {
            Self::None => None,
            Self::One(one) => (*one.0 == *token).then_some(&one.1),
            Self::Many(many) => many.get(token),
        }
    }

    fn get_or_insert(&mut self, token: &[u8]) -> &mut Node {
        let must_grow = matches!(self, Self::One(one) if *one.0 != *token);
        if must_grow && let Self::One(one) = std::mem::take(self) {
            *self = Self::Many(Box::new(HashMap::from([*one])));
        }
        if matches!(self, Self::None) {
            *self = Self::One(Box::new((token.into(), Node::default())));
        }
        match self {
            Self::One(one) => &mut one.1,
            Self::Many(many) => many.entry(token.into()).or_default(),
            Self::None => unreachable!("one has been put there"),
        }
    }

    fn values(&self) -> impl Iterator<Item = &Node> {
        self.iter().map(|(_, node)| node)
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &Node)> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(one) => (Some((&*one.0, &one.1)), None),
            Self::Many(many) => (None, Some(many.iter().map(|(token, node)| (&**token, node)))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// The entries that end at one node of the tree.
#[derive(Clone, Default, Eq, PartialEq)]
struct Leaf {
    plain: bool,
    /// Names of queue groups.
    queues: Vec<Box<[u8]>>,
}

impl Leaf {
    /// Adds its entries, whose subject has these tokens.
    fn list(&self, tokens: &[&[u8]], texts: &mut Vec<String>) {
        let subject = tokens.join(&b'.');
        let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        texts.extend(self.plain.then(|| text(&subject)));
        let queues = self.queues.iter().map(|queue| &**queue);
        texts.extend(queues.map(|queue| text(&[&subject, queue].join(&b' '))));
    }

    fn find(&self, queue: Option<&[u8]>, found: &mut Found) {
        found.plain |= self.plain;
        found.queue_listed |= !self.queues.is_empty();
        found.queue_matched |= self.has(queue);
    }

    fn concerns(&self, queue: Option<&[u8]>) -> bool {
        self.plain || self.has(queue)
    }

    fn has(&self, queue: Option<&[u8]>) -> bool {
        queue.is_some_and(|queue| self.queues.iter().any(|name| QueuePattern(name).matches(queue)))
    }
}

/// The queue group of an entry.
#[derive(Clone, Copy)]
struct QueuePattern<'a>(&'a [u8]);

impl QueuePattern<'_> {
    /// Returns true if the names are equal, or if this one matches all that `queue`, read as a filter,
    /// matches.
    // NATS 2.14: queueMatches, isSubsetMatchTokenized.
    fn matches(&self, queue: &[u8]) -> bool {
        if queue == self.0 {
            return true;
        }
        if !tokens(self.0).any(|token| matches!(token, b"*" | b">")) {
            return false;
        }
        let mut ours = tokens(self.0);
        let mut theirs = tokens(queue);
        loop {
            match (ours.next(), theirs.next()) {
                // As in the reference, names of queue groups are not validated, so that empty tokens pass.
                (None, None) | (Some(b">"), Some(_)) => return true,
                (None, _) | (_, None | Some(b"" | b">")) => return false,
                (Some(b"*"), Some(_)) => {}
                (Some(_), Some(b"*")) => return false,
                // In the reference, any token that begins with `*` counts as `*` if the name has a real wildcard
                // elsewhere. Lists that work there must work here.
                (Some(our), Some(their)) if our.starts_with(b"*") || our == their => {}
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue_matches(pattern: &str, queue: &str) -> bool {
        QueuePattern(pattern.as_bytes()).matches(queue.as_bytes())
    }

    /// Measured on nats-server 2.14.5.
    #[test]
    fn queue_groups_match_by_name_or_as_a_subset() {
        for (pattern, queue, expected) in [
            ("v1", "v1", true),
            ("v1", "v1.a", false),
            ("v1.*", "v1", false),
            ("v1.*", "v1.a", true),
            ("v1.*", "v1.*", true),
            ("v1.*", "v1.>", false),
            ("v1.>", "v1.>", true),
            ("v1.>", "v1.*.b", true),
            ("*.prod", "a.prod", true),
            ("*.prod", "prod", false),
            (">", "q", true),
            (">", "a..b", true),
            (">", ".", true),
            ("a.*", "a.", false),
            ("*x.*", "a.b", true),
            ("*x.*", "a", false),
            ("*x.*", "*.b", false),
            ("*x", "a", false),
        ] {
            assert_eq!(queue_matches(pattern, queue), expected, "{pattern} {queue}");
        }
    }

    #[test]
    fn a_list_is_read_back_in_order() {
        let mut texts: Vec<String> = (0..30).map(|i| format!("d.{i}.*")).collect();
        texts.extend(["a", "a q", "a.>", "a.> q", "a.> r.*", "*.x"].map(String::from));
        texts.sort_unstable();
        for texts in [&texts[..1], &texts[..5], &texts] {
            let entries = texts.iter().map(|text| match text.split_once(' ') {
                None => Entry::of(&**text),
                Some((subject, queue)) => Entry::with_queue(subject.as_bytes(), queue.as_bytes()),
            });
            assert_eq!(Entries::from_iter(entries).to_texts(), texts);
        }
    }

    #[test]
    fn a_long_list_of_literals_answers_like_a_short_one() {
        let entry = |i| Entry::of(format!("device.{i}.state"));
        let entries = Entries::from_iter((0..5000).map(entry));
        assert_eq!(entries.len(), 5000);
        assert!(entries.find(b"device.4999.state", None, Wildcards::Literal).plain);
        assert!(!entries.find(b"device.5000.state", None, Wildcards::Literal).plain);
        assert!(!entries.find(b"device.4999", None, Wildcards::Literal).plain);
        assert!(entries.overlaps(&SubjectFilter::parse("device.*.state").unwrap(), None));
        assert!(!entries.overlaps(&SubjectFilter::parse("device.*").unwrap(), None));
    }

    #[test]
    fn a_short_list_takes_no_more_than_its_text() {
        let few = Entries::from_iter((0..FEW).map(|i| Entry::of(format!("app.{i}.>"))));
        let Entries::Few(text) = &few else { panic!("a tree") };
        assert_eq!(text.len(), (0..FEW).map(|i| format!("app.{i}.>").len() + 1).sum::<usize>() - 1);
        assert_eq!(few.len(), FEW);
    }

    #[test]
    fn the_order_of_a_list_does_not_matter() {
        let one = Entries::from_iter(["a", "b.*", "a", "c.>"].map(Entry::of));
        let other = Entries::from_iter(["c.>", "b.*", "a"].map(Entry::of));
        assert!(one == other);
    }

    /// Compares the text form with the tree: results must not depend on the length of a list.
    #[test]
    fn short_and_long_lists_answer_alike() {
        let words = ["a", "b", "*"];
        let mut subjects: Vec<String> = vec![">".into(), "a".into(), "b".into(), "*".into()];
        for first in words {
            for second in ["a", "b", "*", ">"] {
                subjects.push(format!("{first}.{second}"));
                subjects.push(format!("{first}.a.{second}"));
            }
        }
        let entry = |text: &str, queue: Option<&str>| match queue {
            None => Entry::of(text),
            Some(queue) => Entry::with_queue(text.as_bytes(), queue.as_bytes()),
        };
        let filler = |i| entry(&format!("z.{i}"), None);
        for listed in &subjects {
            for queue in [None, Some("q"), Some("q.*")] {
                let short = Entries::from_iter([entry(listed, queue)]);
                let long = (0..FEW).map(filler).chain([entry(listed, queue)]);
                let long = Entries::from_iter(long);
                assert!(matches!((&short, &long), (Entries::Few(_), Entries::Many(_))));
                for asked in &subjects {
                    for group in [None, Some(&b"q"[..]), Some(b"q.a"), Some(b"other")] {
                        for mode in [Wildcards::Literal, Wildcards::Covered] {
                            let asked = asked.as_bytes();
                            let found = [&short, &long].map(|list| list.find(asked, group, mode));
                            assert_eq!(found[0], found[1], "{listed} {queue:?} {asked:?} {mode:?}");
                        }
                        // The filler matches none of them but `>` and subjects that begin with `*`.
                        if asked.starts_with(['a', 'b']) {
                            let filter = SubjectFilter::parse(asked.as_str()).unwrap();
                            let overlap = [&short, &long].map(|list| list.overlaps(&filter, group));
                            assert_eq!(overlap[0], overlap[1], "{listed} {queue:?} {asked}");
                        }
                    }
                }
            }
        }
    }
}
