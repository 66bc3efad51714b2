//! Numbers and dates, and strings such as addresses that begin like one.

use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::cursor::{Cursor, Place, is_blank, is_line_end};
use super::{Error, Fault, Value};

/// Reads a value that begins with a digit or `-`; returns `None` if it is an unquoted string, which
/// continues at the cursor.
pub(super) fn number(cursor: &mut Cursor<'_>, in_array: bool) -> Result<Option<Value>, Error> {
    let start = cursor.place();
    let is_negative = cursor.eat('-');
    digits(cursor);
    if cursor.since(start) == b"-" {
        return Err(cursor.error(start, Fault::NoDigit));
    }
    match cursor.peek() {
        Some('.') => return float_or_address(cursor, start).map(Some),
        Some(c) if is_suffix(c) => return with_suffix(cursor, start),
        Some('-') if !is_negative => return date(cursor, start).map(Some),
        // nats-server reads this as "1]" and continues the array.
        Some(']') if in_array && !is_negative => {
            return Err(cursor.error_here(Fault::ArrayEndBehindInteger));
        }
        Some(c) if !is_negative && !ends_integer(c) => {
            cursor.bump();
            return Ok(None);
        }
        _ => {}
    }
    integer(cursor, start, cursor.since(start), 1).map(Some)
}

fn digits(cursor: &mut Cursor<'_>) {
    cursor.eat_while(|c| c.is_ascii_digit());
}

fn ends_integer(c: char) -> bool {
    matches!(c, '}' | ';' | ',') || is_line_end(c) || is_blank(c)
}

fn is_suffix(c: char) -> bool {
    matches!(c.to_ascii_lowercase(), 'k' | 'm' | 'g' | 't' | 'p' | 'e')
}

fn with_suffix(cursor: &mut Cursor<'_>, start: Place) -> Result<Option<Value>, Error> {
    let digits = cursor.since(start);
    let suffix = cursor.place();
    cursor.bump();
    cursor.eat_while(|c| matches!(c, 'b' | 'B' | 'i' | 'I'));
    if cursor.peek().is_some_and(|c| !ends_integer(c) && !c.is_ascii_digit()) {
        return Ok(None);
    }
    let factor = factor(&cursor.since(suffix).to_ascii_lowercase())
        .ok_or_else(|| cursor.error(suffix, Fault::Suffix))?;
    integer(cursor, start, digits, factor).map(Some)
}

fn factor(suffix: &[u8]) -> Option<i64> {
    let (letter, unit) = suffix.split_first()?;
    let base: i64 = match unit {
        b"" => 1000,
        b"b" | b"i" | b"ib" => 1024,
        _ => return None,
    };
    let power = b"kmgtpe".iter().position(|known| known == letter)?;
    base.checked_pow(u32::try_from(power).ok()? + 1)
}

fn integer(cursor: &Cursor<'_>, start: Place, digits: &[u8], factor: i64) -> Result<Value, Error> {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse::<i64>().ok()?.checked_mul(factor))
        .map(Value::Integer)
        .ok_or_else(|| cursor.error(start, Fault::IntegerRange))
}

/// Called at the first point.
fn float_or_address(cursor: &mut Cursor<'_>, start: Place) -> Result<Value, Error> {
    cursor.bump();
    if !cursor.peek().is_some_and(|c| c.is_ascii_digit()) {
        return Err(cursor.error(start, Fault::DecimalPoint));
    }
    digits(cursor);
    if cursor.peek() == Some('.') {
        cursor.eat_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':' | '-'));
        return Ok(Value::String(String::from_utf8_lossy(cursor.since(start)).into_owned()));
    }
    std::str::from_utf8(cursor.since(start))
        .ok()
        .and_then(|digits| digits.parse::<f64>().ok())
        .filter(|number| number.is_finite())
        .map(Value::Float)
        .ok_or_else(|| cursor.error(start, Fault::FloatRange))
}

/// Called at the first `-`. Digits followed by `-` can only be a date.
fn date(cursor: &mut Cursor<'_>, start: Place) -> Result<Value, Error> {
    cursor.rewind(start);
    for expected in "0000-00-00T00:00:00Z".chars() {
        let found = cursor.bump();
        let fits = if expected == '0' {
            found.is_some_and(|c| c.is_ascii_digit())
        } else {
            found == Some(expected)
        };
        if !fits {
            return Err(cursor.error(start, Fault::Date));
        }
    }
    timestamp(cursor.since(start)).ok_or_else(|| cursor.error(start, Fault::Date))
}

fn timestamp(text: &[u8]) -> Option<Value> {
    let number = |from: usize, to: usize| -> Option<i8> {
        std::str::from_utf8(&text[from..to]).ok()?.parse().ok()
    };
    let year = i16::from(number(0, 2)?) * 100 + i16::from(number(2, 4)?);
    let (month, day) = (number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    // Second 60 is refused, as in Go.
    let time = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    Offset::UTC.to_timestamp(time).ok().map(Value::Time)
}
