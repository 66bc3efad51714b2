//! Durations as Go writes them: `1h30m`, `1.5s`, `250ms`.

/// Reads a duration in nanoseconds; `None` if the text is none.
// Go 1.24: time.ParseDuration.
pub(super) fn parse(text: &[u8]) -> Option<i64> {
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
    fn durations_are_read_as_go_does() {
        for (text, nanos) in [
            ("0", Some(0)),
            ("1s", Some(1_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            (".5s", Some(500_000_000)),
            ("1h2m3s", Some(3_723_000_000_000)),
            ("-1ms", Some(-1_000_000)),
            ("3\u{b5}s", Some(3_000)),
            ("9223372036854775807ns", Some(i64::MAX)),
            ("9223372036854775808ns", None),
            ("", None),
            ("1", None),
            ("s", None),
            (".s", None),
            ("1x", None),
            ("1 s", None),
        ] {
            assert_eq!(parse(text.as_bytes()), nanos, "{text}");
        }
    }
}
