//! Conversion between the text of a dialogue and bytes on the wire.

/// More than any tested limit; keeps a typing error from exhausting the memory.
const LONGEST_REPEAT: usize = 16 * 1024 * 1024;

/// Returns the bytes of a plain line: as written, with `{x*3}` expanded to `xxx`.
pub(crate) fn plain(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(brace) = rest.find('{') {
        let (before, from_brace) = rest.split_at(brace);
        bytes.extend_from_slice(before.as_bytes());
        rest = match repeat(from_brace)? {
            Some((unit, times, after)) => {
                bytes.extend(unit.as_bytes().repeat(times));
                after
            }
            None => {
                bytes.push(b'{');
                &from_brace[1..]
            }
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// Parses `{unit*times}` at the start of `text`; also returns the rest. JSON cannot be mistaken for
/// it: its keys are quoted.
fn repeat(text: &str) -> Result<Option<(&str, usize, &str)>, String> {
    let Some((inside, after)) = text[1..].split_once('}') else { return Ok(None) };
    let Some((unit, times)) = inside.rsplit_once('*') else { return Ok(None) };
    if unit.is_empty() || unit.contains(['"', '{']) {
        return Ok(None);
    }
    match times.parse::<usize>() {
        Ok(times) if times.saturating_mul(unit.len()) <= LONGEST_REPEAT => {
            Ok(Some((unit, times, after)))
        }
        Ok(_) => Err(format!("{{{inside}}} is longer than {LONGEST_REPEAT} bytes")),
        Err(_) => Ok(None),
    }
}

/// Returns the bytes of a quoted text: escapes as in Rust's byte strings, and repeats.
pub(crate) fn quoted(text: &str) -> Result<Vec<u8>, String> {
    let inner = text
        .trim()
        .strip_prefix('"')
        .and_then(|t| t.strip_suffix('"'))
        .ok_or("raw bytes are written between double quotes")?;
    let mut bytes = Vec::new();
    let mut rest = inner;
    while let Some(at) = rest.find(['\\', '"']) {
        bytes.extend(plain(&rest[..at])?);
        if rest[at..].starts_with('"') {
            return Err("a quote inside raw bytes is written \\\"".into());
        }
        let (byte, length) = escape(&rest[at + 1..])?;
        bytes.push(byte);
        rest = &rest[at + 1 + length..];
    }
    bytes.extend(plain(rest)?);
    Ok(bytes)
}

/// Returns the byte of an escape, and the length of the escape without its backslash.
fn escape(text: &str) -> Result<(u8, usize), String> {
    let simple = match text.bytes().next() {
        Some(b'r') => b'\r',
        Some(b'n') => b'\n',
        Some(b't') => b'\t',
        Some(b'0') => 0,
        Some(b'\\') => b'\\',
        Some(b'"') => b'"',
        Some(b'x') => {
            let byte = text.get(1..3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
            return byte.map(|b| (b, 3)).ok_or_else(|| "\\x wants two hex digits".into());
        }
        _ => return Err("unknown escape; there are \\r \\n \\t \\0 \\\\ \\\" \\xHH".into()),
    };
    Ok((simple, 1))
}

/// Formats bytes for a failure: escaped, quoted, the middle omitted if long.
pub(crate) fn show(bytes: &[u8]) -> String {
    const ENDS: usize = 300;
    if bytes.is_empty() {
        return "nothing".into();
    }
    if bytes.len() <= 2 * ENDS {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    let (head, tail) = (&bytes[..ENDS], &bytes[bytes.len() - ENDS..]);
    let left_out = bytes.len() - 2 * ENDS;
    format!("\"{}\" … {left_out} more bytes … \"{}\"", head.escape_ascii(), tail.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_stands_for_its_unit_many_times() {
        assert_eq!(plain("PUB {ab.*2}c {x*3}").unwrap(), b"PUB ab.ab.c xxx");
        assert_eq!(plain("{x*1048577}").unwrap().len(), 1_048_577);
    }

    #[test]
    fn json_and_wildcards_are_not_repeats() {
        for text in [r#"CONNECT {"name":"a*5"}"#, "SUB foo.*.5 1", "{", "{}", "{*5}", "{a*}"] {
            assert_eq!(plain(text).unwrap(), text.as_bytes(), "{text}");
        }
    }

    #[test]
    fn a_repeat_beyond_reason_is_refused() {
        assert!(plain("{x*999999999}").unwrap_err().contains("longer than"));
    }

    #[test]
    fn escapes_are_bytes() {
        assert_eq!(quoted(r#""a\r\n\t\0\x00\xff\\\"{z*2}""#).unwrap(), b"a\r\n\t\0\0\xff\\\"zz");
    }

    #[test]
    fn raw_bytes_need_their_quotes_and_known_escapes() {
        for text in ["abc", r#""abc"#, r#""a"b""#, r#""\q""#, r#""\x1""#] {
            assert!(quoted(text).is_err(), "{text}");
        }
    }

    #[test]
    fn long_bytes_are_abbreviated_in_the_middle() {
        let shown = show(&[b'x'; 5000]);
        assert!(shown.len() < 1000 && shown.contains("4400 more bytes"), "{shown}");
        assert_eq!(show(b"a\r\n"), "\"a\\r\\n\"");
    }
}
