//! Headers that request message tracing (ADR-41).
//!
//! Tracing is not implemented. But a message that is only to be traced must reach no subscriber, and a
//! destination for traces is checked like the subject of a publish.
// NATS 2.14: msgtrace.go initMsgTrace, genHeaderMapIfTraceHeadersPresent.

use memchr::{memchr, memchr_iter, memmem};

use crate::subject::is_valid_literal;

const VERSION: &[u8] = b"NATS/1.0\r\n";
/// The header with the destination of traces. The message is traced if it has a value.
const DESTINATION: &[u8] = b"Nats-Trace-Dest";
/// The value by which servers disable tracing among themselves.
const DISABLED: &[u8] = b"trace disabled";
const ONLY: &[u8] = b"Nats-Trace-Only";
/// The header of an older form of tracing.
const ORIGIN: &[u8] = b"Nats-Trace-Origin-Account";

/// The tracing that a message requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tracing<'a> {
    /// No tracing that changes its delivery.
    None,
    /// Trace only, but without a destination: the message is dropped.
    Nowhere,
    /// Traces to a subject that the publisher must be allowed to publish to.
    To {
        /// The subject.
        destination: &'a [u8],
        /// True if the message itself is not delivered.
        is_only: bool,
    },
}

/// Returns false if a header block certainly has no destination for traces.
// Not inlined: it would take registers from the loop over messages without headers.
#[inline(never)]
pub(crate) fn is_mentioned(block: &[u8]) -> bool {
    let least = VERSION.len() + DESTINATION.len() + b":x\r\n".len();
    block.len() >= least
        && has_letter(block)
        && memchr_iter(b'D', block)
            .any(|at| block[..at].ends_with(b"Nats-Trace-") && block[at..].starts_with(b"Dest:"))
}

/// Returns true if the block contains a letter of the header that most blocks lack. Looks at sixteen bytes at a
/// time, which the compiler compares at once; the last sixteen overlap those before them.
fn has_letter(block: &[u8]) -> bool {
    let Some(last) = block.last_chunk::<16>() else { return block.contains(&b'D') };
    let mut found = [0; 16];
    for chunk in block.as_chunks::<16>().0.iter().chain([last]) {
        for (found, byte) in found.iter_mut().zip(chunk) {
            *found |= u8::from(*byte == b'D');
        }
    }
    found != [0; 16]
}

impl<'a> Tracing<'a> {
    /// Parses a header block.
    pub(crate) fn read(block: &'a [u8]) -> Self {
        if !is_mentioned(block) {
            return Self::None;
        }
        let first = |name| fields(block).find(|(other, _)| *other == name).map(|(_, value)| value);
        let Some(destination) = first(DESTINATION).filter(|value| *value != DISABLED) else {
            return Self::None;
        };
        let is_only = first(ONLY).is_some_and(|value| {
            [&b"1"[..], b"true", b"on"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
        });
        let is_subject = is_valid_literal(destination)
            && !destination.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0c));
        match (is_only, is_subject && first(ORIGIN).is_none()) {
            (_, true) => Self::To { destination, is_only },
            (true, false) => Self::Nowhere,
            (false, false) => Self::None,
        }
    }
}

/// Returns the names and values of a block, except fields without a name or a value.
fn fields(block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = block.strip_prefix(VERSION).unwrap_or_default();
    std::iter::from_fn(move || {
        let colon = memchr(b':', rest)?;
        let (name, value) = (&rest[..colon], trim_start(&rest[colon + 1..]));
        let end = memmem::find(value, b"\r\n")?;
        rest = &value[end + 2..];
        Some((name, trim_end(&value[..end])))
    })
    .filter(|(name, value)| !name.is_empty() && !value.is_empty())
}

fn trim_start(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &text[blanks..]
}

fn trim_end(text: &[u8]) -> &[u8] {
    let blanks = text.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &text[..text.len() - blanks]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &str) -> Tracing<'static> {
        let block = format!("NATS/1.0\r\n{fields}\r\n").into_bytes();
        Tracing::read(block.leak())
    }

    fn to(destination: &'static str, is_only: bool) -> Tracing<'static> {
        Tracing::To { destination: destination.as_bytes(), is_only }
    }

    /// Measured on nats-server 2.14.5.
    #[test]
    fn only_these_headers_request_a_trace_without_delivery() {
        for (fields, expected) in [
            ("Nats-Trace-Dest: t\r\nNats-Trace-Only: true\r\n", to("t", true)),
            ("Nats-Trace-Only:1\r\nNats-Trace-Dest:t.u\r\n", to("t.u", true)),
            ("A: b\r\nNats-Trace-Only: \t oN \t\r\nNats-Trace-Dest: \tt\r\n", to("t", true)),
            ("Nats-Trace-Dest: t\r\nNats-Trace-Only: TRUE\r\nA: b\r\n", to("t", true)),
            ("Nats-Trace-Dest: t\r\n", to("t", false)),
            ("Nats-Trace-Dest: t\r\nNats-Trace-Only: yes\r\n", to("t", false)),
            ("Nats-Trace-Dest: t\r\nNats-Trace-Only: false\r\n", to("t", false)),
            ("Nats-Trace-Dest: t\r\nNats-Trace-Only: \r\n", to("t", false)),
            ("Nats-Trace-Dest: t\r\nNats-Trace-Only: 0\r\nNats-Trace-Only: 1\r\n", to("t", false)),
            ("Nats-Trace-Dest: t\r\nNats-Trace-Only: \r\nNats-Trace-Only: 1\r\n", to("t", true)),
            ("Nats-Trace-Dest: t\r\nNats-Trace-Dest: u\r\n", to("t", false)),
            ("Nats-Trace-Dest: t\r\nnats-trace-only: true\r\n", to("t", false)),
            ("nats-trace-dest: t\r\nNats-Trace-Only: true\r\n", Tracing::None),
            ("Nats-Trace-Dest : t\r\nNats-Trace-Only: true\r\n", Tracing::None),
            ("X-Nats-Trace-Dest: t\r\nNats-Trace-Only: true\r\n", Tracing::None),
            ("Nats-Trace-Only: true\r\n", Tracing::None),
            ("Nats-Trace-Dest: \r\nNats-Trace-Only: true\r\n", Tracing::None),
            ("Nats-Trace-Dest: trace disabled\r\nNats-Trace-Only: true\r\n", Tracing::None),
            ("Nats-Trace-Dest: a..b\r\nNats-Trace-Only: true\r\n", Tracing::Nowhere),
            ("Nats-Trace-Dest: a.*\r\nNats-Trace-Only: true\r\n", Tracing::Nowhere),
            ("Nats-Trace-Dest: a b\r\nNats-Trace-Only: true\r\n", Tracing::Nowhere),
            ("Nats-Trace-Dest: a.>\r\n", Tracing::None),
            ("Nats-Trace-Dest: t\r\nNats-Trace-Origin-Account: A\r\n", Tracing::None),
            (
                "Nats-Trace-Dest: t\r\nNats-Trace-Origin-Account: A\r\nNats-Trace-Only: on\r\n",
                Tracing::Nowhere,
            ),
            ("junk\r\nNats-Trace-Dest: t\r\nNats-Trace-Only: true\r\n", Tracing::None),
        ] {
            assert_eq!(read(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn the_letter_is_found_at_any_offset() {
        for len in 0..70 {
            assert!(!has_letter(&vec![b'd'; len]), "{len}");
            for at in 0..len {
                let mut block = vec![b'd'; len];
                block[at] = b'D';
                assert!(has_letter(&block), "{at} of {len}");
            }
        }
    }

    #[test]
    fn an_invalid_header_block_requests_nothing() {
        for block in [
            &b""[..],
            b"NATS/1.0\r\n\r\n",
            b"NATS/1.0 503\r\nNats-Trace-Dest: t\r\nNats-Trace-Only: true\r\n\r\n",
            b"HTTP/1.0\r\nNats-Trace-Dest: t\r\nNats-Trace-Only: true\r\n\r\n",
            b"NATS/1.0\r\nNats-Trace-Dest: t",
        ] {
            assert_eq!(Tracing::read(block), Tracing::None, "{}", block.escape_ascii());
        }
        // The shortest header that counts.
        let block = b"NATS/1.0\r\nNats-Trace-Dest:t\r\n";
        assert_eq!(Tracing::read(block), to("t", false));
    }
}
