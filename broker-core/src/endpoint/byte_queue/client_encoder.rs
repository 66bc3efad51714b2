//! The encoder of clients: `MSG` and `HMSG`.

use super::block_writer::BlockWriter;
use super::body::{append_pieces, append_sizes, delivered_body, is_one_piece};
use super::encoder::{Delivery, Encoder, Target};
use crate::proto::{Publish, encode};
use crate::sync::{AtomicBool, Ordering};
use crate::trace::Trace;

/// Encodes deliveries in the protocol of clients.
#[derive(Debug, Default)]
pub struct ClientEncoder {
    /// The client reads headers.
    headers: AtomicBool,
}

impl ClientEncoder {
    pub(crate) fn set_headers(&self, headers: bool) {
        self.headers.store(headers, Ordering::Relaxed);
    }
}

impl Encoder for ClientEncoder {
    #[inline(always)]
    fn encode(&self, delivery: &Delivery<'_>, out: &mut BlockWriter<'_>) -> Option<usize> {
        let Target::Subscription { sid } = delivery.to else { return None };
        let with_headers = self.headers.load(Ordering::Relaxed);
        Some(match delivery.messages {
            // A single message needs no memory for its head.
            [message] if is_one_piece(message, with_headers, delivery) => {
                append_one(message, delivery.subject, sid, out)
            }
            _ => append_run(delivery, sid, with_headers, out),
        })
    }

    #[cold]
    fn trace(&self, delivery: &Delivery<'_>, trace: &Trace) {
        let Target::Subscription { sid } = delivery.to else { return };
        let with_headers = self.headers.load(Ordering::Relaxed);
        for message in delivery.messages {
            let has_headers = message.has_headers() && with_headers;
            let mut line = Vec::new();
            encode::message_prefix(&mut line, has_headers, delivery.subject, sid);
            append_sizes(&mut line, message, message.reply, with_headers);
            trace.sent(&String::from_utf8_lossy(line.trim_ascii_end()));
            let header_len = if has_headers { message.headers().len() } else { 0 };
            trace.sent_payload(header_len, delivered_body(message, with_headers));
        }
    }
}

/// Appends messages to one subject. Returns the bytes of their bodies.
fn append_run(
    delivery: &Delivery<'_>,
    sid: &[u8],
    with_headers: bool,
    out: &mut BlockWriter<'_>,
) -> usize {
    let mut body_bytes = 0;
    // All messages of one run have the same verb unless some have headers and some do not.
    let mut prefix = out.take_prefix();
    let mut prefix_has_headers = None;
    let mut messages = delivery.messages;
    while let [message, others @ ..] = messages {
        let has_headers = message.has_headers() && with_headers;
        if prefix_has_headers != Some(has_headers) {
            prefix.clear();
            encode::message_prefix(&mut prefix, has_headers, delivery.subject, sid);
            prefix_has_headers = Some(has_headers);
        }
        if is_one_piece(message, with_headers, delivery) {
            messages = append_alike(messages, &prefix, &mut body_bytes, out);
        } else {
            body_bytes += append_rewritten(message, &prefix, with_headers, delivery, out);
            messages = others;
        }
    }
    out.keep_prefix(prefix);
    body_bytes
}

/// Appends the first of the messages, which is [of one piece](is_one_piece), and those behind it that are, too, and have headers
/// if it has: a message with a tail has no header block of length 0. Adds the bytes of their bodies. Returns the other
/// messages.
#[inline]
fn append_alike<'m, 'a>(
    messages: &'m [Publish<'a>],
    prefix: &[u8],
    body_bytes: &mut usize,
    out: &mut BlockWriter<'_>,
) -> &'m [Publish<'a>] {
    let have_headers = messages.first().is_some_and(|first| first.header_len.is_some());
    let mut count = 0;
    // Held by value, so that its length is not stored for each message.
    let mut block = out.take_block();
    for message in messages {
        let Some(tail) = message.tail else { break };
        if message.header_len.is_some() != have_headers {
            break;
        }
        let bytes = prefix.len() + tail.len();
        if block.capacity() - block.len() < bytes {
            out.keep_block(block);
            out.block(bytes);
            block = out.take_block();
        }
        block.extend_from_slice(prefix);
        block.extend_from_slice(tail);
        *body_bytes += message.body.len();
        count += 1;
    }
    out.keep_block(block);
    &messages[count..]
}

/// Appends one message that is [of one piece](is_one_piece). Returns the bytes of its body.
#[inline]
fn append_one(
    message: &Publish<'_>,
    subject: &[u8],
    sid: &[u8],
    out: &mut BlockWriter<'_>,
) -> usize {
    let tail = message.tail.unwrap_or_default();
    let most = "HMSG   ".len() + subject.len() + sid.len() + tail.len();
    let block = out.block(most);
    encode::message_prefix(block, message.has_headers(), subject, sid);
    block.extend_from_slice(tail);
    message.body.len()
}

/// Appends a message that cannot be copied in one piece: a large one, one with its size spelled differently, or one
/// that loses its headers.
fn append_rewritten(
    message: &Publish<'_>,
    prefix: &[u8],
    with_headers: bool,
    delivery: &Delivery<'_>,
    out: &mut BlockWriter<'_>,
) -> usize {
    let head_bytes = prefix.len() + message.reply.len() + message.sizes.len() + 32;
    append_pieces(message, with_headers, delivery, out, head_bytes, |block| {
        block.extend_from_slice(prefix);
        append_sizes(block, message, message.reply, with_headers);
    })
}
