//! Times of day as text.

use std::fmt;
use std::time::SystemTime;

use serde::{Serialize, Serializer};

/// A time of day that is printed as Go prints it in JSON: RFC 3339 in UTC, with as many digits of the second's
/// fraction as it needs. A time before 1970 is printed as the beginning of 1970.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(pub SystemTime);

const SECONDS_A_DAY: u64 = 86_400;

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (since.as_secs() / SECONDS_A_DAY, since.as_secs() % SECONDS_A_DAY);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if since.subsec_nanos() > 0 {
            let nanos = format!("{:09}", since.subsec_nanos());
            write!(f, ".{}", nanos.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Returns year, month and day of the Gregorian calendar, from the number of days since 1970.
///
/// Counts in years that begin in March, so that a leap day is the last day of its year, and in cycles of 400 years,
/// which all have the same number of days.
fn date(days: u64) -> (u64, u64, u64) {
    /// The days from 1 March of the year 0 to 1 January 1970.
    const BEFORE_1970: u64 = 719_468;
    const DAYS_A_CYCLE: u64 = 146_097;
    let days = days + BEFORE_1970;
    let (cycle, day_of_cycle) = (days / DAYS_A_CYCLE, days % DAYS_A_CYCLE);
    let leap_days = day_of_cycle / 1_460 + day_of_cycle / 146_096 - day_of_cycle / 36_524;
    let year_of_cycle = (day_of_cycle - leap_days) / 365;
    let day_of_year =
        day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    // The months from March on alternate so that 153 days are five of them.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (cycle * 400 + year_of_cycle + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(seconds: u64, nanos: u32) -> String {
        Timestamp(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)).to_string()
    }

    #[test]
    fn times_are_printed_in_utc_with_the_necessary_digits() {
        assert_eq!(text(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(text(1, 120_000_000), "1970-01-01T00:00:01.12Z");
        assert_eq!(text(0, 1), "1970-01-01T00:00:00.000000001Z");
        assert_eq!(text(1_700_000_000, 0), "2023-11-14T22:13:20Z");
        assert_eq!(text(951_827_696, 0), "2000-02-29T12:34:56Z");
        assert_eq!(text(4_107_542_399, 999_999_999), "2100-02-28T23:59:59.999999999Z");
        assert_eq!(text(4_107_542_400, 0), "2100-03-01T00:00:00Z");
        assert_eq!(
            Timestamp(SystemTime::UNIX_EPOCH - Duration::from_secs(1)).to_string(),
            text(0, 0)
        );
    }

    #[test]
    fn days_follow_each_other() {
        let mut before = (1970, 1, 1);
        for days in 1..200_000 {
            let (year, month, day) = date(days);
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let february = if is_leap { 29 } else { 28 };
            let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            assert!((1..=12).contains(&month) && (1..=lengths[month as usize - 1]).contains(&day));
            let is_next = match before {
                (y, m, d) if day > 1 => (y, m, d + 1) == (year, month, day),
                (y, m, _) if month > 1 => (y, m + 1) == (year, month),
                (y, _, _) => y + 1 == year,
            };
            assert!(is_next, "{before:?} {:?}", (year, month, day));
            before = (year, month, day);
        }
    }
}
