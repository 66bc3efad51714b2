//! Input of another server in one piece, byte by byte, in chunks, and through an independent parser gives the same
//! operations. INFO and CONNECT that can be decoded are written again alike.

#![no_main]

use broker_core::proto::Publish;
use broker_core::proto::route::{
    RouteConnect, RouteFault, RouteInfo, RouteLimits, RouteMessage, RouteOp, RouteParsed,
    RouteParser, RouteSubscription, encode, traced,
};
use libfuzzer_sys::fuzz_target;

/// The operations in their debug form, possibly followed by a fault.
type Read = Vec<Result<String, RouteFault>>;

fuzz_target!(|data: &[u8]| {
    let Some((how, input)) = data.split_first() else { return };
    let limits = RouteLimits {
        max_control_line_bytes: if how & 1 == 0 { 64 << 10 } else { 24 },
        max_message_bytes: if how & 2 == 0 { 1 << 20 } else { 8 },
        names_origin: how & 4 == 0,
        traces_by_account: false,
    };
    let account = (how & 8 != 0).then_some(&b"A"[..]);
    let whole = in_chunks(input.chunks(input.len().max(1)), account, &limits);
    let chunk = 2 + usize::from(how >> 4);
    assert_eq!(in_chunks(input.chunks(1), account, &limits), whole, "byte by byte");
    assert_eq!(in_chunks(input.chunks(chunk), account, &limits), whole, "{chunk} bytes at a time");
    let (naive, fault) = naive::read(input, account, &limits);
    let (operations, whole_fault): (Vec<_>, Vec<_>) = whole.iter().partition(|read| read.is_ok());
    let operations: Vec<&String> =
        operations.iter().filter_map(|read| read.as_ref().ok()).collect();
    assert_eq!(naive.iter().collect::<Vec<_>>(), operations, "read naively");
    assert_eq!(fault, !whole_fault.is_empty(), "a fault, read naively");
});

fn in_chunks<'a>(
    chunks: impl Iterator<Item = &'a [u8]>,
    account: Option<&'static [u8]>,
    limits: &RouteLimits,
) -> Read {
    let mut parser = RouteParser::default();
    let mut kept = Vec::new();
    let mut read = Vec::new();
    for chunk in chunks {
        kept.extend_from_slice(chunk);
        let mut at = 0;
        while at < kept.len() {
            match parser.parse(&kept[at..], account, limits) {
                Ok(RouteParsed::Op { op, used }) => {
                    assert!(used > 0);
                    read.push(Ok(shown(&op)));
                    check(&op);
                    let _ = traced(&kept[at..at + used]);
                    at += used;
                }
                Ok(RouteParsed::Partial { used, whole }) => {
                    let rest = kept.len() - at - used;
                    assert!(whole == 0 || whole > rest, "something whole is left");
                    let most = limits.max_kept_line_bytes();
                    assert!(
                        rest <= most + if whole == 0 { 0 } else { limits.max_message_bytes + 2 }
                    );
                    at += used;
                    break;
                }
                Err(fault) => {
                    let shown = fault.to_string();
                    assert!(!shown.contains(['\n', '\r']), "{shown:?}");
                    read.push(Err(fault));
                    return read;
                }
            }
        }
        kept.drain(..at);
    }
    read
}

/// Prints an operation without its tail, and checks that the tail can be forwarded unchanged.
fn shown(op: &RouteOp<'_>) -> String {
    let RouteOp::Message(routed) = op else { return format!("{op:?}") };
    let message = &routed.message;
    if let Some(tail) = message.tail {
        let blank = if message.reply.is_empty() { &b""[..] } else { b" " };
        let expected =
            [message.reply, blank, message.sizes, b"\r\n", message.body, b"\r\n"].concat();
        assert_eq!(tail, expected);
        assert!(
            !message.sizes.contains(&b'\t') && !message.sizes.windows(2).any(|two| two == b"  ")
        );
    }
    assert_ne!(message.header_len, Some(0));
    let message = Publish { tail: None, sizes: b"", ..*message };
    format!("{:?}", RouteMessage { message, ..routed.clone() })
}

/// Checks that what was decoded is written again alike.
fn check(op: &RouteOp<'_>) {
    let mut line = Vec::new();
    match op {
        RouteOp::Info(json) => {
            let Ok(info) = RouteInfo::from_json(json) else { return };
            encode::info(&mut line, &info);
            assert_eq!(RouteInfo::from_json(argument(&line)), Ok(info));
        }
        RouteOp::Connect(json) => {
            let Ok(connect) = RouteConnect::from_json(json) else { return };
            // Operations of clients only are not written.
            let connect = RouteConnect { lang: String::new(), account: String::new(), ..connect };
            encode::connect(&mut line, &connect);
            assert_eq!(RouteConnect::from_json(argument(&line)), Ok(connect));
        }
        _ => {}
    }
}

fn argument(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|byte| *byte == b' ').unwrap_or(0);
    &line[start..line.len() - 2]
}

/// The protocol as implemented by nats-server, parsed a byte at a time without regard for speed.
mod naive {
    use super::*;

    /// Returns the operations, and whether a fault follows them.
    pub(super) fn read(
        input: &[u8],
        account: Option<&[u8]>,
        limits: &RouteLimits,
    ) -> (Vec<String>, bool) {
        let mut read = Vec::new();
        let mut rest = input.iter().copied().peekable();
        loop {
            match operation(&mut rest, account, limits) {
                Ok(Some(op)) => read.push(op),
                Ok(None) => return (read, false),
                Err(Wrong) => return (read, true),
            }
        }
    }

    struct Wrong;

    type Bytes<'a> = std::iter::Peekable<std::iter::Copied<std::slice::Iter<'a, u8>>>;

    /// Reads the next operation; `None` if the input ends before it does.
    fn operation(
        rest: &mut Bytes<'_>,
        account: Option<&[u8]>,
        limits: &RouteLimits,
    ) -> Result<Option<String>, Wrong> {
        let Some(verb) = verb(rest)? else { return Ok(None) };
        if let "PING" | "PONG" | "+OK" = verb {
            if !rest.any(|byte| byte == b'\n') {
                return Ok(None);
            }
            let op = match verb {
                "PING" => RouteOp::Ping,
                "PONG" => RouteOp::Pong,
                _ => RouteOp::Ok,
            };
            return Ok(Some(format!("{op:?}")));
        }
        let mut blanks = 0;
        while let Some(b' ' | b'\t') = rest.peek() {
            rest.next();
            blanks += 1;
            if blanks > 1024 {
                return Err(Wrong);
            }
        }
        if blanks == 0 && !matches!(verb, "CONNECT" | "INFO") && rest.peek().is_some() {
            return Err(Wrong);
        }
        let Some(arguments) = line(rest, limits.max_control_line_bytes)? else { return Ok(None) };
        let mut words: Vec<&[u8]> = arguments
            .split(|byte| b" \t\r\n".contains(byte))
            .filter(|word| !word.is_empty())
            .collect();
        let op = match verb {
            "CONNECT" => RouteOp::Connect(&arguments),
            "INFO" => RouteOp::Info(&arguments),
            "-ERR" => RouteOp::Err(&arguments),
            "A+" | "A-" | "Au" | "SUB" => RouteOp::Account,
            "RS+" | "LS+" => {
                RouteOp::Subscribe(subscription(&mut words, verb == "LS+", account, true)?)
            }
            "RS-" | "LS-" | "UNSUB" => {
                let names_origin = verb == "LS-" && limits.names_origin;
                RouteOp::Unsubscribe(subscription(&mut words, names_origin, account, false)?)
            }
            _ => return message(verb, words, rest, account, limits),
        };
        Ok(Some(format!("{op:?}")))
    }

    /// Each byte must lead to some verb.
    fn verb(rest: &mut Bytes<'_>) -> Result<Option<&'static str>, Wrong> {
        let mut verbs = vec![
            "RMSG", "HMSG", "LMSG", "RS+", "RS-", "LS+", "LS-", "A+", "A-", "Au", "PING", "PONG",
            "CONNECT", "INFO", "+OK", "-ERR", "SUB", "UNSUB", "PUB", "HPUB",
        ];
        for at in 0.. {
            if let Some(verb) = verbs.iter().find(|verb| verb.len() == at) {
                return Ok(Some(verb));
            }
            let Some(byte) = rest.next() else { return Ok(None) };
            verbs.retain(|verb| match verb.as_bytes()[at] {
                wanted @ b'A'..=b'Z' => wanted == byte.to_ascii_uppercase(),
                wanted => wanted == byte,
            });
            if verbs.is_empty() {
                return Err(Wrong);
            }
        }
        Ok(None)
    }

    /// Reads up to the line end, which cannot be the first byte; a CR before it is dropped.
    fn line(rest: &mut Bytes<'_>, limit: usize) -> Result<Option<Vec<u8>>, Wrong> {
        let mut line = Vec::new();
        loop {
            let byte = rest.next();
            if byte.is_none() || (byte == Some(b'\n') && !line.is_empty()) {
                let mut trimmed = line.clone();
                if line.iter().skip(1).any(|byte| *byte == b'\r') || line.ends_with(b"\r") {
                    trimmed.pop();
                }
                if trimmed.len() > limit {
                    return Err(Wrong);
                }
                return Ok(byte.map(|_| trimmed));
            }
            line.extend(byte);
        }
    }

    fn number(text: &[u8]) -> Option<usize> {
        let is_number = (1..=9).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
    }

    fn take<'a>(words: &mut Vec<&'a [u8]>) -> Result<&'a [u8], Wrong> {
        if words.is_empty() { Err(Wrong) } else { Ok(words.remove(0)) }
    }

    fn subscription<'a>(
        words: &mut Vec<&'a [u8]>,
        names_origin: bool,
        account: Option<&'a [u8]>,
        has_weight: bool,
    ) -> Result<RouteSubscription<'a>, Wrong> {
        let origin = if names_origin { Some(take(words)?) } else { None };
        let account = if let Some(account) = account { account } else { take(words)? };
        let filter = take(words)?;
        let (queue, weight) = match (&words[..], has_weight) {
            ([], _) => (None, u32::from(has_weight)),
            ([queue, weight], true) => (Some(*queue), number(weight).unwrap_or(0) as u32),
            ([queue], false) => (Some(*queue), 0),
            _ => return Err(Wrong),
        };
        Ok(RouteSubscription { origin, account, filter, queue, weight })
    }

    fn message(
        verb: &str,
        mut words: Vec<&[u8]>,
        rest: &mut Bytes<'_>,
        of_route: Option<&[u8]>,
        limits: &RouteLimits,
    ) -> Result<Option<String>, Wrong> {
        let is_of_client = verb.ends_with("PUB");
        let origin = if verb == "LMSG" { Some(take(&mut words)?) } else { None };
        let account = match of_route {
            Some(account) => account,
            None if is_of_client => b"",
            None => take(&mut words)?,
        };
        let subject = take(&mut words)?;
        let len = words.pop().ok_or(Wrong)?;
        let has_headers = !matches!(verb, "RMSG" | "PUB");
        let headers = if has_headers { words.pop().ok_or(Wrong)? } else { b"0" };
        let mut reply = &b""[..];
        if words.len() == 1 {
            reply = words.remove(0);
        } else if !words.is_empty() {
            match (take(&mut words)?, is_of_client) {
                (b"+", false) => reply = take(&mut words)?,
                (b"|", false) => {}
                _ => return Err(Wrong),
            }
        }
        let headers = number(headers).ok_or(Wrong)?;
        let len = number(len).ok_or(Wrong)?;
        if headers > len || len > limits.max_message_bytes {
            return Err(Wrong);
        }
        let body: Vec<u8> = rest.take(len).collect();
        if body.len() < len {
            return Ok(None);
        }
        for expected in *b"\r\n" {
            match rest.next() {
                None => return Ok(None),
                Some(byte) if byte == expected => {}
                Some(_) => return Err(Wrong),
            }
        }
        let header_len = Some(headers).filter(|len| *len > 0);
        let message = Publish { subject, reply, header_len, body: &body, sizes: b"", tail: None };
        let queues = words.into_iter().collect();
        Ok(Some(format!("{:?}", RouteMessage { origin, account, queues, message })))
    }
}
