//! Messages that ask to be traced (ADR-41): the decision whether they are.
//!
//! The decision is the same for connections, in-process clients and handlers. A trace goes only to a subject to which
//! the sender itself may publish.
// NATS 2.14: msgtrace.go.

use std::borrow::Cow;
use std::fmt;

use super::member::Member;
use super::publisher::may_trace_to;
use crate::account::Account;
use crate::endpoint::Endpoint;
use crate::error::Quoted;
use crate::header_block;
use crate::message_trace::{MessageTrace, Requested};
use crate::proto::Publish;
use crate::proto::traced::{Tracing, encoding};
use crate::random::Random;
use crate::reserved::{TRACE_DESTINATION, TRACE_DISABLED};
use crate::shared::Shared;
use crate::subject::is_valid_literal;

/// The treatment of a message that may ask for a trace.
pub(super) enum Traced<'a> {
    /// It is published as any other.
    Not,
    /// It is published without a trace, and with this header block, so that no other server traces it.
    Disabled(Vec<u8>),
    /// It is not processed.
    Dropped,
    /// It is not processed, because its sender may not publish to the destination of the trace.
    Denied(Cow<'a, [u8]>),
    /// It is published with this trace.
    By(Box<MessageTrace>),
}

/// Decides about the trace of a message that `member` publishes. `by_account`: see
/// [`traced::is_mentioned`](crate::proto::traced::is_mentioned). `label`: the member in log lines.
pub(super) fn decide<'a>(
    shared: &Shared,
    member: &Member,
    message: &Publish<'a>,
    by_account: bool,
    random: &mut Random,
    label: &dyn fmt::Display,
) -> Traced<'a> {
    let of = (&*member.account, &*member.endpoint);
    let (destination, is_only) = match destination(of.0, message, by_account, Some(random), label) {
        Ok(found) => found,
        Err(traced) => return traced,
    };
    if !may_trace_to(member, &destination) {
        return Traced::Denied(destination);
    }
    Traced::By(begin(shared, of, message, (&destination, is_only)))
}

/// Decides about the trace of a message that another server has sent, which has checked the sender's permission and
/// taken the sample.
pub(super) fn decide_for_peer<'a>(
    shared: &Shared,
    (account, endpoint): (&Account, &Endpoint),
    message: &Publish<'a>,
    by_account: bool,
) -> Traced<'a> {
    match destination(account, message, by_account, None, endpoint) {
        Ok((destination, is_only)) => {
            Traced::By(begin(shared, (account, endpoint), message, (&destination, is_only)))
        }
        Err(traced) => traced,
    }
}

fn begin(
    shared: &Shared,
    (account, endpoint): (&Account, &Endpoint),
    message: &Publish<'_>,
    (destination, is_only): (&[u8], bool),
) -> Box<MessageTrace> {
    let headers = message.headers();
    let requested = Requested { destination, is_only, encoding: encoding(headers) };
    let from = endpoint.as_party(&account.name);
    let fields = header_block::fields(headers);
    let (size, subject) = (message.body.len(), message.subject);
    Box::new(MessageTrace::begin(&shared.clock, requested, fields, size, from, subject))
}

/// Returns the valid destination of a message's trace, and whether the message is not delivered; or what becomes of a
/// message without one. `random`: for the sample, unless another server has taken it.
fn destination<'a>(
    account: &Account,
    message: &Publish<'a>,
    by_account: bool,
    random: Option<&mut Random>,
    label: &dyn fmt::Display,
) -> Result<(Cow<'a, [u8]>, bool), Traced<'a>> {
    let headers = message.headers();
    let disabled = || {
        let block = header_block::set(headers, TRACE_DESTINATION, TRACE_DISABLED);
        Traced::Disabled(block)
    };
    let (destination, is_only): (Cow<'a, [u8]>, bool) = match Tracing::read(headers, by_account) {
        Tracing::None => return Err(Traced::Not),
        Tracing::Outdated { origin, is_only } => {
            tracing::error!(
                client = %label,
                "Message tracing disabled because of header \"Nats-Trace-Origin-Account\" with value={}",
                Quoted::from(origin)
            );
            return Err(if is_only { Traced::Dropped } else { disabled() });
        }
        Tracing::To { destination, is_only } => (destination.into(), is_only),
        Tracing::ByAccount => match account.trace_destination() {
            None => return Err(Traced::Not),
            Some(to) if random.is_some_and(|random| !is_sampled(to.sampling, random)) => {
                return Err(disabled());
            }
            Some(to) => (to.subject.as_ref().to_vec().into(), false),
        },
    };
    if is_publishable(&destination) {
        return Ok((destination, is_only));
    }
    tracing::error!(
        client = %label,
        "Destination {} is not valid, won't be able to trace events",
        Quoted::from(&*destination)
    );
    Err(if is_only { Traced::Dropped } else { Traced::Not })
}

/// Returns true if a message of a sample is traced.
// NATS 2.14: msgtrace.go sample.
fn is_sampled(percent: u8, random: &mut Random) -> bool {
    !(1..100).contains(&percent) || random.below(100) <= usize::from(percent)
}

/// Returns true for a subject that a client could publish to.
// NATS 2.14: sublist.go IsValidPublishSubject.
fn is_publishable(subject: &[u8]) -> bool {
    is_valid_literal(subject)
        && !subject.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_about_its_percentage() {
        let mut random = Random::new(7);
        let mut count = |percent| (0..10_000).filter(|_| is_sampled(percent, &mut random)).count();
        assert_eq!([count(0), count(100), count(200)], [10_000; 3]);
        let half = count(50);
        assert!((4_700..5_500).contains(&half), "{half}");
        let few = count(1);
        assert!((100..300).contains(&few), "{few}: one more than asked, as in the reference");
    }

    #[test]
    fn a_destination_is_a_subject_without_wildcards_and_white_space() {
        for (destination, expected) in [
            ("t", true),
            ("t.u", true),
            ("_INBOX.x", true),
            ("a..b", false),
            ("a.*", false),
            ("a.>", false),
            ("a b", false),
            ("a.\u{c}", false),
            ("", false),
        ] {
            assert_eq!(is_publishable(destination.as_bytes()), expected, "{destination:?}");
        }
    }
}
