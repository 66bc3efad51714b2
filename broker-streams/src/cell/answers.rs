//! Answers that wait until the changes before them are durable.

use std::collections::VecDeque;

use broker_core::latency::Histogram;

use crate::config::Time;
use crate::latency;
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
    reply_len: u32,
    payload_len: u32,
    /// It acknowledges a message of a publisher, which came at this time.
    acknowledged: Option<Time>,
}

impl Waiting {
    fn length(&self) -> usize {
        self.reply_len as usize + self.payload_len as usize
    }
}

impl Answers {
    /// Returns true if no more should be added.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_ANSWERS || self.text.len() >= WAITING_ANSWER_BYTES
    }

    /// Adds an answer; `acknowledged` is the time of the message that it acknowledges to a publisher.
    pub(super) fn push(
        &mut self,
        position: Position,
        (reply, payload): (&[u8], &[u8]),
        acknowledged: Option<Time>,
    ) {
        self.text.extend_from_slice(reply);
        self.text.extend_from_slice(payload);
        // Subjects and answers are far shorter than 4 GiB.
        let length = |text: &[u8]| u32::try_from(text.len()).unwrap_or(u32::MAX);
        let (reply_len, payload_len) = (length(reply), length(payload));
        self.waiting.push_back(Waiting { position, reply_len, payload_len, acknowledged });
    }

    /// Sends the answers up to a position, and measures how long messages have waited for theirs.
    pub(super) fn release(
        &mut self,
        durable: Position,
        now: Time,
        waits: &mut Histogram,
        out: &mut dyn Outbox,
    ) {
        while let Some(first) = self.waiting.front().copied().filter(|one| one.position <= durable)
        {
            let (reply, payload) = self.text_of(first);
            out.send(&Outgoing { to: reply, subject: reply, payload, ..Outgoing::default() });
            if let Some(came) = first.acknowledged {
                latency::note(waits, now.since(came));
            }
            self.pop();
        }
        self.shrink();
    }

    /// Sends `failure` instead of the acknowledgements, and nothing instead of the other answers, because the store has
    /// failed.
    pub(super) fn fail(&mut self, failure: &[u8], out: &mut dyn Outbox) {
        while let Some(first) = self.waiting.front().copied() {
            let (reply, _) = self.text_of(first);
            if first.acknowledged.is_some() {
                let payload = failure;
                out.send(&Outgoing { to: reply, subject: reply, payload, ..Outgoing::default() });
            }
            self.pop();
        }
        self.shrink();
    }

    #[inline]
    fn text_of(&self, waiting: Waiting) -> (&[u8], &[u8]) {
        let end = self.begin + waiting.length();
        let text = self.text.get(self.begin..end).unwrap_or_default();
        text.split_at_checked(waiting.reply_len as usize).unwrap_or_default()
    }

    #[inline]
    fn pop(&mut self) {
        if let Some(first) = self.waiting.pop_front() {
            self.begin += first.length();
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
        let (came, mut waits) = (Some(Time(1_000)), Histogram::default());
        for number in 1..=5 {
            answers.push(number, (format!("r{number}").as_bytes(), b"ok"), came);
        }
        answers.release(0, Time(2_000), &mut waits, &mut sent);
        assert!(sent.0.is_empty() && waits.count() == 0);
        answers.release(3, Time(2_000), &mut waits, &mut sent);
        assert_eq!((waits.count(), waits.sum.as_nanos()), (3, 3_000));
        let replies: Vec<&str> = sent.0.iter().map(|(reply, _)| &**reply).collect();
        assert_eq!(replies, ["r1", "r2", "r3"]);
        answers.push(6, (b"r6", b""), None);
        answers.release(9, Time(2_000), &mut waits, &mut sent);
        assert_eq!(waits.count(), 5, "that of no message is not measured");
        assert_eq!(sent.0.last(), Some(&("r6".into(), String::new())));
        assert!(answers.waiting.is_empty() && answers.text.is_empty());
    }

    #[test]
    fn a_failure_is_told_to_publishers_only() {
        let (mut answers, mut sent) = (Answers::default(), Sent::default());
        answers.push(1, (b"publisher", b"ok"), Some(Time(0)));
        answers.push(1, (b"other", b"ok"), None);
        answers.fail(b"failed", &mut sent);
        assert_eq!(sent.0, [("publisher".into(), "failed".into())]);
        assert!(answers.waiting.is_empty());
    }
}
