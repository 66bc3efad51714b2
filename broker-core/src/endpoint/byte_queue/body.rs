//! The parts of a message that the protocols of all connections write alike: sizes and body.

use super::block_writer::BlockWriter;
use super::encoder::Delivery;
use crate::limits::SHARED_PAYLOAD_MIN_BYTES;
use crate::proto::{Publish, encode};

/// Returns true if everything behind the subject can be copied unchanged.
#[inline]
pub(super) fn is_one_piece(
    message: &Publish<'_>,
    with_headers: bool,
    delivery: &Delivery<'_>,
) -> bool {
    message.tail.is_some()
        && (with_headers || message.header_len.is_none())
        && delivery.run.shared.is_none()
}

/// Returns the part of a message's body that its receiver gets.
pub(super) fn delivered_body<'a>(message: &Publish<'a>, with_headers: bool) -> &'a [u8] {
    if with_headers { message.body } else { message.payload() }
}

/// Appends a message: what `head` writes, at most `head_bytes`, then its body and the line end, copied or shared.
/// Returns the bytes of its body.
pub(super) fn append_pieces(
    message: &Publish<'_>,
    with_headers: bool,
    delivery: &Delivery<'_>,
    out: &mut BlockWriter<'_>,
    head_bytes: usize,
    head: impl FnOnce(&mut Vec<u8>),
) -> usize {
    let body = delivered_body(message, with_headers);
    let is_shared = body.len() >= SHARED_PAYLOAD_MIN_BYTES;
    let shared = delivery.run.shared.filter(|_| is_shared).map(|shared| shared.slice_ref(body));
    let copied = if shared.is_some() { 0 } else { body.len() + b"\r\n".len() };
    let block = out.block(head_bytes + copied);
    head(block);
    match shared {
        Some(shared) => {
            out.share(shared);
            out.block(2).extend_from_slice(b"\r\n");
        }
        None => {
            block.extend_from_slice(body);
            block.extend_from_slice(b"\r\n");
        }
    }
    body.len()
}

/// Appends reply and sizes as sent to the receiver, and the line end.
pub(super) fn append_sizes(
    block: &mut Vec<u8>,
    message: &Publish<'_>,
    reply: &[u8],
    with_headers: bool,
) {
    // NATS 2.14: a header length of 0 leaves a plain message with the total size, as it was written.
    let is_rewritten = message.header_len.is_some_and(|len| len == 0 || !with_headers);
    if !is_rewritten {
        return encode::message_rest(block, reply, message.sizes);
    }
    if !reply.is_empty() {
        block.extend_from_slice(reply);
        block.push(b' ');
    }
    if message.header_len == Some(0) {
        let mut words = message.sizes.rsplit(|byte| b" \t".contains(byte));
        block.extend_from_slice(words.next().unwrap_or_default());
    } else {
        encode::number(block, delivered_body(message, with_headers).len());
    }
    block.extend_from_slice(b"\r\n");
}
