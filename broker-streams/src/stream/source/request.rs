//! The request for a consumer of another stream.
// NATS 2.14: stream.go setupMirrorConsumer, trySetupSourceConsumer.

use serde::{Deserialize, Serialize};

use super::feed::Feed;
use crate::config::{AckPolicy, ConsumerConfig, DeliverPolicy, StreamSource};
use crate::error::ApiError;
use crate::hash::hash;
use crate::stream::Stream;

/// The interval of heartbeats.
const HEARTBEAT: i64 = 1_000_000_000;
/// A consumer that was not heard of for as long is made again.
pub(super) const STALLED: i64 = 10_000_000_000;
const ACK_WAIT: i64 = 22 * 3600 * 1_000_000_000;

/// A request of a feed to the API of the other stream.
pub(super) struct Request {
    pub subject: String,
    pub headers: &'static [u8],
    pub payload: Vec<u8>,
}

#[derive(Serialize)]
struct Create<'a> {
    stream_name: &'a str,
    config: ConsumerConfig,
    action: &'static str,
}

/// The part of the answer that matters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Created {
    pub error: Option<ApiError>,
    pub name: String,
    pub config: Option<ConsumerConfig>,
    pub delivered: Delivered,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Delivered {
    pub stream_seq: u64,
}

impl Stream {
    /// Makes the request of a feed.
    pub(super) fn feed_request(&self, feed: &Feed) -> Request {
        let source = &feed.source;
        if let Some(consumer) = &source.consumer {
            let subject = format!("$JS.API.CONSUMER.RESET.{}.{}", source.name, consumer.name);
            let subject = outside(feed, subject);
            return Request { subject, headers: b"", payload: Vec::new() };
        }
        let mut config = self.feed_consumer(feed);
        self.set_start(feed, &mut config);
        let subject = match config.filter_subject.as_str() {
            "" => format!("$JS.API.CONSUMER.CREATE.{}", source.name),
            filter => format!("$JS.API.CONSUMER.CREATE.{}.{}.{filter}", source.name, config.name),
        };
        let create = Create { stream_name: &source.name, config, action: "" };
        let payload = serde_json::to_vec(&create).unwrap_or_default();
        let headers: &[u8] = match feed.is_plain {
            true => b"",
            false => b"NATS/1.0\r\nNats-Required-Api-Level: 4\r\n\r\n",
        };
        Request { subject: outside(feed, subject), headers, payload }
    }

    /// Returns the subject of the request that deletes the consumer of a feed, among the sources of the stream. `None` if it
    /// was never requested, or is not the feed's own.
    pub(super) fn feed_deletion(&self, feed: &Feed, sources: &[StreamSource]) -> Option<String> {
        if feed.source.consumer.is_some() || feed.deliver.is_empty() {
            return None;
        }
        let (stream, name) = (&feed.source.name, self.feed_consumer_name(feed, sources));
        Some(outside(feed, format!("$JS.API.CONSUMER.DELETE.{stream}.{name}")))
    }

    fn feed_consumer(&self, feed: &Feed) -> ConsumerConfig {
        let kind = if feed.is_mirror { "mirror" } else { "src" };
        let domain = &self.options.domain;
        let metadata = [
            (format!("_nats.{kind}.stream"), self.config.name.clone()),
            (format!("_nats.{kind}.acc"), self.options.account.clone()),
            (format!("_nats.{kind}.domain"), domain.clone()),
        ];
        let filters: Vec<_> =
            feed.transforms.iter().map(|transform| transform.source().to_string()).collect();
        let (filter_subject, filter_subjects) = match (&feed.source.filter_subject, filters.len()) {
            (filter, 0) => (filter.clone(), filters),
            (_, 1) => (filters[0].clone(), Vec::new()),
            _ => (String::new(), filters),
        };
        ConsumerConfig {
            name: self.feed_consumer_name(feed, &self.config.sources),
            deliver_subject: feed.deliver.clone(),
            ack_policy: AckPolicy::None,
            ack_wait: ACK_WAIT,
            max_deliver: 1,
            heartbeat: HEARTBEAT,
            flow_control: true,
            direct: true,
            sourcing: !feed.is_plain,
            inactive_threshold: STALLED,
            metadata: metadata.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
            filter_subject,
            filter_subjects,
            ..ConsumerConfig::default()
        }
    }

    /// Returns the name of the consumer, which is the same each time, so that there is one only.
    // NATS 2.14: consumer.go createStableConsumerHash, createSourcingConsumerHash.
    fn feed_consumer_name(&self, feed: &Feed, sources: &[StreamSource]) -> String {
        let mut id = format!("{} {}", self.config.name, self.options.account);
        if !self.options.domain.is_empty() {
            id = format!("{id} {}", self.options.domain);
        }
        let mut id = hash(&id);
        let kind = if feed.is_mirror { "MIRROR" } else { "SRC" };
        if !feed.is_mirror {
            let same = sources.iter().filter(|one| one.name == feed.source.name);
            if same.count() > 1 {
                id = format!("{id} {}", feed.index);
            }
            id = hash(&id);
        }
        match feed.is_plain {
            // The other server would not replace the consumer.
            true => format!("JS_{kind}_{id}_{}", hash(&feed.deliver)),
            false => format!("JS_{kind}_{id}"),
        }
    }

    fn set_start(&self, feed: &Feed, config: &mut ConsumerConfig) {
        let state = self.state();
        let source = &feed.source;
        let is_first = match feed.is_mirror {
            true => state.last_sequence == 0,
            false => feed.sequence == 0,
        };
        if !is_first {
            let last = if feed.is_mirror { state.last_sequence } else { feed.sequence };
            config.deliver_policy = DeliverPolicy::ByStartSequence;
            config.start_sequence = last + 1;
            return;
        }
        if source.start_sequence > 0 {
            config.deliver_policy = DeliverPolicy::ByStartSequence;
            config.start_sequence = source.start_sequence;
            return;
        }
        // Messages that were taken and removed are not taken again.
        let last = Some(state.last_time).filter(|time| !feed.is_mirror && time.0 != 0);
        let has_removed = state.first_sequence > 1;
        config.start_time = match source.start_time {
            Some(start) => Some(last.map_or(start, |last| start.max(last))),
            None => last.filter(|_| has_removed),
        };
        if config.start_time.is_some() {
            config.deliver_policy = DeliverPolicy::ByStartTime;
        }
    }
}

/// Leads a request to the API of another account or domain, if the feed does.
fn outside(feed: &Feed, subject: String) -> String {
    match &feed.source.external {
        Some(external) => subject.replacen("$JS.API", &external.api_prefix, 1).replace("..", "."),
        None => subject,
    }
}
