//! The fast path: `PUB` and `HPUB` in the spelling that all clients use.
//!
//! It never rejects input: other spellings, incomplete operations and those beyond a limit are `None`
//! and left to the general parser, which alone reports faults. So is a message whose headers may
//! request a [trace](crate::proto::traced), which the session handles separately.

use super::{ParserLimits, size};
use crate::proto::op::Publish;
use crate::proto::{Batch, traced};

/// One in each byte.
const ONES: u64 = u64::from_le_bytes([1; 8]);
/// The highest bit of each byte.
const HIGHS: u64 = ONES << 7;

/// The longest control line that is compared here: for a longer one, the function of the standard library is worth its call.
const SHORT_LINE_BYTES: usize = 48;

/// Adds the messages at the start of `input` to `batch`, as many as fit. Returns their
/// length in bytes.
pub(crate) fn gather<'a>(input: &'a [u8], limits: &ParserLimits, batch: &mut Batch<'a>) -> usize {
    let mut used = 0;
    while !batch.has_most_messages() && !batch.has_most_runs() {
        let rest = &input[used..];
        let Some((message, len)) = publish(rest, limits) else { break };
        batch.push(message);
        used += len;
        // The end of the control line mostly tells whether the next one is the same. The shortest line has nine bytes.
        let line = len - b"\r\n".len() - message.body.len();
        let end = |line: usize| rest.get(line - 8..line).and_then(<[u8]>::first_chunk::<8>);
        if end(len + line) == end(line) {
            let (operation, behind) = rest.split_at(len);
            used += gather_repeated(&message, operation, behind, limits, batch);
        }
    }
    used
}

/// Adds the messages at the start of `input` that have the control line of the `first` one, whose operation it is. Returns their length in
/// bytes.
///
/// Fast publishers mostly repeat a control line: if it equals the previous one, so do its words, and
/// only the payload differs.
// Not inlined, so that its loop has all registers.
#[inline(never)]
fn gather_repeated<'a>(
    first: &Publish<'a>,
    operation: &'a [u8],
    mut input: &'a [u8],
    limits: &ParserLimits,
    batch: &mut Batch<'a>,
) -> usize {
    let len = operation.len();
    let line = &operation[..len - b"\r\n".len() - first.body.len()];
    let tail_at = len - first.tail.map_or(0, <[u8]>::len);
    let mut headers = first.headers();
    let mut used = 0;
    while let Some((operation, behind)) = input.split_at_checked(len)
        && !batch.has_most_messages()
    {
        let (begin, rest) = operation.split_at(line.len());
        if !are_same(begin, line) {
            break;
        }
        let Some(body) = rest.strip_suffix(b"\r\n") else { break };
        // Headers equal to those of the previous message have been checked.
        if !headers.is_empty() {
            let own = &body[..headers.len()];
            if own != headers && traced::is_mentioned(own, limits.traces_by_account) {
                break;
            }
            headers = own;
        }
        batch.push_to_same(Publish { body, tail: Some(&operation[tail_at..]), ..*first });
        used += len;
        input = behind;
    }
    used
}

/// Compares a control line with another one of the same length, eight bytes at a time: most lines are short, and a call would take longer.
#[inline(always)]
fn are_same(line: &[u8], other: &[u8]) -> bool {
    if line.len() > SHORT_LINE_BYTES {
        return line == other;
    }
    // The shortest line has nine bytes: the last eight may overlap those before.
    let (Some(last), Some(others_last)) = (line.last_chunk(), other.last_chunk()) else {
        return line == other;
    };
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let (eights, _) = line.as_chunks();
    let (others, _) = other.as_chunks();
    word(last) == word(others_last)
        && eights.iter().zip(others).all(|(one, other)| word(one) == word(other))
}

/// Returns the end of the word that begins at `from`: the first blank or control character.
///
/// Scans eight bytes at a time: subtracting 0x21 from each borrows from the highest bit of those below it. (A
/// borrow can reach a byte behind the first such one, never before it.)
#[inline]
pub(in crate::proto) fn word_end(input: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(eight) = input.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let bytes = u64::from_le_bytes(*eight);
        let ends = bytes.wrapping_sub(ONES * 0x21) & !bytes & HIGHS;
        if ends != 0 {
            return Some(at + (ends.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let rest = input.get(at..)?.iter().position(|byte| *byte <= b' ')?;
    Some(at + rest)
}

/// Parses the message at the start of `input`. Returns it with its length in bytes.
#[inline]
pub(super) fn publish<'a>(input: &'a [u8], limits: &ParserLimits) -> Option<(Publish<'a>, usize)> {
    let (subject_at, with_headers) = match input.first_chunk::<5>()? {
        [b'P' | b'p', b'U' | b'u', b'B' | b'b', b' ', _] => (4, false),
        [b'H' | b'h', b'P' | b'p', b'U' | b'u', b'B' | b'b', b' '] => (5, limits.headers),
        _ => return None,
    };
    if subject_at == 5 && !with_headers {
        return None;
    }
    // Each word ends with the one blank before the next.
    let subject_end = word_end(input, subject_at)?;
    let tail_at = subject_end + 1;
    let mut end = word_end(input, tail_at)?;
    let (mut reply_end, mut sizes_at) = (tail_at, tail_at);
    let mut last_at = tail_at;
    if input[end] == b' ' && !(with_headers && is_last_but_one(input, end)) {
        reply_end = end;
        sizes_at = end + 1;
        last_at = sizes_at;
        end = word_end(input, sizes_at)?;
    }
    let mut header_len = None;
    if with_headers {
        header_len = Some(size(input.get(last_at..end)?)?);
        if input[end] != b' ' {
            return None;
        }
        last_at = end + 1;
        end = word_end(input, last_at)?;
    }
    let len = size(input.get(last_at..end)?)?;
    let body_at = end + 2;
    let body_end = body_at + len;
    let whole = input.get(..body_end + 2)?;
    let is_plain = whole[end] == b'\r'
        && whole[end + 1] == b'\n'
        && whole[body_end] == b'\r'
        && whole[body_end + 1] == b'\n'
        && whole[subject_end] == b' '
        && subject_end > subject_at
        && (reply_end > tail_at || sizes_at == tail_at)
        && len <= limits.max_payload_bytes
        && end - subject_at <= limits.max_control_line_bytes
        && header_len.is_none_or(|headers| {
            (1..=len).contains(&headers)
                && !traced::is_mentioned(
                    &whole[body_at..body_at + headers],
                    limits.traces_by_account,
                )
        });
    if !is_plain {
        return None;
    }
    let message = Publish {
        subject: &whole[subject_at..subject_end],
        reply: &whole[tail_at..reply_end],
        header_len,
        body: &whole[body_at..body_end],
        sizes: &whole[sizes_at..end],
        tail: Some(&whole[tail_at..]),
    };
    Some((message, body_end + 2))
}

/// Returns true if the word that ends at `end` is the last of its line. With headers there are
/// two sizes.
#[inline]
fn is_last_but_one(input: &[u8], end: usize) -> bool {
    word_end(input, end + 1).is_some_and(|end| input[end] == b'\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Generates messages of few subjects, sizes and spellings, so that lines repeat, some of them cut or invalid.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            4 => Just("PUB a 3\r\n"),
            2 => Just("PUB a r 3\r\n"),
            2 => Just("PUB b 3\r\n"),
            1 => Just("HPUB a 1 3\r\n"),
            1 => Just("PUB a  3\r\n"),
            1 => Just("PING\r\n"),
        ];
        let end = prop_oneof![12 => Just("\r\n"), 1 => Just("\rX"), 1 => Just("")];
        let operation = (line, "[a-z]{3}", end).prop_map(|(line, body, end)| {
            if line == "PING\r\n" { line.into() } else { format!("{line}{body}{end}") }
        });
        proptest::collection::vec(operation, 0..40).prop_map(|all| all.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn gathering_equals_parsing_one_by_one(stream in stream()) {
            let limits = ParserLimits::default();
            let mut at = 0;
            let mut batch = Batch::default();
            let gathered = gather(&stream, &limits, &mut batch);
            for run in batch.runs() {
                prop_assert!(run.iter().all(|message| message.subject == run[0].subject));
                for message in run {
                    let (expected, used) = publish(&stream[at..], &limits).unwrap();
                    prop_assert_eq!(message, &expected);
                    at += used;
                }
            }
            prop_assert_eq!(at, gathered);
            prop_assert!(batch.has_most_runs() || publish(&stream[at..], &limits).is_none());
        }

        #[test]
        fn lines_are_the_same_if_all_bytes_are(
            line in proptest::collection::vec(b'a'..=b'b', 0..60),
            changed in 0usize..60,
        ) {
            let mut other = line.clone();
            prop_assert!(are_same(&line, &other));
            if let Some(byte) = other.get_mut(changed) {
                *byte ^= 1;
                prop_assert!(!are_same(&line, &other));
            }
        }

        #[test]
        fn word_ends_equal_a_search_byte_by_byte(
            input in proptest::collection::vec(
                prop_oneof![8 => 0x21u8..=255, 1 => 0u8..=0x20], 0..40),
            from in 0usize..45,
        ) {
            let slow = (from..input.len()).find(|at| input[*at] <= b' ');
            prop_assert_eq!(word_end(&input, from), slow);
        }
    }
}
