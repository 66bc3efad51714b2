//! When a schedule is due.
// NATS 2.14: scheduler.go parseMsgSchedule, stream.go nextMessageSchedule.

use jiff::tz::TimeZone;

use super::cron::Cron;
use crate::config::Time;
use crate::error::ApiError;
use crate::go::parse_duration;
use crate::stream::fields::Fields;

const SECOND: i64 = 1_000_000_000;

/// When a schedule is due next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Due {
    pub time: Time,
    /// It is due again after that.
    pub repeats: bool,
}

/// Returns when a schedule is due after `time`; `None` without a schedule.
pub(super) fn due(fields: &Fields<'_>, time: Time, now: Time) -> Result<Option<Due>, ApiError> {
    let zone = zone(fields)?;
    let pattern = fields.schedule.unwrap_or_default();
    if pattern.is_empty() {
        return Ok(None);
    }
    let pattern = std::str::from_utf8(pattern).ok();
    let due = pattern.and_then(|pattern| parse(pattern, zone, time, now));
    due.map(Some).ok_or(ApiError::MESSAGE_SCHEDULES_PATTERN_INVALID)
}

fn parse(pattern: &str, zone: Option<TimeZone>, time: Time, now: Time) -> Option<Due> {
    if let Some(at) = pattern.strip_prefix("@at ") {
        let at: jiff::Timestamp = at.parse().ok().filter(|_| zone.is_none())?;
        let time = Time(i64::try_from(at.as_nanosecond()).ok()?);
        return Some(Due { time, repeats: false });
    }
    if let Some(every) = pattern.strip_prefix("@every ") {
        let every = parse_duration(every.as_bytes()).filter(|_| zone.is_none())?;
        if every < SECOND {
            return None;
        }
        let next = rounded(time).plus(every);
        let next = if next < now { rounded(now).plus(every) } else { next };
        return Some(Due { time: next, repeats: true });
    }
    let (cron, zone) = (Cron::parse(pattern)?, zone.unwrap_or(TimeZone::UTC));
    let next = cron.next(time, &zone)?;
    // Times that have passed are made up for once.
    let next = if next < now { cron.next(rounded(now), &zone)? } else { next };
    Some(Due { time: next, repeats: true })
}

/// Returns the time zone of a schedule.
fn zone(fields: &Fields<'_>) -> Result<Option<TimeZone>, ApiError> {
    let Some(name) = fields.schedule_time_zone else { return Ok(None) };
    let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty());
    match name.and_then(|name| TimeZone::get(name).ok()) {
        Some(zone) => Ok(Some(zone)),
        None => Err(ApiError::MESSAGE_SCHEDULES_TIME_ZONE_INVALID),
    }
}

fn rounded(time: Time) -> Time {
    Time(time.0.saturating_add(SECOND / 2).div_euclid(SECOND) * SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_due_as_those_of_the_reference() {
        let now = Time(1_700_000_000_400_000_000);
        let due = |pattern: &str, zone: Option<&str>| {
            let fields = Fields {
                schedule: Some(pattern.as_bytes()),
                schedule_time_zone: zone.map(str::as_bytes),
                ..Fields::default()
            };
            super::due(&fields, now, now).map(|due| due.map(|due| due.time.to_string()))
        };
        let at = |time: &str| Ok(Some(time.to_owned()));
        let pattern = || Err(ApiError::MESSAGE_SCHEDULES_PATTERN_INVALID);
        let zone = || Err(ApiError::MESSAGE_SCHEDULES_TIME_ZONE_INVALID);
        assert_eq!(due("", None), Ok(None));
        assert_eq!(due("@at 2030-01-01T00:00:00Z", None), at("2030-01-01T00:00:00Z"));
        assert_eq!(due("@at 2030-01-01T00:00:00+01:00", None), at("2029-12-31T23:00:00Z"));
        assert_eq!(due("@at 2030", None), pattern());
        assert_eq!(due("@every 5s", None), at("2023-11-14T22:13:25Z"));
        assert_eq!(due("@every 999ms", None), pattern());
        assert_eq!(due("0 0 0 * * *", None), at("2023-11-15T00:00:00Z"));
        assert_eq!(due("0 0 0 * * *", Some("Europe/Paris")), at("2023-11-14T23:00:00Z"));
        assert_eq!(due("@every 5s", Some("Europe/Paris")), pattern());
        assert_eq!(due("@at 2030-01-01T00:00:00Z", Some("UTC")), pattern());
        assert_eq!(due("0 0 0 * * *", Some("Nowhere")), zone());
        assert_eq!(due("0 0 0 * * *", Some("")), zone());
        assert_eq!(due("0 0 0 * *", None), pattern());
    }

    #[test]
    fn what_was_missed_is_made_up_for_once() {
        let (then, now) = (Time(1_000 * SECOND), Time(2_000 * SECOND));
        let fields = Fields { schedule: Some(b"@every 10s"), ..Fields::default() };
        let time = Time(2_010 * SECOND);
        assert_eq!(super::due(&fields, then, now), Ok(Some(Due { time, repeats: true })));
    }
}
