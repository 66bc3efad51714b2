//! Messages that a tap has recorded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use broker_core::probe::Passing;
use broker_core::{HeaderMap, Subject, SubjectFilter};
use bytes::Bytes;

/// Number of messages that a tap holds; beyond it the oldest are dropped.
const MOST: usize = 65_536;

/// A published and accepted message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tapped {
    /// The subject.
    pub subject: Subject,
    /// The reply subject.
    pub reply: Option<Subject>,
    /// The headers.
    pub headers: Option<HeaderMap>,
    /// The payload.
    pub payload: Bytes,
    /// The account of the publisher.
    pub account: Arc<str>,
    /// The id of the connection or in-process client that published it, `cid`.
    pub from: u64,
    /// The time since the start of the broker.
    pub at: Duration,
}

impl Tapped {
    pub(super) fn of(message: &Passing<'_>, at: Duration) -> Self {
        let (account, from) = (message.account().into(), message.from());
        let message = message.to_message();
        let broker_core::Message { subject, reply, headers, payload, .. } = message;
        Self { subject, reply, headers, payload, account, from, at }
    }

    /// Returns the payload as text, lossily.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

/// The contents of a tap.
pub(super) struct Recorded {
    pub(super) filter: SubjectFilter,
    messages: Mutex<VecDeque<Tapped>>,
}

impl Recorded {
    pub(super) fn new(filter: SubjectFilter) -> Self {
        Self { filter, messages: Mutex::default() }
    }

    pub(super) fn messages(&self) -> MutexGuard<'_, VecDeque<Tapped>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, message: Tapped) {
        let mut messages = self.messages();
        if messages.len() == MOST {
            messages.pop_front();
        }
        messages.push_back(message);
    }
}
