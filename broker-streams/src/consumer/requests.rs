//! Requests for messages, and the queue in which they wait.

use std::collections::VecDeque;

use serde::Deserialize;

use crate::config::Time;
use crate::go::json::{self, Field, Mode, Record, Shape};

/// A request for messages, as clients write it. Durations are in nanoseconds.
// NATS 2.14: jetstream_api.go JSApiConsumerGetNextRequest.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Members {
    expires: i64,
    batch: i64,
    max_bytes: i64,
    no_wait: bool,
    idle_heartbeat: i64,
    group: String,
    min_pending: i64,
    min_ack_pending: i64,
    id: String,
    priority: i64,
}

const fn field(name: &'static str, shape: Shape) -> Field {
    Field { name, shape }
}

/// The members as the reference decodes them.
static RECORD: Record = Record {
    name: "JSApiConsumerGetNextRequest",
    fields: &[
        field("expires", Shape::DURATION),
        field("batch", Shape::INT),
        field("max_bytes", Shape::INT),
        field("no_wait", Shape::Bool),
        field("idle_heartbeat", Shape::DURATION),
        field("group", Shape::String),
        field("min_pending", Shape::INT64),
        field("min_ack_pending", Shape::INT64),
        field("id", Shape::String),
        field("priority", Shape::INT),
    ],
};

/// A request that was read.
#[derive(Debug, Default)]
pub(super) struct NextRequest {
    pub(super) expires: i64,
    pub(super) batch: i64,
    pub(super) max_bytes: i64,
    pub(super) no_wait: bool,
    pub(super) heartbeat: i64,
    /// The priority group; only requests in JSON have one.
    pub(super) group: Option<Group>,
}

/// The priority group of a request.
// NATS 2.14: consumer.go PriorityGroup.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) group: String,
    pub(super) min_pending: i64,
    pub(super) min_ack_pending: i64,
    pub(super) id: String,
    pub(super) priority: i64,
}

impl NextRequest {
    /// Reads a request: nothing, a number, or JSON. Anything else is a request for one message.
    // NATS 2.14: consumer.go nextReqFromMsg.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, String> {
        let text = payload.trim_ascii();
        if text.first() == Some(&b'{') {
            let request = Self::from(Members::read(text)?);
            if request.heartbeat > 0 && request.heartbeat.saturating_mul(2) > request.expires {
                return Err("heartbeat value too large".into());
            }
            return Ok(request);
        }
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        Ok(Self { batch: number.unwrap_or(1), ..Self::default() })
    }
}

impl Members {
    /// The reference accepts more than `serde` does, such as names in capitals and names that it does not know, and its
    /// errors have other texts.
    fn read(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(text).or_else(|_| json::read(text, &RECORD, Mode::One))
    }
}

impl From<Members> for NextRequest {
    fn from(members: Members) -> Self {
        let group = Group {
            group: members.group,
            min_pending: members.min_pending,
            min_ack_pending: members.min_ack_pending,
            id: members.id,
            priority: members.priority,
        };
        Self {
            expires: members.expires,
            batch: members.batch,
            max_bytes: members.max_bytes,
            no_wait: members.no_wait,
            heartbeat: members.idle_heartbeat,
            group: Some(group),
        }
    }
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) reply: Box<[u8]>,
    /// The messages yet to send. At least one message is sent, whatever the number.
    pub(super) left: i64,
    pub(super) delivered: u64,
    /// The bytes yet to send; 0 for no limit.
    pub(super) bytes: i64,
    pub(super) expires: Option<Time>,
    pub(super) no_wait: bool,
    pub(super) heartbeat: i64,
    pub(super) heartbeat_at: Option<Time>,
    pub(super) group: Option<Group>,
}

impl Waiting {
    fn priority(&self) -> i64 {
        self.group.as_ref().map_or(i64::from(i32::MAX), |group| group.priority)
    }

    /// Returns the time of the next heartbeat, or of the end.
    fn due(&self) -> Option<Time> {
        self.heartbeat_at.into_iter().chain(self.expires).min()
    }

    pub(super) fn pin_id(&self) -> Option<&str> {
        self.group.as_ref().map(|group| &*group.id).filter(|id| !id.is_empty())
    }
}

/// The queue in which requests wait.
#[derive(Debug, Default)]
pub(super) struct WaitQueue {
    queue: VecDeque<Waiting>,
    max: usize,
    no_wait: usize,
    /// When the first of them is due, or earlier.
    pub(super) due: Option<Time>,
    /// When a client last asked, or received.
    pub(super) last_used: Time,
    /// When [`Self::retain`] last looked at all of them.
    pub(super) last_checked: Time,
}

impl WaitQueue {
    pub(super) fn new(max: i64) -> Self {
        Self { max: usize::try_from(max).unwrap_or_default(), ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= self.max
    }

    /// Returns true if a request ends when no message waits.
    pub(super) fn has_no_wait(&self) -> bool {
        self.no_wait > 0
    }

    /// Returns true if a request has a heartbeat or its end before `now`.
    pub(super) fn has_due(&self, now: Time) -> bool {
        self.queue.iter().any(|request| request.due().is_some_and(|due| due < now))
    }

    pub(super) fn first(&self) -> Option<&Waiting> {
        self.queue.front()
    }

    pub(super) fn first_mut(&mut self) -> Option<&mut Waiting> {
        self.queue.front_mut()
    }

    /// Adds a request: at the end, or behind those of the same or a lower number of priority.
    pub(super) fn add(&mut self, request: Waiting, by_priority: bool) {
        self.due = self.due.into_iter().chain(request.due()).min();
        self.no_wait += usize::from(request.no_wait);
        self.insert(request, by_priority);
    }

    fn insert(&mut self, request: Waiting, by_priority: bool) {
        if by_priority {
            let at = self.queue.partition_point(|other| other.priority() <= request.priority());
            self.queue.insert(at, request);
        } else {
            self.queue.push_back(request);
        }
    }

    /// Moves the first request to the end.
    pub(super) fn cycle(&mut self) {
        self.queue.rotate_left(usize::from(!self.queue.is_empty()));
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let request = self.queue.pop_front()?;
        self.no_wait -= usize::from(request.no_wait);
        Some(request)
    }

    /// Counts one message for the first request, and moves it behind others. Returns the request if it has all it asked for.
    // NATS 2.14: consumer.go waitQueue pop, popAndRequeue.
    pub(super) fn count_delivery(&mut self, by_priority: bool, now: Time) -> Option<Waiting> {
        let request = self.queue.front_mut()?;
        request.delivered += 1;
        request.left -= 1;
        if request.left <= 0 {
            return self.pop();
        }
        if request.heartbeat > 0 {
            request.heartbeat_at = Some(now.plus(request.heartbeat));
        }
        if self.queue.len() > 1
            && let Some(request) = self.queue.pop_front()
        {
            self.insert(request, by_priority);
        }
        None
    }

    /// Removes all requests for which `keep` returns false, and notes when the next is due.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut Waiting) -> bool) {
        self.queue.retain_mut(&mut keep);
        self.no_wait = self.queue.iter().filter(|request| request.no_wait).count();
        self.due = self.queue.iter().filter_map(Waiting::due).min();
    }

    /// Returns the number of messages that all requests ask for.
    pub(super) fn asked(&self) -> i64 {
        self.queue.iter().fold(0, |sum: i64, request| sum.saturating_add(request.left))
    }

    pub(super) fn take_all(&mut self) -> VecDeque<Waiting> {
        (self.no_wait, self.due) = (0, None);
        std::mem::take(&mut self.queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_the_reference_reads_them() {
        for (text, batch, no_wait) in [
            ("", 1, false),
            ("  ", 1, false),
            ("5", 5, false),
            ("+5", 5, false),
            ("-5", -5, false),
            ("x", 1, false),
            ("{}", 0, false),
            (" {\"batch\":7,\"no_wait\":true,\"unknown\":[1]} ", 7, true),
        ] {
            let request = NextRequest::parse(text.as_bytes()).unwrap();
            assert_eq!((request.batch, request.no_wait), (batch, no_wait), "{text}");
        }
        let text = b"{\"expires\":199,\"idle_heartbeat\":100}";
        assert_eq!(NextRequest::parse(text).unwrap_err(), "heartbeat value too large");
        let text = b"{\"group\":\"A\",\"min_pending\":3,\"min_ack_pending\":4,\"id\":\"x\",\"priority\":2}";
        let group = NextRequest::parse(text).unwrap().group.unwrap();
        assert_eq!((&*group.group, &*group.id, group.priority), ("A", "x", 2));
        assert_eq!((group.min_pending, group.min_ack_pending), (3, 4));
        assert!(NextRequest::parse(b"5").unwrap().group.is_none());
        assert_eq!(NextRequest::parse(b"{\"Batch\":7}").unwrap().batch, 7);
        for (text, fault) in [
            ("{", "unexpected end of JSON input"),
            (
                "{\"batch\":\"x\"}",
                "json: cannot unmarshal string into Go struct field JSApiConsumerGetNextRequest.batch of type int",
            ),
        ] {
            assert_eq!(NextRequest::parse(text.as_bytes()).unwrap_err(), fault);
        }
    }

    #[test]
    fn requests_of_one_priority_take_turns_before_those_of_a_lower_one() {
        let mut queue = WaitQueue::new(10);
        for (reply, priority) in [("a", 2), ("b", 1), ("c", 1), ("d", 0)] {
            let group = Some(Group { priority, ..Group::default() });
            let request = Waiting {
                reply: reply.as_bytes().into(),
                left: 2,
                delivered: 0,
                bytes: 0,
                expires: None,
                no_wait: false,
                heartbeat: 0,
                heartbeat_at: None,
                group,
            };
            queue.add(request, true);
        }
        let mut order = String::new();
        while let Some(first) = queue.first() {
            order += std::str::from_utf8(&first.reply).unwrap();
            queue.count_delivery(true, Time(0));
        }
        assert_eq!(order, "ddbcbcaa");
    }
}
