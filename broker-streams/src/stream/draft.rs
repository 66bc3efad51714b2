//! A message on its way into the store.

use std::borrow::Cow;

use super::Incoming;
use super::fields::Fields;
use crate::config::Time;

/// A message on its way into the store, as changed so far.
pub(super) struct Draft<'a> {
    pub subject: Cow<'a, [u8]>,
    pub headers: Cow<'a, [u8]>,
    pub payload: Cow<'a, [u8]>,
    /// The fields as the publisher sent them.
    pub fields: Fields<'a>,
    /// Another stream has checked the message.
    pub is_sourced: bool,
    /// The sequence and the time that the message is stored with, if it is mirrored.
    pub origin: Option<(u64, Time)>,
    /// The message is a schedule of others.
    pub is_schedule: bool,
}

impl<'a> Draft<'a> {
    /// Creates a draft of a message of a publisher; `headers` as it is to be stored.
    #[inline]
    pub(super) fn new(message: &Incoming<'a>, headers: &'a [u8]) -> Self {
        let fields = Fields::read(headers);
        Self {
            subject: Cow::Borrowed(message.subject),
            headers: Cow::Borrowed(headers),
            payload: Cow::Borrowed(message.payload),
            fields,
            is_sourced: false,
            origin: None,
            is_schedule: false,
        }
    }

    /// Returns the bytes of headers and payload.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.headers.len() + self.payload.len()
    }
}

/// The reason why a message is not stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// A message with its id is stored.
    Duplicate(u64),
    /// An error.
    Error(crate::error::ApiError),
}

impl From<crate::error::ApiError> for Refusal {
    fn from(error: crate::error::ApiError) -> Self {
        Self::Error(error)
    }
}
