//! Messages of an in-process client that are published together.

use bytes::Bytes;

use super::Client;
use super::batch_size::FIRST_BYTES;
use super::session::{AllUnanswered, LocalSession};
use crate::endpoint::{Run, Scratch};
use crate::limits::{BATCH_BYTES, RUN_MESSAGES, SHARED_PAYLOAD_MIN_BYTES};
use crate::message::RawMessage;
use crate::proto::traced::is_mentioned;
use crate::proto::{Publish, encode};
use crate::session::error::PublishError;
use crate::session::inside::InsidePublisher;
use crate::subject::is_same;

/// Collects messages and publishes them together, at a fraction of the cost: consecutive messages to one
/// subject reach each receiver at once, and the task of a receiver is woken once.
///
/// Created by [`Client::batch`]. It publishes automatically whenever it holds 64 KiB or 1,024 messages, and publishes
/// the rest when it is dropped. The payloads of a batch share one piece of memory, which is freed with the last of
/// them: a receiver that keeps a few of many messages for long should copy them.
///
/// ```
/// # use broker_core::{Broker, Options, RawMessage, Subject};
/// # futures_executor::block_on(async {
/// # let broker = Broker::new(Options::default(), (std::time::Instant::now, std::time::SystemTime::now));
/// let client = broker.client();
/// let mut readings = client.subscribe("readings").await?;
/// let subject = Subject::parse("readings")?;
///
/// let mut batch = client.batch();
/// for reading in ["20.1", "20.4", "20.2"] {
///     batch.publish(&RawMessage::new(&subject, reading.as_bytes()))?;
/// }
/// batch.flush()?;
/// assert_eq!(readings.next().await.unwrap().payload, "20.1");
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub struct Batch<'a> {
    session: &'a LocalSession,
    entries: Vec<Entry>,
    /// For each message its subject and its sizes as they are written on the wire, if they differ from those of
    /// the message before, its reply subject, headers and payload.
    text: Vec<u8>,
    /// The place of the last subject in `text`.
    subject: std::ops::Range<usize>,
}

struct Entry {
    /// `None` for the subject of the message before.
    subject_len: Option<usize>,
    /// `None` for the sizes of the message before.
    sizes_len: Option<usize>,
    reply_len: usize,
    header_len: Option<usize>,
    body_len: usize,
}

impl Client {
    /// Starts a batch of messages.
    pub fn batch(&self) -> Batch<'_> {
        Batch { session: &self.session, entries: Vec::new(), text: Vec::new(), subject: 0..0 }
    }
}

impl Batch<'_> {
    /// Adds a message. A large one is published at once, behind those before it.
    ///
    /// # Errors
    ///
    /// [`PublishError`], of this message or of one before it: see [`Self::flush`].
    pub fn publish(&mut self, message: &RawMessage<'_>) -> Result<(), PublishError> {
        let body_len = message.headers.len() + message.payload.len();
        // A message that asks for tracing is not delivered like other messages.
        let may_be_traced = !message.headers.is_empty() && is_mentioned(message.headers, true);
        if body_len >= SHARED_PAYLOAD_MIN_BYTES || may_be_traced {
            let flushed = self.flush();
            return self.session.publish_raw(message).and(flushed);
        }
        if self.text.capacity() == 0 {
            // The receivers own the memory of the batch before.
            self.text.reserve(self.session.batch_size.bytes());
            self.entries.reserve(self.session.batch_size.messages());
        }
        self.append(message, body_len);
        if self.text.len() >= BATCH_BYTES || self.entries.len() >= RUN_MESSAGES {
            return self.flush();
        }
        Ok(())
    }

    fn append(&mut self, message: &RawMessage<'_>, body_len: usize) {
        let before = self.text.get(self.subject.clone()).unwrap_or_default();
        let is_other = self.entries.is_empty() || !is_same(before, message.subject);
        if is_other {
            self.subject = self.text.len()..self.text.len() + message.subject.len();
            self.text.extend_from_slice(message.subject);
        }
        let header_len = Some(message.headers.len()).filter(|len| *len > 0);
        let sizes_len = self.append_sizes(header_len, body_len);
        self.entries.push(Entry {
            subject_len: is_other.then_some(message.subject.len()),
            sizes_len,
            reply_len: message.reply.len(),
            header_len,
            body_len,
        });
        for part in [message.reply, message.headers, message.payload] {
            if !part.is_empty() {
                self.text.extend_from_slice(part);
            }
        }
    }

    /// Appends the sizes, unless they are those of the message before. Returns the length of their text.
    fn append_sizes(&mut self, header_len: Option<usize>, body_len: usize) -> Option<usize> {
        let last = self.entries.last().map(|last| (last.header_len, last.body_len));
        if last == Some((header_len, body_len)) {
            return None;
        }
        let begin = self.text.len();
        if let Some(len) = header_len {
            encode::number(&mut self.text, len);
            self.text.push(b' ');
        }
        encode::number(&mut self.text, body_len);
        Some(self.text.len() - begin)
    }

    /// Publishes the messages added so far.
    ///
    /// # Errors
    ///
    /// The first [`PublishError`]; all messages that can be published are.
    pub fn flush(&mut self) -> Result<(), PublishError> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let mut text = std::mem::take(&mut self.text);
        if text.capacity() > FIRST_BYTES && text.len() < text.capacity() / 4 {
            // The batch before was much larger, and receivers may keep this one for long.
            text.shrink_to_fit();
        }
        let text = Bytes::from(text);
        let session = self.session;
        session.batch_size.note(self.entries.len(), text.len());
        let published = session.publish_all(|publisher, unanswered, scratch| {
            publish_entries(session, &self.entries, &text, publisher, unanswered, scratch)
        });
        self.entries.clear();
        published
    }
}

/// Publishes the messages run by run.
fn publish_entries(
    session: &LocalSession,
    entries: &[Entry],
    text: &Bytes,
    publisher: &mut InsidePublisher,
    unanswered: &mut AllUnanswered,
    scratch: &mut Scratch,
) -> Result<(), PublishError> {
    let mut result = Ok(());
    let mut rest = &text[..];
    let mut messages = scratch.take_messages();
    let mut publish = |messages: &mut Vec<Publish<'_>>, scratch: &mut Scratch| {
        let Some(first) = messages.first() else { return };
        let run = Run {
            shown: None,
            subject: first.subject,
            messages,
            shared: Some(text),
            parsed: None,
            prefetched: None,
        };
        let no_responders = |subject: &[u8], message: &Publish<'_>, _: &mut Scratch| {
            unanswered.get_or_insert_default().extend(session.no_responders(subject, message));
        };
        let published =
            publisher.publish_run(&session.shared, &session.member, &run, no_responders, scratch);
        if result.is_ok() {
            result = published;
        }
    };
    let mut before: (&[u8], &[u8]) = (&[], &[]);
    for entry in entries {
        let Some((message, other)) = entry.read(before, rest) else { break };
        if entry.subject_len.is_some() {
            publish(&mut messages, scratch);
            messages.clear();
        }
        (before, rest) = ((message.subject, message.sizes), other);
        messages.push(message);
    }
    publish(&mut messages, scratch);
    scratch.keep_messages(messages);
    result
}

impl Entry {
    /// Reads the message at the beginning of `text`; `before` are subject and sizes of the message before. Returns it
    /// and the text behind it.
    fn read<'t>(
        &self,
        before: (&'t [u8], &'t [u8]),
        text: &'t [u8],
    ) -> Option<(Publish<'t>, &'t [u8])> {
        let (subject, text) = match self.subject_len {
            Some(len) => text.split_at_checked(len)?,
            None => (before.0, text),
        };
        let (sizes, text) = match self.sizes_len {
            Some(len) => text.split_at_checked(len)?,
            None => (before.1, text),
        };
        let (reply, text) = text.split_at_checked(self.reply_len)?;
        let (body, text) = text.split_at_checked(self.body_len)?;
        let header_len = self.header_len;
        Some((Publish { subject, reply, header_len, body, sizes, tail: None }, text))
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        // Errors are only reported by an explicit flush.
        let _ = self.flush();
    }
}
