//! Times as Go reads them.

use crate::go::quoted;

const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
/// The first and the last time that `config::Time` can hold.
const RANGE: [&str; 2] = ["1677-09-21T00:12:44Z", "2262-04-11T23:47:16Z"];
/// The text that Go writes for a time that was never set.
const ZERO: &str = "0001-01-01T00:00:00Z";

/// Reads the JSON of a time. Returns its text, moved into the range of times that can be held; `None` for null.
// Go: time.Time.UnmarshalJSON.
pub(super) fn read(raw: &[u8]) -> Result<Option<String>, String> {
    if raw == b"null" {
        return Ok(None);
    }
    let Some(text) = raw.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return Err("Time.UnmarshalJSON: input is not a JSON string".into());
    };
    let text = String::from_utf8_lossy(text);
    Parser { text: &text, rest: &text }.parse()?;
    if text == ZERO {
        return Ok(Some(text.into_owned()));
    }
    let [first, last] = RANGE;
    let Ok(time) = text.parse::<jiff::Timestamp>() else {
        return Ok(Some(if text.as_ref() < first { first } else { last }.into()));
    };
    Ok(Some(match time.as_second() {
        ..-9_223_372_036 => first.into(),
        -9_223_372_036..9_223_372_036 => text.into_owned(),
        9_223_372_036.. => last.into(),
    }))
}

/// Reads RFC 3339, with the errors of Go.
// Go: time.Parse with the layout RFC3339.
struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl Parser<'_> {
    fn parse(mut self) -> Result<(), String> {
        let year = self.number("2006", 4)?;
        self.separator("-")?;
        let month = self.number("01", 2)?;
        if !(1..=12).contains(&month) {
            return Err(self.out_of_range("month"));
        }
        self.separator("-")?;
        let day = self.number("02", 2)?;
        self.separator("T")?;
        for (layout, end, name, separator) in
            [("15", 24, "hour", ":"), ("04", 60, "minute", ":"), ("05", 60, "second", "")]
        {
            if self.number(layout, 2)? >= end {
                return Err(self.out_of_range(name));
            }
            self.separator(separator)?;
        }
        self.fraction();
        self.zone()?;
        if !self.rest.is_empty() {
            let (text, rest) = (quoted(self.text), quoted(self.rest));
            return Err(format!("parsing time {text}: extra text: {rest}"));
        }
        if !is_day(year, month, day) {
            return Err(self.out_of_range("day"));
        }
        Ok(())
    }

    fn number(&mut self, layout: &str, digits: usize) -> Result<u32, String> {
        let number = self.rest.get(..digits).filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
        let number = number.and_then(|number| number.parse().ok());
        let number = number.ok_or_else(|| self.cannot_parse(layout))?;
        self.rest = &self.rest[digits..];
        Ok(number)
    }

    fn separator(&mut self, separator: &str) -> Result<(), String> {
        self.rest =
            self.rest.strip_prefix(separator).ok_or_else(|| self.cannot_parse(separator))?;
        Ok(())
    }

    fn fraction(&mut self) {
        let Some(digits) = self.rest.strip_prefix(['.', ',']) else { return };
        let rest = digits.trim_start_matches(|c: char| c.is_ascii_digit());
        if rest.len() < digits.len() {
            self.rest = rest;
        }
    }

    fn zone(&mut self) -> Result<(), String> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(());
        }
        let bytes = self.rest.as_bytes();
        let [b'+' | b'-', h1, h2, b':', m1, m2, ..] = bytes else {
            return Err(self.cannot_parse("Z07:00"));
        };
        if ![h1, h2, m1, m2].iter().all(|digit| digit.is_ascii_digit()) {
            return Err(self.cannot_parse("Z07:00"));
        }
        let number = |tens: &u8, ones: &u8| (tens - b'0') * 10 + (ones - b'0');
        if number(h1, h2) > 24 {
            return Err(self.out_of_range("time zone offset hour"));
        }
        if number(m1, m2) > 60 {
            return Err(self.out_of_range("time zone offset minute"));
        }
        self.rest = &self.rest[6..];
        Ok(())
    }

    fn cannot_parse(&self, layout: &str) -> String {
        let (text, rest) = (quoted(self.text), quoted(self.rest));
        format!(
            "parsing time {text} as {}: cannot parse {rest} as {}",
            quoted(LAYOUT),
            quoted(layout)
        )
    }

    fn out_of_range(&self, what: &str) -> String {
        format!("parsing time {}: {what} out of range", quoted(self.text))
    }
}

fn is_day(year: u32, month: u32, day: u32) -> bool {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for text in ["2024-02-29T23:59:59Z", "2024-01-01T00:00:00.123456789+01:00", ZERO] {
            assert_eq!(read(format!("{text:?}").as_bytes()), Ok(Some(text.to_owned())));
        }
        assert_eq!(read(b"null"), Ok(None));
        assert_eq!(read(b"\"9999-01-01T00:00:00Z\""), Ok(Some(RANGE[1].to_owned())));
        assert_eq!(read(b"\"0002-01-01T00:00:00Z\""), Ok(Some(RANGE[0].to_owned())));
    }

    // The texts are those of Go 1.26.
    #[test]
    fn errors_are_those_of_go() {
        for (text, expected) in [
            ("1", "Time.UnmarshalJSON: input is not a JSON string"),
            (
                "\"x\"",
                r#"parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006""#,
            ),
            (
                "\"2024\"",
                r#"parsing time "2024" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "-""#,
            ),
            (
                "\"2024-13-01T00:00:00Z\"",
                r#"parsing time "2024-13-01T00:00:00Z": month out of range"#,
            ),
            (
                "\"2023-02-29T00:00:00Z\"",
                r#"parsing time "2023-02-29T00:00:00Z": day out of range"#,
            ),
            (
                "\"2023-02-01T24:00:00Z\"",
                r#"parsing time "2023-02-01T24:00:00Z": hour out of range"#,
            ),
            (
                "\"2023-02-01T00:00:00\"",
                r#"parsing time "2023-02-01T00:00:00" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "Z07:00""#,
            ),
            (
                "\"2023-02-01T00:00:00Zx\"",
                r#"parsing time "2023-02-01T00:00:00Zx": extra text: "x""#,
            ),
        ] {
            assert_eq!(read(text.as_bytes()), Err(expected.to_owned()), "{text}");
        }
    }
}
