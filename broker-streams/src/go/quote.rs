//! Quoted texts as Go prints them.

use std::fmt::Write;

/// Returns the text in double quotes, with escapes for characters that are not printable.
///
/// ```
/// assert_eq!(broker_streams::go::quoted("a\"b\n"), r#""a\"b\n""#);
/// ```
// Go: strconv.Quote.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    text.chars().for_each(|c| push(&mut out, c, '"'));
    out.push('"');
    out
}

/// Returns the bytes in double quotes; those that are not UTF-8 as `\xff`.
pub fn quoted_bytes(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push(&mut out, c, '"'));
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

/// Returns a character in single quotes, as errors of Go's JSON decoder show it.
// Go: encoding/json quoteChar.
pub fn quoted_char(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".into(),
        b'"' => "'\"'".into(),
        byte => {
            let mut out = String::from("'");
            push(&mut out, char::from(byte), '"');
            out.push('\'');
            out
        }
    }
}

fn push(out: &mut String, c: char, quote: char) {
    match c {
        '\\' => out.push_str("\\\\"),
        c if c == quote => {
            out.push('\\');
            out.push(c);
        }
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        c if is_printable(c) => out.push(c),
        c if u32::from(c) < 0x80 => {
            let _ = write!(out, "\\x{:02x}", u32::from(c));
        }
        c if u32::from(c) < 0x1_0000 => {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        }
        c => {
            let _ = write!(out, "\\U{:08x}", u32::from(c));
        }
    }
}

/// Returns true if Go prints the character itself. Rust's own escapes decide for characters beyond ASCII.
fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        '\0'..='\u{a0}' | '\u{ad}' => false,
        c => !c.is_whitespace() && c.escape_debug().count() == 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_go_does() {
        for (text, quote) in [
            ("a b", r#""a b""#),
            ("a\"'\\", r#""a\"'\\""#),
            ("\t\u{1}\u{7f}", r#""\t\x01\x7f""#),
            ("é\u{a0}\u{200b}", r#""é\u00a0\u200b""#),
            ("\u{1f600}", "\"\u{1f600}\""),
        ] {
            assert_eq!(quoted(text), quote);
        }
        assert_eq!(quoted_bytes(b"a\xff\"\xc3\xa9"), r#""a\xff\"é""#);
    }

    #[test]
    fn characters_are_quoted_as_go_does() {
        assert_eq!(quoted_char(b'}'), "'}'");
        assert_eq!(quoted_char(b'\''), r"'\''");
        assert_eq!(quoted_char(b'"'), "'\"'");
        assert_eq!(quoted_char(0), r"'\x00'");
        assert_eq!(quoted_char(0xff), "'ÿ'");
    }
}
