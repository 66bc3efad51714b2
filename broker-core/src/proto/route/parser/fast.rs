//! The fast path: `RMSG` and `HMSG` in the spelling that all servers use.
//!
//! It never rejects input: other spellings, incomplete operations and those beyond a limit are `None` and left to the
//! general parser, which alone reports faults.

use super::message::{Head, MessageVerb};
use super::{Dialect, Words};
use crate::proto::parser::fast::word_end;
use crate::proto::route::op::RouteMessage;

/// The most words of a line; with more queue groups it is left to the general parser.
const MAX_WORDS: usize = 8;

/// Parses the message at the start of `input`. Returns it with its length in bytes.
#[inline]
pub(super) fn message<'a>(
    input: &'a [u8],
    dialect: Dialect<'a, '_>,
) -> Option<(RouteMessage<'a>, usize)> {
    let verb = match input.first_chunk::<5>()? {
        b"RMSG " => MessageVerb::Plain,
        b"HMSG " => MessageVerb::Headers,
        _ => return None,
    };
    let mut words = Words::new();
    let mut at = b"RMSG ".len();
    let end = loop {
        let end = word_end(input, at)?;
        if end == at || words.len() == MAX_WORDS {
            return None;
        }
        words.push(&input[at..end]);
        match input[end] {
            b' ' => at = end + 1,
            b'\r' => break end,
            _ => return None,
        }
    };
    let head = Head::of_words(&words, verb, dialect).ok()?;
    let body_at = end + 2;
    let used = body_at + head.len + 2;
    let whole = input.get(..used)?;
    let is_plain = whole[end + 1] == b'\n'
        && whole[used - 2..] == *b"\r\n"
        && head.len <= dialect.limits.max_message_bytes
        && end - b"RMSG ".len() <= dialect.limits.max_control_line_bytes
        && head.has_headers() == (verb == MessageVerb::Headers);
    if !is_plain {
        return None;
    }
    let tail = head.tail_start(whole).map(|start| &whole[start..]);
    Some((head.with_body(whole, body_at, tail), used))
}
