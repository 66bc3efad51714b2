//! Translation of subjects between an exporting and an importing account.

use smallvec::SmallVec;

use super::{SubjectError, SubjectFilter, Token, tokens};

/// The memory of a translated subject, on the stack unless it is long.
pub(crate) type SubjectBuffer = SmallVec<[u8; 128]>;

/// Reasons why the subjects of an import cannot be translated.
// NATS 2.14: errors.go mappingDestinationErr.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RewriteError {
    /// One side is no subject, holds a wildcard that nothing takes the place of, or only one side ends with `>`.
    #[error("invalid subject")]
    InvalidSubject,
    /// A function other than `{{wildcard(n)}}`.
    #[error(
        "invalid mapping destination: the only mapping function allowed for import transforms is {{{{Wildcard()}}}} in \
         {0}"
    )]
    NotReversible(String),
    /// The source has no such wildcard.
    #[error("invalid mapping destination: wildcard index out of range in {0}")]
    IndexOutOfRange(String),
    /// A wildcard of the source is not used.
    #[error("invalid mapping destination: not using all of the token wildcard(s) in {0}")]
    UnusedWildcard(String),
}

impl From<SubjectError> for RewriteError {
    fn from(_: SubjectError) -> Self {
        Self::InvalidSubject
    }
}

/// A translation of the subjects that a filter matches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Rewrite {
    /// The subject is unchanged.
    Same,
    /// All subjects become this one.
    Literal(Box<[u8]>),
    /// The subject follows this text.
    Prefix(Box<[u8]>),
    Parts(Box<[Part]>),
}

/// A part of a translated subject.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    Text(Box<[u8]>),
    /// The token at that position.
    Token(usize),
    /// The token at that position and all behind it.
    Rest(usize),
}

impl Rewrite {
    /// Translates what matches the tokens of `source` to the tokens of `destination`, in which `$1` stands for the
    /// token that matched the first wildcard.
    // NATS 2.14: subject_transform.go NewSubjectTransformStrict.
    pub(crate) fn new(source: &SubjectFilter, destination: &str) -> Result<Self, RewriteError> {
        let wildcards: Vec<usize> = places_of(source, Token::Partial);
        let rest = places_of(source, Token::Full).first().copied();
        let parsed = SubjectFilter::parse(destination)?;
        let has_partial = parsed.tokens().any(|token| token == Token::Partial);
        let has_full = parsed.tokens().any(|token| token == Token::Full);
        if has_partial || has_full != rest.is_some() {
            return Err(RewriteError::InvalidSubject);
        }
        let mut used = vec![false; wildcards.len()];
        let mut parts = Vec::new();
        for text in destination.split('.') {
            parts.push(match placeholder(text)? {
                Some(number) => {
                    let out_of_range = || RewriteError::IndexOutOfRange(shown(text, number));
                    let place = number.checked_sub(1).ok_or_else(out_of_range)?;
                    let at = wildcards.get(place).ok_or_else(out_of_range)?;
                    used[place] = true;
                    Part::Token(*at)
                }
                None if text == ">" => Part::Rest(rest.unwrap_or_default()),
                None => Part::Text(text.as_bytes().into()),
            });
        }
        if used.contains(&false) {
            return Err(RewriteError::UnusedWildcard(destination.to_owned()));
        }
        Ok(Self::of(source, parts))
    }

    /// Returns the shortest form of a translation.
    fn of(source: &SubjectFilter, parts: Vec<Part>) -> Self {
        let count = source.token_count();
        let prefix = parts.len().checked_sub(count);
        let is_kept = |(place, (part, token)): (usize, (&Part, Token<'_>))| match (part, token) {
            (Part::Text(text), Token::Literal(literal)) => **text == *literal,
            (Part::Token(at) | Part::Rest(at), _) => *at == place,
            (Part::Text(_), _) => false,
        };
        if let Some(prefix) = prefix
            && parts[..prefix].iter().all(|part| matches!(part, Part::Text(_)))
            && parts[prefix..].iter().zip(source.tokens()).enumerate().all(is_kept)
        {
            return Self::Prefix(text_before(&parts[..prefix]));
        }
        if parts.iter().all(|part| matches!(part, Part::Text(_))) {
            let mut text = text_before(&parts).into_vec();
            text.pop();
            return Self::Literal(text.into());
        }
        Self::Parts(parts.into())
    }

    /// Returns the translation back, of what matches `destination`: the filter that `self` translates `source` to.
    ///
    /// nats-server 2.14 turns three and more reordered wildcards back wrongly (`subjectTransform.reverse`).
    pub(crate) fn reversed(
        source: &SubjectFilter,
        destination: &str,
    ) -> Result<Self, RewriteError> {
        // The position in the destination of each wildcard of the source, in its order.
        let wildcards = source.tokens().filter(|token| *token == Token::Partial).count();
        let mut places: Vec<Option<usize>> = vec![None; wildcards];
        for (at, text) in destination.split('.').enumerate() {
            if let Some(number) = placeholder(text)?
                && let Some(place) = number.checked_sub(1).and_then(|place| places.get_mut(place))
            {
                place.get_or_insert(at);
            }
        }
        let last = destination.split('.').count() - 1;
        let mut places = places.into_iter();
        let parts = source.tokens().map(|token| match token {
            Token::Literal(text) => Ok(Part::Text(text.into())),
            Token::Partial => {
                places.next().flatten().map(Part::Token).ok_or(RewriteError::InvalidSubject)
            }
            Token::Full => Ok(Part::Rest(last)),
        });
        let parts: Result<Vec<Part>, RewriteError> = parts.collect();
        Ok(Self::of(&filter_of(destination)?, parts?))
    }

    /// Returns true if subjects are unchanged.
    pub(crate) fn is_same(&self) -> bool {
        matches!(self, Self::Same)
    }

    /// Translates a subject or a filter, which must match the source.
    pub(crate) fn apply<'a>(
        &'a self,
        subject: &'a [u8],
        buffer: &'a mut SubjectBuffer,
    ) -> &'a [u8] {
        buffer.clear();
        match self {
            Self::Same => return subject,
            Self::Literal(text) => return text,
            Self::Prefix(prefix) => {
                buffer.extend_from_slice(prefix);
                buffer.extend_from_slice(subject);
            }
            Self::Parts(parts) => {
                let all: SmallVec<[&[u8]; 16]> = tokens(subject).collect();
                for part in parts {
                    match part {
                        Part::Text(text) => buffer.extend_from_slice(text),
                        Part::Token(at) => {
                            buffer.extend_from_slice(all.get(*at).copied().unwrap_or_default());
                        }
                        Part::Rest(at) => {
                            for token in all.get(*at..).unwrap_or_default() {
                                buffer.extend_from_slice(token);
                                buffer.push(b'.');
                            }
                            buffer.pop();
                        }
                    }
                    buffer.push(b'.');
                }
                buffer.pop();
            }
        }
        buffer
    }
}

/// Returns the texts, each followed by a dot.
fn text_before(parts: &[Part]) -> Box<[u8]> {
    let mut text = Vec::new();
    for part in parts {
        if let Part::Text(token) = part {
            text.extend_from_slice(token);
            text.push(b'.');
        }
    }
    text.into()
}

fn places_of(filter: &SubjectFilter, wanted: Token<'_>) -> Vec<usize> {
    filter.tokens().enumerate().filter(|(_, token)| *token == wanted).map(|(at, _)| at).collect()
}

/// Returns the number of the wildcard that a token of a destination stands for.
// NATS 2.14: subject_transform.go indexPlaceHolders.
fn placeholder(token: &str) -> Result<Option<usize>, RewriteError> {
    if let Some(number) = token.strip_prefix('$').filter(|_| token.len() > 1) {
        return Ok(number.parse().ok());
    }
    let function = token.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    let Some(function) = function.filter(|function| !function.is_empty()) else { return Ok(None) };
    let is_name = |name: &&str| name.trim().eq_ignore_ascii_case("wildcard");
    let argument = function
        .split_once('(')
        .filter(|(name, _)| is_name(name))
        .and_then(|(_, rest)| rest.trim_end().strip_suffix(')'));
    match argument.and_then(|argument| argument.trim().parse().ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(RewriteError::NotReversible(token.to_owned())),
    }
}

/// Returns a token as errors about its index show it.
fn shown(token: &str, number: usize) -> String {
    format!("{token}: [{number}]")
}

/// Returns a destination with its wildcards numbered: `a.*.*` becomes `a.$1.$2`.
// NATS 2.14: subject_transform.go transformTokenize.
pub(crate) fn numbered(subject: &str) -> String {
    let mut count = 0;
    let number = |token: &str| {
        if token == "*" {
            count += 1;
            return format!("${count}");
        }
        token.to_owned()
    };
    subject.split('.').map(number).collect::<Vec<_>>().join(".")
}

/// Returns the filter of a destination: `a.$2.$1` becomes `a.*.*`.
// NATS 2.14: subject_transform.go transformUntokenize.
pub(crate) fn filter_of(destination: &str) -> Result<SubjectFilter, SubjectError> {
    let wild = |token| if matches!(placeholder(token), Ok(Some(1..))) { "*" } else { token };
    SubjectFilter::parse(destination.split('.').map(wild).collect::<Vec<_>>().join("."))
}

/// Returns the filter of what both match; `None` if there is no such subject.
pub(crate) fn intersection(a: &[u8], b: &[u8]) -> Option<Vec<u8>> {
    let mut both = Vec::with_capacity(a.len().max(b.len()));
    let (mut left, mut right) = (tokens(a), tokens(b));
    loop {
        let (ours, theirs) = (left.next(), right.next());
        let (token, ends) = match (ours.map(Token::of), theirs.map(Token::of)) {
            (None, None) => break,
            (Some(Token::Full), Some(_)) => (theirs, Some(&mut right)),
            (Some(_), Some(Token::Full)) => (ours, Some(&mut left)),
            (Some(Token::Partial), Some(_)) => (theirs, None),
            (Some(_), Some(Token::Partial)) => (ours, None),
            (Some(one), Some(other)) if one == other => (ours, None),
            _ => return None,
        };
        both.extend_from_slice(token.unwrap_or_default());
        both.push(b'.');
        if let Some(rest) = ends {
            for token in rest {
                both.extend_from_slice(token);
                both.push(b'.');
            }
            break;
        }
    }
    both.pop();
    Some(both)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> SubjectFilter {
        SubjectFilter::parse(text).unwrap()
    }

    fn apply(rewrite: &Rewrite, subject: &str) -> String {
        let mut buffer = SubjectBuffer::new();
        String::from_utf8(rewrite.apply(subject.as_bytes(), &mut buffer).to_vec()).unwrap()
    }

    #[test]
    fn subjects_are_translated_and_back() {
        for (source, destination, subject, expected) in [
            ("a.*.*", "b.$2.$1", "a.x.y", "b.y.x"),
            ("a.*.*.*", "b.$2.$3.$1", "a.x.y.z", "b.y.z.x"),
            ("a.*", "{{wildcard(1)}}.b", "a.x", "x.b"),
            ("a.>", "pre.a.>", "a.x.y", "pre.a.x.y"),
            ("a.*.>", "b.>", "", ""),
            ("a.*.>", "b.$1.>", "a.x.y.z", "b.x.y.z"),
            ("*.a", "pre.$1.a", "x.a", "pre.x.a"),
        ] {
            let Ok(rewrite) = Rewrite::new(&filter(source), destination) else {
                assert_eq!(subject, "", "{source} {destination}");
                continue;
            };
            assert_eq!(apply(&rewrite, subject), expected, "{source} {destination}");
            let back = Rewrite::reversed(&filter(source), destination).unwrap();
            assert_eq!(apply(&back, expected), subject, "{source} {destination}");
            assert!(filter_of(destination).unwrap().matches_bytes(expected.as_bytes()));
        }
    }

    #[test]
    fn the_shortest_form_is_chosen() {
        let prefix = Rewrite::new(&filter("a.*.>"), "pre.fix.a.$1.>").unwrap();
        assert_eq!(prefix, Rewrite::Prefix(b"pre.fix."[..].into()));
        let literal = Rewrite::reversed(&filter("a.b"), "x.b").unwrap();
        assert_eq!(literal, Rewrite::Literal(b"a.b"[..].into()));
    }

    #[test]
    fn destinations_that_lose_tokens_are_refused() {
        for (source, destination, error) in [
            (
                "a.*",
                "b",
                "invalid mapping destination: not using all of the token wildcard(s) in b",
            ),
            ("a.*", "b.$2", "invalid mapping destination: wildcard index out of range in $2: [2]"),
            ("a.>", "b", "invalid subject"),
            ("a.*", "b..$1", "invalid subject"),
            (
                "a.*",
                "b.{{partition(3,1)}}",
                "invalid mapping destination: the only mapping function allowed for import transforms is \
                 {{Wildcard()}} in {{partition(3,1)}}",
            ),
        ] {
            let refused = Rewrite::new(&filter(source), destination).unwrap_err();
            assert_eq!(refused.to_string(), error, "{source} {destination}");
        }
    }

    #[test]
    fn intersections_match_what_both_match() {
        for (a, b, both) in [
            ("a", "a", Some("a")),
            ("a", "b", None),
            ("a.*", "*.b", Some("a.b")),
            ("a.>", "*.b.*", Some("a.b.*")),
            (">", "a.*.>", Some("a.*.>")),
            ("a.>", "a", None),
            ("a.*", "a.*.*", None),
            ("a.>", "a.>", Some("a.>")),
        ] {
            let found = intersection(a.as_bytes(), b.as_bytes());
            assert_eq!(found.as_deref(), both.map(str::as_bytes), "{a} {b}");
            let found = intersection(b.as_bytes(), a.as_bytes());
            assert_eq!(found.as_deref(), both.map(str::as_bytes), "{b} {a}");
        }
    }

    #[test]
    fn wildcards_are_numbered_in_their_order() {
        assert_eq!(numbered("a.*.b.*"), "a.$1.b.$2");
        assert_eq!(filter_of("a.$2.{{ wildcard( 1 ) }}.$x").unwrap(), filter("a.*.*.$x"));
    }
}
