//! Times and durations as the API of streams writes them.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time: nanoseconds since 1970, in UTC.
///
/// In JSON it is RFC 3339 with as many digits of the second's fraction as it needs, as Go writes it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Time(pub i64);

/// The text that Go writes for a time that was never set.
const ZERO: &str = "0001-01-01T00:00:00Z";

/// The length of the longest text.
const LONGEST: usize = 30;
/// The length of the text up to the seconds.
const SECONDS_LEN: usize = 19;

impl Time {
    /// Returns the time later by `nanos`, at most the last time that can be written.
    #[must_use]
    pub fn plus(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Returns the nanoseconds from `earlier` to this time; negative if it is the later one.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Appends the text.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        let (text, len) = self.text();
        out.extend_from_slice(&text[..len]);
    }

    /// Returns the text and its length.
    fn text(self) -> ([u8; LONGEST], usize) {
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        let Ok(time) = jiff::Timestamp::from_nanosecond(i128::from(self.0)) else {
            text[..ZERO.len()].copy_from_slice(ZERO.as_bytes());
            return (text, ZERO.len());
        };
        let time = jiff::tz::Offset::UTC.to_datetime(time);
        put(&mut text[0..4], i32::from(time.year()));
        put(&mut text[5..7], i32::from(time.month()));
        put(&mut text[8..10], i32::from(time.day()));
        put(&mut text[11..13], i32::from(time.hour()));
        put(&mut text[14..16], i32::from(time.minute()));
        put(&mut text[17..19], i32::from(time.second()));
        put(&mut text[SECONDS_LEN + 1..LONGEST - 1], time.subsec_nanosecond());
        let mut end = LONGEST - 1;
        while end > SECONDS_LEN && matches!(text[end - 1], b'0' | b'.') {
            end -= 1;
        }
        text[end] = b'Z';
        (text, end + 1)
    }
}

/// Writes the last digits of a number.
fn put(digits: &mut [u8], mut number: i32) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, len) = self.text();
        // Digits and separators.
        f.write_str(std::str::from_utf8(&text[..len]).unwrap_or(ZERO))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 0 { serializer.serialize_str(ZERO) } else { serializer.collect_str(self) }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        if text == ZERO {
            return Ok(Self::default());
        }
        let time: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        let nanos = i64::try_from(time.as_nanosecond()).map_err(serde::de::Error::custom)?;
        Ok(Self(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_and_read_as_go_does() {
        for (time, text) in [
            (Time(1_700_000_000_000_000_000), "2023-11-14T22:13:20Z"),
            (Time(1_700_000_000_120_000_000), "2023-11-14T22:13:20.12Z"),
            (Time(1_700_000_000_000_000_001), "2023-11-14T22:13:20.000000001Z"),
            (Time(951_827_600_100_000_000), "2000-02-29T12:33:20.1Z"),
            (Time(-1), "1969-12-31T23:59:59.999999999Z"),
            (Time(i64::MIN), "1677-09-21T00:12:43.145224192Z"),
            (Time(i64::MAX), "2262-04-11T23:47:16.854775807Z"),
            (Time(0), ZERO),
        ] {
            let json = serde_json::to_string(&time).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Time>(&json).unwrap(), time);
        }
        let with_zone: Time = serde_json::from_str("\"2023-11-14T23:13:20+01:00\"").unwrap();
        assert_eq!(with_zone, Time(1_700_000_000_000_000_000));
    }
}
