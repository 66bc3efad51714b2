//! Answers that wait until the changes before them are durable.

use std::collections::VecDeque;

use crate::limits::{WAITING_ANSWER_BYTES, WAITING_ANSWERS};
use crate::outbox::{Outbox, Outgoing};
use crate::store::Position;

/// Answers in the order of their changes. Their texts lie one behind the other in one piece of memory.
#[derive(Debug, Default)]
pub(super) struct Answers {
    waiting: VecDeque<Waiting>,
    text: Vec<u8>,
    /// The place of the text of the first.
    begin: usize,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// The position up to which the store must be durable.
    position: Position,
    reply_len: usize,
    payload_len: usize,
    /// It acknowledges a message of a publisher.
    is_ack: bool,
}

impl Answers {
    /// Returns true if no more should be added.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_ANSWERS || self.text.len() >= WAITING_ANSWER_BYTES
    }

    pub(super) fn push(&mut self, position: Position, reply: &[u8], payload: &[u8], is_ack: bool) {
        self.text.extend_from_slice(reply);
        self.text.extend_from_slice(payload);
        let (reply_len, payload_len) = (reply.len(), payload.len());
        self.waiting.push_back(Waiting { position, reply_len, payload_len, is_ack });
    }

    /// Sends the answers up to a position.
    pub(super) fn release(&mut self, durable: Position, out: &mut dyn Outbox) {
        while let Some(first) = self.waiting.front().copied().filter(|one| one.position <= durable)
        {
            let (reply, payload) = self.text_of(first);
            out.send(&Outgoing { to: reply, subject: reply, payload, ..Outgoing::default() });
            self.pop();
        }
        self.shrink();
    }

    /// Sends `failure` instead of the acknowledgements, and nothing instead of the other answers, because the store has
    /// failed.
    pub(super) fn fail(&mut self, failure: &[u8], out: &mut dyn Outbox) {
        while let Some(first) = self.waiting.front().copied() {
            let (reply, _) = self.text_of(first);
            if first.is_ack {
                let payload = failure;
                out.send(&Outgoing { to: reply, subject: reply, payload, ..Outgoing::default() });
            }
            self.pop();
        }
        self.shrink();
    }

    fn text_of(&self, waiting: Waiting) -> (&[u8], &[u8]) {
        let end = self.begin + waiting.reply_len + waiting.payload_len;
        let text = self.text.get(self.begin..end).unwrap_or_default();
        text.split_at_checked(waiting.reply_len).unwrap_or_default()
    }

    fn pop(&mut self) {
        if let Some(first) = self.waiting.pop_front() {
            self.begin += first.reply_len + first.payload_len;
        }
    }

    /// Removes the texts of sent answers, if they are most of the memory.
    fn shrink(&mut self) {
        if self.begin * 2 >= self.text.len() {
            self.text.drain(..self.begin);
            self.begin = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Sent(Vec<(String, String)>);

    impl Outbox for Sent {
        fn send(&mut self, message: &Outgoing<'_>) -> bool {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            self.0.push((text(message.to), text(message.payload)));
            true
        }

        fn has_interest(&mut self, _subject: &[u8], _group: Option<&[u8]>) -> bool {
            true
        }
    }

    #[test]
    fn answers_leave_in_order_and_not_before_their_position() {
        let (mut answers, mut sent) = (Answers::default(), Sent::default());
        for number in 1..=5 {
            answers.push(number, format!("r{number}").as_bytes(), b"ok", true);
        }
        answers.release(0, &mut sent);
        assert!(sent.0.is_empty());
        answers.release(3, &mut sent);
        let replies: Vec<&str> = sent.0.iter().map(|(reply, _)| &**reply).collect();
        assert_eq!(replies, ["r1", "r2", "r3"]);
        answers.push(6, b"r6", b"", false);
        answers.release(9, &mut sent);
        assert_eq!(sent.0.last(), Some(&("r6".into(), String::new())));
        assert!(answers.waiting.is_empty() && answers.text.is_empty());
    }

    #[test]
    fn a_failure_is_told_to_publishers_only() {
        let (mut answers, mut sent) = (Answers::default(), Sent::default());
        answers.push(1, b"publisher", b"ok", true);
        answers.push(1, b"other", b"ok", false);
        answers.fail(b"failed", &mut sent);
        assert_eq!(sent.0, [("publisher".into(), "failed".into())]);
        assert!(answers.waiting.is_empty());
    }
}
