//! stub
use super::block_writer::BlockWriter;
use super::encoder::{Delivery, Encoder, Target};
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::trace::Trace;
use arc_swap::ArcSwapOption;
/// Encodes messages to another server.
#[derive(Debug, Default)]
pub struct RouteEncoder {
    headers: AtomicBool,
    account: ArcSwapOption<str2::S>,
}
mod str2 {
    #[derive(Debug)]
    pub struct S(pub std::sync::Arc<str>);
}
impl RouteEncoder {
    pub(crate) fn new(account: Option<Arc<str>>) -> Self {
        Self {
            headers: AtomicBool::new(true),
            account: ArcSwapOption::new(account.map(|a| Arc::new(str2::S(a)))),
        }
    }
    pub(crate) fn set_account(&self, account: Option<Arc<str>>) {
        self.account.store(account.map(|a| Arc::new(str2::S(a))));
    }
    pub(crate) fn set_headers(&self, h: bool) {
        self.headers.store(h, Ordering::Relaxed);
    }
}
impl Encoder for RouteEncoder {
    fn encode(&self, delivery: &Delivery<'_>, out: &mut BlockWriter<'_>) -> Option<usize> {
        let Target::Peer { account, queues } = delivery.to else { return None };
        let with = self.account.load().is_none();
        for message in delivery.messages {
            let verb: &[u8] = if message.has_headers() { b"HMSG" } else { b"RMSG" };
            let mut words: Vec<&[u8]> = vec![verb];
            if with {
                words.push(account.as_bytes());
            }
            words.push(delivery.subject);
            if !queues.is_empty() {
                words.push(if message.reply.is_empty() { b"|" } else { b"+" });
            }
            if !message.reply.is_empty() {
                words.push(message.reply);
            }
            words.extend_from_slice(queues);
            let h = message.header_len.unwrap_or(0).to_string();
            if message.has_headers() {
                words.push(h.as_bytes());
            }
            let size = message.body.len().to_string();
            words.push(size.as_bytes());
            let head = words.join(&b' ');
            let frame = [&*head, b"\r\n", message.body, b"\r\n"].concat();
            out.block(frame.len()).extend_from_slice(&frame);
        }
        Some(delivery.messages.iter().map(|message| message.body.len()).sum())
    }
    fn trace(&self, _: &Delivery<'_>, _: &Trace) {}
}
