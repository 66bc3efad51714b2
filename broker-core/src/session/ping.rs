//! Keepalive: PING, PONG and the round trip.

use std::time::{Duration, Instant};

use crate::limits::Limits;
use crate::random::Random;

/// The first PING is sent early, to measure the round trip.
// NATS 2.14: 2 seconds after CONNECT, and up to a fifth later.
const FIRST_PING: Duration = Duration::from_secs(2);

/// The interval of measurements of the round trip, with traffic or without.
// NATS 2.14: DEFAULT_RTT_MEASUREMENT_INTERVAL.
const MEASURE_AGAIN: Duration = Duration::from_hours(1);

/// The state of the keepalive of one connection.
#[derive(Debug)]
pub(super) struct Ping {
    /// Overrides the interval of the limits.
    own_interval: Option<Duration>,
    next: Instant,
    /// PINGs sent since the last PONG.
    unanswered: u32,
    sent: Option<Instant>,
    last_activity: Instant,
}

/// The action that is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Due {
    Nothing,
    Ping,
    Stale,
}

impl Ping {
    pub(super) fn new(now: Instant, limits: &Limits, own_interval: Option<Duration>) -> Self {
        let next = now + own_interval.unwrap_or(limits.ping_interval);
        Self { own_interval, next, unanswered: 0, sent: None, last_activity: now }
    }

    fn interval(&self, limits: &Limits) -> Duration {
        self.own_interval.unwrap_or(limits.ping_interval)
    }

    pub(super) fn deadline(&self) -> Instant {
        self.next
    }

    /// Records CONNECT.
    pub(super) fn connected(&mut self, now: Instant, limits: &Limits, random: &mut Random) {
        let first = self.interval(limits).min(FIRST_PING);
        let fifth = usize::try_from((first / 5).as_nanos()).unwrap_or(usize::MAX);
        self.next = now + first + Duration::from_nanos(random.below(fifth) as u64);
    }

    /// Applies new limits.
    pub(super) fn follow(&mut self, now: Instant, limits: &Limits) {
        self.next = self.next.min(now + self.interval(limits));
    }

    /// Records a PING that is sent now.
    pub(super) fn ping_now(&mut self, now: Instant) {
        self.unanswered += 1;
        self.sent = Some(now);
    }

    /// Records activity.
    pub(super) fn note_activity(&mut self, now: Instant) {
        self.last_activity = now;
    }

    /// Records a PONG. Returns the round trip.
    pub(super) fn answered(&mut self, now: Instant) -> Option<Duration> {
        self.unanswered = 0;
        self.sent.map(|sent| now.saturating_duration_since(sent).max(Duration::from_nanos(1)))
    }

    /// Sends no PING if one is due: none could be answered in time.
    pub(super) fn postpone(&mut self, now: Instant, limits: &Limits) {
        if now >= self.next {
            self.next = now + self.interval(limits);
            self.unanswered = 0;
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, limits: &Limits) -> Due {
        if now < self.next {
            return Due::Nothing;
        }
        let interval = self.interval(limits);
        self.next = now + interval;
        let is_silent = now.saturating_duration_since(self.last_activity) >= interval;
        let must_measure =
            self.sent.is_none_or(|sent| now.saturating_duration_since(sent) > MEASURE_AGAIN);
        if !is_silent && !must_measure {
            return Due::Nothing;
        }
        if self.unanswered + 1 > limits.ping_max {
            return Due::Stale;
        }
        self.unanswered += 1;
        self.sent = Some(now);
        Due::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_client_gets_pings_and_becomes_stale() {
        let limits = Limits { ping_interval: Duration::from_secs(10), ..Limits::default() };
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut ping = Ping::new(start, &limits, None);
        ping.connected(start, &limits, &mut Random::new(1));
        assert_eq!(ping.handle_timeout(at(1), &limits), Due::Nothing);
        assert_eq!(ping.handle_timeout(at(3), &limits), Due::Ping, "the early one");
        assert_eq!(ping.answered(at(4)), Some(Duration::from_secs(1)));
        ping.note_activity(at(12));
        assert_eq!(ping.handle_timeout(at(13), &limits), Due::Nothing, "activity delays the PING");
        assert_eq!(ping.handle_timeout(at(23), &limits), Due::Ping);
        assert_eq!(ping.handle_timeout(at(33), &limits), Due::Ping);
        assert_eq!(ping.handle_timeout(at(43), &limits), Due::Stale);
    }
}
