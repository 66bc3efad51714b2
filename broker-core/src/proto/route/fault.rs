//! Operations that another server must not send.

use std::borrow::Cow;

use crate::error::{CloseReason, Escaped};

/// An operation of another server that is refused. It ends the route.
///
/// Displays as the line in the operator's log, in NATS's words; [`Self::answer`] is what the other server gets.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteFault {
    /// A first byte, a verb or a byte after a payload that is not in the protocol.
    #[error("Router parser ERROR")]
    UnknownOperation,
    /// A verb with arguments that it does not take.
    #[error("{step} {problem}: {arguments}")]
    BadArguments {
        /// The step of parsing.
        step: &'static str,
        /// The violated rule.
        problem: &'static str,
        /// The arguments in quotes, escaped.
        arguments: String,
    },
    /// A control line beyond the limit.
    #[error("maximum control line exceeded")]
    MaxControlLine,
    /// A message beyond the limit.
    #[error("maximum payload exceeded: {size} vs {limit}")]
    MaxPayload {
        /// The announced size, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
}

impl RouteFault {
    /// Creates a fault whose log line quotes words as Go prints a list: `'[a b]'`.
    pub(super) fn of_words<'a>(
        step: &'static str,
        problem: &'static str,
        words: impl Iterator<Item = &'a [u8]>,
    ) -> Self {
        let words: Vec<&[u8]> = words.collect();
        let arguments = format!("'[{}]'", Escaped(&words.join(&b' ')));
        Self::BadArguments { step, problem, arguments }
    }

    /// Creates a fault whose log line quotes a text.
    pub(super) fn of_text(step: &'static str, problem: &'static str, text: &[u8]) -> Self {
        Self::BadArguments { step, problem, arguments: format!("'{}'", Escaped(text)) }
    }

    /// Returns the text of `-ERR '…'`, if there is one, and the close reason.
    // NATS 2.14: parser.go parse, client.go readLoop.
    pub fn answer(&self) -> (Option<Cow<'static, str>>, CloseReason) {
        let (text, reason) = match self {
            Self::UnknownOperation => {
                (Some("Unknown Protocol Operation"), CloseReason::ProtocolViolation)
            }
            Self::BadArguments { .. } => (None, CloseReason::ProtocolViolation),
            Self::MaxControlLine => {
                (Some("maximum control line exceeded"), CloseReason::MaxControlLineExceeded)
            }
            Self::MaxPayload { .. } => {
                (Some("Maximum Payload Violation"), CloseReason::MaxPayloadExceeded)
            }
        };
        (text.map(Cow::Borrowed), reason)
    }
}
