//! Messages that a stream takes from others: from the one that it mirrors, or from its sources.
//!
//! A stream reads another one by a push consumer without acknowledgements, which it requests from the API as clients do. The
//! owner of the stream subscribes to the two subjects of each feed, and passes on the messages.

mod feed;
mod messages;
mod name;
mod request;

use self::feed::{Feed, Phase};
use self::name::read_source_field;
use self::request::{Created, STALLED};
use super::fields::Fields;
use super::{Context, Stream};
use crate::config::{AckPolicy, ExternalStream, StreamConfig, Time, TransformConfig};
use crate::error::ApiError;
use crate::filters::Filters;
use crate::outbox::{Outbox, Outgoing};
use crate::store::StorageError;

/// The time after which a request without an answer is repeated, in nanoseconds.
// NATS 2.14: stream.go srcConsumerWaitTime.
const ANSWER_WAIT: i64 = 30_000_000_000;
/// The wait before a further request; it grows with the number of failures.
// NATS 2.14: stream.go sourceConsumerRetryThreshold, retryBackOff, retryMaximum.
const RETRY: i64 = 2_000_000_000;
const BACKOFF: i64 = 10_000_000_000;
const MAX_BACKOFF: i64 = 120_000_000_000;

/// The subjects that the owner of a stream subscribes to for a feed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FeedSubjects<'a> {
    /// The number of the feed, for the methods of [`Stream`].
    pub feed: usize,
    /// The subject of answers to requests: for [`Stream::feed_response`].
    pub reply: &'a str,
    /// The subject that matches messages: for [`Stream::feed_message`].
    pub deliver: &'a str,
}

/// The state of a feed, as the API reports it.
// NATS 2.14: stream.go StreamSourceInfo.
#[derive(Clone, Debug, serde::Serialize)]
pub struct FeedInfo {
    /// The name of the stream.
    pub name: String,
    /// The way to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalStream>,
    /// The messages that remain.
    pub lag: u64,
    /// The nanoseconds since the stream was last heard of; -1 if it never was.
    pub active: i64,
    /// The reason why no messages arrive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ApiError>,
    /// The filter of the messages.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter_subject: String,
    /// The filters with their transforms.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_transforms: Vec<TransformConfig>,
}

/// The feeds of a stream.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    all: Vec<Feed>,
    /// The subjects of requests that delete consumers which are not needed any more.
    gone: Vec<String>,
    /// Grows when the subjects of a feed change.
    version: u64,
}

impl Feeds {
    /// Returns when a feed has something to do.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.all.iter().filter_map(Feed::deadline).min()
    }
}

impl Feed {
    fn deadline(&self) -> Option<Time> {
        match self.phase {
            Phase::Waiting(until) => Some(until),
            Phase::Subscribing => None,
            Phase::Requested(since) => Some(since.plus(ANSWER_WAIT)),
            Phase::Running => self.heard.map(|heard| heard.plus(STALLED)),
        }
    }

    /// Makes the consumer again after a while.
    fn retry(&mut self, now: Time) {
        let backoff = self.fails.saturating_mul(BACKOFF).min(MAX_BACKOFF);
        self.fails += 1;
        self.phase = Phase::Waiting(now.plus(RETRY + backoff));
    }
}

impl Stream {
    /// Makes the feeds that the configuration asks for.
    pub(super) fn open_feeds(&mut self, now: Time) -> Result<(), StorageError> {
        let config = &self.config;
        let mirror = config.mirror.iter().map(|source| (source, true));
        let sources = config.sources.iter().map(|source| (source, false));
        let feeds = mirror.chain(sources).filter_map(|(source, is_mirror)| {
            // The API has checked the transforms.
            Feed::new(source, is_mirror, now).ok()
        });
        self.feeds.all = feeds.collect();
        self.feeds.version += 1;
        self.recover_feeds()
    }

    /// Finds out how far the feeds have come, by the messages that were stored.
    // NATS 2.14: stream.go startingSequenceForSources.
    fn recover_feeds(&mut self) -> Result<(), StorageError> {
        let last = self.state().last_sequence;
        let mut unknown = self.feeds.all.iter().filter(|feed| !feed.is_mirror).count();
        for feed in self.feeds.all.iter_mut().filter(|feed| feed.is_mirror) {
            feed.sequence = last;
        }
        let (all, mut until) = (Filters::default(), last);
        while unknown > 0
            && let Some(sequence) = self.storage.previous_match(&all, until)
        {
            let record = match self.storage.load(sequence, &mut self.buffer) {
                Ok(record) => record,
                Err(StorageError::Damaged { .. }) => None,
                Err(error) => return Err(error),
            };
            let field = record.and_then(|record| Fields::read(record.headers).source);
            if let Some((index, sequence)) = field.and_then(read_source_field)
                && sequence > 0
            {
                // Only the name of a stream has no spaces.
                let is_it = |feed: &Feed| feed.index == index || feed.source.name == index;
                let feeds = self.feeds.all.iter_mut().filter(|feed| !feed.is_mirror);
                for feed in feeds.filter(|feed| feed.sequence == 0 && is_it(feed)) {
                    feed.sequence = sequence;
                    unknown -= 1;
                }
            }
            until = sequence.saturating_sub(1);
        }
        Ok(())
    }

    /// Makes the feeds again if a change of the configuration concerns them.
    pub(super) fn update_feeds(
        &mut self,
        old: &StreamConfig,
        now: Time,
    ) -> Result<(), StorageError> {
        if old.mirror == self.config.mirror && old.sources == self.config.sources {
            return Ok(());
        }
        let before = std::mem::take(&mut self.feeds.all);
        let sources = old.sources.as_slice();
        let deletions = before.iter().map(|feed| (feed, self.feed_deletion(feed, sources)));
        let deletions: Vec<_> = deletions.map(|(feed, gone)| (feed.index.clone(), gone)).collect();
        self.open_feeds(now)?;
        for feed in before {
            let is_same =
                |one: &&mut Feed| (&one.source, one.is_mirror) == (&feed.source, feed.is_mirror);
            if let Some(place) = self.feeds.all.iter_mut().find(is_same) {
                *place = feed;
            }
        }
        for (index, gone) in deletions {
            if !self.feeds.all.iter().any(|feed| feed.index == index) {
                self.feeds.gone.extend(gone);
            }
        }
        Ok(())
    }

    /// Deletes the consumers of other streams, before the stream is deleted.
    pub fn close_feeds(&mut self, out: &mut dyn Outbox) {
        let feeds = std::mem::take(&mut self.feeds.all);
        let sources = &self.config.sources;
        let gone = feeds.iter().filter_map(|feed| self.feed_deletion(feed, sources)).collect();
        self.feeds.gone = gone;
        self.delete_gone(out);
    }

    // NATS 2.14: stream.go tryDeleteSourcingConsumer, which tries it once.
    fn delete_gone(&mut self, out: &mut dyn Outbox) {
        for subject in self.feeds.gone.drain(..) {
            let subject = subject.as_bytes();
            out.send(&Outgoing { to: subject, subject, ..Outgoing::default() });
        }
    }

    /// Returns a number that grows whenever [`Self::feed_subjects`] changes.
    pub fn feed_version(&self) -> u64 {
        self.feeds.version
    }

    /// Returns the subjects to subscribe to. [`Self::request_feeds`] follows.
    pub fn feed_subjects(&self) -> impl Iterator<Item = FeedSubjects<'_>> {
        let feeds = self.feeds.all.iter().enumerate();
        feeds.filter(|(_, feed)| !matches!(feed.phase, Phase::Waiting(_))).map(|(number, feed)| {
            FeedSubjects { feed: number, reply: &feed.reply, deliver: &feed.deliver }
        })
    }

    /// Returns the number of the feed whose answers arrive at a subject.
    pub fn find_feed(&self, reply: &str) -> Option<usize> {
        self.feeds.all.iter().position(|feed| feed.reply == reply)
    }

    /// Returns true if [`Self::request_feeds`] has something to do.
    pub fn has_feed_requests(&self) -> bool {
        let is_due = |feed: &Feed| feed.phase == Phase::Subscribing;
        !self.feeds.gone.is_empty() || self.feeds.all.iter().any(is_due)
    }

    /// Asks for the consumers of feeds whose subjects are subscribed to.
    pub fn request_feeds(&mut self, context: &mut Context<'_>) {
        self.delete_gone(context.out);
        for number in 0..self.feeds.all.len() {
            if self.feeds.all[number].phase != Phase::Subscribing {
                continue;
            }
            let request = self.feed_request(&self.feeds.all[number]);
            let feed = &mut self.feeds.all[number];
            (feed.phase, feed.error, feed.delivered) = (Phase::Requested(context.now), None, 0);
            context.out.send(&Outgoing {
                to: request.subject.as_bytes(),
                subject: request.subject.as_bytes(),
                reply: feed.reply.as_bytes(),
                headers: request.headers,
                payload: &request.payload,
            });
        }
    }

    /// Takes the answer to the request of a feed.
    pub fn feed_response(&mut self, feed: usize, payload: &[u8], context: &mut Context<'_>) {
        let last = self.state().last_sequence;
        let Some(feed) = self.feeds.all.get_mut(feed) else { return };
        if !matches!(feed.phase, Phase::Requested(_)) {
            return;
        }
        let created: Created = match serde_json::from_slice(payload) {
            Ok(created) => created,
            Err(error) => return feed.fail(ApiError::invalid_json(error), context.now),
        };
        if let Some(error) = created.error {
            let is_unknown = [ApiError::REQUIRED_API_LEVEL, ApiError::invalid_json("")]
                .iter()
                .any(|kind| error.is(kind));
            if is_unknown && !feed.is_plain {
                (feed.is_plain, feed.phase) = (true, Phase::Waiting(context.now));
                return;
            }
            return feed.fail(error, context.now);
        }
        let is_durable = feed.source.consumer.is_some();
        let is_by_flow =
            created.config.is_some_and(|config| config.ack_policy == AckPolicy::FlowControl);
        if created.name.is_empty() || is_durable && !is_by_flow {
            let error = match (feed.is_mirror, is_durable) {
                (true, true) => ApiError::MIRROR_CONSUMER_REQUIRES_ACK_FC,
                (false, true) => ApiError::SOURCE_CONSUMER_REQUIRES_ACK_FC,
                (true, false) => {
                    ApiError::mirror_consumer_setup_failed("invalid consumer create response")
                }
                (false, false) => {
                    ApiError::source_consumer_setup_failed("invalid consumer create response")
                }
            };
            return feed.fail(error, context.now);
        }
        feed.sequence = feed.sequence.max(created.delivered.stream_seq);
        (feed.phase, feed.fails, feed.heard) = (Phase::Running, 0, Some(context.now));
        let is_behind = feed.is_mirror && created.delivered.stream_seq > last;
        if is_behind && self.storage.skip_to(created.delivered.stream_seq, None).is_err() {
            self.retry_feeds(context.now);
        }
    }

    fn retry_feeds(&mut self, now: Time) {
        self.feeds.all.iter_mut().for_each(|feed| feed.retry(now));
    }

    /// Chooses subjects for feeds whose wait is over, and gives up consumers that were not heard of.
    pub(super) fn run_feeds(&mut self, now: Time) {
        let Self { feeds, random, .. } = self;
        for feed in &mut feeds.all {
            if feed.deadline().is_none_or(|deadline| deadline > now) {
                continue;
            }
            if !matches!(feed.phase, Phase::Waiting(_)) {
                feed.retry(now);
                feeds.version += 1;
                continue;
            }
            feed.choose_subjects(&random.id());
            feed.phase = Phase::Subscribing;
            feeds.version += 1;
        }
    }

    /// Returns the states of the feeds: of the mirrored stream, or of the sources.
    pub fn feed_infos(&self, now: Time) -> Vec<FeedInfo> {
        self.feeds.all.iter().map(|feed| feed.info(now)).collect()
    }
}

impl Feed {
    fn fail(&mut self, error: ApiError, now: Time) {
        tracing::warn!(stream = self.source.name, %error, "no consumer for a mirror or source");
        self.error = Some(error);
        self.retry(now);
    }

    fn choose_subjects(&mut self, id: &str) {
        let source = &self.source;
        let kind = if self.is_mirror { "M" } else { "S" };
        let token = &id[..8];
        self.deliver = match (&source.consumer, &source.external) {
            (Some(consumer), _) => consumer.deliver_subject.clone(),
            (None, Some(external)) if !external.deliver_prefix.is_empty() => {
                format!("{}.{kind}.{token}", external.deliver_prefix).replace("..", ".")
            }
            _ => format!("$JS.{kind}.{token}"),
        };
        self.reply = format!("_INBOX.{id}");
    }

    fn info(&self, now: Time) -> FeedInfo {
        FeedInfo {
            name: self.source.name.clone(),
            external: self.source.external.clone(),
            lag: self.lag,
            active: self.heard.map_or(-1, |heard| now.since(heard)),
            error: self.error.clone(),
            filter_subject: self.source.filter_subject.clone(),
            subject_transforms: self.source.subject_transforms.clone(),
        }
    }
}
