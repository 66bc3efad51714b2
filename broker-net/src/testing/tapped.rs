//! Messages that a tap has recorded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use broker_core::probe::Passing;
use broker_core::{HeaderMap, Subject, SubjectFilter};
use bytes::Bytes;

/// How many messages a tap holds; of more the oldest go.
const MOST: usize = 65_536;

/// A message that was published, and accepted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tapped {
    /// What it was published to.
    pub subject: Subject,
    /// Where an answer goes.
    pub reply: Option<Subject>,
    /// Its headers.
    pub headers: Option<HeaderMap>,
    /// Its payload.
    pub payload: Bytes,
    /// The account it was published in.
    pub account: Arc<str>,
    /// The number of the connection or in-process client that published it, `cid`.
    pub from: u64,
    /// When, since the broker began.
    pub at: Duration,
}

impl Tapped {
    pub(super) fn of(message: &Passing<'_>, at: Duration) -> Self {
        let (account, from) = (message.account().into(), message.from());
        let message = message.to_message();
        let broker_core::Message { subject, reply, headers, payload, .. } = message;
        Self { subject, reply, headers, payload, account, from, at }
    }

    /// The payload as text, whatever it is.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

/// What a tap has got.
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
