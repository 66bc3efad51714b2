//! Where messages leave to.

/// A message that leaves a stream or a consumer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outgoing<'a> {
    /// The subject that decides who receives the message.
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

/// Where messages of one account leave to. It never waits.
pub trait Outbox {
    /// Sends a message. Returns false if nobody receives it.
    fn send(&mut self, message: &Outgoing<'_>) -> bool;

    /// Returns true if somebody subscribes to the subject, which has no wildcards; in the queue group, if one is named.
    fn has_interest(&mut self, subject: &[u8], group: Option<&[u8]>) -> bool;

    /// Sends an advisory or another event, whose payload is made only if somebody receives it.
    fn event(&mut self, subject: &[u8], payload: &mut dyn FnMut() -> Vec<u8>) {
        if self.has_interest(subject, None) {
            let payload = payload();
            self.send(&Outgoing { to: subject, subject, payload: &payload, ..Outgoing::default() });
        }
    }
}
