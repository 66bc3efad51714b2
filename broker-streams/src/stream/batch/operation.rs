//! The operations of fast batches, which publishers write into the reply subject.

use std::borrow::Cow;

use broker_core::header_block;
use serde::Deserialize;

use crate::stream::fields::number;

/// The last token of such a reply subject.
const SUFFIX: &[u8] = b".$FI";

/// The first token of the reply subject of a message that a service of another account has passed on.
const SERVICE_REPLY: &[u8] = b"_R_.";

/// A message of a fast batch, by its reply subject: `prefix.id.flow.gap.sequence.operation.$FI`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::stream) struct Operation {
    /// The id of the batch.
    pub id: String,
    /// The number of the message in the batch.
    pub sequence: u64,
    /// After how many messages the publisher wants to hear of progress, at most.
    pub flow: u16,
    /// Messages may be missing.
    pub gap_ok: bool,
    pub kind: Kind,
}

/// Returns the reply subject that the publisher of a message has written. A service of another account that passes the message on
/// replaces it, and tells it in the headers.
// NATS 2.14: stream.go getFastBatch. No client may ask for answers to such a reply subject.
pub(in crate::stream) fn operation_subject<'a>(reply: &'a [u8], headers: &[u8]) -> Cow<'a, [u8]> {
    #[derive(Deserialize)]
    struct Requester {
        reply: String,
    }
    if Operation::is_any(reply) || !reply.starts_with(SERVICE_REPLY) {
        return Cow::Borrowed(reply);
    }
    let info = header_block::value(headers, b"Nats-Request-Info");
    let requester = info.and_then(|info| serde_json::from_slice(info).ok());
    requester.map_or(Cow::Borrowed(reply), |Requester { reply }| Cow::Owned(reply.into_bytes()))
}

/// The operation of a message of a fast batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::stream) enum Kind {
    Append,
    Commit,
    /// Commits the messages before it; this one is not stored.
    CommitBefore,
    /// Asks for progress.
    Ping,
}

impl Operation {
    /// Returns true if a reply subject is that of a fast batch.
    pub(in crate::stream) fn is_any(reply: &[u8]) -> bool {
        reply.len() > SUFFIX.len() && reply.ends_with(SUFFIX)
    }

    /// Reads a reply subject; `None` if it does not have the form.
    // NATS 2.14: stream.go getFastBatch.
    pub(in crate::stream) fn parse(reply: &[u8]) -> Option<Self> {
        let text = reply.strip_suffix(SUFFIX)?;
        let mut tokens = text.rsplitn(6, |byte| *byte == b'.');
        let operation = number(tokens.next()?)?;
        let sequence = number(tokens.next()?).filter(|number| !matches!(*number, 0 | u64::MAX))?;
        let gap_ok = match tokens.next()? {
            b"ok" => true,
            b"fail" => false,
            _ => return None,
        };
        let flow = match number(tokens.next()?) {
            None | Some(0) => 10,
            Some(flow) => u16::try_from(flow).unwrap_or(u16::MAX),
        };
        let id = std::str::from_utf8(tokens.next()?).ok()?.to_owned();
        // The prefix must be there, but can be anything.
        tokens.next()?;
        let kind = match (operation, sequence) {
            (0, 1) | (1, 2..) => Kind::Append,
            (2, _) => Kind::Commit,
            (3, 2..) => Kind::CommitBefore,
            (4, _) => Kind::Ping,
            _ => return None,
        };
        Some(Self { id, sequence, flow, gap_ok, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reply_subject_before_an_import_counts() {
        let block = |info: &str| format!("NATS/1.0\r\nNats-Request-Info: {info}\r\n\r\n");
        let of = |reply: &str, info: &str| {
            let block = block(info);
            let reply = operation_subject(reply.as_bytes(), block.as_bytes()).into_owned();
            String::from_utf8(reply).unwrap()
        };
        let info = r#"{"acc":"A","reply":"p.id.1.ok.1.0.$FI"}"#;
        assert_eq!(of("_R_.x", info), "p.id.1.ok.1.0.$FI");
        assert_eq!(of("_R_.x", r#"{"acc":"A"}"#), "_R_.x");
        assert_eq!(of("_R_.x", "no JSON"), "_R_.x");
        assert_eq!(of("_INBOX.x", info), "_INBOX.x", "the publisher has written the header");
        assert_eq!(of("p.other.1.ok.1.0.$FI", info), "p.other.1.ok.1.0.$FI");
    }

    #[test]
    fn operations_are_read_from_reply_subjects() {
        let parse = |reply: &str| Operation::parse(reply.as_bytes());
        let operation = parse("_INBOX.x.id.20.fail.1.0.$FI").unwrap();
        let expected =
            Operation { id: "id".into(), sequence: 1, flow: 20, gap_ok: false, kind: Kind::Append };
        assert_eq!(operation, expected);
        assert_eq!(parse("p.id.0.ok.2.1.$FI").unwrap().flow, 10);
        assert_eq!(parse("p.id.x.ok.2.1.$FI").unwrap().flow, 10);
        assert_eq!(parse("p.id.99999.ok.2.1.$FI").unwrap().flow, u16::MAX);
        assert_eq!(parse("p.id.1.ok.1.2.$FI").unwrap().kind, Kind::Commit);
        assert_eq!(parse("p.id.1.ok.2.3.$FI").unwrap().kind, Kind::CommitBefore);
        assert_eq!(parse("p.id.1.ok.2.4.$FI").unwrap().kind, Kind::Ping);
        for reply in [
            "p.id.1.ok.2.0.$FI",
            "p.id.1.ok.1.1.$FI",
            "p.id.1.ok.1.3.$FI",
            "p.id.1.ok.0.2.$FI",
            "p.id.1.ok.2.5.$FI",
            "p.id.1.maybe.2.1.$FI",
            "id.1.ok.2.1.$FI",
            "x.$FI",
            ".$FI",
        ] {
            assert_eq!(parse(reply), None, "{reply}");
        }
    }
}
