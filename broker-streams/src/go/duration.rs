//! Durations as Go prints and reads them: `1h30m`, `1.5s`, `250ms`.

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

/// Reads the text of a duration, and returns nanoseconds; `None` if it is none, or too long.
///
/// ```
/// assert_eq!(broker_streams::go::parse_duration(b"1m30s"), Some(90_000_000_000));
/// assert_eq!(broker_streams::go::parse_duration(b"90"), None);
/// ```
// Go 1.24: time.ParseDuration.
pub fn parse_duration(text: &[u8]) -> Option<i64> {
    let (is_negative, mut rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if rest == b"0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (nanos, after) = part(rest)?;
        total += nanos;
        if total > i128::from(i64::MAX) + i128::from(is_negative) {
            return None;
        }
        rest = after;
    }
    i64::try_from(if is_negative { -total } else { total }).ok()
}

/// Reads one number with its unit.
fn part(text: &[u8]) -> Option<(i128, &[u8])> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => digits(rest),
        _ => (&b""[..], rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let end = rest.iter().position(|byte| matches!(byte, b'.' | b'0'..=b'9'));
    let (unit, rest) = rest.split_at(end.unwrap_or(rest.len()));
    let unit: i128 = match unit {
        b"ns" => 1,
        b"us" | b"\xc2\xb5s" | b"\xce\xbcs" => 1_000,
        b"ms" => 1_000_000,
        b"s" => 1_000_000_000,
        b"m" => 60_000_000_000,
        b"h" => 3_600_000_000_000,
        _ => return None,
    };
    let mut nanos = value(whole)?.checked_mul(unit)?;
    let mut scale = unit;
    for digit in fraction {
        // Digits beyond a nanosecond have no effect.
        scale /= 10;
        nanos += i128::from(digit - b'0') * scale;
    }
    Some((nanos, rest))
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

fn value(digits: &[u8]) -> Option<i128> {
    if digits.len() > 19 {
        return None;
    }
    Some(digits.iter().fold(0, |value, digit| value * 10 + i128::from(digit - b'0')))
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

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("1s", Some(1_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            (".5s", Some(500_000_000)),
            ("1.1\u{3bc}s", Some(1_100)),
            ("3\u{b5}s", Some(3_000)),
            ("1h2m3s", Some(3_723_000_000_000)),
            ("1h0.5m", Some(3_630_000_000_000)),
            ("5h6m7.001s", Some(18_367_001_000_000)),
            ("-1ms", Some(-1_000_000)),
            ("9223372036854775807ns", Some(i64::MAX)),
            ("9223372036854775808ns", None),
            ("-9223372036854775808ns", Some(i64::MIN)),
            ("9999999999h", None),
            ("", None),
            ("-", None),
            ("1", None),
            ("s", None),
            (".", None),
            (".s", None),
            ("1.s.", None),
            ("1.2.3s", None),
            ("1x", None),
            ("1 s", None),
        ] {
            assert_eq!(parse_duration(text.as_bytes()), nanos, "{text}");
        }
    }
}
