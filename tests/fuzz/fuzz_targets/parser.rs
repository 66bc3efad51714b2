//! Input in one piece, byte by byte, in chunks, and through an independent parser gives the same
//! operations.

#![no_main]

use broker_core::ClientFault;
use broker_core::proto::{Op, Parsed, Parser, ParserLimits, Publish};
use libfuzzer_sys::fuzz_target;

/// The operations in their debug form, possibly followed by a fault.
type Read = Vec<Result<String, ClientFault>>;

fuzz_target!(|data: &[u8]| {
    let Some((how, input)) = data.split_first() else { return };
    let limits = ParserLimits {
        headers: how & 1 == 0,
        max_control_line_bytes: if how & 2 == 0 { 4096 } else { 24 },
        max_payload_bytes: if how & 4 == 0 { 1 << 20 } else { 8 },
        traces_by_account: how & 16 != 0,
    };
    let whole = in_chunks(input.chunks(input.len().max(1)), &limits);
    let chunk = 2 + usize::from(how >> 3);
    assert_eq!(in_chunks(input.chunks(1), &limits), whole, "byte by byte");
    assert_eq!(in_chunks(input.chunks(chunk), &limits), whole, "{chunk} bytes at a time");
    assert_eq!(naive::read(input, &limits), whole, "read naively");
});

fn in_chunks<'a>(chunks: impl Iterator<Item = &'a [u8]>, limits: &ParserLimits) -> Read {
    let mut parser = Parser::default();
    let mut kept = Vec::new();
    let mut read = Vec::new();
    for chunk in chunks {
        kept.extend_from_slice(chunk);
        let mut at = 0;
        while at < kept.len() {
            match parser.parse(&kept[at..], limits) {
                Ok(Parsed::Op { op, used }) => {
                    read.push(Ok(shown(&op)));
                    assert!(used > 0);
                    at += used;
                }
                Ok(Parsed::Partial { used, whole }) => {
                    let rest = kept.len() - at - used;
                    assert!(whole == 0 || whole > rest, "something whole is left");
                    let most = limits.max_control_line_bytes + 1100;
                    assert!(rest <= most + if whole == 0 { 0 } else { limits.max_payload_bytes });
                    at += used;
                    break;
                }
                Err(fault) => {
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
fn shown(op: &Op<'_>) -> String {
    if let Op::Publish(message) = op {
        if let Some(tail) = message.tail {
            let blank = if message.reply.is_empty() { &b""[..] } else { b" " };
            let expected =
                [message.reply, blank, message.sizes, b"\r\n", message.body, b"\r\n"].concat();
            assert_eq!(tail, expected);
            assert!(
                !message.sizes.contains(&b'\t') && !message.sizes.windows(2).any(|w| w == b"  ")
            );
            assert_ne!(message.header_len, Some(0));
        }
        return format!("{:?}", Publish { tail: None, ..*message });
    }
    format!("{op:?}")
}

/// The protocol as documented and implemented by nats-server, parsed a byte at a time without
/// regard for speed.
mod naive {
    use super::*;

    pub(super) fn read(input: &[u8], limits: &ParserLimits) -> Read {
        let mut read = Vec::new();
        let mut rest = input.iter().copied().peekable();
        loop {
            match operation(&mut rest, limits) {
                Ok(Some(op)) => read.push(Ok(op)),
                Ok(None) => return read,
                Err(fault) => {
                    read.push(Err(fault));
                    return read;
                }
            }
        }
    }

    type Bytes<'a> = std::iter::Peekable<std::iter::Copied<std::slice::Iter<'a, u8>>>;

    /// Reads the next operation; `None` if the input ends before it does.
    fn operation(
        rest: &mut Bytes<'_>,
        limits: &ParserLimits,
    ) -> Result<Option<String>, ClientFault> {
        let Some(verb) = verb(rest)? else { return Ok(None) };
        if let "PING" | "PONG" | "+OK" = verb {
            if !rest.any(|byte| byte == b'\n') {
                return Ok(None);
            }
            let op = match verb {
                "PING" => Op::Ping,
                "PONG" => Op::Pong,
                _ => Op::Ok,
            };
            return Ok(Some(format!("{op:?}")));
        }
        let mut blanks = 0;
        while let Some(b' ' | b'\t') = rest.peek() {
            rest.next();
            blanks += 1;
            if blanks > 1024 {
                return Err(ClientFault::MaxControlLine);
            }
        }
        if blanks == 0 && !matches!(verb, "CONNECT" | "INFO") && rest.peek().is_some() {
            return Err(ClientFault::UnknownOperation);
        }
        let Some(arguments) = line(rest, limits.max_control_line_bytes)? else { return Ok(None) };
        match verb {
            "CONNECT" => Ok(Some(format!("{:?}", Op::Connect(&arguments)))),
            "INFO" => Ok(Some(format!("{:?}", Op::Info(&arguments)))),
            "-ERR" => Ok(Some(format!("{:?}", Op::Err(&arguments)))),
            "SUB" => {
                let words = words(&arguments, b" \t\r\n");
                let op = match *words {
                    [filter, sid] => Op::Subscribe { filter, queue: None, sid },
                    [filter, queue, sid] => Op::Subscribe { filter, queue: Some(queue), sid },
                    _ => return Err(ClientFault::BadArguments("SUB")),
                };
                Ok(Some(format!("{op:?}")))
            }
            "UNSUB" => {
                let words = words(&arguments, b" \t\r\n");
                let (sid, max) = match *words {
                    [sid] => (sid, None),
                    [sid, max] => (sid, number(max).filter(|max| *max > 0)),
                    _ => return Err(ClientFault::BadArguments("UNSUB")),
                };
                let max = max.map(|max| max as u64);
                Ok(Some(format!("{:?}", Op::Unsubscribe { sid, max })))
            }
            "PUB" => publish(&arguments, "PUB", rest, limits),
            _ if !limits.headers => Err(ClientFault::HeadersNotSupported),
            _ => publish(&arguments, "HPUB", rest, limits),
        }
    }

    /// Each letter must lead to some verb.
    fn verb(rest: &mut Bytes<'_>) -> Result<Option<&'static str>, ClientFault> {
        let mut verbs =
            vec!["PUB", "HPUB", "SUB", "UNSUB", "PING", "PONG", "CONNECT", "INFO", "+OK", "-ERR"];
        for at in 0.. {
            if let Some(verb) = verbs.iter().find(|verb| verb.len() == at) {
                return Ok(Some(verb));
            }
            let Some(byte) = rest.next() else { return Ok(None) };
            verbs.retain(|verb| verb.as_bytes()[at] == byte.to_ascii_uppercase());
            if verbs.is_empty() {
                return Err(ClientFault::UnknownOperation);
            }
        }
        Ok(None)
    }

    /// Reads up to the line end, which cannot be the first byte; a CR before it is dropped.
    fn line(rest: &mut Bytes<'_>, limit: usize) -> Result<Option<Vec<u8>>, ClientFault> {
        let mut line = Vec::new();
        loop {
            let byte = rest.next();
            if byte.is_none() || (byte == Some(b'\n') && !line.is_empty()) {
                let mut trimmed = line.clone();
                if line.iter().skip(1).any(|byte| *byte == b'\r') || line.ends_with(b"\r") {
                    trimmed.pop();
                }
                if trimmed.len() > limit {
                    return Err(ClientFault::MaxControlLine);
                }
                return Ok(byte.map(|_| trimmed));
            }
            line.extend(byte);
        }
    }

    fn words<'a>(text: &'a [u8], white: &[u8]) -> Vec<&'a [u8]> {
        text.split(|byte| white.contains(byte)).filter(|word| !word.is_empty()).collect()
    }

    fn number(text: &[u8]) -> Option<usize> {
        let is_number = (1..=9).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
    }

    fn publish(
        arguments: &[u8],
        verb: &'static str,
        rest: &mut Bytes<'_>,
        limits: &ParserLimits,
    ) -> Result<Option<String>, ClientFault> {
        if arguments.contains(&b'\n') {
            return Err(ClientFault::BadArguments(verb));
        }
        let words = words(arguments, b" \t");
        let (subject, reply, sizes) = match (verb, &*words) {
            ("PUB", [subject, _]) | ("HPUB", [subject, _, _]) => (*subject, &b""[..], &words[1..]),
            ("PUB", [subject, reply, _]) | ("HPUB", [subject, reply, _, _]) => {
                (*subject, *reply, &words[2..])
            }
            _ => return Err(ClientFault::BadArguments(verb)),
        };
        let numbers: Option<Vec<usize>> = sizes.iter().map(|size| number(size)).collect();
        let (header_len, len) = match numbers.as_deref() {
            Some([len]) => (None, *len),
            Some([header_len, len]) if header_len <= len => (Some(*header_len), *len),
            _ => return Err(ClientFault::BadSize(verb)),
        };
        if len > limits.max_payload_bytes {
            return Err(ClientFault::MaxPayload { size: len, limit: limits.max_payload_bytes });
        }
        let body: Vec<u8> = rest.take(len).collect();
        if body.len() < len {
            return Ok(None);
        }
        for expected in *b"\r\n" {
            match rest.next() {
                None => return Ok(None),
                Some(byte) if byte == expected => {}
                Some(_) => return Err(ClientFault::UnknownOperation),
            }
        }
        // As written, with the bytes between them.
        let first = sizes[0].as_ptr().addr() - arguments.as_ptr().addr();
        let last = sizes[sizes.len() - 1];
        let end = last.as_ptr().addr() - arguments.as_ptr().addr() + last.len();
        let sizes = &arguments[first..end];
        let message = Publish { subject, reply, header_len, body: &body, sizes, tail: None };
        Ok(Some(format!("{message:?}")))
    }
}
