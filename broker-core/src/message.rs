//! Messages of in-process clients.

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
