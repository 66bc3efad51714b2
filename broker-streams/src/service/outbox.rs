//! Messages of streams, published by the broker.

use broker_core::endpoint::Scratch;
use broker_core::{ServerMessage, ServerPublisher};

use crate::outbox::{Outbox, Outgoing};

/// The way out of one call.
pub(super) struct BrokerOutbox<'a> {
    pub(super) publisher: &'a mut ServerPublisher,
    pub(super) scratch: &'a mut Scratch,
}

impl Outbox for BrokerOutbox<'_> {
    fn send(&mut self, message: &Outgoing<'_>) -> bool {
        let Outgoing { to, subject, reply, headers, payload } = *message;
        self.publisher
            .publish(&ServerMessage { to, subject, reply, headers, payload }, self.scratch)
    }

    fn has_interest(&mut self, subject: &[u8], group: Option<&[u8]>) -> bool {
        self.publisher.has_interest(subject, group)
    }

    fn has_literal_interest(&mut self, subject: &[u8], group: Option<&[u8]>) -> bool {
        self.publisher.has_literal_interest(subject, group)
    }
}
