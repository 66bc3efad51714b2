//! Encoding of the server's operations, as whole lines appended to a buffer.

use super::info::Info;

/// `+OK`.
pub const OK: &[u8] = b"+OK\r\n";
/// `PING`.
pub const PING: &[u8] = b"PING\r\n";
/// `PONG`.
pub const PONG: &[u8] = b"PONG\r\n";

/// `INFO {json}`, with a blank before the line end as in NATS.
pub fn info(out: &mut Vec<u8>, info: &Info) {
    out.extend_from_slice(b"INFO ");
    // Writing plain strings and numbers to memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, info);
    out.extend_from_slice(b" \r\n");
}

/// `-ERR 'text'`.
pub fn error(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"-ERR '");
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"'\r\n");
}

/// Appends the part before reply and sizes: `MSG subject sid ` or `HMSG subject sid `.
#[inline(always)]
pub fn message_prefix(out: &mut Vec<u8>, with_headers: bool, subject: &[u8], sid: &[u8]) {
    out.extend_from_slice(if with_headers { b"HMSG " } else { b"MSG " });
    out.extend_from_slice(subject);
    out.push(b' ');
    out.extend_from_slice(sid);
    out.push(b' ');
}

/// Appends the part between the head and the body: reply, sizes and line end.
pub fn message_rest(out: &mut Vec<u8>, reply: &[u8], sizes: &[u8]) {
    if !reply.is_empty() {
        out.extend_from_slice(reply);
        out.push(b' ');
    }
    // Other servers may write a CR between them.
    let is_white = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
    let mut words = sizes.split(is_white).filter(|word| !word.is_empty());
    if let Some(first) = words.next() {
        out.extend_from_slice(first);
    }
    for word in words {
        out.push(b' ');
        out.extend_from_slice(word);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a number in decimal digits.
pub fn number(out: &mut Vec<u8>, number: usize) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a whole `MSG`, or `HMSG` if there are headers.
pub fn message(
    out: &mut Vec<u8>,
    subject: &[u8],
    sid: &[u8],
    reply: &[u8],
    headers: &[u8],
    payload: &[u8],
) {
    message_prefix(out, !headers.is_empty(), subject, sid);
    if !reply.is_empty() {
        out.extend_from_slice(reply);
        out.push(b' ');
    }
    if !headers.is_empty() {
        number(out, headers.len());
        out.push(b' ');
    }
    number(out, headers.len() + payload.len());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(headers);
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// Appends the reply to a request without responders.
// NATS 2.14: status 503 with the subject that had no responders.
pub fn no_responders(out: &mut Vec<u8>, reply: &[u8], sid: &[u8], subject: &[u8]) {
    let mut headers = Vec::with_capacity(40 + subject.len());
    no_responders_headers(&mut headers, subject);
    message(out, reply, sid, &[], &headers, &[]);
}

/// Appends the headers of that reply.
pub(crate) fn no_responders_headers(out: &mut Vec<u8>, subject: &[u8]) {
    out.extend_from_slice(b"NATS/1.0 503\r\nNats-Subject: ");
    out.extend_from_slice(subject);
    out.extend_from_slice(b"\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::reply::{Reply, parse};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_decimal() {
        for (value, text) in [(0, "0"), (7, "7"), (10, "10"), (1_048_576, "1048576")] {
            let mut out = Vec::new();
            number(&mut out, value);
            assert_eq!(out, text.as_bytes());
        }
        let mut out = Vec::new();
        number(&mut out, usize::MAX);
        assert_eq!(out, usize::MAX.to_string().as_bytes());
    }

    #[test]
    fn sizes_are_separated_by_one_blank() {
        for sizes in ["1 2", "1\t2", "1 \t 2", "1\r2"] {
            let mut out = Vec::new();
            message_rest(&mut out, b"r", sizes.as_bytes());
            assert_eq!(String::from_utf8_lossy(&out), "r 1 2\r\n", "{sizes:?}");
        }
    }

    #[test]
    fn no_responders_is_encoded_as_in_the_reference() {
        let mut out = Vec::new();
        no_responders(&mut out, b"_INBOX.1", b"9", b"foo");
        assert_eq!(
            String::from_utf8_lossy(&out),
            "HMSG _INBOX.1 9 35 35\r\nNATS/1.0 503\r\nNats-Subject: foo\r\n\r\n\r\n"
        );
    }

    proptest! {
        #[test]
        fn encoded_operations_parse_again(
            subject in "[a-z.]{1,12}",
            sid in "[0-9a-z]{1,8}",
            reply in "[a-z.]{0,12}",
            headers in proptest::collection::vec(any::<u8>(), 0..40),
            payload in proptest::collection::vec(any::<u8>(), 0..80),
            text in "[ -&(-~]{0,40}",
            port in any::<u16>(),
        ) {
            let mut out = Vec::new();
            message(
                &mut out,
                subject.as_bytes(),
                sid.as_bytes(),
                reply.as_bytes(),
                &headers,
                &payload,
            );
            let message_end = out.len();
            error(&mut out, &text);
            out.extend_from_slice(PING);
            out.extend_from_slice(PONG);
            out.extend_from_slice(OK);
            let sent = Info { port, server_id: text.clone(), ..Info::default() };
            info(&mut out, &sent);

            let (first, used) = parse(&out).unwrap().unwrap();
            prop_assert_eq!(used, message_end);
            let expected = Reply::Message {
                subject: subject.as_bytes(),
                sid: sid.as_bytes(),
                reply: reply.as_bytes(),
                headers: &headers,
                payload: &payload,
            };
            prop_assert_eq!(first, expected);
            for cut in 0..message_end {
                prop_assert_eq!(parse(&out[..cut]).unwrap(), None);
            }
            let mut rest = &out[message_end..];
            let mut seen = Vec::new();
            while let Some((reply, used)) = parse(rest).unwrap() {
                seen.push(reply);
                rest = &rest[used..];
            }
            prop_assert!(rest.is_empty());
            let info_json = match seen.pop() {
                Some(Reply::Info(json)) => serde_json::from_slice::<Info>(json).unwrap(),
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(info_json, sent);
            prop_assert_eq!(
                seen,
                [Reply::Err(text.as_bytes()), Reply::Ping, Reply::Pong, Reply::Ok]
            );
        }
    }
}
