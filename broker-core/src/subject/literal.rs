//! Literal subjects.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;

use super::{SubjectError, is_valid_literal};

/// A subject of a published message: tokens separated by dots, no wildcards, UTF-8.
///
/// Cheap to clone; compares, hashes and displays as its text.
#[derive(Clone)]
pub struct Subject(Text);

/// Most subjects, and the inboxes of clients, fit in the inline form.
#[derive(Clone)]
enum Text {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Bytes),
}

const SHORT: usize = 38;

const _: () = assert!(size_of::<Option<Subject>>() == 40);
const _: () = assert!(SHORT <= 64, "two halves of 32 bytes cover it");

impl Text {
    fn new(text: &[u8]) -> Self {
        if let Some(bytes) = padded(text) {
            return Self::Short { len: text.len() as u8, bytes };
        }
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..text.len()) {
            Some(place) => {
                copy(text, place);
                Self::Short { len: text.len() as u8, bytes }
            }
            None => Self::Long(Bytes::copy_from_slice(text)),
        }
    }
}

impl Text {
    /// Returns true if it is ASCII. The bytes behind a short one are zero, so that all of them are checked without a loop.
    #[inline]
    fn is_ascii(&self) -> bool {
        match self {
            Self::Short { bytes, .. } => {
                let (eights, _) = bytes.as_chunks::<8>();
                let eights = eights.iter().chain(bytes.last_chunk());
                let all_bits = eights.fold(0, |bits, eight| bits | u64::from_le_bytes(*eight));
                all_bits & all(0x80) == 0
            }
            Self::Long(bytes) => bytes.is_ascii(),
        }
    }
}

/// Returns a text of 8 to 16 bytes, as most subjects of programs are, in the inline form: in registers, from its ends,
/// which may overlap.
#[inline(always)]
fn padded(text: &[u8]) -> Option<[u8; SHORT]> {
    let (first, last) = (text.first_chunk::<8>()?, text.last_chunk::<8>()?);
    let overlap = 16usize.checked_sub(text.len())?;
    let rest = u64::from_le_bytes(*last).unbounded_shr(8 * overlap as u32);
    let mut bytes = [0; SHORT];
    *bytes.first_chunk_mut()? = *first;
    *bytes[8..].first_chunk_mut()? = rest.to_le_bytes();
    Some(bytes)
}

/// Returns a plain text of 8 to 15 bytes in the inline form: see [`is_plain`].
#[inline(always)]
fn plain_text(text: &[u8]) -> Option<Text> {
    let (first, last) = (text.first_chunk::<8>()?, text.last_chunk::<8>()?);
    if text.len() >= 16 || first[0] == b'.' || last[7] == b'.' {
        return None;
    }
    if oddities(*first) | oddities(*last) != 0 {
        return None;
    }
    padded(text).map(|bytes| Text::Short { len: text.len() as u8, bytes })
}

/// Copies a text to a place of the same length. A text of 16 bytes or more is copied by its ends, which may overlap: that
/// needs no call.
#[inline(always)]
fn copy(text: &[u8], place: &mut [u8]) {
    if text.len() <= 32 && copy_ends::<16>(text, place).is_some() {
        return;
    }
    if copy_ends::<32>(text, place).is_some() {
        return;
    }
    place.copy_from_slice(text);
}

/// Copies the first and the last `N` bytes, if there are as many.
#[inline(always)]
fn copy_ends<const N: usize>(text: &[u8], place: &mut [u8]) -> Option<()> {
    *place.first_chunk_mut::<N>()? = *text.first_chunk()?;
    *place.last_chunk_mut::<N>()? = *text.last_chunk()?;
    Some(())
}

/// Returns the letter in each of eight bytes.
const fn all(letter: u8) -> u64 {
    u64::from_le_bytes([letter; 8])
}

/// Returns 0 if all of eight bytes are plain ASCII: no white space, no letter of a wildcard, no dot behind another.
fn oddities(eight: [u8; 8]) -> u64 {
    let eight = u64::from_le_bytes(eight);
    // The highest bit of each byte says whether it is not the letter. Bytes that are not ASCII may disturb others, and
    // are odd themselves.
    let is_not = |letter| (eight ^ all(letter)).wrapping_add(all(0x7f));
    // Other control characters than white space are left to the slow check.
    let is_visible = eight.wrapping_add(all(0x80 - b'!'));
    let dots = !is_not(b'.');
    let plain = is_visible & is_not(b'*') & is_not(b'>');
    (!plain | eight | (dots & (dots << 8))) & all(0x80)
}

/// Returns true for plain ASCII with single dots in between, as in almost all subjects; false for everything that
/// needs the slow check. Scans eight bytes at a time, because programs may parse a subject for each message.
fn is_plain(text: &[u8]) -> bool {
    let ([first, ..], [.., last]) = (text, text) else { return false };
    if *first == b'.' || *last == b'.' {
        return false;
    }
    let Some(end) = text.last_chunk::<8>() else {
        let mut eight = [b'a'; 8];
        for (place, byte) in eight.iter_mut().zip(text) {
            *place = *byte;
        }
        return oddities(eight) == 0;
    };
    let mut found = oddities(*end);
    if let Some(begin) = text.first_chunk::<8>().filter(|_| text.len() < 16) {
        return found | oddities(*begin) == 0;
    }
    let mut rest = text;
    // The chunks overlap by one byte, so that no pair of dots falls between two of them.
    while let Some(eight) = rest.first_chunk::<8>() {
        found |= oddities(*eight);
        rest = &rest[7..];
    }
    found == 0
}

impl Subject {
    /// Parses a subject.
    ///
    /// # Errors
    ///
    /// [`SubjectError`] names the fault: empty text or token, white space, a wildcard.
    pub fn parse(text: &str) -> Result<Self, SubjectError> {
        match plain_text(text.as_bytes()) {
            Some(text) => Ok(Self(text)),
            None => Self::parse_other(text),
        }
    }

    #[inline(never)]
    fn parse_other(text: &str) -> Result<Self, SubjectError> {
        if is_plain(text.as_bytes()) {
            return Ok(Self(Text::new(text.as_bytes())));
        }
        super::check_tokens(text.as_bytes())?;
        // Few subjects contain one of these letters, and those mostly not as a whole token.
        let may_be_wildcard = text.bytes().any(|byte| matches!(byte, b'*' | b'>'));
        if may_be_wildcard && !is_valid_literal(text.as_bytes()) {
            return Err(SubjectError::Wildcard);
        }
        Ok(Self(Text::new(text.as_bytes())))
    }

    /// Accepts the subject of a wire client unchecked: the protocol accepts malformed subjects unless the
    /// client is pedantic.
    ///
    /// Bytes that are not UTF-8 become U+FFFD, because in-process clients receive text.
    pub(crate) fn from_wire(text: &[u8]) -> Self {
        let own = Text::new(text);
        // Almost all subjects are ASCII, which is checked faster than UTF-8.
        if own.is_ascii() || std::str::from_utf8(text).is_ok() {
            return Self(own);
        }
        Self(Text::new(String::from_utf8_lossy(text).as_bytes()))
    }

    /// Joins two parts of a subject, which are ASCII.
    pub(crate) fn join<const N: usize>(begin: &str, end: &[u8; N]) -> Self {
        let mut bytes = [0; SHORT];
        let len = begin.len() + N;
        match bytes.get_mut(..len) {
            Some(place) => {
                let (first, last) = place.split_at_mut(begin.len());
                copy(begin.as_bytes(), first);
                last.copy_from_slice(end);
                Self(Text::Short { len: len as u8, bytes })
            }
            None => Self::from_wire(&[begin.as_bytes(), end].concat()),
        }
    }

    /// Returns the subject as text.
    #[inline]
    pub fn as_str(&self) -> &str {
        // Both constructors ensure that this is UTF-8; the default is unreachable.
        std::str::from_utf8(self.as_ref()).unwrap_or_default()
    }
}

impl Deref for Subject {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<[u8]> for Subject {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        match &self.0 {
            Text::Short { len, bytes } => &bytes[..usize::from(*len)],
            Text::Long(bytes) => bytes,
        }
    }
}

impl Eq for Subject {}

impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Ord for Subject {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for Subject {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Subject {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
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
    use std::collections::HashSet;

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
    fn a_plain_subject_passes_the_slow_check_too() {
        let alphabet = [b'a', b'.', b'*', b'>', b' ', b'\t', b'\x0c', 0xc3];
        let mut texts = vec![Vec::new()];
        for _ in 0..6 {
            let longer = texts.iter().flat_map(|text: &Vec<u8>| {
                alphabet.iter().map(move |letter| [&text[..], &[*letter]].concat())
            });
            texts = longer.chain([Vec::new()]).collect();
            for text in &texts {
                let is_odd = text.iter().any(|letter| matches!(letter, b'*' | b'>'));
                let is_valid = super::super::check_tokens(text).is_ok();
                let expected = text.is_ascii() && !is_odd && is_valid;
                assert_eq!(is_plain(text), expected, "{text:?}");
                // The same behind and before plain letters.
                for (before, behind) in [("abcdefgh", ""), ("", "abcdefgh"), ("abcd", "efgh")] {
                    let text = [before.as_bytes(), text, behind.as_bytes()].concat();
                    let plain = plain_text(&text).map(Subject);
                    assert_eq!(plain.is_some(), is_plain(&text), "{text:?}");
                    assert!(plain.is_none_or(|plain| plain.as_ref() == text));
                }
            }
        }
    }

    #[test]
    fn oddities_are_found_at_any_offset() {
        for len in 1..40 {
            let plain = "abc".repeat(14)[..len].to_owned();
            assert!(Subject::parse(&plain).is_ok() && is_plain(plain.as_bytes()), "{len}");
            for at in 0..len {
                for (odd, is_bad) in
                    [(" ", true), ("\t", true), (".", at == 0 || at == len - 1), ("*", len == 1)]
                {
                    let mut text = plain.clone();
                    text.replace_range(at..=at, odd);
                    assert_eq!(Subject::parse(&text).is_err(), is_bad, "{text:?}");
                }
                if at + 1 < len {
                    let mut text = plain.clone();
                    text.replace_range(at..=at + 1, "..");
                    assert!(Subject::parse(&text).is_err(), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn short_and_long_subjects_keep_their_text() {
        let texts: Vec<String> = (1..80).map(|len| "s".repeat(len)).collect();
        for text in &texts {
            let subject = Subject::parse(text).unwrap();
            assert_eq!((subject.as_str(), subject.len()), (text.as_str(), text.len()));
            assert_eq!(subject, subject.clone());
        }
        let all: HashSet<Subject> = texts.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(all.len(), texts.len());
        let (a, b) = (Subject::parse("a").unwrap(), Subject::parse(&"b".repeat(50)).unwrap());
        assert!(a < b && a != b);
    }

    #[test]
    fn malformed_subjects_of_the_wire_become_text() {
        assert_eq!(Subject::from_wire(b"a..*"), "a..*");
        assert_eq!(Subject::from_wire(b"a\xff"), "a\u{fffd}");
        for len in 1..80 {
            for at in 0..len {
                let mut text = vec![b'a'; len];
                text[at] = 0xff;
                let expected = String::from_utf8_lossy(&text).into_owned();
                assert_eq!(Subject::from_wire(&text), expected.as_str(), "{len} {at}");
            }
        }
    }

    #[test]
    fn two_parts_are_joined_whatever_their_length() {
        for len in 1..60 {
            let begin = "b".repeat(len);
            let joined = Subject::join(&begin, b".the_end");
            assert_eq!(joined, Subject::parse(&format!("{begin}.the_end")).unwrap());
        }
    }
}
