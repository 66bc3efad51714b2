//! Subjects of published messages, and filters of subscriptions.
//!
//! A subject is a list of tokens separated by dots, as in `orders.eu.created`. A filter may contain
//! wildcards as whole tokens: `*` matches exactly one token, a last `>` one or more.
//!
//! Both are parsed once, at the entry; later stages rely on the type.
//!
//! ```
//! use broker_core::{Subject, SubjectFilter};
//!
//! let filter = SubjectFilter::parse("orders.*.created")?;
//! assert!(filter.matches(&Subject::parse("orders.eu.created")?));
//! assert!(!filter.matches(&Subject::parse("orders.created")?));
//! # Ok::<(), broker_core::SubjectError>(())
//! ```

mod filter;
mod literal;
mod mapped;
mod mapping;
mod rewrite;
mod transform;

pub use filter::SubjectFilter;
pub use literal::Subject;
pub(crate) use mapped::{Choices, Mapped, Mappings};
pub use mapping::{MapDestination, Mapping, MappingBuilder, MappingError};
pub use rewrite::RewriteError;
pub(crate) use rewrite::{Rewrite, SubjectBuffer, filter_of, intersection, numbered};
pub use transform::{SubjectTransform, TransformError};

/// Reasons why a text is not a subject or not a filter.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// The text is empty.
    #[error("a subject may not be empty")]
    Empty,
    /// Two dots in a row, or a dot at either end.
    #[error("a subject may not hold an empty token")]
    EmptyToken,
    /// A blank, a tab or a line end, which separate the words of the protocol.
    #[error("a subject may not hold white space")]
    WhiteSpace,
    /// A wildcard where only literal tokens are allowed.
    #[error("a subject to publish to may not hold wildcards")]
    Wildcard,
    /// Tokens after a `>`.
    #[error("the wildcard > must be the last token")]
    FullNotLast,
    /// Not UTF-8. Only the wire protocol can carry such a subject.
    #[error("a subject must be UTF-8")]
    NotUtf8,
}

/// One token of a filter.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Token<'a> {
    /// Matches itself.
    Literal(&'a [u8]),
    /// `*`: matches any one token.
    Partial,
    /// `>`: matches this token and all after it.
    Full,
}

impl<'a> Token<'a> {
    /// Classifies a token of a *filter*.
    pub fn of(text: &'a [u8]) -> Self {
        match text {
            b"*" => Self::Partial,
            b">" => Self::Full,
            _ => Self::Literal(text),
        }
    }
}

/// Returns the tokens of a subject, in order. An empty subject has one empty token.
pub(crate) fn tokens(subject: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    subject.split(|byte| *byte == b'.')
}

/// Returns true if both are the same text. Compares common lengths without a call.
#[inline(always)]
pub(crate) fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if a.len() <= 16
        && let (Some(a), Some(b)) = (ends::<8>(a), ends::<8>(b))
    {
        return a == b;
    }
    if a.len() <= 32
        && let (Some(a), Some(b)) = (ends::<16>(a), ends::<16>(b))
    {
        return a == b;
    }
    a == b
}

/// Returns the first and the last `N` bytes, which overlap in a text of less than twice that length.
#[inline(always)]
fn ends<const N: usize>(text: &[u8]) -> Option<(&[u8; N], &[u8; N])> {
    Some((text.first_chunk()?, text.last_chunk()?))
}

/// Returns the part before the first dot.
pub(crate) fn first_token(subject: &[u8]) -> &[u8] {
    subject.split(|byte| *byte == b'.').next().unwrap_or_default()
}

/// Returns true if a pedantic client may publish to the subject.
// NATS 2.14: IsValidLiteralSubject: no empty token, no token that is a wildcard. White space that the
// parser accepted, such as a CR, is not checked.
#[inline]
pub(crate) fn is_valid_literal(subject: &[u8]) -> bool {
    tokens(subject).all(|token| !token.is_empty() && matches!(Token::of(token), Token::Literal(_)))
}

/// Checks the rule that subjects and filters share: no empty token, no white space.
fn check_tokens(text: &[u8]) -> Result<(), SubjectError> {
    if text.is_empty() {
        return Err(SubjectError::Empty);
    }
    let mut is_token_empty = true;
    let mut has_empty_token = false;
    for byte in text {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b'\x0c' => return Err(SubjectError::WhiteSpace),
            b'.' => {
                has_empty_token |= is_token_empty;
                is_token_empty = true;
            }
            _ => is_token_empty = false,
        }
    }
    if has_empty_token || is_token_empty { Err(SubjectError::EmptyToken) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_length_are_the_same_only_if_all_bytes_are() {
        for len in 0..80 {
            let text = vec![b'a'; len];
            assert!(is_same(&text, &text.clone()), "{len}");
            assert!(!is_same(&text, &[&text[..], b"a"].concat()), "{len}");
            for at in 0..len {
                let mut other = text.clone();
                other[at] = b'b';
                assert!(!is_same(&text, &other) && !is_same(&other, &text), "{len} {at}");
            }
        }
    }
}
