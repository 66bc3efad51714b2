//! Messages that the stream takes from others.

use super::{Cell, Change};
use crate::config::Time;
use crate::outbox::Outbox;
use crate::stream::{Context, Incoming, Room, Stream};

/// The subjects by which messages of another stream arrive.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FeedPlace {
    /// The subject of answers to requests, for [`Cell::feed_response`]. It identifies the feed.
    pub reply: String,
    /// The subject that matches messages, for [`Cell::feed_message`].
    pub deliver: String,
}

impl Cell {
    /// Takes an answer to a request for a consumer of another stream; `reply` is the subject that it was sent to.
    pub fn feed_response(
        &mut self,
        reply: &str,
        payload: &[u8],
        now: Time,
        room: Room,
        out: &mut dyn Outbox,
    ) {
        self.with_feed(reply, now, room, out, |stream, feed, context| {
            stream.feed_response(feed, payload, context);
        });
    }

    /// Takes a message of another stream; `reply` identifies the feed. What follows from it leaves with [`Self::run`], so
    /// that streams that take messages of each other's are no chain of calls.
    pub fn feed_message(
        &mut self,
        reply: &str,
        message: &Incoming<'_>,
        now: Time,
        room: Room,
        out: &mut dyn Outbox,
    ) {
        self.with_feed(reply, now, room, out, |stream, feed, context| {
            stream.feed_message(feed, message, context);
        });
    }

    /// Calls the stream with the feed that a subject identifies, unless it has ended, or was made again and receives its messages
    /// again.
    fn with_feed(
        &mut self,
        reply: &str,
        now: Time,
        room: Room,
        out: &mut dyn Outbox,
        call: impl FnOnce(&mut Stream, usize, &mut Context<'_>),
    ) {
        let Some(feed) = self.stream.find_feed(reply) else { return };
        let before = self.stream.state().last_sequence;
        self.with_stream(now, room, out, |stream, context| call(stream, feed, context));
        self.settle(before, None);
        self.follow_feeds();
    }

    fn follow_feeds(&mut self) {
        self.has_work |= self.stream.has_answers();
        let deadline = self.stream.deadline();
        self.wake_by(deadline);
    }

    /// Notes that the subjects of feeds are others.
    pub(super) fn note_feeds(&mut self) {
        let version = self.stream.feed_version();
        if self.feed_version == version {
            return;
        }
        self.feed_version = version;
        let places = self.stream.feed_subjects().map(|subjects| FeedPlace {
            reply: subjects.reply.to_owned(),
            deliver: subjects.deliver.to_owned(),
        });
        let places = places.collect();
        self.changes.push(Change::Feeds(places));
    }

    /// Asks for the consumers of other streams, after [`Self::follow_changes`].
    pub fn request_feeds(&mut self, now: Time, out: &mut dyn Outbox) {
        if self.feed_version != self.stream.feed_version() || !self.stream.has_feed_requests() {
            return;
        }
        self.with_stream(now, Room::default(), out, |stream, context| {
            stream.request_feeds(context);
        });
        self.follow_feeds();
    }
}
