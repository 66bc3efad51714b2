//! Messages of other streams.
// NATS 2.14: stream.go processInboundMirrorMsg, processInboundSourceMsg.

use std::borrow::Cow;

use broker_core::header_block;

use super::feed::Phase;
use super::name::source_field;
use crate::config::Time;
use crate::consumer::AckSubject;
use crate::outbox::Outgoing;
use crate::stream::draft::{Draft, Refusal};
use crate::stream::{Answer, Context, Incoming, Stream, fields};

impl Stream {
    /// Takes a message of a feed. `message.subject` is the subject that receivers see.
    pub fn feed_message(&mut self, feed: usize, message: &Incoming<'_>, context: &mut Context<'_>) {
        let Some(state) = self.feeds.all.get_mut(feed) else { return };
        if !matches!(state.phase, Phase::Running | Phase::Requested(_)) {
            return;
        }
        state.heard = Some(context.now);
        if message.payload.is_empty() && message.headers.starts_with(b"NATS/1.0 100") {
            return self.feed_control(feed, message, context);
        }
        let Some(ack) = AckSubject::parse(message.reply) else { return };
        let state = &mut self.feeds.all[feed];
        let is_next = ack.consumer_sequence == state.delivered + 1;
        if ack.deliveries > 1 {
            return;
        }
        if ack.stream_sequence <= state.sequence {
            // Was taken before.
            state.delivered += u64::from(is_next);
            return;
        }
        if !is_next {
            // A message was lost on the way.
            if ack.consumer_sequence > state.delivered {
                self.restart_feed(feed, context.now);
            }
            return;
        }
        let before = (state.sequence, state.delivered, state.lag);
        (state.sequence, state.delivered) = (ack.stream_sequence, ack.consumer_sequence);
        state.lag = ack.pending.saturating_sub(1);
        let is_stored = match state.is_mirror {
            true => self.mirror(feed, &ack, message, context),
            false => self.take(feed, &ack, message, context),
        };
        if !is_stored {
            let state = &mut self.feeds.all[feed];
            (state.sequence, state.delivered, state.lag) = before;
            self.restart_feed(feed, context.now);
        }
    }

    /// Makes the consumer of a feed again, from the first message that is missing.
    fn restart_feed(&mut self, feed: usize, now: Time) {
        let state = &mut self.feeds.all[feed];
        state.retry(now);
        // It is not the consumer that fails.
        state.fails = 0;
        self.feeds.version += 1;
    }

    /// Answers flow control, and heartbeats that report a stall; notices messages that were lost.
    fn feed_control(&mut self, feed: usize, message: &Incoming<'_>, context: &mut Context<'_>) {
        let state = &self.feeds.all[feed];
        if !message.reply.is_empty() {
            let (delivered, sequence) = (state.delivered, state.sequence);
            let headers = format!(
                "NATS/1.0\r\nNats-Last-Consumer: {delivered}\r\nNats-Last-Stream: {sequence}\r\n\r\n"
            );
            if self.is_congested() {
                // Without an answer the consumer waits, and asks again with its next heartbeat.
                return;
            }
            // The answer may remove messages of the other stream: those before it are durable here then.
            let to = message.reply;
            let answer =
                Outgoing { to, subject: to, headers: headers.as_bytes(), ..Outgoing::default() };
            return self.waiting.hold(&answer, self.storage.position());
        }
        let field = |name: &[u8]| header_block::value(message.headers, name);
        let last = field(b"Nats-Last-Consumer").and_then(fields::number).unwrap_or_default();
        if last > 0 && last != state.delivered {
            return self.restart_feed(feed, context.now);
        }
        if let Some(to) = field(b"Nats-Consumer-Stalled").filter(|to| !to.is_empty()) {
            context.out.send(&Outgoing { to, subject: to, ..Outgoing::default() });
        }
    }

    /// Stores a message of the mirrored stream, with its sequence and time. Returns false if it is not stored.
    fn mirror(
        &mut self,
        feed: usize,
        ack: &AckSubject<'_>,
        message: &Incoming<'_>,
        context: &mut Context<'_>,
    ) -> bool {
        if ack.stream_sequence <= self.state().last_sequence {
            return true;
        }
        let headers = fields::without(message.headers, is_not_mirrored);
        let mut draft = Draft::new(message, &headers);
        draft.is_sourced = true;
        draft.origin = Some((ack.stream_sequence, Time(ack.time)));
        let Self { feeds, random, .. } = self;
        if let Some(subject) = feeds.all[feed].transformed(message.subject, || random.next()) {
            draft.subject = Cow::Owned(subject);
        }
        let stored = self.check(&mut draft, context.now);
        let stored = stored.and_then(|()| Ok(self.commit(&mut draft, context)?));
        match stored {
            Ok(_) | Err(Refusal::Duplicate(_)) => true,
            Err(Refusal::Error(error)) => {
                tracing::warn!(stream = self.config.name, %error, "a mirrored message is not stored");
                false
            }
        }
    }

    /// Stores a message of a source. Returns false if it is not stored.
    fn take(
        &mut self,
        feed: usize,
        ack: &AckSubject<'_>,
        message: &Incoming<'_>,
        context: &mut Context<'_>,
    ) -> bool {
        let state = &self.feeds.all[feed];
        let mut headers = fields::without(message.headers, is_not_sourced);
        let field = source_field(&state.index, ack.stream_sequence, message.subject);
        fields::append(&mut headers, "Nats-Stream-Source", &field);
        let mut draft = Draft::new(message, &headers);
        draft.is_sourced = true;
        let Self { feeds, random, .. } = self;
        if let Some(subject) = feeds.all[feed].transformed(message.subject, || random.next()) {
            draft.subject = Cow::Owned(subject);
        }
        match self.publish_one(&mut draft, context) {
            Answer::Error(error) => {
                tracing::debug!(stream = self.config.name, %error, "a message of a source is not stored");
                false
            }
            _ => true,
        }
    }
}

/// Returns true for a field that made sense for the publisher only.
fn is_not_mirrored(name: &[u8]) -> bool {
    name.starts_with(b"Nats-Expected-") || name.starts_with(b"Nats-Batch-")
}

fn is_not_sourced(name: &[u8]) -> bool {
    is_not_mirrored(name) || name == b"Nats-Stream-Source"
}
