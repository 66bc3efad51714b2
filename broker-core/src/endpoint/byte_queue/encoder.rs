//! Encoders: deliveries as bytes of one protocol.
//!
//! A [`ByteQueue`](super::ByteQueue) knows no protocol. Its encoder writes each delivery into the memory that
//! the queue lends, while the queue is locked. The encoder is a type parameter, so that the path of a message
//! has no call through a table.

use super::block_writer::BlockWriter;
use crate::endpoint::Run;
use crate::proto::Publish;
use crate::trace::Trace;

/// Writes deliveries in the protocol of one kind of connection.
///
/// It cannot be implemented outside of this crate: an encoder belongs to the session that reads the same
/// protocol.
pub trait Encoder: Send + Sync + 'static {
    /// Threads wait for the writes of others: see `Destination::flush_whole`.
    #[doc(hidden)]
    const IS_WAITED_FOR: bool = false;

    /// Appends a delivery, message by message. Returns the bytes of the message bodies, or `None`, having
    /// written nothing, if the protocol has no deliveries to such a target.
    #[doc(hidden)]
    fn encode(&self, delivery: &Delivery<'_>, out: &mut BlockWriter<'_>) -> Option<usize>;

    /// Logs a delivery as it was encoded.
    #[doc(hidden)]
    fn trace(&self, delivery: &Delivery<'_>, trace: &Trace);
}

/// Messages of one publisher to one subject, on their way to one receiver.
pub struct Delivery<'a> {
    /// The run that the messages belong to.
    pub(crate) run: &'a Run<'a>,
    /// The messages that the receiver gets, from the first of the run on.
    pub(crate) messages: &'a [Publish<'a>],
    /// The subject under which the receiver gets them.
    pub(crate) subject: &'a [u8],
    pub(crate) to: Target<'a>,
}

/// The recipient of a delivery at the receiver.
pub(crate) enum Target<'a> {
    /// A subscription of a client, by the sid that the client chose.
    Subscription { sid: &'a [u8] },
    /// A peer server, with the queue groups that it was picked for. It finds its subscriptions by account and
    /// subject; reply subjects are part of the messages.
    Peer { account: &'a str, queues: &'a [&'a [u8]] },
}
