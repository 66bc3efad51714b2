//! Parses the operations of a server: for tests, tools and clients.

use memchr::memchr;

/// One operation of a server, borrowed from the read buffer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reply<'a> {
    /// `INFO {json}`; [`super::Info`] reads the JSON.
    Info(&'a [u8]),
    /// `MSG` and `HMSG`.
    Message {
        /// The subject that it was published to.
        subject: &'a [u8],
        /// The sid of the subscription.
        sid: &'a [u8],
        /// The reply subject; empty for none.
        reply: &'a [u8],
        /// The header block; empty for none.
        headers: &'a [u8],
        /// The payload.
        payload: &'a [u8],
    },
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `+OK`.
    Ok,
    /// `-ERR 'text'`, without the quotes.
    Err(&'a [u8]),
}

/// The error for bytes that no server sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an operation of a NATS server")]
pub struct NotAReply;

/// Parses the operation at the start of `input`. Returns it with its length in bytes; `None` if it is
/// incomplete.
///
/// # Errors
///
/// [`NotAReply`] if the input is invalid whatever bytes follow.
pub fn parse(input: &[u8]) -> Result<Option<(Reply<'_>, usize)>, NotAReply> {
    let Some(end) = memchr(b'\n', input) else { return Ok(None) };
    let line = input[..end].strip_suffix(b"\r").ok_or(NotAReply)?;
    let verb_len = memchr(b' ', line).unwrap_or(line.len());
    let (verb, rest) = line.split_at(verb_len);
    let reply = match verb {
        b"PING" => Reply::Ping,
        b"PONG" => Reply::Pong,
        b"+OK" => Reply::Ok,
        b"INFO" => Reply::Info(rest.trim_ascii()),
        b"-ERR" => {
            let text = rest.strip_prefix(b" '").and_then(|text| text.strip_suffix(b"'"));
            Reply::Err(text.ok_or(NotAReply)?)
        }
        b"MSG" => return message(input, rest, end + 1, false),
        b"HMSG" => return message(input, rest, end + 1, true),
        _ => return Err(NotAReply),
    };
    Ok(Some((reply, end + 1)))
}

fn message<'a>(
    input: &'a [u8],
    arguments: &'a [u8],
    body_at: usize,
    with_headers: bool,
) -> Result<Option<(Reply<'a>, usize)>, NotAReply> {
    let words: Vec<&[u8]> =
        arguments.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect();
    let (subject, sid, reply, sizes) = match (words.as_slice(), with_headers) {
        ([subject, sid, size], false) => (*subject, *sid, &[][..], [*size, *size]),
        ([subject, sid, reply, size], false) => (*subject, *sid, *reply, [*size, *size]),
        ([subject, sid, head, size], true) => (*subject, *sid, &[][..], [*head, *size]),
        ([subject, sid, reply, head, size], true) => (*subject, *sid, *reply, [*head, *size]),
        _ => return Err(NotAReply),
    };
    let number = |text: &[u8]| {
        std::str::from_utf8(text).ok().and_then(|text| text.parse::<usize>().ok()).ok_or(NotAReply)
    };
    let len = number(sizes[1])?;
    let header_len = if with_headers { number(sizes[0])? } else { 0 };
    let end = body_at.checked_add(len).ok_or(NotAReply)?;
    let Some(body) = input.get(body_at..end) else { return Ok(None) };
    let Some(line_end) = input.get(end..end + 2) else { return Ok(None) };
    if line_end != b"\r\n" || header_len > len {
        return Err(NotAReply);
    }
    let (headers, payload) = body.split_at(header_len);
    Ok(Some((Reply::Message { subject, sid, reply, headers, payload }, end + 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_input_is_refused() {
        for bad in
            ["HELLO\r\n", "MSG a\r\n", "MSG a 1 x\r\n", "MSG a 1 1\r\nxyz", "-ERR x\r\n", "PING\n"]
        {
            assert_eq!(parse(bad.as_bytes()), Err(NotAReply), "{bad:?}");
        }
    }
}
