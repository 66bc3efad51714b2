//! Reports about streams for monitoring. Members are in the order in which the reference writes them.
// NATS 2.14: monitor.go StreamDetail, AccountDetail; consumer.go ConsumerInfo.

use serde::Serialize;

use crate::api::{ClusterInfo, StreamInfo, StreamState};
use crate::config::{ConsumerConfig, StreamConfig, Time};
use crate::consumer::{ConsumerInfo, PriorityGroupState, SequenceInfo};
use crate::latency::Latencies;
use crate::stream::FeedInfo;

/// The parts of a report about an account.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AccountSelection {
    /// Its streams.
    pub streams: bool,
    /// Their consumers.
    pub consumers: bool,
    /// Those too that mirrors and sources use.
    pub direct_consumers: bool,
    /// Configurations.
    pub config: bool,
}

/// The streams and consumers that a report has room for, so that its size has a limit. The default has room for all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReportRoom {
    /// The streams that are still reported.
    pub streams: usize,
    /// The consumers that are still reported.
    pub consumers: usize,
    /// The streams that were left out.
    pub omitted_streams: usize,
    /// The consumers that were left out, those of such streams included.
    pub omitted_consumers: usize,
}

impl ReportRoom {
    /// Creates room for that many streams and consumers.
    pub fn new(streams: usize, consumers: usize) -> Self {
        Self { streams, consumers, omitted_streams: 0, omitted_consumers: 0 }
    }

    /// Takes the place of a stream with a number of consumers. Returns false if there is none.
    pub(super) fn take_stream(&mut self, consumers: impl FnOnce() -> usize) -> bool {
        let has_room = self.streams > 0;
        if has_room {
            self.streams -= 1;
        } else {
            self.omitted_streams += 1;
            self.omitted_consumers += consumers();
        }
        has_room
    }

    /// Takes the places of as many of the consumers as there are, and returns those consumers.
    pub(super) fn take_consumers<T>(&mut self, mut all: impl Iterator<Item = T>) -> Vec<T> {
        let taken: Vec<T> = all.by_ref().take(self.consumers).collect();
        self.consumers -= taken.len();
        self.omitted_consumers += all.count();
        taken
    }
}

impl Default for ReportRoom {
    fn default() -> Self {
        Self::new(usize::MAX, usize::MAX)
    }
}

/// The space and the requests of one account, or of all.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct UsageReport {
    /// Bytes of streams in memory.
    pub memory: u64,
    /// Bytes of streams in files.
    pub storage: u64,
    /// Bytes of memory that limits reserve; for an account, its limit.
    pub reserved_memory: u64,
    /// Bytes of files that limits reserve; for an account, its limit.
    pub reserved_storage: u64,
    /// The accounts that may have streams; 0 for an account.
    pub accounts: usize,
    /// Requests to the API.
    pub requests: u64,
    /// Those that were answered with errors.
    pub request_errors: u64,
}

/// The totals of all accounts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// Streams.
    pub streams: usize,
    /// Consumers, without those that mirrors and sources use.
    pub consumers: usize,
    /// Messages.
    pub messages: u64,
    /// Bytes of messages.
    pub bytes: u64,
}

/// The state of an account.
#[derive(Debug)]
pub struct AccountReport {
    /// Its space and requests.
    pub usage: UsageReport,
    /// Its streams by name, if they were selected.
    pub streams: Vec<StreamReport>,
}

/// The health of a stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StreamHealth {
    /// The stream is served.
    Served,
    /// The stream refuses messages, because its store could not be written: the error.
    WriteFailed(String),
    /// The stream is not served, because its store could not be read.
    NotRecovered,
}

/// The counts of all streams since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ServiceCounts {
    /// Syncs of files.
    pub syncs: u64,
    /// Bytes that were written to files and synced.
    pub written_bytes: u64,
    /// Syncs that have failed, after each of which a stream refused messages.
    pub store_failures: u64,
    /// Damaged places that were found in stores.
    pub damages: u64,
    /// Requests to the API that were dropped, because too many waited.
    pub dropped_requests: u64,
    /// Requests to the API that wait.
    pub waiting_requests: usize,
    /// The waiting times of messages.
    pub latencies: Latencies,
}

/// The state of a stream.
#[derive(Debug, Serialize)]
pub struct StreamReport {
    /// The name.
    pub name: String,
    /// When it was created.
    pub created: Time,
    cluster: ClusterInfo,
    /// The configuration, if it was selected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<StreamConfig>,
    state: StreamState,
    /// The consumers, if they were selected.
    #[serde(rename = "consumer_detail", skip_serializing_if = "Vec::is_empty")]
    pub consumers: Vec<ConsumerReport>,
    /// The consumers that mirrors and sources use, if they were selected.
    #[serde(rename = "direct_consumer_detail", skip_serializing_if = "Vec::is_empty")]
    pub direct: Vec<ConsumerReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mirror: Option<FeedInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sources: Vec<FeedInfo>,
}

impl StreamReport {
    pub(super) fn of(info: StreamInfo, leader: String, with_config: bool) -> Self {
        Self {
            name: info.config.name.clone(),
            created: info.created,
            cluster: ClusterInfo { leader },
            config: with_config.then_some(info.config),
            state: info.state,
            consumers: Vec::new(),
            direct: Vec::new(),
            mirror: info.mirror,
            sources: info.sources,
        }
    }

    /// Returns the server that serves the stream.
    pub fn leader(&self) -> &str {
        &self.cluster.leader
    }

    /// Returns the number of messages, and of their bytes.
    pub fn messages(&self) -> (u64, u64) {
        (self.state.messages, self.state.bytes)
    }

    /// Returns the first and the last sequence.
    pub fn sequences(&self) -> (u64, u64) {
        (self.state.first_sequence, self.state.last_sequence)
    }

    /// Returns the number of subjects of the messages.
    pub fn subjects(&self) -> u64 {
        self.state.num_subjects
    }

    /// Returns the state of the copy from the stream of which this is a mirror.
    pub fn mirror(&self) -> Option<&FeedInfo> {
        self.mirror.as_ref()
    }

    /// Returns the state of the copies from sources.
    pub fn sources(&self) -> &[FeedInfo] {
        &self.sources
    }

    /// Returns the number of consumers, without those that mirrors and sources use.
    pub fn consumer_count(&self) -> u64 {
        self.state.consumers
    }
}

/// The state of a consumer.
#[derive(Debug, Serialize)]
pub struct ConsumerReport {
    /// The stream.
    #[serde(rename = "stream_name")]
    pub stream: String,
    /// The name.
    pub name: String,
    /// When it was created.
    pub created: Time,
    /// The configuration, if it was selected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<ConsumerConfig>,
    /// The last message that was delivered.
    pub delivered: SequenceInfo,
    /// The last message before which all are acknowledged.
    pub ack_floor: SequenceInfo,
    /// Messages that were delivered and not acknowledged.
    pub num_ack_pending: u64,
    /// Messages that were delivered more than once, and are not acknowledged.
    pub num_redelivered: u64,
    /// Waiting requests.
    pub num_waiting: u64,
    /// Messages that were not delivered.
    pub num_pending: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    push_bound: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pause_remaining: Option<i64>,
    /// The time of this state.
    #[serde(rename = "ts")]
    pub timestamp: Time,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    priority_groups: Vec<PriorityGroupState>,
}

impl ConsumerReport {
    pub(super) fn of(info: ConsumerInfo, with_config: bool) -> Self {
        Self {
            stream: info.stream,
            name: info.name,
            created: info.created,
            config: with_config.then_some(info.config),
            delivered: info.delivered,
            ack_floor: info.ack_floor,
            num_ack_pending: info.num_ack_pending,
            num_redelivered: info.num_redelivered,
            num_waiting: info.num_waiting,
            num_pending: info.num_pending,
            push_bound: info.push_bound,
            paused: info.paused,
            pause_remaining: Some(info.pause_remaining).filter(|nanos| *nanos != 0),
            timestamp: info.timestamp,
            priority_groups: info.priority_groups,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_report_has_no_room_for_is_counted() {
        let mut room = ReportRoom::new(2, 3);
        assert!(room.take_stream(|| 2));
        assert_eq!(room.take_consumers(["a", "b"].iter()), [&"a", &"b"]);
        assert!(room.take_stream(|| 4));
        assert_eq!(room.take_consumers(["c", "d", "e", "f"].iter()), [&"c"]);
        assert!(!room.take_stream(|| 5));
        assert_eq!(room.take_consumers(["g"].iter()), [&""; 0]);
        assert_eq!((room.omitted_streams, room.omitted_consumers), (1, 3 + 5 + 1));
    }

    #[test]
    fn a_report_has_room_for_all_by_default() {
        let mut room = ReportRoom::default();
        assert!(room.take_stream(|| 1));
        assert_eq!(room.take_consumers(0..5000).len(), 5000);
        assert_eq!((room.omitted_streams, room.omitted_consumers), (0, 0));
    }
}
