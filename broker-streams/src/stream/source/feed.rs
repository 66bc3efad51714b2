//! A stream that another one takes messages from, and how far it has come.

use broker_core::SubjectFilter;
use broker_core::subject::{SubjectTransform, TransformError};

use super::name::index_name;
use crate::config::{StreamSource, Time, TransformConfig};
use crate::error::ApiError;

/// A stream that another one takes messages from, and how far it has come.
// NATS 2.14: stream.go sourceInfo.
#[derive(Debug)]
pub(in crate::stream) struct Feed {
    pub source: StreamSource,
    pub is_mirror: bool,
    /// Identifies the feed in the headers of its messages.
    pub index: String,
    /// The filters of the messages, with their transforms.
    pub transforms: Vec<SubjectTransform>,
    /// The sequence in the other stream of the last message.
    pub sequence: u64,
    /// The number of the last delivery.
    pub delivered: u64,
    /// The messages that remain.
    pub lag: u64,
    pub error: Option<ApiError>,
    /// When the other stream was last heard of.
    pub heard: Option<Time>,
    /// The number of attempts that failed since the last one that did not.
    pub fails: i64,
    /// The other server does not know consumers for the purpose.
    pub is_plain: bool,
    pub phase: Phase,
    /// The subject of the answer to the request for a consumer.
    pub reply: String,
    /// The subject of its messages.
    pub deliver: String,
}

/// The state of the consumer of a feed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::stream) enum Phase {
    /// Waits until a time.
    Waiting(Time),
    /// The subjects are chosen, and are to be subscribed to.
    Subscribing,
    /// The consumer was requested at a time.
    Requested(Time),
    Running,
}

impl Feed {
    pub(super) fn new(
        source: &StreamSource,
        is_mirror: bool,
        now: Time,
    ) -> Result<Self, TransformError> {
        let transforms = source.subject_transforms.iter().map(transform);
        Ok(Self {
            index: index_name(source),
            transforms: transforms.collect::<Result<_, _>>()?,
            source: source.clone(),
            is_mirror,
            sequence: 0,
            delivered: 0,
            lag: 0,
            error: None,
            heard: None,
            fails: 0,
            is_plain: false,
            phase: Phase::Waiting(now),
            reply: String::new(),
            deliver: String::new(),
        })
    }

    /// Returns the subject that a message of the feed is stored with; `None` for its own.
    pub(super) fn transformed(
        &self,
        subject: &[u8],
        random: impl FnMut() -> u64,
    ) -> Option<Vec<u8>> {
        let transform = self.transforms.iter().find(|transform| transform.matches(subject))?;
        let mut out = Vec::with_capacity(subject.len() + 16);
        transform.apply(subject, random, &mut out);
        Some(out)
    }
}

/// Returns the transform of a configuration; one without a destination selects subjects and keeps them.
fn transform(config: &TransformConfig) -> Result<SubjectTransform, TransformError> {
    let TransformConfig { source, destination } = config;
    if !destination.is_empty() {
        return SubjectTransform::new(source, destination);
    }
    let filter = SubjectFilter::parse(if source.is_empty() { ">" } else { source });
    filter.map(SubjectTransform::identity).map_err(|_| TransformError::InvalidSubject)
}
