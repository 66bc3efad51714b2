//! Timestamps and durations in the reference's format.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// Tolerated difference between the wall clock and the monotonic clock.
const DRIFT: Duration = Duration::from_secs(1);

/// A wall-clock time, displayed as RFC 3339 in UTC with as many digits as necessary.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Moment(pub SystemTime);

impl Moment {
    /// Seconds since 1970, with fraction.
    pub fn unix_seconds(self) -> f64 {
        self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    }

    /// Whole milliseconds since 1970.
    pub fn unix_millis(self) -> u64 {
        let since = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let timestamp = Timestamp::try_from(self.0).unwrap_or(Timestamp::UNIX_EPOCH);
        serializer.collect_str(&timestamp)
    }
}

/// Converts monotonic times to wall-clock times.
///
/// An instant always converts to the same time, unless the wall clock was set.
#[derive(Debug)]
pub(crate) struct Wall {
    anchor: Mutex<(Instant, SystemTime)>,
}

impl Wall {
    pub(crate) fn new() -> Self {
        Self { anchor: Mutex::new((Instant::now(), SystemTime::now())) }
    }

    /// Returns the current time, as a base to convert other instants.
    pub(crate) fn now(&self) -> Now {
        self.now_at(Instant::now(), SystemTime::now())
    }

    fn now_at(&self, instant: Instant, wall: SystemTime) -> Now {
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = anchor.1 + instant.saturating_duration_since(anchor.0);
        let drift = expected.duration_since(wall).or_else(|_| wall.duration_since(expected));
        if drift.is_ok_and(|drift| drift > DRIFT) {
            *anchor = (instant, wall);
        }
        Now { instant, anchor: *anchor }
    }
}

/// One instant on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    anchor: (Instant, SystemTime),
}

impl Now {
    pub(crate) fn moment(&self) -> Moment {
        self.at(self.instant)
    }

    /// Converts an instant.
    pub(crate) fn at(&self, instant: Instant) -> Moment {
        let (anchor, wall) = self.anchor;
        Moment(match instant.checked_duration_since(anchor) {
            Some(later) => wall + later,
            None => wall - anchor.duration_since(instant),
        })
    }

    /// Returns the time since an instant, formatted by [`uptime`].
    pub(crate) fn since(&self, instant: Instant) -> String {
        uptime(self.instant.saturating_duration_since(instant))
    }
}

/// Formats years, days, hours, minutes and seconds, from the first that is not 0: `1d0h7m4s`.
// NATS 2.14: monitor.go myUptime; a year has 365 days.
pub fn uptime(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let years = days / 365;
    let parts = [
        (years, years, 'y'),
        (days, days % 365, 'd'),
        (hours, hours % 24, 'h'),
        (minutes, minutes % 60, 'm'),
        (1, seconds % 60, 's'),
    ];
    parts
        .iter()
        .filter(|(whole, _, _)| *whole > 0)
        .map(|(_, part, unit)| format!("{part}{unit}"))
        .collect()
}

/// Formats a round-trip time: whole microseconds below a millisecond, otherwise as Go formats
/// durations.
// NATS 2.14: client.go getRTT.
pub fn round_trip(span: Option<Duration>) -> String {
    let span = span.unwrap_or_default();
    let is_short = span > Duration::from_micros(1) && span < Duration::from_millis(1);
    let rest = if is_short { span.subsec_nanos() % 1000 } else { 0 };
    go_duration(span - Duration::from_nanos(rest.into()))
}

/// Formats a duration as Go's `time.Duration`: `1.5ms`, `2s`, `1m0.25s`.
pub fn go_duration(span: Duration) -> String {
    let nanos = span.as_nanos();
    let in_units = |unit: u128, name: &str| {
        let (whole, part) = (nanos / unit, nanos % unit);
        let digits = unit.ilog10() as usize;
        let part = format!("{part:0digits$}");
        let part = part.trim_end_matches('0');
        if part.is_empty() { format!("{whole}{name}") } else { format!("{whole}.{part}{name}") }
    };
    match nanos {
        0 => "0s".into(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => in_units(1_000, "µs"),
        1_000_000..1_000_000_000 => in_units(1_000_000, "ms"),
        _ => {
            let seconds = span.as_secs();
            let rest = Duration::new(seconds % 60, span.subsec_nanos()).as_nanos();
            let part = format!("{:09}", rest % 1_000_000_000);
            let part = part.trim_end_matches('0');
            let point = if part.is_empty() { "" } else { "." };
            let last = format!("{}{point}{part}s", rest / 1_000_000_000);
            match (seconds / 3600, seconds / 60 % 60) {
                (0, 0) => last,
                (0, minutes) => format!("{minutes}m{last}"),
                (hours, minutes) => format!("{hours}h{minutes}m{last}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uptime_begins_with_its_first_nonzero_unit() {
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m0s"),
            (3_600, "1h0m0s"),
            (86_400 + 61, "1d0h1m1s"),
            (365 * 86_400 + 5, "1y0d0h0m5s"),
        ] {
            assert_eq!(uptime(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn durations_are_printed_as_in_go() {
        for (nanos, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (245_000_000_000, "4m5s"),
            (245_001_000_000, "4m5.001s"),
            (18_367_001_000_000, "5h6m7.001s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(nanos)), expected);
        }
        assert_eq!(round_trip(None), "0s");
        assert_eq!(round_trip(Some(Duration::from_nanos(529_999))), "529µs");
        assert_eq!(round_trip(Some(Duration::from_nanos(1_405_666))), "1.405666ms");
    }

    #[test]
    fn timestamps_are_printed_in_utc_with_the_necessary_digits() {
        let print = |nanos| {
            let moment = Moment(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos));
            serde_json::to_string(&moment).unwrap()
        };
        assert_eq!(print(1_000_000_000), "\"1970-01-01T00:00:01Z\"");
        assert_eq!(print(1_120_000_000), "\"1970-01-01T00:00:01.12Z\"");
        assert_eq!(print(1), "\"1970-01-01T00:00:00.000000001Z\"");
    }

    #[test]
    fn an_instant_keeps_its_timestamp_until_the_wall_clock_is_set() {
        let wall = Wall::new();
        let (instant, system) = *wall.anchor.lock().unwrap();
        let later = |millis| Duration::from_millis(millis);
        let now = wall.now_at(instant + later(5_000), system + later(5_400));
        assert_eq!(now.at(instant), Moment(system), "a little drift is none");
        assert_eq!(now.at(instant - later(7)), Moment(system - later(7)));
        let now = wall.now_at(instant + later(6_000), system + later(9_000));
        assert_eq!(now.moment(), Moment(system + later(9_000)));
        assert_eq!(now.at(instant), Moment(system + later(3_000)));
    }
}
