//! Messages that wait until the store is durable.

use std::collections::VecDeque;

use crate::outbox::{Outbox, Outgoing};
use crate::store::Position;

/// Messages that wait until the store is durable, in order: a crash could remove the messages that they report.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    messages: VecDeque<Message>,
    bytes: usize,
}

#[derive(Debug)]
struct Message {
    position: Position,
    subject: Vec<u8>,
    /// Headers and payload.
    bytes: Vec<u8>,
    headers: usize,
}

impl Message {
    fn size(&self) -> usize {
        size_of::<Self>() + self.subject.len() + self.bytes.len()
    }
}

impl Waiting {
    /// Returns true if [`Self::flush`] would send a message.
    pub(super) fn is_due(&self, durable: Position) -> bool {
        self.messages.front().is_some_and(|first| first.position <= durable)
    }

    /// Returns the bytes of memory that the messages take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sends a message, at once if the store is durable up to a position and nothing waits.
    pub(super) fn send(
        &mut self,
        message: &Outgoing<'_>,
        (position, durable): (Position, Position),
        out: &mut dyn Outbox,
    ) {
        if durable >= position && self.messages.is_empty() {
            out.send(message);
            return;
        }
        self.hold(message, position);
    }

    /// Has a message wait for the next [`Self::flush`] at which the store is durable up to a position.
    pub(super) fn hold(&mut self, message: &Outgoing<'_>, position: Position) {
        let message = Message {
            position: position.max(self.messages.back().map_or(0, |last| last.position)),
            subject: message.to.to_vec(),
            bytes: [message.headers, message.payload].concat(),
            headers: message.headers.len(),
        };
        self.bytes += message.size();
        self.messages.push_back(message);
    }

    /// Sends the messages up to a position.
    pub(super) fn flush(&mut self, durable: Position, out: &mut dyn Outbox) {
        while self.messages.front().is_some_and(|first| first.position <= durable) {
            let Some(message) = self.messages.pop_front() else { return };
            self.bytes -= message.size();
            let (headers, payload) = message.bytes.split_at(message.headers);
            let (to, subject) = (&*message.subject, &*message.subject);
            out.send(&Outgoing { to, subject, reply: b"", headers, payload });
        }
    }
}
