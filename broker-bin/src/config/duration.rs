//! Durations in Go's notation.

use std::time::Duration;

/// The text is not a duration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct NoDuration;

/// Parses `1h30m`, `1.5s`, `-2m` or `0` and returns its sign (true if negative) and its length.
// Follows time.ParseDuration: decimal numbers, each with a unit; only zero needs none.
pub(crate) fn parse(text: &str) -> Result<(bool, Duration), NoDuration> {
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok((false, Duration::ZERO));
    }
    if rest.is_empty() {
        return Err(NoDuration);
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or(NoDuration)?;
        let (number, behind) = rest.split_at(number);
        let unit_end = behind.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, behind) = behind.split_at(unit_end.unwrap_or(behind.len()));
        nanos += decimal(number, unit_nanos(unit)?)?;
        rest = behind;
    }
    // Go's durations end at 292 years.
    let nanos = u64::try_from(nanos).ok().filter(|nanos| i64::try_from(*nanos).is_ok());
    nanos.map(|nanos| (negative, Duration::from_nanos(nanos))).ok_or(NoDuration)
}

fn unit_nanos(unit: &str) -> Result<u128, NoDuration> {
    Ok(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(NoDuration),
    })
}

fn decimal(number: &str, unit: u128) -> Result<u128, NoDuration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() > 19 {
        return Err(NoDuration);
    }
    let digits = |text: &str| {
        if text.is_empty() { Ok(0) } else { text.parse::<u128>().map_err(|_| NoDuration) }
    };
    // Digits below a nanosecond are cut off.
    let fraction = &fraction[..fraction.len().min(18)];
    let scale = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| NoDuration)?);
    Ok(digits(whole)? * unit + digits(fraction)? * unit / scale)
}

/// Formats a duration as Go does: `2m0s`, `1.5s`, `50ms`, `0s`.
pub(crate) fn show(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let with = |unit: u128, name| {
        let text = format!("{}.{:018}", nanos / unit, nanos % unit * 10_u128.pow(18) / unit);
        format!("{}{name}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match nanos {
        0 => "0s".into(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => with(1_000, "µs"),
        1_000_000..1_000_000_000 => with(1_000_000, "ms"),
        _ => {
            let seconds = duration.as_secs();
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let rest = duration - Duration::from_secs(seconds - seconds % 60);
            let rest = format!("{}.{:09}", rest.as_secs(), rest.subsec_nanos());
            let rest = rest.trim_end_matches('0').trim_end_matches('.');
            match (hours, minutes) {
                (0, 0) => format!("{rest}s"),
                (0, minutes) => format!("{minutes}m{rest}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("+0", 0),
            ("5s", 5_000_000_000),
            ("1h15m30.918s", 4_530_918_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("10us", 10_000),
            ("10µs", 10_000),
            ("1ns", 1),
            ("1.0000000001s", 1_000_000_000),
            ("2562047h47m16.854775807s", i64::MAX as u64),
        ] {
            assert_eq!(parse(text), Ok((false, Duration::from_nanos(nanos))), "{text}");
        }
        assert_eq!(parse("-2m"), Ok((true, Duration::from_mins(2))));
    }

    #[test]
    fn durations_that_go_refuses_are_refused() {
        for text in [
            "",
            "-",
            "3",
            "s",
            "x",
            "1x",
            "1 s",
            " 1s",
            ".s",
            "1..5s",
            "1h2",
            "--1s",
            "1m-2s",
            "1e3s",
            "2562047h47m16.854775808s",
            "99999999999999999999999999999999999999999s",
            "1S",
        ] {
            assert_eq!(parse(text), Err(NoDuration), "{text}");
        }
    }

    #[test]
    fn durations_are_shown_as_go_shows_them() {
        for text in [
            "0s",
            "1ns",
            "1.1µs",
            "2.2ms",
            "3.3s",
            "4m5s",
            "4m5.001s",
            "5h6m7.001s",
            "2m0s",
            "10s",
            "1h0m0s",
            "50ms",
            "8m0.000000001s",
            "2562047h47m16.854775807s",
        ] {
            let (_, duration) = parse(text).unwrap();
            assert_eq!(show(duration), text);
        }
    }
}
