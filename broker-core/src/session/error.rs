//! Why a call of a party inside the process failed.

use crate::headers::InvalidHeader;
use crate::session::member::SubscribeRefusal;
use crate::subject::{Subject, SubjectError, SubjectFilter};

/// Why a message was not published.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// What it was to be published to, or answered to, is not a subject.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// A header cannot be written.
    #[error(transparent)]
    Header(#[from] InvalidHeader),
    /// It is larger than the broker takes.
    #[error("a message of {size} bytes is more than the {limit} that are allowed")]
    MaxPayload {
        /// Its size with headers, in bytes.
        size: usize,
        /// What the broker takes.
        limit: usize,
    },
    /// The message to be answered has no reply subject.
    #[error("the message asks for no answer")]
    NoReply,
    /// The client may not publish there.
    #[error("publishing to {0} is not allowed")]
    Denied(Subject),
}

/// Why a subscription was not made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// What it was to be made for is not a filter, or the queue group's name holds white space.
    #[error(transparent)]
    Filter(#[from] SubjectError),
    /// The client may not subscribe there.
    #[error("subscribing to {0} is not allowed")]
    Denied(SubjectFilter),
    /// What it was to be made for has more tokens than are allowed.
    #[error("the filter has too many tokens")]
    TooManyTokens,
    /// The client has as many subscriptions as it may.
    #[error("no more subscriptions are allowed")]
    MaxSubscriptions,
}

/// Why a request has no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It was not published.
    #[error("the request was not published")]
    Publish(#[from] PublishError),
    /// The answer could not have been received.
    #[error("the answer could not be subscribed to")]
    Subscribe(#[from] SubscribeError),
    /// As many requests of the client wait for their answers as may:
    /// [`LOCAL_REQUESTS`](crate::limits::LOCAL_REQUESTS).
    #[error("too many requests wait for their answers")]
    TooManyRequests,
    /// Nobody listens there.
    #[error("no responders")]
    NoResponders,
    /// The client was drained or the broker shut down before an answer came.
    #[error("closed before an answer came")]
    Closed,
}

impl From<std::convert::Infallible> for SubjectError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl SubscribeError {
    pub(super) fn of(refusal: SubscribeRefusal, filter: &[u8]) -> Self {
        match (SubjectFilter::parse(filter), refusal) {
            (Err(error), _) => Self::Filter(error),
            (Ok(_), SubscribeRefusal::TooManyTokens) => Self::TooManyTokens,
            (Ok(_), SubscribeRefusal::MaxSubscriptions) => Self::MaxSubscriptions,
            (Ok(filter), SubscribeRefusal::Denied | SubscribeRefusal::InvalidFilter) => {
                Self::Denied(filter)
            }
        }
    }
}

/// Returns the name of a queue group.
pub(super) fn check_queue_group(name: &[u8]) -> Result<&[u8], SubjectError> {
    match name {
        [] => Err(SubjectError::Empty),
        name if name.iter().any(u8::is_ascii_whitespace) => Err(SubjectError::WhiteSpace),
        name => Ok(name),
    }
}
