//! The interface through which streams and consumers publish.

/// A message that leaves a stream or a consumer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outgoing<'a> {
    /// The subject by which receivers are found.
    pub to: &'a [u8],
    /// The subject that receivers see; the same as `to` except for messages of consumers.
    pub subject: &'a [u8],
    /// The reply subject; empty for none.
    pub reply: &'a [u8],
    /// The header block; empty for none.
    pub headers: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

/// Publishes messages in one account. It never blocks.
pub trait Outbox {
    /// Sends a message. Returns false if it has no receiver.
    fn send(&mut self, message: &Outgoing<'_>) -> bool;

    /// Returns true if the subject, which has no wildcards, has a subscriber; one in the queue group, if one is named.
    fn has_interest(&mut self, subject: &[u8], group: Option<&[u8]>) -> bool;

    /// Returns true if somebody subscribes to exactly the subject, and not only to a wildcard that matches it: in the group, if one
    /// is named, otherwise in none.
    fn has_literal_interest(&mut self, subject: &[u8], group: Option<&[u8]>) -> bool {
        self.has_interest(subject, group)
    }

    /// Sends an advisory or another event, whose payload is made only if it has a receiver.
    fn event(&mut self, subject: &[u8], payload: &mut dyn FnMut() -> Vec<u8>) {
        if self.has_interest(subject, None) {
            let payload = payload();
            self.send(&Outgoing { to: subject, subject, payload: &payload, ..Outgoing::default() });
        }
    }
}
