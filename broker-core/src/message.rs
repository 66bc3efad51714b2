//! Messages of clients inside the process.

use std::fmt;
use std::num::NonZeroU64;

use bytes::Bytes;

use crate::headers::HeaderMap;
use crate::message_trace::StreamTrace;
use crate::subject::Subject;

/// An owned message, with the fields of async-nats.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// The subject that the message was published to.
    pub subject: Subject,
    /// The reply subject.
    pub reply: Option<Subject>,
    /// The headers; `None` without headers, or with a block that cannot be parsed.
    pub headers: Option<HeaderMap>,
    /// The payload.
    pub payload: Bytes,
}

impl Message {
    /// Creates a message without reply and headers.
    #[inline(always)]
    pub(crate) fn of(subject: Subject, payload: Bytes) -> Self {
        Self { subject, reply: None, headers: None, payload }
    }

    /// Returns the reply subject; empty without one.
    #[inline(always)]
    pub(crate) fn reply_bytes(&self) -> &[u8] {
        self.reply.as_ref().map_or(&[], |reply| reply.as_ref())
    }
}

/// A borrowed message in wire form: raw bytes, unparsed.
///
/// A [handler](crate::Broker::handle) receives and publishes messages in this form, so that a forwarded message is
/// not encoded again.
///
/// ```
/// use broker_core::{RawMessage, Subject};
///
/// let (subject, reply) = (Subject::parse("orders.eu")?, Subject::parse("answers")?);
/// let message = RawMessage::new(&subject, b"one").with_reply(&reply);
/// assert_eq!((message.subject(), message.payload()), (&b"orders.eu"[..], &b"one"[..]));
/// assert_eq!(message.reply(), Some(&b"answers"[..]));
/// # Ok::<(), broker_core::SubjectError>(())
/// ```
#[derive(Clone, Copy)]
pub struct RawMessage<'a> {
    pub(crate) subject: &'a [u8],
    /// The reply subject; empty for none.
    pub(crate) reply: &'a [u8],
    /// The header block; empty for none.
    pub(crate) headers: &'a [u8],
    pub(crate) payload: &'a [u8],
    /// Headers and payload, if they are contiguous.
    pub(crate) body: Option<&'a [u8]>,
    /// The memory of `body`, if receivers may share it.
    pub(crate) shared: Option<&'a Bytes>,
    /// The client that sent it, if a handler is told.
    pub(crate) sender: Option<NonZeroU64>,
    /// Its trace, if it is traced and goes into a stream.
    pub(crate) trace: Option<&'a StreamTrace>,
}

impl<'a> RawMessage<'a> {
    /// Creates a message without reply and headers.
    pub fn new(subject: &'a Subject, payload: &'a [u8]) -> Self {
        Self::from_parts(subject.as_ref(), payload)
    }

    /// As [`Self::new`], with a payload that receivers share instead of copying it if it is large.
    pub fn with_shared_payload(subject: &'a Subject, payload: &'a Bytes) -> Self {
        Self { shared: Some(payload), ..Self::new(subject, payload) }
    }

    pub(crate) fn from_parts(subject: &'a [u8], payload: &'a [u8]) -> Self {
        let (body, shared, sender, trace) = (Some(payload), None, None, None);
        Self { subject, reply: &[], headers: &[], payload, body, shared, sender, trace }
    }

    /// Sets the reply subject.
    #[must_use]
    pub fn with_reply(self, reply: &'a Subject) -> Self {
        Self { reply: reply.as_ref(), ..self }
    }

    /// Replaces the header block, which is sent unchanged: the line `NATS/1.0`, lines of names and values, an
    /// empty line, each ended by CRLF.
    #[must_use]
    pub fn with_headers(self, block: &'a [u8]) -> Self {
        let is_empty = block.is_empty();
        Self {
            headers: block,
            body: is_empty.then_some(self.payload),
            shared: self.shared.filter(|_| is_empty),
            ..self
        }
    }

    /// Replaces the subject. Reply, headers and payload stay.
    #[must_use]
    pub fn to(self, subject: &'a Subject) -> Self {
        Self { subject: subject.as_ref(), ..self }
    }

    /// Returns an answer to it, without headers; `None` without a reply subject.
    pub fn answer<'b>(&self, payload: &'b [u8]) -> Option<RawMessage<'b>>
    where
        'a: 'b,
    {
        self.reply().map(|reply| RawMessage::from_parts(reply, payload))
    }

    /// Returns the subject, which need not be UTF-8: clients of the wire may publish to any bytes.
    pub fn subject(&self) -> &'a [u8] {
        self.subject
    }

    /// Returns the reply subject.
    pub fn reply(&self) -> Option<&'a [u8]> {
        Some(self.reply).filter(|reply| !reply.is_empty())
    }

    /// Returns the header block with its first line and the empty last line; empty without headers.
    pub fn headers(&self) -> &'a [u8] {
        self.headers
    }

    /// Returns the payload.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Returns the trace of a message to a [handler of a stream](crate::Broker::handle_as_stream), if it is traced.
    pub fn trace(&self) -> Option<&'a StreamTrace> {
        self.trace
    }

    /// Returns the payload as owned bytes: the memory of a large one is shared, a small one is copied.
    pub fn payload_bytes(&self) -> Bytes {
        match self.shared {
            Some(shared) => shared.slice_ref(self.payload),
            None => Bytes::copy_from_slice(self.payload),
        }
    }

    /// Copies it into an owned message.
    pub fn to_message(&self) -> Message {
        Message {
            subject: Subject::from_wire(self.subject),
            reply: self.reply().map(Subject::from_wire),
            headers: HeaderMap::parse(self.headers),
            payload: self.payload_bytes(),
        }
    }
}

/// A message of the server whose receivers are found by one subject, and see another one: a stream delivers messages with
/// the subject that they were stored with.
#[derive(Clone, Copy, Default)]
pub struct ServerMessage<'a> {
    /// The subject that finds the receivers.
    pub to: &'a [u8],
    /// The subject that they see.
    pub subject: &'a [u8],
    /// The reply subject; empty for none.
    pub reply: &'a [u8],
    /// The header block; empty for none.
    pub headers: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

/// Prints the sizes of headers and payload, not their text.
impl fmt::Debug for ServerMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerMessage")
            .field("to", &String::from_utf8_lossy(self.to))
            .field("subject", &String::from_utf8_lossy(self.subject))
            .field("header_bytes", &self.headers.len())
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// Prints the sizes of headers and payload, not their text.
impl fmt::Debug for RawMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawMessage")
            .field("subject", &String::from_utf8_lossy(self.subject))
            .field("reply", &String::from_utf8_lossy(self.reply))
            .field("header_bytes", &self.headers.len())
            .field("payload_bytes", &self.payload.len())
            .finish()
    }
}
