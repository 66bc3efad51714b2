//! Errors of in-process clients and handlers.

use crate::headers::InvalidHeader;
use crate::session::member::SubscribeRefusal;
use crate::subject::{Subject, SubjectError, SubjectFilter};

/// The reason why a message was not published.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The subject or the reply subject is invalid.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// A header cannot be written.
    #[error(transparent)]
    Header(#[from] InvalidHeader),
    /// The message is larger than the broker allows.
    #[error("a message of {size} bytes is more than the {limit} that are allowed")]
    MaxPayload {
        /// The size of the message with headers, in bytes.
        size: usize,
        /// The largest size allowed, in bytes.
        limit: usize,
    },
    /// The message to be answered has no reply subject.
    #[error("the message asks for no answer")]
    NoReply,
    /// The client may not publish there.
    #[error("publishing to {0} is not allowed")]
    Denied(Subject),
}

/// The reason why a subscription was not made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The filter is invalid, or the queue group's name contains white space.
    #[error(transparent)]
    Filter(#[from] SubjectError),
    /// The client may not subscribe there.
    #[error("subscribing to {0} is not allowed")]
    Denied(SubjectFilter),
    /// The filter has more tokens than are allowed.
    #[error("the filter has too many tokens")]
    TooManyTokens,
    /// The client has the maximum number of subscriptions.
    #[error("no more subscriptions are allowed")]
    MaxSubscriptions,
}

/// The reason why a request has no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request was not published.
    #[error("the request was not published")]
    Publish(#[from] PublishError),
    /// The subscription for the answer was refused.
    #[error("the answer could not be subscribed to")]
    Subscribe(#[from] SubscribeError),
    /// The client has the maximum number of open requests:
    /// [`LOCAL_REQUESTS`](crate::limits::LOCAL_REQUESTS).
    #[error("too many requests wait for their answers")]
    TooManyRequests,
    /// The request has no responders.
    #[error("no responders")]
    NoResponders,
    /// The client was drained or the broker shut down before an answer arrived.
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

/// Checks the name of a queue group and returns it.
pub(super) fn check_queue_group(name: &[u8]) -> Result<&[u8], SubjectError> {
    match name {
        [] => Err(SubjectError::Empty),
        name if name.iter().any(u8::is_ascii_whitespace) => Err(SubjectError::WhiteSpace),
        name => Ok(name),
    }
}
