//! Reply subjects that a session may publish to because it received a request.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::limits::REPLY_PERMISSIONS_BYTES;

/// The number of answers, and the time for them, that a user may publish to the reply subject of a received
/// request if its other permissions do not allow that subject.
///
/// ```
/// use std::time::Duration;
/// use broker_core::auth::AllowResponses;
///
/// let once = AllowResponses::default();
/// assert_eq!(once.max_msgs(), Some(1));
/// assert_eq!(once.expires(), Some(Duration::from_secs(120)));
/// assert_eq!(AllowResponses::new(0, Some(Duration::ZERO)), once);
///
/// let for_ever = AllowResponses::new(-1, None);
/// assert_eq!((for_ever.max_msgs(), for_ever.expires()), (None, None));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AllowResponses {
    max_msgs: Option<NonZeroU64>,
    expires: Option<Duration>,
}

impl AllowResponses {
    // NATS 2.14: const.go DEFAULT_ALLOW_RESPONSE_MAX_MSGS, DEFAULT_ALLOW_RESPONSE_EXPIRATION.
    const DEFAULT_MAX_MSGS: NonZeroU64 = NonZeroU64::MIN;
    const DEFAULT_EXPIRES: Duration = Duration::from_secs(120);

    /// Allows at most `max_msgs` answers to a request, within `expires` of it.
    ///
    /// As in NATS's configuration, 0 stands for the default (one message, two minutes) and a
    /// negative `max_msgs` for no limit; `expires` of `None` is no limit either.
    pub fn new(max_msgs: i64, expires: Option<Duration>) -> Self {
        let max_msgs = match u64::try_from(max_msgs) {
            Ok(max_msgs) => Some(NonZeroU64::new(max_msgs).unwrap_or(Self::DEFAULT_MAX_MSGS)),
            Err(_) => None,
        };
        let expires =
            expires.map(|after| if after.is_zero() { Self::DEFAULT_EXPIRES } else { after });
        Self { max_msgs, expires }
    }

    /// Returns the number of answers that a request may get; `None` for no limit.
    pub fn max_msgs(&self) -> Option<u64> {
        self.max_msgs.map(NonZeroU64::get)
    }

    /// Returns the time within which a request may be answered; `None` for no limit.
    pub fn expires(&self) -> Option<Duration> {
        self.expires
    }
}

impl Default for AllowResponses {
    fn default() -> Self {
        Self::new(0, Some(Duration::ZERO))
    }
}

/// The reply subjects that one session may publish to.
///
/// Bounded: past [`REPLY_PERMISSIONS_BYTES`] the oldest entry is removed.
#[derive(Debug)]
pub(crate) struct Replies {
    rule: AllowResponses,
    open: HashMap<Arc<[u8]>, Open>,
    /// The keys of `open`, oldest first. All have the same lifetime, so this is also the order in which
    /// they expire.
    by_age: BTreeMap<u64, Arc<[u8]>>,
    next_age: u64,
    held_bytes: usize,
}

#[derive(Debug)]
struct Open {
    age: u64,
    noted: Instant,
    answers: u64,
}

impl Replies {
    /// The memory of an entry beside its text: two table entries and the head of the shared text.
    const ENTRY_BYTES: usize = 128;

    pub(crate) fn new(rule: AllowResponses) -> Self {
        Self { rule, open: HashMap::new(), by_age: BTreeMap::new(), next_age: 0, held_bytes: 0 }
    }

    /// Replaces the rule, also for requests that were noted already.
    pub(crate) fn set_rule(&mut self, rule: AllowResponses) {
        self.rule = rule;
    }

    /// Notes that a message with this reply subject was delivered: it may be answered, counting from zero. Returns
    /// the number of unexpired entries that were removed to make room for it.
    ///
    /// Called only for subjects that the session may not publish to otherwise.
    // NATS 2.14: client.go deliverMsg, where noting a subject again *spends* an answer instead, so
    // that two subscriptions that got the same request leave none.
    // It prunes expired entries every 4096 notes, and holds any number of others.
    pub(crate) fn note(&mut self, reply: &[u8], now: Instant) -> u64 {
        self.forget(reply);
        let mut lost = 0;
        let cost = Self::ENTRY_BYTES + reply.len();
        while let Some(oldest) = self.by_age.first_entry() {
            let over = self.held_bytes + cost > REPLY_PERMISSIONS_BYTES;
            let stale = self.open.get(oldest.get()).is_none_or(|open| self.rule.is_over(open, now));
            if !over && !stale {
                break;
            }
            lost += u64::from(!stale);
            let oldest = oldest.remove();
            self.open.remove(&oldest);
            self.held_bytes -= Self::ENTRY_BYTES + oldest.len();
        }
        let reply: Arc<[u8]> = reply.into();
        self.by_age.insert(self.next_age, reply.clone());
        self.open.insert(reply, Open { age: self.next_age, noted: now, answers: 0 });
        self.next_age += 1;
        self.held_bytes += cost;
        lost
    }

    /// Returns true if the session may publish this answer, and counts it.
    // NATS 2.14: client.go responseAllowed.
    pub(crate) fn take(&mut self, subject: &[u8], now: Instant) -> bool {
        let rule = self.rule;
        let Some(open) = self.open.get_mut(subject) else {
            return false;
        };
        if rule.is_over(open, now) {
            self.forget(subject);
            return false;
        }
        open.answers += 1;
        if rule.max_msgs().is_some_and(|max_msgs| open.answers >= max_msgs) {
            self.forget(subject);
        }
        true
    }

    fn forget(&mut self, reply: &[u8]) {
        if let Some(open) = self.open.remove(reply) {
            self.by_age.remove(&open.age);
            self.held_bytes -= Self::ENTRY_BYTES + reply.len();
        }
    }
}

impl AllowResponses {
    fn is_over(self, open: &Open, now: Instant) -> bool {
        self.expires.is_some_and(|after| now.saturating_duration_since(open.noted) > after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn replies(max_msgs: i64, expires: Option<Duration>) -> (Replies, Instant) {
        (Replies::new(AllowResponses::new(max_msgs, expires)), Instant::now())
    }

    #[test]
    fn a_request_may_be_answered_as_often_as_the_rule_says() {
        for (max_msgs, expected) in [(0, 1), (1, 1), (2, 2), (3, 3), (-1, 100), (i64::MIN, 100)] {
            let (mut replies, now) = replies(max_msgs, None);
            replies.note(b"inbox", now);
            let answers = (0..100).filter(|_| replies.take(b"inbox", now)).count();
            assert_eq!(answers, expected, "{max_msgs}");
        }
    }

    #[test]
    fn a_subject_without_a_request_may_not_be_answered() {
        let (mut replies, now) = replies(-1, None);
        replies.note(b"inbox.1", now);
        for subject in [&b"inbox.2"[..], b"inbox", b"inbox.1.x", b"inbox.*", b""] {
            assert!(!replies.take(subject, now));
        }
    }

    #[test]
    fn a_request_may_be_answered_until_it_expires() {
        let (mut replies, start) = replies(-1, Some(60 * SECOND));
        replies.note(b"inbox", start);
        assert!(replies.take(b"inbox", start + 60 * SECOND));
        assert!(!replies.take(b"inbox", start + 60 * SECOND + Duration::from_nanos(1)));
        assert!(!replies.take(b"inbox", start), "an expired entry stays expired");
        assert_eq!(replies.held_bytes, 0);
    }

    #[test]
    fn without_an_expiry_a_request_may_be_answered_for_ever() {
        let (mut replies, start) = replies(1, None);
        replies.note(b"inbox", start);
        assert!(replies.take(b"inbox", start + 1_000_000 * SECOND));
    }

    #[test]
    fn a_request_received_twice_may_be_answered_as_often_as_one() {
        let (mut replies, start) = replies(1, Some(60 * SECOND));
        replies.note(b"inbox", start);
        replies.note(b"inbox", start + 30 * SECOND);
        assert!(replies.take(b"inbox", start + 90 * SECOND));
        assert!(!replies.take(b"inbox", start + 90 * SECOND));
    }

    #[test]
    fn expired_entries_are_removed_by_later_notes() {
        let (mut replies, start) = replies(1, Some(SECOND));
        for i in 0..100 {
            assert_eq!(replies.note(format!("inbox.{i}").as_bytes(), start), 0);
        }
        assert_eq!(replies.note(b"late", start + 2 * SECOND), 0, "all of them had expired");
        assert_eq!((replies.open.len(), replies.by_age.len()), (1, 1));
    }

    #[test]
    fn past_the_bound_the_oldest_entry_is_removed() {
        let (mut replies, now) = replies(-1, None);
        let reply = |i: usize| {
            let mut reply = vec![b'x'; 4096 - Replies::ENTRY_BYTES];
            reply[..8].copy_from_slice(&i.to_be_bytes());
            reply
        };
        let bound = REPLY_PERMISSIONS_BYTES / 4096;
        for i in 0..bound {
            assert_eq!(replies.note(&reply(i), now), 0);
        }
        assert_eq!(replies.held_bytes, REPLY_PERMISSIONS_BYTES);
        assert!(replies.take(&reply(0), now), "nothing is removed at the bound");
        assert_eq!(replies.note(&reply(bound), now), 1);
        assert_eq!(replies.held_bytes, REPLY_PERMISSIONS_BYTES);
        assert!(!replies.take(&reply(0), now));
        assert!(replies.take(&reply(1), now));
        assert!(replies.take(&reply(bound), now));
    }

    #[test]
    fn the_tables_agree_whatever_is_noted_and_taken() {
        let (mut replies, start) = replies(2, Some(50 * SECOND));
        let mut seed = 1_u32;
        for second in 0..10_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let subject = format!("inbox.{}", (seed >> 8) % 40);
            let now = start + second * SECOND;
            if seed >> 31 == 0 {
                replies.note(subject.as_bytes(), now);
            } else {
                replies.take(subject.as_bytes(), now);
            }
            let cost: usize = replies.open.keys().map(|k| k.len() + Replies::ENTRY_BYTES).sum();
            assert_eq!(replies.held_bytes, cost);
            assert_eq!(replies.open.len(), replies.by_age.len());
            assert!(replies.open.len() <= 40);
        }
    }
}
