//! Names that only servers may use: headers, subjects and replies.
//!
//! A header of a client that another account or another server takes for the server's word is removed before the
//! server sets it ([`crate::header_block::set`]). A subject or a reply is refused where a client publishes.

/// Describes the requester to a service in another account. The server sets it where a request enters that account.
// NATS 2.14: client.go ClientInfoHdr.
pub(crate) const REQUEST_INFO: &[u8] = b"Nats-Request-Info";
/// The end of the reply subject of a message of a fast batch.
// NATS 2.14: stream.go FastBatchSuffix.
pub(crate) const FAST_BATCH: &[u8] = b".$FI";
/// The destination of traces. A message is traced if it has a value; servers replace it where a trace ends.
// NATS 2.14: msgtrace.go.
pub(crate) const TRACE_DESTINATION: &[u8] = b"Nats-Trace-Dest";
/// Requests a trace without the delivery of the message.
pub(crate) const TRACE_ONLY: &[u8] = b"Nats-Trace-Only";
/// The header of an older form of tracing: a message with it is not traced.
pub(crate) const TRACE_ORIGIN: &[u8] = b"Nats-Trace-Origin-Account";
/// The place of a server in the path of a traced message, which servers set for each other: `2.1` is the first server that
/// the second one behind the origin has sent it to.
pub(crate) const TRACE_HOP: &[u8] = b"Nats-Trace-Hop";
/// The header by which tracing systems mark messages: see `proto/traced.rs`.
pub(crate) const TRACE_PARENT: &[u8] = b"traceparent";
/// The encodings in which the sender of a traced message reads its trace.
pub(crate) const ACCEPT_ENCODING: &[u8] = b"Accept-Encoding";
/// The value of [`TRACE_DESTINATION`] by which servers tell each other not to trace a message. It is no subject.
pub(crate) const TRACE_DISABLED: &[u8] = b"trace disabled";

/// The prefix of replies that are routed through gateways.
// NATS 2.14: gateway.go gwReplyPrefix.
const GATEWAY_REPLY: &[u8] = b"_GR_.";
/// The prefix of subjects by which the replicas of streams agree.
// NATS 2.14: client.go clientNRGPrefix.
const REPLICA_GROUPS: &[u8] = b"$NRG.";
/// The prefix of replies to requests in another account.
// NATS 2.14: accounts.go replyPrefix.
pub(crate) const SERVICE_REPLY: &[u8] = b"_R_.";
/// The prefix of replies by which consumers of streams acknowledge messages.
// NATS 2.14: client.go isJSAckSubject.
const STREAM_ACK: &[u8] = b"$JS.ACK.";

/// Returns true if no client may publish to a subject in its account. Some are open to the system account.
// NATS 2.14: client.go processInboundClientMsg. A prefix alone is no such subject, except that of replica groups.
#[inline]
pub(crate) fn is_subject_of_servers(
    subject: &[u8],
    is_system_account: impl FnOnce() -> bool,
) -> bool {
    matches!(subject.first(), Some(b'_' | b'$'))
        && (is_below(subject, GATEWAY_REPLY)
            || (subject.starts_with(REPLICA_GROUPS) && !is_system_account()))
}

/// Returns true if no client may ask for replies to a subject.
// NATS 2.14: client.go isReservedReply.
#[inline]
pub(crate) fn is_reply_of_servers(reply: &[u8]) -> bool {
    matches!(reply.first(), Some(b'_' | b'$'))
        && (reply.starts_with(SERVICE_REPLY)
            || is_below(reply, STREAM_ACK)
            || is_below(reply, GATEWAY_REPLY))
}

/// Splits the reply of a message of a stream that another server has passed on: `reply@subject`, with the subject that
/// clients see.
// NATS 2.14: client.go jsAckDeliverIdx: the first `@` behind the eighth dot, because names of streams may contain one.
#[cold]
pub(crate) fn split_ack_reply(reply: &[u8]) -> Option<(&[u8], &[u8])> {
    if !is_below(reply, STREAM_ACK) {
        return None;
    }
    let (eighth, _) = reply.iter().enumerate().filter(|(_, byte)| **byte == b'.').nth(7)?;
    let at = eighth + memchr::memchr(b'@', &reply[eighth..])?;
    let (reply, shown) = (&reply[..at], &reply[at + 1..]);
    (!shown.is_empty()).then_some((reply, shown))
}

/// Returns true if a message with that reply may be one of a stream that another server has passed on.
#[inline]
pub(crate) fn may_be_ack_reply(reply: &[u8]) -> bool {
    reply.first() == Some(&b'$')
}

/// Returns the reply by which another server learns the subject that clients see; `None` for a reply that cannot name it.
// NATS 2.14: client.go processMsgResults.
pub(crate) fn join_ack_reply(reply: &[u8], shown: &[u8]) -> Option<Vec<u8>> {
    let is_plain = is_below(reply, STREAM_ACK) && split_ack_reply(reply).is_none();
    is_plain.then(|| [reply, b"@", shown].concat())
}

fn is_below(subject: &[u8], prefix: &[u8]) -> bool {
    subject.len() > prefix.len() && subject.starts_with(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_of_servers_are_those_of_the_reference() {
        for (subject, is_reserved, is_reserved_in_system_account) in [
            ("_GR_.x", true, true),
            ("_GR_.", false, false),
            ("_GR_", false, false),
            ("_gr_.x", false, false),
            ("x._GR_.x", false, false),
            ("$NRG.x", true, false),
            ("$NRG.", true, false),
            ("$NRG", false, false),
            ("$nrg.x", false, false),
            ("_R_.x", false, false),
            ("$JS.ACK.x", false, false),
            ("$SYS.x", false, false),
            ("", false, false),
        ] {
            let is = |in_system| is_subject_of_servers(subject.as_bytes(), || in_system);
            assert_eq!(
                (is(false), is(true)),
                (is_reserved, is_reserved_in_system_account),
                "{subject}"
            );
        }
    }

    #[test]
    fn the_subject_that_clients_see_is_part_of_the_reply() {
        let reply = b"$JS.ACK.S.C.1.2.3.4.5";
        let joined = join_ack_reply(reply, b"orders.eu").unwrap();
        assert_eq!(joined, b"$JS.ACK.S.C.1.2.3.4.5@orders.eu");
        assert_eq!(split_ack_reply(&joined), Some((&reply[..], &b"orders.eu"[..])));
        assert_eq!(join_ack_reply(&joined, b"x"), None, "once only");
        let with_at = b"$JS.ACK.S@x.C@y.1.2.3.4.5";
        assert_eq!(split_ack_reply(with_at), None);
        let joined = join_ack_reply(with_at, b"a@b").unwrap();
        assert_eq!(split_ack_reply(&joined), Some((&with_at[..], &b"a@b"[..])));
        for other in ["", "_INBOX.x@y", "$JS.ACK.S.C.1.2@x", "$JS.ACK.S.C.1.2.3.4.5@", "$JS.ACK."] {
            assert_eq!(split_ack_reply(other.as_bytes()), None, "{other}");
        }
        assert_eq!(join_ack_reply(b"_INBOX.x", b"y"), None);
    }

    #[test]
    fn replies_of_servers_are_those_of_the_reference() {
        for (reply, is_reserved) in [
            ("_R_.x", true),
            ("_R_.", true),
            ("_R_", false),
            ("_r_.x", false),
            ("_GR_.x", true),
            ("_GR_.", false),
            ("$JS.ACK.x", true),
            ("$JS.ACK.", false),
            ("$JS.API.x", false),
            ("$NRG.x", false),
            ("_INBOX.x", false),
            ("", false),
        ] {
            assert_eq!(is_reply_of_servers(reply.as_bytes()), is_reserved, "{reply}");
        }
    }
}
