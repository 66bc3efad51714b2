//! Strings: 'raw', "with escapes", unquoted, and blocks in parentheses.

use super::cursor::{Cursor, Place, is_blank, is_line_end};
use super::{Error, Fault};

/// Reads up to and including the closing quote, without escapes.
pub(super) fn raw(cursor: &mut Cursor<'_>) -> Result<String, Error> {
    let open = cursor.place();
    let quote = cursor.bump();
    let start = cursor.place();
    cursor.eat_while(|c| Some(c) != quote);
    let bytes = cursor.since(start).to_vec();
    if cursor.bump().is_none() {
        return Err(cursor.error(open, Fault::Unclosed("a quoted string", "its closing quote")));
    }
    utf8(cursor, open, bytes)
}

/// Reads `"…"` with escapes.
pub(super) fn escaped(cursor: &mut Cursor<'_>) -> Result<String, Error> {
    let open = cursor.place();
    cursor.bump();
    let mut bytes = Vec::new();
    loop {
        let start = cursor.place();
        cursor.eat_while(|c| !matches!(c, '"' | '\\'));
        bytes.extend_from_slice(cursor.since(start));
        match cursor.peek() {
            Some('\\') => bytes.push(escape(cursor)?),
            Some(_) => break,
            None => {
                let fault = Fault::Unclosed("a quoted string", "its closing quote");
                return Err(cursor.error(open, fault));
            }
        }
    }
    cursor.bump();
    utf8(cursor, open, bytes)
}

/// An unquoted string.
pub(super) struct Bare {
    /// The contents, with escapes replaced.
    pub(super) bytes: Vec<u8>,
    /// With escapes it is a string, even if it looks like another value.
    pub(super) has_escapes: bool,
}

/// Reads the string that began at `start` from the cursor on. Escapes before the cursor stay as
/// they are.
pub(super) fn bare(cursor: &mut Cursor<'_>, start: Place) -> Result<Bare, Error> {
    let mut bytes = cursor.since(start).to_vec();
    let mut has_escapes = false;
    loop {
        let start = cursor.place();
        cursor.eat_while(|c| !matches!(c, '\\' | '\'') && !ends_bare(c));
        bytes.extend_from_slice(cursor.since(start));
        match cursor.peek() {
            Some('\\') => {
                has_escapes = true;
                bytes.push(escape(cursor)?);
            }
            Some('\'') => return Err(cursor.error_here(Fault::QuoteInBareString)),
            _ => return Ok(Bare { bytes, has_escapes }),
        }
    }
}

fn ends_bare(c: char) -> bool {
    matches!(c, ';' | ',' | ']' | '}') || is_line_end(c) || is_blank(c)
}

/// Reads `( … )` up to a closing parenthesis alone on its line, line ends included.
pub(super) fn block(cursor: &mut Cursor<'_>) -> Result<String, Error> {
    let open = cursor.place();
    cursor.bump();
    let start = cursor.place();
    let mut before = '(';
    loop {
        let bytes = cursor.since(start);
        let Some(next) = cursor.bump() else {
            return Err(cursor.error(open, Fault::Unclosed("a block", "`)` alone in a line")));
        };
        if next == ')' && before == '\n' && matches!(cursor.peek(), None | Some('\n')) {
            return utf8(cursor, open, bytes.to_vec());
        }
        before = next;
    }
}

/// Reads an escape sequence and returns the byte.
fn escape(cursor: &mut Cursor<'_>) -> Result<u8, Error> {
    let start = cursor.place();
    cursor.bump();
    match cursor.bump() {
        Some('t') => Ok(b'\t'),
        Some('n') => Ok(b'\n'),
        Some('r') => Ok(b'\r'),
        Some('"') => Ok(b'"'),
        Some('\\') => Ok(b'\\'),
        Some('x') => match (hex_digit(cursor), hex_digit(cursor)) {
            (Some(high), Some(low)) => Ok(high << 4 | low),
            _ => Err(cursor.error(start, Fault::HexEscape)),
        },
        _ => Err(cursor.error(start, Fault::Escape)),
    }
}

fn hex_digit(cursor: &mut Cursor<'_>) -> Option<u8> {
    u8::try_from(cursor.bump()?.to_digit(16)?).ok()
}

/// Returns `bytes` as text if they are valid UTF-8.
pub(super) fn utf8(cursor: &Cursor<'_>, place: Place, bytes: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|_| cursor.error(place, Fault::NotUtf8))
}
