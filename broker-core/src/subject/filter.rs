//! Filters of subscriptions.

use std::fmt;

use bytes::Bytes;

use super::{Subject, SubjectError, Token, check_tokens, tokens};

/// A subject that may contain wildcards: `*` for exactly one token, a last `>` for one or more.
///
/// Only whole tokens are wildcards: `a*` is a literal token. Bytes that are not UTF-8 are allowed,
/// as on the wire. Cheap to clone.
// NATS 2.14: sublist Insert refuses empty tokens and tokens after `>`, nothing else.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SubjectFilter(Bytes);

impl SubjectFilter {
    /// Parses a filter.
    ///
    /// # Errors
    ///
    /// [`SubjectError`] names the fault: empty text or token, white space, tokens after a `>`.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, SubjectError> {
        let text = text.as_ref();
        Self::check(text)?;
        Ok(Self(Bytes::copy_from_slice(text)))
    }

    /// Checks a text like [`Self::parse`], for those who keep it in another form.
    pub(crate) fn check(text: &[u8]) -> Result<(), SubjectError> {
        check_tokens(text)?;
        let mut after_full = false;
        for token in tokens(text) {
            if after_full {
                return Err(SubjectError::FullNotLast);
            }
            after_full = token == b">";
        }
        Ok(())
    }

    /// Returns the text of the filter.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the tokens, in order.
    pub fn tokens(&self) -> impl Iterator<Item = Token<'_>> + Clone {
        tokens(&self.0).map(Token::of)
    }

    /// Returns the number of tokens; at least one.
    #[inline]
    pub fn token_count(&self) -> usize {
        1 + memchr::memchr_iter(b'.', &self.0).count()
    }

    /// Returns true if any token is a wildcard.
    pub fn has_wildcard(&self) -> bool {
        self.tokens().any(|token| !matches!(token, Token::Literal(_)))
    }

    /// Returns true if a message to `subject` matches this filter.
    pub fn matches(&self, subject: &Subject) -> bool {
        self.matches_bytes(subject.as_ref())
    }

    /// [`Self::matches`] for an unchecked subject. A subject with an empty token matches no
    /// filter.
    pub fn matches_bytes(&self, subject: &[u8]) -> bool {
        let mut filter = self.tokens();
        let mut subject = tokens(subject);
        loop {
            match (filter.next(), subject.next()) {
                (None, None) => return true,
                (Some(Token::Full), Some(first)) => {
                    return !first.is_empty() && subject.all(|token| !token.is_empty());
                }
                (Some(Token::Partial), Some(token)) if !token.is_empty() => {}
                (Some(Token::Literal(want)), Some(token)) if want == token => {}
                _ => return false,
            }
        }
    }

    /// Returns true if this matches every subject that `other` matches.
    pub fn covers(&self, other: &Self) -> bool {
        let mut ours = self.tokens();
        let mut theirs = other.tokens();
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) | (Some(Token::Full), Some(_)) => return true,
                (Some(Token::Partial), Some(Token::Partial | Token::Literal(_))) => {}
                (Some(Token::Literal(our)), Some(Token::Literal(their))) if our == their => {}
                _ => return false,
            }
        }
    }

    /// Returns true if there is a subject that both match.
    pub fn overlaps(&self, other: &Self) -> bool {
        let mut ours = self.tokens();
        let mut theirs = other.tokens();
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) | (Some(Token::Full), Some(_)) | (Some(_), Some(Token::Full)) => {
                    return true;
                }
                (Some(Token::Partial), Some(_)) | (Some(_), Some(Token::Partial)) => {}
                (Some(our), Some(their)) if our == their => {}
                _ => return false,
            }
        }
    }
}

impl From<Subject> for SubjectFilter {
    fn from(subject: Subject) -> Self {
        Self(Bytes::from_owner(subject))
    }
}

impl AsRef<[u8]> for SubjectFilter {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for SubjectFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for SubjectFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl std::str::FromStr for SubjectFilter {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> SubjectFilter {
        SubjectFilter::parse(text).unwrap()
    }

    #[test]
    fn filters_are_refused_as_in_the_reference() {
        for good in ["a", "*", ">", "a.*", "a.>", "*.>", "a*.b", "a>.b", "foo>", "*a"] {
            assert!(SubjectFilter::parse(good).is_ok(), "{good}");
        }
        assert!(SubjectFilter::parse(b"\xff.a").is_ok());
        for (bad, why) in [
            ("", SubjectError::Empty),
            ("a.", SubjectError::EmptyToken),
            ("a..b", SubjectError::EmptyToken),
            (">.a", SubjectError::FullNotLast),
            ("a.>.>", SubjectError::FullNotLast),
            ("a b", SubjectError::WhiteSpace),
        ] {
            assert_eq!(SubjectFilter::parse(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn wildcards_match_as_documented() {
        for (pattern, subject, expected) in [
            ("foo.*.quux", "foo.hello.quux", true),
            ("foo.*", "foo.hello", true),
            ("foo.*", "foo.hello.quux", false),
            ("foo.*", "foo", false),
            ("foo.>", "foo.hello", true),
            ("foo.>", "foo.hello.bar", true),
            ("foo.>", "foo", false),
            (">", "anything.at.all", true),
            ("foo", "foo", true),
            ("foo", "fo", false),
        ] {
            let subject = Subject::parse(subject).unwrap();
            assert_eq!(filter(pattern).matches(&subject), expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn a_malformed_subject_matches_no_filter() {
        for subject in [&b""[..], b".", b"a.", b".a", b"a..b"] {
            for pattern in [">", "*.>", "a.>", "*.*", "*"] {
                assert!(!filter(pattern).matches_bytes(subject), "{pattern} {subject:?}");
            }
        }
    }

    #[test]
    fn covering_and_overlapping() {
        for (a, b, covers, overlaps) in [
            ("a.*", "a.b", true, true),
            ("a.b", "a.*", false, true),
            ("a.>", "a.*", true, true),
            ("a.*", "a.>", false, true),
            ("*.b", "a.*", false, true),
            ("*.b", "a.c", false, false),
            (">", "a", true, true),
            ("a.>", "a", false, false),
            ("a.b.>", "a.*", false, false),
            ("a", "a", true, true),
        ] {
            assert_eq!(filter(a).covers(&filter(b)), covers, "{a} covers {b}");
            assert_eq!(filter(a).overlaps(&filter(b)), overlaps, "{a} overlaps {b}");
            assert_eq!(filter(b).overlaps(&filter(a)), overlaps, "{b} overlaps {a}");
        }
    }
}
