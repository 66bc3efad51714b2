//! Cron patterns with seconds: `second minute hour day-of-month month day-of-week`.
// NATS 2.14: cron.go, which is based on github.com/robfig/cron.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

use crate::config::Time;

/// The bit of a field that was written as a star.
const STAR: u64 = 1 << 63;
const MONTHS: &[&str] =
    &["", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A pattern: for each field, the bits of the values that it selects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Cron {
    second: u64,
    minute: u64,
    hour: u64,
    day: u64,
    month: u64,
    weekday: u64,
}

impl Cron {
    /// Reads a pattern, or one of the names for common ones.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = match text {
            "@yearly" | "@annually" => "0 0 0 1 1 *",
            "@monthly" => "0 0 0 1 * *",
            "@weekly" => "0 0 0 * * 0",
            "@daily" | "@midnight" => "0 0 0 * * *",
            "@hourly" => "0 0 * * * *",
            text => text,
        };
        let fields: Vec<_> = text.split_whitespace().collect();
        let [second, minute, hour, day, month, weekday] = fields[..] else { return None };
        Some(Self {
            second: field(second, 0, 59, &[])?,
            minute: field(minute, 0, 59, &[])?,
            hour: field(hour, 0, 23, &[])?,
            day: field(day, 1, 31, &[])?,
            month: field(month, 1, 12, MONTHS)?,
            weekday: field(weekday, 0, 6, DAYS)?,
        })
    }

    /// Returns the first time after `time` that the pattern selects, within five years.
    pub(super) fn next(&self, time: Time, zone: &TimeZone) -> Option<Time> {
        let seconds = time.0.div_euclid(1_000_000_000) + 1;
        let mut next = Timestamp::from_second(seconds).ok()?.to_zoned(zone.clone());
        let last_year = next.year() + 5;
        while next.year() <= last_year {
            match self.advance(&next)? {
                None => return i64::try_from(next.timestamp().as_nanosecond()).ok().map(Time),
                Some(later) => next = later,
            }
        }
        None
    }

    /// Returns a later time, before which the pattern selects none; `None` if it selects this one.
    fn advance(&self, at: &Zoned) -> Option<Option<Zoned>> {
        let later = if !has(self.month, at.month()) {
            at.first_of_month().ok()?.start_of_day().ok()?.checked_add(1.month()).ok()?
        } else if !self.has_day(at) {
            at.start_of_day().ok()?.checked_add(1.day()).ok()?
        } else if !has(self.hour, at.hour()) {
            let into = i64::from(at.minute()) * 60 + i64::from(at.second());
            at.checked_add((3600 - into).seconds()).ok()?
        } else if !has(self.minute, at.minute()) {
            at.checked_add((60 - i64::from(at.second())).seconds()).ok()?
        } else if !has(self.second, at.second()) {
            at.checked_add(1.second()).ok()?
        } else {
            return Some(None);
        };
        Some(Some(later))
    }

    /// A star in one of the two fields of days leaves the choice to the other one; without a star, either selects.
    fn has_day(&self, at: &Zoned) -> bool {
        let day = has(self.day, at.day());
        let weekday = has(self.weekday, at.weekday().to_sunday_zero_offset());
        let has_star = (self.day | self.weekday) & STAR != 0;
        if has_star { day && weekday } else { day || weekday }
    }
}

fn has(bits: u64, value: i8) -> bool {
    bits & (1 << value) != 0
}

/// Reads a list of ranges.
fn field(text: &str, min: u64, max: u64, names: &[&str]) -> Option<u64> {
    let ranges = text.split(',').filter(|range| !range.is_empty());
    ranges.map(|text| range(text, min, max, names)).try_fold(0, |bits, range| Some(bits | range?))
}

/// Reads `number[-number][/number]`, where a star or a question mark is all values.
fn range(text: &str, min: u64, max: u64, names: &[&str]) -> Option<u64> {
    let (ends, step) = match text.split_once('/') {
        Some((ends, step)) => (ends, Some(number(step, &[])?)),
        None => (text, None),
    };
    let (first, last) = match ends.split_once('-') {
        Some((first, last)) => (first, Some(last)),
        None => (ends, None),
    };
    let is_all = matches!(first, "*" | "?");
    let (start, end) = if is_all {
        // The text after a hyphen behind a star is not read.
        (min, max)
    } else {
        let start = number(first, names)?;
        let end = match last {
            Some(last) => number(last, names)?,
            // A start with a step extends to the end.
            None if step.is_some() => max,
            None => start,
        };
        (start, end)
    };
    let by = step.unwrap_or(1);
    if start < min || end > max || start > end || by == 0 {
        return None;
    }
    let star = if is_all && by == 1 { STAR } else { 0 };
    let step = usize::try_from(by).unwrap_or(usize::MAX);
    Some((start..=end).step_by(step).fold(star, |bits, value| bits | 1 << value))
}

fn number(text: &str, names: &[&str]) -> Option<u64> {
    let is_same = |name: &&str| !name.is_empty() && name.eq_ignore_ascii_case(text);
    match names.iter().position(is_same) {
        Some(at) => Some(at as u64),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(pattern: &str, from: &str, zone: &str) -> Option<String> {
        let from: Timestamp = from.parse().unwrap();
        let from = Time(i64::try_from(from.as_nanosecond()).unwrap());
        let zone = TimeZone::get(zone).unwrap();
        Cron::parse(pattern)?.next(from, &zone).map(|time| time.to_string())
    }

    #[test]
    fn a_pattern_selects_the_next_time() {
        let from = "2024-02-28T23:59:58.5Z";
        for (pattern, expected) in [
            ("* * * * * *", "2024-02-28T23:59:59Z"),
            ("0 * * * * *", "2024-02-29T00:00:00Z"),
            ("*/7 * * * * *", "2024-02-29T00:00:00Z"),
            ("5/20 * * * * *", "2024-02-29T00:00:05Z"),
            ("0 30 2 * * *", "2024-02-29T02:30:00Z"),
            ("0 0 0 31 * *", "2024-03-31T00:00:00Z"),
            ("0 0 0 29 2 ?", "2024-02-29T00:00:00Z"),
            ("0 0 12 * * mon-fri", "2024-02-29T12:00:00Z"),
            ("0 0 12 1 * sat", "2024-03-01T12:00:00Z"),
            ("0 0 12 20 * sat", "2024-03-02T12:00:00Z"),
            ("0 0 0 1 JAN *", "2025-01-01T00:00:00Z"),
            ("@yearly", "2025-01-01T00:00:00Z"),
            ("@monthly", "2024-03-01T00:00:00Z"),
            ("@weekly", "2024-03-03T00:00:00Z"),
            ("@daily", "2024-02-29T00:00:00Z"),
            ("@hourly", "2024-02-29T00:00:00Z"),
            ("1,2,3 0 0 * * *", "2024-02-29T00:00:01Z"),
        ] {
            assert_eq!(next(pattern, from, "UTC").as_deref(), Some(expected), "{pattern}");
        }
    }

    #[test]
    fn patterns_follow_the_clock_of_a_zone() {
        let zone = "America/New_York";
        let in_winter = next("0 0 9 * * *", "2024-01-10T00:00:00Z", zone);
        assert_eq!(in_winter.as_deref(), Some("2024-01-10T14:00:00Z"));
        let in_summer = next("0 0 9 * * *", "2024-07-10T00:00:00Z", zone);
        assert_eq!(in_summer.as_deref(), Some("2024-07-10T13:00:00Z"));
    }

    #[test]
    fn wrong_patterns_are_refused() {
        for pattern in [
            "",
            "* * * * *",
            "* * * * * * *",
            "60 * * * * *",
            "* * 24 * * *",
            "* * * 0 * *",
            "* * * * 13 *",
            "* * * * * 7",
            "5-1 * * * * *",
            "1-2-3 * * * * *",
            "1/2/3 * * * * *",
            "*/0 * * * * *",
            "x * * * * *",
            "-1 * * * * *",
            "@never",
        ] {
            assert_eq!(Cron::parse(pattern), None, "{pattern}");
        }
        // There is no such day.
        assert_eq!(next("0 0 0 31 2 *", "2024-01-01T00:00:00Z", "UTC"), None);
    }
}
