//! Header blocks on the wire: their fields, and changes that a server makes to them.
//!
//! A server that sets a field first removes what a receiver could take for the same field. nats-server removes the
//! exact spelling only. Clients read more than that as a field: some ignore the case of names, Go's reader ends
//! lines at a bare LF, and Python's at a bare CR too; so a client could pass a field that a service reads before,
//! or instead of, that of the server.

use memchr::{memchr, memchr2, memmem};

/// The first line of a block.
pub const VERSION: &[u8] = b"NATS/1.0\r\n";

/// Returns the names and values of a block, except fields without a name or a value.
// NATS 2.14: msgtrace.go genHeaderMapIfTraceHeadersPresent.
#[inline]
pub fn fields(block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = block.strip_prefix(VERSION).unwrap_or_default();
    std::iter::from_fn(move || {
        let colon = memchr(b':', rest)?;
        let (name, value) = (&rest[..colon], trim_start(&rest[colon + 1..]));
        let end = memmem::find(value, b"\r\n")?;
        rest = &value[end + 2..];
        Some((name, trim_end(&value[..end])))
    })
    .filter(|(name, value)| !name.is_empty() && !value.is_empty())
}

/// Returns the first value of a field that the server itself has [`set`] before; `None` if there is none.
// NATS 2.14: client.go sliceHeader.
pub fn value<'a>(block: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    Lines(block)
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(b":"))
        .map(<[u8]>::trim_ascii)
        .next()
}

/// Returns the block with one field of that name, which is the last. Fields with other names remain as they are. An
/// empty block, of a message without headers, becomes a whole one.
// NATS 2.14: client.go setHeader.
pub fn set(block: &[u8], name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(block.len() + name.len() + value.len() + 16);
    append(&mut out, block, name, value);
    out
}

/// As [`set`], but appends the block to `out`, which is empty.
pub fn append(out: &mut Vec<u8>, block: &[u8], name: &[u8], value: &[u8]) {
    let mut lines = Lines(block);
    let first = lines.next().filter(|first| !is_end(first));
    let mut is_removed = first.is_some_and(|first| is_field(first, name));
    match first {
        // The version and status of the client.
        Some(first) if !is_removed => {
            out.extend_from_slice(without_end(first));
            out.extend_from_slice(b"\r\n");
        }
        _ => out.extend_from_slice(VERSION),
    }
    for line in lines {
        let is_continued = matches!(line.first(), Some(b' ' | b'\t'));
        is_removed = if is_continued { is_removed } else { is_field(line, name) };
        if !is_removed && !is_end(line) {
            out.extend_from_slice(line);
        }
    }
    // A last line with another end, or none, could hide the field.
    out.truncate(without_end(out).len());
    for part in [b"\r\n", name, b": ", value, b"\r\n\r\n"] {
        out.extend_from_slice(part);
    }
}

/// The lines of a block with their ends: CRLF, LF or CR.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = memchr2(b'\r', b'\n', self.0);
        let end = end.map_or(self.0.len(), |end| {
            if self.0[end..].starts_with(b"\r\n") { end + 2 } else { end + 1 }
        });
        let (line, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(line)
    }
}

/// Returns true if a reader could take the line for a field of that name: in any case, and with characters around
/// the name that some language removes as white space (Python removes U+001C, Go U+0085, JavaScript U+FEFF).
fn is_field(line: &[u8], name: &[u8]) -> bool {
    let Some(colon) = memchr(b':', line).filter(|&colon| colon >= name.len()) else { return false };
    let read = String::from_utf8_lossy(&line[..colon]);
    let is_blank = |char: char| char.is_whitespace() || char.is_control() || char == '\u{feff}';
    read.trim_matches(is_blank).as_bytes().eq_ignore_ascii_case(name)
}

/// Returns true for an empty line, which ends a block.
fn is_end(line: &[u8]) -> bool {
    matches!(line, b"\r\n" | b"\n" | b"\r")
}

/// Returns the text before the line ends at its end.
#[inline]
fn without_end(text: &[u8]) -> &[u8] {
    let ends = text.iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    &text[..text.len() - ends]
}

#[inline]
fn trim_start(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &text[blanks..]
}

#[inline]
fn trim_end(text: &[u8]) -> &[u8] {
    let blanks = text.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &text[..text.len() - blanks]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: &[u8] = b"Nats-Request-Info";

    fn set_info(fields: &str) -> String {
        let block = format!("NATS/1.0\r\n{fields}\r\n");
        String::from_utf8(set(block.as_bytes(), NAME, b"{}")).unwrap()
    }

    /// Measured on nats-server 2.14.5, by requests to a service of another account.
    #[test]
    fn a_field_is_set_as_the_reference_sets_it() {
        for (fields, left) in [
            ("", ""),
            ("A: b\r\n", "A: b\r\n"),
            ("Nats-Request-Info: x\r\n", ""),
            ("Nats-Request-Info:x\r\nA: b\r\nNats-Request-Info: y\r\n", "A: b\r\n"),
            ("A: Nats-Request-Info: x\r\n", "A: Nats-Request-Info: x\r\n"),
            ("X-Nats-Request-Info: x\r\n", "X-Nats-Request-Info: x\r\n"),
            ("Nats-Request-Info2: x\r\n", "Nats-Request-Info2: x\r\n"),
        ] {
            let expected = format!("NATS/1.0\r\n{left}Nats-Request-Info: {{}}\r\n\r\n");
            assert_eq!(set_info(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn no_spelling_that_a_client_reads_as_the_field_remains() {
        for (fields, left) in [
            ("nats-request-info: x\r\nNATS-REQUEST-INFO: y\r\n", ""),
            ("Nats-Request-Info : x\r\n", ""),
            ("\u{85} NATS-REQUEST-INFO\u{a0}: x\r\n", ""),
            ("\u{1c}Nats-Request-Info\0: x\r\n\u{feff}Nats-Request-Info\u{2028}: x\r\n", ""),
            ("A: b\nNats-Request-Info: x\r\n", "A: b\r\n"),
            ("A: b\rNats-Request-Info: x\r\nC: d\r\n", "A: b\rC: d\r\n"),
            ("Nats-Request-Info: x\r\n more\r\n\tand more\r\nA: b\r\n c\r\n", "A: b\r\n c\r\n"),
            ("A: b\r\n Nats-Request-Info: x\r\n", "A: b\r\n Nats-Request-Info: x\r\n"),
            ("\r\nNats-Request-Info: x\r\n", ""),
            ("Nats-Request-Info: x", ""),
            ("Nats-Request-Info: \r\n", ""),
            ("junk\r\nNats-Request-Info: x\r\njunk", "junk\r\njunk\r\n"),
        ] {
            let expected = format!("NATS/1.0\r\n{left}Nats-Request-Info: {{}}\r\n\r\n");
            assert_eq!(set_info(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_message_without_headers_gets_a_block() {
        let expected = &b"NATS/1.0\r\nNats-Request-Info: {}\r\n\r\n"[..];
        for block in [&b""[..], b"\r\n", b"NATS/1.0\r\n\r\n", b"NATS/1.0"] {
            assert_eq!(set(block, NAME, b"{}"), expected, "{}", block.escape_ascii());
        }
        assert_eq!(set(b"nats-request-info: x\r\n y\r\n\r\n", NAME, b"{}"), expected);
        let status = set(b"NATS/1.0 503\r\n\r\n", NAME, b"{}");
        assert_eq!(status, b"NATS/1.0 503\r\nNats-Request-Info: {}\r\n\r\n");
    }

    proptest! {
        /// Whatever a client sends, a reader of any kind finds the server's value only.
        #[test]
        fn the_server_s_value_is_the_only_one(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("Nats-Request-Info"), Just("nats-request-INFO"), Just(":"), Just(": x"), Just("\r\n"),
                    Just("\n"), Just("\r"), Just(" "), Just("\t"), Just("A: b"), Just("NATS/1.0"),
                    Just("\u{85}"), Just("\u{b}"), Just("\u{3000}"),
                ],
                0..12,
            ),
        ) {
            let block = format!("NATS/1.0\r\n{}\r\n\r\n", parts.concat());
            let out = String::from_utf8(set(block.as_bytes(), NAME, b"server")).unwrap();
            prop_assert!(out.starts_with("NATS/1.0\r\n") && out.ends_with("\r\n\r\n"));
            prop_assert_eq!(value(out.as_bytes(), NAME), Some(&b"server"[..]));
            let lines = out.split(['\r', '\n']).filter(|line| !line.starts_with([' ', '\t']));
            let read: Vec<&str> = lines
                .filter_map(|line| line.split_once(':'))
                .filter(|(name, _)| name.trim().eq_ignore_ascii_case("nats-request-info"))
                .map(|(_, value)| value.trim())
                .collect();
            prop_assert_eq!(read, ["server"]);
        }
    }
}
