//! Messages of parties inside the process.

use std::fmt;

use bytes::Bytes;

use crate::headers::HeaderMap;
use crate::subject::Subject;

/// An owned message, with the fields of async-nats.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// The subject that it was published to.
    pub subject: Subject,
    /// The reply subject.
    pub reply: Option<Subject>,
    /// The headers; `None` without headers, or with a block that cannot be parsed.
    pub headers: Option<HeaderMap>,
    /// The payload.
    pub payload: Bytes,
}

/// A borrowed message as the wire carries it: raw bytes, nothing parsed.
///
/// A [handler](crate::Broker::handle) receives messages in this form and publishes them in this form, so that
/// a message that is passed on is not encoded again.
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
    /// Empty without a reply subject.
    pub(crate) reply: &'a [u8],
    /// Empty without headers.
    pub(crate) headers: &'a [u8],
    pub(crate) payload: &'a [u8],
    /// Headers and payload in one piece, if they lie so.
    pub(crate) body: Option<&'a [u8]>,
    /// The memory of `body`, if receivers may keep it.
    pub(crate) shared: Option<&'a Bytes>,
}

impl<'a> RawMessage<'a> {
    /// Creates a message without reply and headers.
    pub fn new(subject: &'a Subject, payload: &'a [u8]) -> Self {
        Self::from_parts(subject.as_ref(), payload)
    }

    /// As [`Self::new`], with a payload that receivers share if it is large, instead of copying it.
    pub fn with_shared_payload(subject: &'a Subject, payload: &'a Bytes) -> Self {
        Self { shared: Some(payload), ..Self::new(subject, payload) }
    }

    pub(crate) fn from_parts(subject: &'a [u8], payload: &'a [u8]) -> Self {
        Self { subject, reply: &[], headers: &[], payload, body: Some(payload), shared: None }
    }

    /// Asks for answers to `reply`.
    #[must_use]
    pub fn with_reply(self, reply: &'a Subject) -> Self {
        Self { reply: reply.as_ref(), ..self }
    }

    /// Replaces the header block. The block is sent as it is: the line `NATS/1.0`, lines of names and values, an
    /// empty line, all of them ended by CRLF.
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

    /// Directs the message to another subject. Reply, headers and payload stay.
    #[must_use]
    pub fn to(self, subject: &'a Subject) -> Self {
        Self { subject: subject.as_ref(), ..self }
    }

    /// Returns an answer to it, without headers; `None` if it asks for none.
    pub fn answer<'b>(&self, payload: &'b [u8]) -> Option<RawMessage<'b>>
    where
        'a: 'b,
    {
        self.reply().map(|reply| RawMessage::from_parts(reply, payload))
    }

    /// Returns the subject. A client of the wire may publish to one that is not UTF-8.
    pub fn subject(&self) -> &'a [u8] {
        self.subject
    }

    /// Returns the reply subject.
    pub fn reply(&self) -> Option<&'a [u8]> {
        Some(self.reply).filter(|reply| !reply.is_empty())
    }

    /// Returns the header block with its first and its empty last line; empty without headers.
    pub fn headers(&self) -> &'a [u8] {
        self.headers
    }

    /// Returns the payload.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Returns the payload for keeping: the memory of a large one is shared, a small one is copied.
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

/// Shows the sizes of headers and payload, not their text.
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
