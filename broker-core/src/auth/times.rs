//! Times of day at which users may be connected, and the ends of claims.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::jwt::{TimeRange, UserLimits, second_of_day};

const DAY: i64 = 24 * 60 * 60;

/// The time zones that a server knows.
pub trait TimeZones: Send + Sync + 'static {
    /// Returns the offset from UTC, in seconds to the east, in this zone at this time; `None` if the zone is not known.
    /// The zone of the server has an empty name.
    fn offset(&self, zone: &str, at: SystemTime) -> Option<i32>;
}

impl<F> TimeZones for F
where
    F: Fn(&str, SystemTime) -> Option<i32> + Send + Sync + 'static,
{
    fn offset(&self, zone: &str, at: SystemTime) -> Option<i32> {
        self(zone, at)
    }
}

/// UTC, which is also the zone of the server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utc;

impl TimeZones for Utc {
    fn offset(&self, zone: &str, _: SystemTime) -> Option<i32> {
        matches!(zone, "" | "UTC" | "Local").then_some(0)
    }
}

/// Checks that a user may be connected at this time of day. Returns the end of that time, if there is one.
///
/// # Errors
///
/// `Err(())` if it may not.
// NATS 2.14: jwt.go validateTimes.
pub(crate) fn check(
    limits: &UserLimits,
    zones: &dyn TimeZones,
    now: SystemTime,
) -> Result<Option<SystemTime>, ()> {
    if limits.times.is_empty() {
        return Ok(None);
    }
    let offset = |at| zones.offset(&limits.locale, at).map(i64::from).ok_or(());
    let here = offset(now)?;
    let local = seconds(now) + here;
    let midnight = local - local.rem_euclid(DAY);
    let nanos = now.duration_since(time(seconds(now))).unwrap_or_default().subsec_nanos();
    let mut longest: Option<i64> = None;
    for range in &limits.times {
        let end = end_of(range, local - midnight, nanos > 0)?;
        longest = longest.max(end.map(|end| midnight + end));
    }
    let end = longest.ok_or(())? - here;
    // The clocks may change before the end.
    let there = offset(time(end))?;
    Ok(Some(time(end + here - there)))
}

/// Returns the end of the range, in seconds after this midnight, if the time is in it.
// NATS 2.14: jwt.go validateTimeRangeAt: neither the first nor the last moment is in it.
fn end_of(range: &TimeRange, now: i64, has_fraction: bool) -> Result<Option<i64>, ()> {
    let parse = |text: &str| second_of_day(text).map(i64::from).ok_or(());
    let (start, end) = (parse(&range.start)?, parse(&range.end)?);
    let has_begun = start < now || start == now && has_fraction;
    let wraps = start > end;
    Ok(if (has_begun || wraps) && end > now {
        Some(end)
    } else if wraps && has_begun {
        Some(end + DAY)
    } else {
        None
    })
}

/// Returns the earlier of two ends.
pub(crate) fn earlier(a: Option<SystemTime>, b: Option<SystemTime>) -> Option<SystemTime> {
    a.into_iter().chain(b).min()
}

/// Returns the seconds since 1970.
pub(crate) fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Returns the time of seconds since 1970.
pub(crate) fn time(seconds: i64) -> SystemTime {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX)))
}

/// Returns the end of claims.
pub(crate) fn expiry(expires: i64) -> Option<SystemTime> {
    (expires != 0).then(|| time(expires.max(0)))
}

/// Returns the end of the token of a user who logs in now, as many whole seconds later as its time differs from now: a token that was
/// made for a second serves for a second.
// NATS 2.14: client.go setExpiration.
pub(crate) fn expiry_of_user(expires: i64, now: SystemTime) -> Option<SystemTime> {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    expiry(expires)?.checked_add(Duration::from_nanos(since.subsec_nanos().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_of_a_user_has_whole_seconds() {
        let now = time(100) + Duration::from_millis(950);
        assert_eq!(expiry_of_user(101, now), Some(now + Duration::from_secs(1)));
        assert_eq!(expiry_of_user(100, now), Some(now));
        assert_eq!(expiry_of_user(0, now), None);
    }

    /// 2026-03-28 00:00:00 UTC; the clocks of Berlin change 25 hours later.
    const SATURDAY: i64 = 1_774_656_000;

    fn limits(zone: &str, times: &[(&str, &str)]) -> UserLimits {
        let range =
            |(start, end): &(&str, &str)| TimeRange { start: (*start).into(), end: (*end).into() };
        let mut limits = UserLimits::unlimited();
        limits.locale = zone.into();
        limits.times = times.iter().map(range).collect();
        limits
    }

    fn berlin(zone: &str, at: SystemTime) -> Option<i32> {
        let summer = SATURDAY + 25 * 3600;
        match zone {
            "Europe/Berlin" => Some(if seconds(at) < summer { 3600 } else { 7200 }),
            _ => Utc.offset(zone, at),
        }
    }

    fn left(limits: &UserLimits, now: i64) -> Result<Option<u64>, ()> {
        let end = check(limits, &berlin, time(now))?;
        Ok(end.map(|end| end.duration_since(time(now)).unwrap().as_secs()))
    }

    #[test]
    fn a_user_is_connected_within_its_times_only() {
        let day = limits("", &[("08:00:00", "17:00:00")]);
        assert_eq!(left(&day, SATURDAY + 8 * 3600), Err(()), "the first moment");
        assert_eq!(left(&day, SATURDAY + 8 * 3600 + 1), Ok(Some(9 * 3600 - 1)));
        assert_eq!(left(&day, SATURDAY + 17 * 3600), Err(()));
        assert_eq!(left(&limits("", &[]), SATURDAY), Ok(None));
        assert_eq!(left(&limits("Mars", &[("00:00:00", "23:00:00")]), SATURDAY + 9), Err(()));
        assert_eq!(left(&limits("", &[("08:00", "17:00:00")]), SATURDAY + 9), Err(()));
    }

    #[test]
    fn a_range_may_include_midnight() {
        let night = limits("", &[("22:00:00", "06:00:00")]);
        assert_eq!(left(&night, SATURDAY + 5 * 3600), Ok(Some(3600)));
        assert_eq!(left(&night, SATURDAY + 23 * 3600), Ok(Some(7 * 3600)));
        assert_eq!(left(&night, SATURDAY + 12 * 3600), Err(()));
    }

    #[test]
    fn the_longest_of_several_ranges_counts() {
        let both = limits("", &[("08:00:00", "10:00:00"), ("09:00:00", "12:00:00")]);
        assert_eq!(left(&both, SATURDAY + 9 * 3600 + 1), Ok(Some(3 * 3600 - 1)));
    }

    #[test]
    fn a_zone_shifts_the_times_and_its_clocks_may_change() {
        let day = limits("Europe/Berlin", &[("08:00:00", "17:00:00")]);
        assert_eq!(left(&day, SATURDAY + 7 * 3600 + 1), Ok(Some(9 * 3600 - 1)));
        let night = limits("Europe/Berlin", &[("22:00:00", "06:00:00")]);
        let ten_to_midnight = SATURDAY + 22 * 3600 + 50 * 60;
        assert_eq!(
            left(&night, ten_to_midnight),
            Ok(Some(5 * 3600 + 10 * 60)),
            "an hour is skipped"
        );
    }

    #[test]
    fn the_earlier_end_counts() {
        assert_eq!(earlier(expiry(5), expiry(3)), expiry(3));
        assert_eq!(earlier(None, expiry(3)), expiry(3));
        assert_eq!(expiry(0), None);
        assert_eq!(earlier(None, Some(time(1))), expiry(1));
    }
}
