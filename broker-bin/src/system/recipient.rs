//! Recipients of answers.

use std::sync::Arc;

use broker_core::{Broker, Encoding, RawMessage, Subject};

/// The recipient of an answer.
#[derive(Clone, Debug)]
pub(super) struct Recipient {
    pub(super) account: Arc<str>,
    pub(super) reply: Subject,
    pub(super) encoding: Encoding,
}

impl Recipient {
    /// Passes on the answer of another server.
    pub(super) fn pass_on(&self, broker: &Broker, headers: &[u8], body: &[u8]) {
        let message = RawMessage::new(&self.reply, body).with_headers(headers);
        broker.publish_from_server(&self.account, &message);
    }
}
