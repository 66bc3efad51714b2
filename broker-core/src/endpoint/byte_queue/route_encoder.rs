//! The encoder of routes: `RMSG` and `HMSG`.

use super::block_writer::BlockWriter;
use super::body::{append_pieces, append_sizes, delivered_body, is_one_piece};
use super::encoder::{Delivery, Encoder, Target};
use crate::proto::Publish;
use crate::sync::{Arc, AtomicBool, OnceLock, Ordering};
use crate::trace::Trace;

/// Encodes deliveries in the protocol between servers.
#[derive(Debug, Default)]
pub struct RouteEncoder {
    /// The account of the route, whose name its lines omit; empty if it carries several.
    account: OnceLock<Arc<str>>,
    /// The other server reads headers.
    headers: AtomicBool,
}

impl RouteEncoder {
    /// Creates the encoder of a route that carries one account, or several.
    pub(crate) fn new(account: Option<Arc<str>>) -> Self {
        let encoder = Self::default();
        encoder.set_account(account);
        encoder
    }

    /// Restricts the route to one account, which an accepted route learns from the other server. `None` changes
    /// nothing, and neither does a second account.
    pub(crate) fn set_account(&self, account: Option<Arc<str>>) {
        if let Some(account) = account {
            let _ = self.account.set(account);
        }
    }

    pub(crate) fn set_headers(&self, headers: bool) {
        self.headers.store(headers, Ordering::Relaxed);
    }

    /// Returns what the lines of a delivery have in common; `None` if it is not for this route.
    #[inline]
    fn head<'a>(&self, delivery: &Delivery<'a>) -> Option<Head<'a>> {
        let Target::Peer { account, queues } = delivery.to else { return None };
        let account = match self.account.get() {
            None => Some(account),
            Some(of_route) if **of_route == *account => None,
            // The other server would take the message for one of the account of the route.
            Some(_) => return None,
        };
        let with_headers = self.headers.load(Ordering::Relaxed);
        Some(Head { account, subject: delivery.subject, queues, with_headers })
    }
}

impl Encoder for RouteEncoder {
    const IS_WAITED_FOR: bool = true;

    #[inline(always)]
    fn encode(&self, delivery: &Delivery<'_>, out: &mut BlockWriter<'_>) -> Option<usize> {
        let head = self.head(delivery)?;
        Some(match delivery.messages {
            // A single message needs no memory for its head.
            [message] if is_one_piece(message, head.with_headers, delivery) => {
                head.append_one(message, out)
            }
            _ => head.append_run(delivery, out),
        })
    }

    #[cold]
    fn trace(&self, delivery: &Delivery<'_>, trace: &Trace) {
        let Some(head) = self.head(delivery) else { return };
        for message in delivery.messages {
            trace.sent(&head.line(message));
            let header_len = if head.keeps_headers(message) { message.headers().len() } else { 0 };
            trace.sent_payload(header_len, delivered_body(message, head.with_headers));
        }
    }
}

/// The common part of the lines of one delivery.
struct Head<'a> {
    /// The account, unless it is that of the route.
    account: Option<&'a str>,
    subject: &'a [u8],
    queues: &'a [&'a [u8]],
    /// The other server reads headers.
    with_headers: bool,
}

impl Head<'_> {
    fn keeps_headers(&self, message: &Publish<'_>) -> bool {
        self.with_headers && message.has_headers()
    }

    /// Appends the part up to the subject: `RMSG account subject `.
    #[inline]
    fn begin(&self, out: &mut Vec<u8>, has_headers: bool) {
        out.extend_from_slice(if has_headers { b"HMSG " } else { b"RMSG " });
        if let Some(account) = self.account {
            out.extend_from_slice(account.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(self.subject);
        out.push(b' ');
    }

    /// Returns the most bytes of that part.
    #[inline]
    fn begin_bytes(&self) -> usize {
        "RMSG   ".len() + self.account.map_or(0, str::len) + self.subject.len()
    }

    /// Appends the reply and the queue groups, if there are some: `+ reply q1 q2 `, or `| q1 q2 ` without a reply.
    #[inline]
    fn queues(&self, out: &mut Vec<u8>, reply: &[u8]) {
        if self.queues.is_empty() {
            return;
        }
        if reply.is_empty() {
            out.extend_from_slice(b"| ");
        } else {
            out.extend_from_slice(b"+ ");
            out.extend_from_slice(reply);
            out.push(b' ');
        }
        for queue in self.queues {
            out.extend_from_slice(queue);
            out.push(b' ');
        }
    }

    /// Returns the most bytes of that part.
    #[inline]
    fn queues_bytes(&self, reply: &[u8]) -> usize {
        let words = self.queues.iter().map(|queue| queue.len() + 1).sum::<usize>();
        "+  ".len() + reply.len() + words
    }

    /// Appends everything behind the subject up to the line end.
    #[inline]
    fn end(&self, out: &mut Vec<u8>, message: &Publish<'_>) {
        self.queues(out, message.reply);
        let reply = if self.queues.is_empty() { message.reply } else { b"" };
        append_sizes(out, message, reply, self.with_headers);
    }

    /// Returns the line of a message as text, without its end.
    fn line(&self, message: &Publish<'_>) -> String {
        let mut line = Vec::new();
        self.begin(&mut line, self.keeps_headers(message));
        self.end(&mut line, message);
        String::from_utf8_lossy(line.trim_ascii_end()).into_owned()
    }

    /// Appends everything behind the subject of a message [of one piece](is_one_piece).
    #[inline]
    fn one_piece(&self, out: &mut Vec<u8>, message: &Publish<'_>) {
        let tail = message.tail.unwrap_or_default();
        self.queues(out, message.reply);
        // The reply, with which the tail begins, stands in front of the queue groups.
        let is_written = !self.queues.is_empty() && !message.reply.is_empty();
        let from = if is_written { message.reply.len() + 1 } else { 0 };
        out.extend_from_slice(tail.get(from..).unwrap_or_default());
    }

    /// Appends one message [of one piece](is_one_piece). Returns the bytes of its body.
    #[inline]
    fn append_one(&self, message: &Publish<'_>, out: &mut BlockWriter<'_>) -> usize {
        let tail_bytes = message.tail.map_or(0, <[u8]>::len);
        let most = self.begin_bytes() + self.queues_bytes(message.reply) + tail_bytes;
        let block = out.block(most);
        self.begin(block, message.has_headers());
        self.one_piece(block, message);
        message.body.len()
    }

    /// Appends messages to one subject. Returns the bytes of their bodies.
    fn append_run(&self, delivery: &Delivery<'_>, out: &mut BlockWriter<'_>) -> usize {
        let mut body_bytes = 0;
        // All messages of one run have the same verb unless some have headers and some do not.
        let mut prefix = out.take_prefix();
        let mut prefix_has_headers = None;
        for message in delivery.messages {
            let has_headers = self.keeps_headers(message);
            if prefix_has_headers != Some(has_headers) {
                prefix.clear();
                self.begin(&mut prefix, has_headers);
                prefix_has_headers = Some(has_headers);
            }
            body_bytes += self.append(message, &prefix, delivery, out);
        }
        out.keep_prefix(prefix);
        body_bytes
    }

    /// Appends one message behind its prefix. Returns the bytes of its body.
    #[inline]
    fn append(
        &self,
        message: &Publish<'_>,
        prefix: &[u8],
        delivery: &Delivery<'_>,
        out: &mut BlockWriter<'_>,
    ) -> usize {
        let most = prefix.len() + self.queues_bytes(message.reply);
        if is_one_piece(message, self.with_headers, delivery) {
            let block = out.block(most + message.tail.map_or(0, <[u8]>::len));
            block.extend_from_slice(prefix);
            self.one_piece(block, message);
            return message.body.len();
        }
        let head_bytes = most + message.reply.len() + message.sizes.len() + 32;
        append_pieces(message, self.with_headers, delivery, out, head_bytes, |block| {
            block.extend_from_slice(prefix);
            self.end(block, message);
        })
    }
}

#[cfg(test)]
mod tests;
