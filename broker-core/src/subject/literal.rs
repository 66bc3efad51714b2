//! A subject that a message is published to.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

use super::{SubjectError, is_valid_literal};

/// A subject that a message is published to: tokens parted by dots, no wildcards, UTF-8.
///
/// Cheap to clone; compares, hashes and prints as its text.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Subject(Bytes);

impl Subject {
    /// Checks that `text` is a subject.
    ///
    /// # Errors
    ///
    /// [`SubjectError`] says what is wrong: empty text or token, white space, a wildcard.
    pub fn parse(text: &str) -> Result<Self, SubjectError> {
        super::check_tokens(text.as_bytes())?;
        if !is_valid_literal(text.as_bytes()) {
            return Err(SubjectError::Wildcard);
        }
        Ok(Self(Bytes::copy_from_slice(text.as_bytes())))
    }

    /// Takes what a wire client published to, without asking whether it is well formed: the wire
    /// lets through what only a pedantic client is told off for.
    ///
    /// Bytes that are not UTF-8 become U+FFFD, because an in-process reader is promised text.
    pub(crate) fn from_wire(text: &[u8]) -> Self {
        match String::from_utf8_lossy(text) {
            std::borrow::Cow::Borrowed(_) => Self(Bytes::copy_from_slice(text)),
            std::borrow::Cow::Owned(text) => Self(Bytes::from(text)),
        }
    }

    /// The subject as text.
    pub fn as_str(&self) -> &str {
        // Both constructors see to it that this is UTF-8; the empty text is never seen.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Deref for Subject {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<[u8]> for Subject {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl std::str::FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        Self::parse(text)
    }
}

impl TryFrom<&str> for Subject {
    type Error = SubjectError;

    fn try_from(text: &str) -> Result<Self, SubjectError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Subject {
    type Error = SubjectError;

    fn try_from(text: String) -> Result<Self, SubjectError> {
        Self::parse(&text)
    }
}

impl PartialEq<str> for Subject {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Subject {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_literal_subjects_parse() {
        for good in ["a", "a.b", "$SYS.x", "_INBOX.a.b", "a*", "a>.b", "ü.ß"] {
            assert_eq!(Subject::parse(good).map(|s| s.to_string()), Ok(good.to_owned()));
        }
        for (bad, why) in [
            ("", SubjectError::Empty),
            (".", SubjectError::EmptyToken),
            ("a..b", SubjectError::EmptyToken),
            (".a", SubjectError::EmptyToken),
            ("a.", SubjectError::EmptyToken),
            ("a b", SubjectError::WhiteSpace),
            ("a\tb", SubjectError::WhiteSpace),
            ("a\r\nb", SubjectError::WhiteSpace),
            ("a.*", SubjectError::Wildcard),
            (">", SubjectError::Wildcard),
        ] {
            assert_eq!(Subject::parse(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn what_the_wire_lets_through_is_text_in_process() {
        assert_eq!(Subject::from_wire(b"a..*"), "a..*");
        assert_eq!(Subject::from_wire(b"a\xff"), "a\u{fffd}");
    }
}
