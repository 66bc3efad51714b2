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
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => f.write_str(ZERO),
        }
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
