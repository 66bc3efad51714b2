//! The parts of a destination, as they are written for a subject.

use std::io::Write;

use smallvec::SmallVec;

use super::call::Call;
use super::cut::Cut;

/// The tokens of one subject.
pub(super) type Tokens<'a> = SmallVec<[&'a [u8]; 16]>;

/// One token of a destination. A `usize` is the position of a token in the source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Literal(Box<[u8]>),
    Wildcard(usize),
    /// The hash of these tokens, or of the whole subject if there are none.
    Partition {
        buckets: i32,
        tokens: Box<[usize]>,
    },
    Random {
        below: i32,
    },
    Cut {
        cut: Cut,
        token: usize,
        size: usize,
    },
    Split {
        token: usize,
        delimiter: Box<str>,
    },
}

impl Step {
    /// Makes a step of a call. `position` turns the number of a wildcard into the position of its token.
    pub(super) fn new<E>(
        call: Call<'_>,
        text: &str,
        position: impl Fn(i64) -> Result<usize, E>,
    ) -> Result<Self, E> {
        Ok(match call {
            Call::Literal => Self::Literal(text.as_bytes().into()),
            Call::Wildcard(wildcard) => Self::Wildcard(position(wildcard)?),
            Call::Partition { buckets, wildcards } => {
                let tokens = wildcards.into_iter().map(position).collect::<Result<_, _>>()?;
                Self::Partition { buckets, tokens }
            }
            Call::Random { below } => Self::Random { below },
            Call::Cut { cut, wildcard, size } => {
                let size = usize::try_from(size).unwrap_or_default();
                Self::Cut { cut, token: position(wildcard)?, size }
            }
            Call::Split { wildcard, delimiter } => {
                Self::Split { token: position(wildcard)?, delimiter: delimiter.into() }
            }
        })
    }

    /// Writes the step for a subject.
    pub(super) fn write(
        &self,
        subject: &[u8],
        tokens: &Tokens<'_>,
        random: &mut impl FnMut() -> u64,
        out: &mut Vec<u8>,
    ) {
        // A subject that does not match the source may be shorter.
        let token = |at: &usize| tokens.get(*at).copied().unwrap_or_default();
        match self {
            Self::Literal(text) => out.extend_from_slice(text),
            Self::Wildcard(at) => out.extend_from_slice(token(at)),
            Self::Partition { buckets, tokens } if tokens.is_empty() => {
                write_number(partition([subject], *buckets), out);
            }
            Self::Partition { buckets, tokens } => {
                write_number(partition(tokens.iter().map(token), *buckets), out);
            }
            Self::Random { below } => {
                // NATS 2.14: a remainder with the sign of the dividend, which is not negative.
                let value = (random() >> 33) as i64;
                write_number(value.checked_rem(i64::from(*below)).unwrap_or_default(), out);
            }
            Self::Cut { cut, token: at, size } => cut.write(token(at), *size, out),
            Self::Split { token: at, delimiter } => split(token(at), delimiter, out),
        }
    }
}

fn write_number(number: i64, out: &mut Vec<u8>) {
    // Writing to memory cannot fail.
    let _ = write!(out, "{number}");
}

/// Returns the bucket of a key, which is given in parts: its FNV-1a hash of 32 bits.
// NATS 2.14: getHashPartition.
fn partition<'a>(key: impl IntoIterator<Item = &'a [u8]>, buckets: i32) -> i64 {
    let bytes = key.into_iter().flatten();
    let hash = bytes
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    i64::from(hash.checked_rem(buckets as u32).unwrap_or_default())
}

/// Writes the parts of a token between delimiters.
///
/// A dot stands before each part that is not empty, except where the token begins with the delimiter.
fn split(token: &[u8], delimiter: &str, out: &mut Vec<u8>) {
    let mut before: Option<&[u8]> = None;
    let mut is_second = false;
    let mut write = |part| {
        let begins_token = before.is_none() || (is_second && before == Some(b""));
        is_second = before.is_none();
        before = Some(part);
        if !begins_token && !part.is_empty() {
            out.push(b'.');
        }
        out.extend_from_slice(part);
    };
    if delimiter.is_empty() {
        return letters(token).for_each(write);
    }
    let mut rest = token;
    while let Some(at) = memchr::memmem::find(rest, delimiter.as_bytes()) {
        write(&rest[..at]);
        rest = &rest[at + delimiter.len()..];
    }
    write(rest);
}

/// Returns the letters of a token, and each byte that is not UTF-8 by itself.
fn letters(token: &[u8]) -> impl Iterator<Item = &[u8]> {
    token.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid();
        let letters = valid.char_indices().map(|(at, letter)| {
            valid.as_bytes().get(at..at + letter.len_utf8()).unwrap_or_default()
        });
        letters.chain(chunk.invalid().chunks(1))
    })
}
