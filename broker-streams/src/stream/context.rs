//! The arguments of each call of a stream.

use crate::config::Time;
use crate::outbox::Outbox;

/// The consumers of a stream, as the stream knows them.
pub trait Consumers {
    /// Returns true if a consumer wants messages of the subject. Asked by streams with [`Retention::Interest`] only.
    ///
    /// [`Retention::Interest`]: crate::config::Retention::Interest
    fn is_wanted(&self, subject: &[u8]) -> bool;

    /// Reports a message that is removed. It is still stored during the call of a single removal.
    fn removed(&mut self, sequence: u64, subject: &[u8]);

    /// Reports that messages have been removed without a call of [`Self::removed`] for each: those that a filter of
    /// subjects selects, or any if it is empty. All counts of such messages have to be made again after the call of the
    /// stream, and nothing is pending below the first sequence of the store.
    fn cleared(&mut self, subject: &[u8]);

    /// Returns true without consumers; the stream then need not read the messages that it removes.
    fn is_empty(&self) -> bool {
        false
    }
}

/// A stream without consumers.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoConsumers;

impl Consumers for NoConsumers {
    fn is_wanted(&self, _subject: &[u8]) -> bool {
        false
    }

    fn removed(&mut self, _sequence: u64, _subject: &[u8]) {}

    fn cleared(&mut self, _subject: &[u8]) {}

    fn is_empty(&self) -> bool {
        true
    }
}

/// The bytes that may still be stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Room {
    /// By the server.
    pub server: u64,
    /// By the account, in all streams with the same storage.
    pub account: u64,
    /// By one stream of the account, in total.
    pub stream: u64,
}

impl Default for Room {
    /// No limits.
    fn default() -> Self {
        Self { server: u64::MAX, account: u64::MAX, stream: u64::MAX }
    }
}

/// The arguments of each call of a stream.
pub struct Context<'a> {
    /// The time.
    pub now: Time,
    /// Publishes messages.
    pub out: &'a mut dyn Outbox,
    /// The consumers.
    pub consumers: &'a mut dyn Consumers,
    /// The bytes that may still be stored.
    pub room: Room,
}
