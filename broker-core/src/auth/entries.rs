//! One list of permissions, as a tree of tokens.

use std::collections::HashMap;

use crate::subject::{SubjectFilter, Token, tokens};

/// One list of allowed or denied subjects, some of them for certain queue groups only.
///
/// A tree by token: what a look-up costs depends on the wildcards that could match, never on how
/// many literal subjects the list holds. A look-up allocates nothing.
#[derive(Clone, Default, Eq, PartialEq)]
pub(super) struct Entries {
    root: Node,
    len: usize,
}

/// What a list says about one subject and queue group.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Found {
    /// An entry for everybody matches the subject.
    pub(super) plain: bool,
    /// An entry for a queue group, though perhaps another one, matches the subject.
    pub(super) queue_listed: bool,
    /// An entry for this queue group matches the subject.
    pub(super) queue_matched: bool,
}

/// How a wildcard in the subject that is looked up is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wildcards {
    /// As a token like any other: `*` in the list matches a `>` that is looked up.
    Literal,
    /// As what it stands for: an entry matches only if it matches all that is looked up.
    Covered,
}

impl Entries {
    /// Adds a subject, for one queue group (which may hold wildcards) or for everybody.
    pub(super) fn insert(&mut self, subject: &SubjectFilter, queue: Option<&SubjectFilter>) {
        let mut node = &mut self.root;
        let mut leaf = None;
        for token in subject.tokens() {
            match token {
                Token::Literal(text) => node = node.literals.entry(text.into()).or_default(),
                Token::Partial => node = node.partial.get_or_insert_default(),
                // Always the last one: a filter is checked for it.
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
        match queue {
            None => leaf.plain = true,
            Some(queue) => leaf.queues.push(QueuePattern {
                name: queue.as_bytes().into(),
                has_wildcard: queue.has_wildcard(),
            }),
        }
        self.len += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Which entries match `subject`? One with an empty token is matched by none.
    pub(super) fn find(&self, subject: &[u8], queue: Option<&[u8]>, mode: Wildcards) -> Found {
        let mut found = Found::default();
        // NATS 2.14: a look-up in the sublist ends at an empty token, whatever was matched so far.
        if self.len > 0 && !tokens(subject).any(<[u8]>::is_empty) {
            self.root.find(tokens(subject), queue, mode, &mut found);
        }
        found
    }

    /// Is there a subject that `filter` and an entry for everybody or for `queue` both match?
    pub(super) fn overlaps(&self, filter: &SubjectFilter, queue: Option<&[u8]>) -> bool {
        self.root.overlaps(filter.tokens(), queue)
    }
}

#[derive(Clone, Default, Eq, PartialEq)]
struct Node {
    literals: HashMap<Box<[u8]>, Node>,
    partial: Option<Box<Node>>,
    full: Leaf,
    here: Leaf,
}

impl Node {
    // NATS 2.14: sublist matchLevel. Wildcards are never among the literals, so that a wildcard
    // that is looked up meets only `*` and `>`.
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

    fn any(&self, queue: Option<&[u8]>) -> bool {
        self.here.concerns(queue)
            || self.full.concerns(queue)
            || self.children().any(|next| next.any(queue))
    }

    fn children(&self) -> impl Iterator<Item = &Self> {
        self.partial.as_deref().into_iter().chain(self.literals.values())
    }
}

/// The entries that end at one place of the tree.
#[derive(Clone, Default, Eq, PartialEq)]
struct Leaf {
    plain: bool,
    queues: Vec<QueuePattern>,
}

impl Leaf {
    fn find(&self, queue: Option<&[u8]>, found: &mut Found) {
        found.plain |= self.plain;
        found.queue_listed |= !self.queues.is_empty();
        found.queue_matched |= self.has(queue);
    }

    fn concerns(&self, queue: Option<&[u8]>) -> bool {
        self.plain || self.has(queue)
    }

    fn has(&self, queue: Option<&[u8]>) -> bool {
        queue.is_some_and(|queue| self.queues.iter().any(|pattern| pattern.matches(queue)))
    }
}

/// The queue groups that an entry is for.
#[derive(Clone, Eq, PartialEq)]
struct QueuePattern {
    name: Box<[u8]>,
    has_wildcard: bool,
}

impl QueuePattern {
    /// A queue group is matched by its name, or when everything that its name, read as a filter,
    /// matches is matched by this.
    // NATS 2.14: queueMatches, isSubsetMatchTokenized.
    fn matches(&self, queue: &[u8]) -> bool {
        if queue == &*self.name {
            return true;
        }
        if !self.has_wildcard {
            return false;
        }
        let mut ours = tokens(&self.name);
        let mut theirs = tokens(queue);
        loop {
            match (ours.next(), theirs.next()) {
                // Nobody checks the names of queue groups: empty tokens pass here, as there.
                (None, None) | (Some(b">"), Some(_)) => return true,
                (None, _) | (_, None | Some(b"" | b">")) => return false,
                (Some(b"*"), Some(_)) => {}
                (Some(_), Some(b"*")) => return false,
                // Any token that begins with `*` counts as one there, if the name holds a real
                // wildcard elsewhere. Lists that work there shall work here.
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
        let has_wildcard = SubjectFilter::parse(pattern).unwrap().has_wildcard();
        QueuePattern { name: pattern.as_bytes().into(), has_wildcard }.matches(queue.as_bytes())
    }

    /// As measured on nats-server 2.14.5.
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
    fn a_long_list_of_literals_answers_like_a_short_one() {
        let mut entries = Entries::default();
        for i in 0..5000 {
            let subject = SubjectFilter::parse(format!("device.{i}.state")).unwrap();
            entries.insert(&subject, None);
        }
        assert_eq!(entries.len(), 5000);
        assert!(entries.find(b"device.4999.state", None, Wildcards::Literal).plain);
        assert!(!entries.find(b"device.5000.state", None, Wildcards::Literal).plain);
        assert!(!entries.find(b"device.4999", None, Wildcards::Literal).plain);
        assert!(entries.overlaps(&SubjectFilter::parse("device.*.state").unwrap(), None));
        assert!(!entries.overlaps(&SubjectFilter::parse("device.*").unwrap(), None));
    }
}
