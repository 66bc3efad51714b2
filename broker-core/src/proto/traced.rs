//! Headers that request message tracing (ADR-41).
// NATS 2.14: msgtrace.go initMsgTrace, genHeaderMapIfTraceHeadersPresent.

use memchr::memchr_iter;

use crate::header_block::{VERSION, fields};
use crate::message_trace::Encoding;
use crate::reserved::{
    ACCEPT_ENCODING, TRACE_DESTINATION, TRACE_DISABLED, TRACE_ONLY, TRACE_ORIGIN, TRACE_PARENT,
};

/// The tracing that a message requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tracing<'a> {
    /// None.
    None,
    /// None, because of a header of an older form of tracing, with this value.
    Outdated {
        /// The value.
        origin: &'a [u8],
        /// True if the message is not delivered.
        is_only: bool,
    },
    /// Traces to a subject, which may be invalid.
    To {
        /// The subject.
        destination: &'a [u8],
        /// True if the message is not delivered.
        is_only: bool,
    },
    /// Traces to the destination of the account, by the sampled flag of `traceparent`.
    // https://www.w3.org/TR/trace-context/#traceparent-header
    ByAccount,
}

/// Returns false if a header block certainly requests no trace. `by_account`: the account has a destination for
/// traces, so that `traceparent` requests one.
// Not inlined: it would take registers from the loop over messages without headers.
#[inline(never)]
pub(crate) fn is_mentioned(block: &[u8], by_account: bool) -> bool {
    let least = VERSION.len() + TRACE_DESTINATION.len() + b":x\r\n".len();
    (block.len() >= least
        && has_letter(block)
        && memchr_iter(b'D', block)
            .any(|at| block[..at].ends_with(b"Nats-Trace-") && block[at..].starts_with(b"Dest:")))
        || (by_account && has_parent(block))
}

/// Returns true if the block may have the header `traceparent`, in any case.
#[cold]
fn has_parent(block: &[u8]) -> bool {
    memchr_iter(b':', block).any(|colon| {
        let name = colon.checked_sub(TRACE_PARENT.len()).and_then(|at| block.get(at..colon));
        name.is_some_and(|name| name.eq_ignore_ascii_case(TRACE_PARENT))
    })
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
    /// Parses a header block. `by_account`: as for [`is_mentioned`].
    pub(crate) fn read(block: &'a [u8], by_account: bool) -> Self {
        if !is_mentioned(block, by_account) {
            return Self::None;
        }
        let first = |name| fields(block).find(|(other, _)| *other == name).map(|(_, value)| value);
        let destination = first(TRACE_DESTINATION);
        if destination == Some(TRACE_DISABLED) {
            return Self::None;
        }
        // Ignored without a destination of its own.
        let is_only = destination.is_some() && first(TRACE_ONLY).is_some_and(is_on);
        match (first(TRACE_ORIGIN), destination) {
            (_, None) if !(by_account && is_sampled(block)) => Self::None,
            (Some(origin), _) => Self::Outdated { origin, is_only },
            (None, Some(destination)) => Self::To { destination, is_only },
            (None, None) => Self::ByAccount,
        }
    }
}

/// Returns the encoding of traces that the header block asks for.
pub(crate) fn encoding(block: &[u8]) -> Encoding {
    let accepted = fields(block).find(|(name, _)| *name == ACCEPT_ENCODING);
    accepted.map(|(_, value)| Encoding::accepted_by(value)).unwrap_or_default()
}

fn is_on(value: &[u8]) -> bool {
    [&b"1"[..], b"true", b"on"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

/// Returns true if any `traceparent` of the block is sampled: the lowest bit of the last of its four parts.
fn is_sampled(block: &[u8]) -> bool {
    let parents = fields(block).filter(|(name, _)| name.eq_ignore_ascii_case(TRACE_PARENT));
    parents.map(|(_, value)| value).any(|value| {
        let mut parts = value.split(|byte| *byte == b'-');
        let flags = parts.nth(3).filter(|flags| flags.len() == 2 && parts.next().is_none());
        flags
            .and_then(|flags| std::str::from_utf8(flags).ok())
            .and_then(|flags| i8::from_str_radix(flags, 16).ok())
            .is_some_and(|flags| flags & 1 == 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &str) -> Tracing<'static> {
        let block = format!("NATS/1.0\r\n{fields}\r\n").into_bytes();
        Tracing::read(block.leak(), true)
    }

    fn to(destination: &'static str, is_only: bool) -> Tracing<'static> {
        Tracing::To { destination: destination.as_bytes(), is_only }
    }

    fn outdated(origin: &'static str, is_only: bool) -> Tracing<'static> {
        Tracing::Outdated { origin: origin.as_bytes(), is_only }
    }

    /// Measured on nats-server 2.14.5.
    #[test]
    fn traceparent_counts_in_any_case_if_it_is_sampled() {
        for (fields, expected) in [
            ("traceparent: 00-4bf92f35-00f067aa-01\r\n", Tracing::ByAccount),
            ("TraceParent:00-4bf92f35-00f067aa-01\r\n", Tracing::ByAccount),
            ("traceparent: a-b-c-7F\r\n", Tracing::ByAccount),
            ("traceparent: x\r\ntraceparent: 00-4bf92f35-00f067aa-03\r\n", Tracing::ByAccount),
            ("traceparent: a-b-c-01\r\nNats-Trace-Only: true\r\n", Tracing::ByAccount),
            ("traceparent: a-b-c-01\r\nNats-Trace-Dest: t\r\n", to("t", false)),
            ("traceparent: a-b-c-01\r\nNats-Trace-Dest: trace disabled\r\n", Tracing::None),
            ("traceparent: a-b-c-01\r\nNats-Trace-Origin-Account: A\r\n", outdated("A", false)),
            ("traceparent: a-b-c-00\r\nNats-Trace-Origin-Account: A\r\n", Tracing::None),
            ("traceparent: a-b-c-00\r\n", Tracing::None),
            ("traceparent: a-b-c-02\r\n", Tracing::None),
            ("traceparent: a-b-c-1\r\n", Tracing::None),
            ("traceparent: a-b-c-ff\r\n", Tracing::None),
            ("traceparent: a-b-c-0g\r\n", Tracing::None),
            ("traceparent: a-b-01\r\n", Tracing::None),
            ("traceparent: a-b-c-01-d\r\n", Tracing::None),
            ("xtraceparent: a-b-c-01\r\n", Tracing::None),
            ("traceparent : a-b-c-01\r\n", Tracing::None),
        ] {
            assert_eq!(read(fields), expected, "{fields:?}");
        }
        let block = b"NATS/1.0\r\ntraceparent: a-b-c-01\r\n\r\n";
        assert_eq!(Tracing::read(block, false), Tracing::None, "the account has no destination");
    }

    #[test]
    fn the_first_accepted_encoding_counts() {
        let of = |fields: &str| encoding(format!("NATS/1.0\r\n{fields}\r\n").as_bytes());
        assert_eq!(of("Accept-Encoding: gzip\r\nAccept-Encoding: s2\r\n"), Encoding::Gzip);
        assert_eq!(of("accept-encoding: gzip\r\n"), Encoding::None);
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
            ("Nats-Trace-Dest: a..b\r\nNats-Trace-Only: true\r\n", to("a..b", true)),
            ("Nats-Trace-Dest: t\r\nNats-Trace-Origin-Account: A\r\n", outdated("A", false)),
            (
                "Nats-Trace-Dest: t\r\nNats-Trace-Origin-Account: A\r\nNats-Trace-Only: on\r\n",
                outdated("A", true),
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
            assert_eq!(Tracing::read(block, true), Tracing::None, "{}", block.escape_ascii());
        }
        // The shortest header that counts.
        let block = b"NATS/1.0\r\nNats-Trace-Dest:t\r\n";
        assert_eq!(Tracing::read(block, false), to("t", false));
    }
}
