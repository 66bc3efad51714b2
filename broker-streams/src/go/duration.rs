//! Durations as Go prints them.

use std::fmt::Write;

const UNITS: [(&str, u64); 3] = [("ns", 1), ("µs", 1_000), ("ms", 1_000_000)];
const SECOND: u64 = 1_000_000_000;

/// Returns the text of a duration in nanoseconds: `1.5s`, `2m0s`, `100ms`.
///
/// ```
/// assert_eq!(broker_streams::go::duration(90_000_000_000), "1m30s");
/// ```
// Go: time.Duration.String.
pub fn duration(nanos: i64) -> String {
    let mut text = String::new();
    if nanos < 0 {
        text.push('-');
    }
    let nanos = nanos.unsigned_abs();
    if nanos == 0 {
        return "0s".into();
    }
    if nanos < SECOND {
        let (name, unit) =
            UNITS.into_iter().rev().find(|(_, unit)| nanos >= *unit).unwrap_or(UNITS[0]);
        push_decimal(&mut text, nanos, unit);
        text.push_str(name);
        return text;
    }
    let (hours, minutes) = (nanos / (3600 * SECOND), nanos / (60 * SECOND) % 60);
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(text, "{minutes}m");
    }
    push_decimal(&mut text, nanos % (60 * SECOND), SECOND);
    text.push('s');
    text
}

/// Appends `value / unit` with as many digits of the fraction as it needs.
fn push_decimal(text: &mut String, value: u64, unit: u64) {
    let _ = write!(text, "{}", value / unit);
    if !value.is_multiple_of(unit) {
        let digits = unit.ilog10() as usize;
        let fraction = format!("{:0digits$}", value % unit);
        let _ = write!(text, ".{}", fraction.trim_end_matches('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_as_go_does() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (100_000_000, "100ms"),
            (1_000_000_001, "1.000000001s"),
            (120_000_000_000, "2m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (-90_500_000_000, "-1m30.5s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(duration(nanos), text);
        }
    }
}
