//! A message as an in-process client gets it.

use bytes::Bytes;

use crate::headers::HeaderMap;
use crate::subject::Subject;

/// A message, owned. async-nats has the same fields.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// What it was published to.
    pub subject: Subject,
    /// Where an answer goes.
    pub reply: Option<Subject>,
    /// Its headers; `None` if it came without, or with a block that cannot be read.
    pub headers: Option<HeaderMap>,
    /// Its payload.
    pub payload: Bytes,
}
