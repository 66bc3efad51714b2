//! Stage 2 of 8: parses bytes to operations, without a copy. The connection's reader comes before it, the
//! session ([`crate::session`]) after it.
//!
//! The caller keeps unused input and passes it again with the bytes that follow, so that the
//! parser can stop at any byte and each operation is contiguous. Limits apply before input is
//! kept: a control line that is too long and a payload that is too large are faults as soon as
//! they are visible.
//!
//! ```
//! use broker_core::proto::{Op, Parsed, Parser, ParserLimits};
//!
//! let mut parser = Parser::default();
//! let input = b"PUB greetings 5\r\nhello\r\nPING\r\n";
//! let Ok(Parsed::Op { op: Op::Publish(message), used }) = parser.parse(input, &ParserLimits::default())
//! else { panic!() };
//! assert_eq!((message.subject, message.payload()), (&b"greetings"[..], &b"hello"[..]));
//! assert_eq!(&input[used..], b"PING\r\n");
//! ```

pub(crate) mod fast;

use memchr::memchr;
use smallvec::SmallVec;

use super::op::{Op, Publish};
use crate::error::ClientFault;

/// The number of blanks between a verb and its arguments. They do not count towards the control
/// line, but must be kept until it ends.
pub(in crate::proto) const BLANKS_BYTES: usize = 1024;

/// The limits of one client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ParserLimits {
    /// The longest control line, without its verb.
    pub max_control_line_bytes: usize,
    /// The largest payload, headers included.
    pub max_payload_bytes: usize,
    /// True if the client announced support for headers.
    pub headers: bool,
    /// True if the header `traceparent` may request a trace: the session then handles the message.
    pub traces_by_account: bool,
}

impl Default for ParserLimits {
    fn default() -> Self {
        Self {
            max_control_line_bytes: 4096,
            max_payload_bytes: 1 << 20,
            headers: true,
            traces_by_account: false,
        }
    }
}

impl ParserLimits {
    /// Returns the longest incomplete control line that the parser leaves to be passed again.
    pub(crate) fn max_kept_line_bytes(&self) -> usize {
        // The longest verb, blanks, arguments and a CR.
        b"CONNECT".len() + BLANKS_BYTES + self.max_control_line_bytes + 1
    }
}

/// The result of parsing.
#[derive(Debug, Eq, PartialEq)]
pub enum Parsed<'a> {
    /// One complete operation.
    Op {
        /// The operation.
        op: Op<'a>,
        /// The bytes of input that it took.
        used: usize,
    },
    /// No complete operation. The caller drops `used` bytes and calls again with more behind the rest.
    Partial {
        /// The bytes that need not be passed again.
        used: usize,
        /// The number of bytes, from the first one that must be passed again, that make a whole operation;
        /// 0 if it is unknown. One byte less is worth another call: if the last of them is not the CR behind
        /// the payload, the client has miscounted and gets the error at once.
        whole: usize,
    },
}

/// The parser of client operations. It holds no bytes, only the state of the current line.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    /// The operation whose line is skipped to its end.
    skipping: Option<Bare>,
}

/// Operations without arguments: the rest of the line is skipped, however long.
// NATS 2.14: `PINGxyz` is a PING.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Bare {
    Ping,
    Pong,
    Ok,
}

impl Bare {
    fn op(self) -> Op<'static> {
        match self {
            Self::Ping => Op::Ping,
            Self::Pong => Op::Pong,
            Self::Ok => Op::Ok,
        }
    }
}

/// Operations with arguments.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verb {
    Bare(Bare),
    Connect,
    Info,
    Publish,
    PublishHeaders,
    Subscribe,
    Unsubscribe,
    Err,
}

const VERBS: [(&[u8], Verb); 10] = [
    (b"PUB", Verb::Publish),
    (b"HPUB", Verb::PublishHeaders),
    (b"SUB", Verb::Subscribe),
    (b"UNSUB", Verb::Unsubscribe),
    (b"PING", Verb::Bare(Bare::Ping)),
    (b"PONG", Verb::Bare(Bare::Pong)),
    (b"CONNECT", Verb::Connect),
    (b"INFO", Verb::Info),
    (b"+OK", Verb::Bare(Bare::Ok)),
    (b"-ERR", Verb::Err),
];

impl Verb {
    /// Returns the line behind the verb, which ends at `at`; `None` if it is incomplete.
    fn line<'a>(
        self,
        input: &'a [u8],
        at: usize,
        limits: &ParserLimits,
    ) -> Result<Option<Line<'a>>, ClientFault> {
        // NATS 2.14: the JSON of CONNECT and INFO may follow without a blank.
        let needs_blank = !matches!(self, Self::Connect | Self::Info);
        line(input, at, needs_blank, limits.max_control_line_bytes).map_err(|fault| match fault {
            LineFault::NoBlank => ClientFault::UnknownOperation,
            LineFault::TooLong => ClientFault::MaxControlLine,
        })
    }
}

impl Parser {
    /// Parses the next operation in `input`, if it is complete.
    ///
    /// # Errors
    ///
    /// [`ClientFault`] if the input is invalid whatever bytes follow.
    #[inline]
    pub fn parse<'a>(
        &mut self,
        input: &'a [u8],
        limits: &ParserLimits,
    ) -> Result<Parsed<'a>, ClientFault> {
        if self.skipping.is_none()
            && let Some((message, used)) = fast::publish(input, limits)
        {
            return Ok(Parsed::Op { op: Op::Publish(message), used });
        }
        self.parse_any(input, limits)
    }

    /// Returns true if the next byte is the first of an operation.
    pub(crate) fn is_between_operations(&self) -> bool {
        self.skipping.is_none()
    }

    /// Parses every operation in every spelling.
    fn parse_any<'a>(
        &mut self,
        input: &'a [u8],
        limits: &ParserLimits,
    ) -> Result<Parsed<'a>, ClientFault> {
        if let Some(bare) = self.skipping {
            return Ok(self.skip_line(bare, input, 0));
        }
        let Some((verb, at)) = verb(input)? else {
            return Ok(Parsed::Partial { used: 0, whole: 0 });
        };
        if let Verb::Bare(bare) = verb {
            return Ok(self.skip_line(bare, input, at));
        }
        let Some(line) = verb.line(input, at, limits)? else {
            return Ok(Parsed::Partial { used: 0, whole: 0 });
        };
        let op = match verb {
            Verb::Publish | Verb::PublishHeaders => {
                return publish(input, &line, verb == Verb::PublishHeaders, limits);
            }
            Verb::Subscribe => subscribe(line.arguments)?,
            Verb::Unsubscribe => unsubscribe(line.arguments)?,
            Verb::Connect => Op::Connect(line.arguments),
            Verb::Info => Op::Info(line.arguments),
            Verb::Err | Verb::Bare(_) => Op::Err(line.arguments),
        };
        Ok(Parsed::Op { op, used: line.end })
    }

    fn skip_line<'a>(&mut self, bare: Bare, input: &'a [u8], at: usize) -> Parsed<'a> {
        match memchr(b'\n', &input[at..]) {
            Some(end) => {
                self.skipping = None;
                Parsed::Op { op: bare.op(), used: at + end + 1 }
            }
            None => {
                self.skipping = Some(bare);
                Parsed::Partial { used: input.len(), whole: 0 }
            }
        }
    }
}

/// Returns the verb at the start of `input` and its end; `None` if it is incomplete.
fn verb(input: &[u8]) -> Result<Option<(Verb, usize)>, ClientFault> {
    let mut partial = false;
    for (text, verb) in VERBS {
        if input.len() >= text.len() {
            if input[..text.len()].eq_ignore_ascii_case(text) {
                return Ok(Some((verb, text.len())));
            }
        } else if input.eq_ignore_ascii_case(&text[..input.len()]) {
            partial = true;
        }
    }
    if partial { Ok(None) } else { Err(ClientFault::UnknownOperation) }
}

/// A control line behind its verb.
pub(in crate::proto) struct Line<'a> {
    pub(in crate::proto) arguments: &'a [u8],
    /// The offset of the arguments in the input.
    start: usize,
    /// The offset of the input behind the line.
    pub(in crate::proto) end: usize,
}

/// The reason why a line is refused, whatever its arguments.
pub(in crate::proto) enum LineFault {
    /// There is no blank behind a verb that needs one.
    NoBlank,
    /// The line is longer than allowed.
    TooLong,
}

/// Returns the line behind a verb that ends at `at`; `None` if it is incomplete. `limit`: of the arguments, in bytes.
pub(in crate::proto) fn line(
    input: &[u8],
    at: usize,
    needs_blank: bool,
    limit: usize,
) -> Result<Option<Line<'_>>, LineFault> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let blanks = input[at..].iter().take_while(|byte| is_blank(byte)).count();
    if needs_blank && blanks == 0 && at < input.len() {
        return Err(LineFault::NoBlank);
    }
    let start = at + blanks;
    // NATS 2.14: the first byte behind the blanks belongs to the arguments, whatever it is.
    let end = input.get(start + 1..).and_then(|rest| memchr(b'\n', rest));
    let end = end.map(|end| start + 1 + end);
    let arguments = without_line_end(&input[start..end.unwrap_or(input.len())]);
    // The checks of a complete line apply as soon as its beginning shows the fault, and not
    // before: otherwise the result would depend on where a read ends.
    if arguments.len() > limit || blanks > BLANKS_BYTES {
        return Err(LineFault::TooLong);
    }
    Ok(end.map(|end| Line { arguments, start, end: end + 1 }))
}

// NATS 2.14: any CR in the line removes its last byte.
fn without_line_end(line: &[u8]) -> &[u8] {
    match line {
        [_, rest @ ..] if memchr(b'\r', rest).is_some() => &line[..line.len() - 1],
        [rest @ .., b'\r'] => rest,
        _ => line,
    }
}

/// Splits at most four words at white space; `None` if there are more.
fn words(text: &[u8], is_white: impl Fn(u8) -> bool) -> Option<([&[u8]; 4], usize)> {
    let mut words: [&[u8]; 4] = [&[]; 4];
    let mut count = 0;
    for word in text.split(|byte| is_white(*byte)).filter(|word| !word.is_empty()) {
        *words.get_mut(count)? = word;
        count += 1;
    }
    Some((words, count))
}

pub(in crate::proto) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

pub(in crate::proto) fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Parses one to nine decimal digits.
// NATS 2.14: no sign, no other base, leading zeros allowed.
pub(in crate::proto) fn size(text: &[u8]) -> Option<usize> {
    if text.is_empty() || text.len() > 9 {
        return None;
    }
    text.iter().try_fold(0usize, |size, byte| {
        byte.is_ascii_digit().then(|| size * 10 + usize::from(byte - b'0'))
    })
}

fn subscribe(arguments: &[u8]) -> Result<Op<'_>, ClientFault> {
    match words(arguments, is_white) {
        Some(([filter, sid, ..], 2)) => Ok(Op::Subscribe { filter, queue: None, sid }),
        Some(([filter, queue, sid, _], 3)) => Ok(Op::Subscribe { filter, queue: Some(queue), sid }),
        _ => Err(ClientFault::BadArguments("SUB")),
    }
}

fn unsubscribe(arguments: &[u8]) -> Result<Op<'_>, ClientFault> {
    match words(arguments, is_white) {
        Some(([sid, ..], 1)) => Ok(Op::Unsubscribe { sid, max: None }),
        // NATS 2.14: an invalid maximum counts as none.
        Some(([sid, max, ..], 2)) => {
            Ok(Op::Unsubscribe { sid, max: size(max).map(|max| max as u64).filter(|max| *max > 0) })
        }
        _ => Err(ClientFault::BadArguments("UNSUB")),
    }
}

/// The control line of `PUB` or `HPUB`.
struct PublishLine<'a> {
    subject: &'a [u8],
    reply: &'a [u8],
    header_len: Option<usize>,
    len: usize,
    /// The sizes as spelled: one, or two with headers.
    sizes: SmallVec<[&'a [u8]; 2]>,
}

impl<'a> PublishLine<'a> {
    fn parse(
        line: &Line<'a>,
        with_headers: bool,
        limits: &ParserLimits,
    ) -> Result<Self, ClientFault> {
        let name = if with_headers { "HPUB" } else { "PUB" };
        if with_headers && !limits.headers {
            return Err(ClientFault::HeadersNotSupported);
        }
        let bad_arguments = ClientFault::BadArguments(name);
        // NATS 2.14 takes an LF right behind the blanks for part of the subject, so that a client can
        // break the lines that others receive. No LF can follow further on.
        if line.arguments.first() == Some(&b'\n') {
            return Err(bad_arguments);
        }
        let Some((words, count)) = words(line.arguments, is_blank) else {
            return Err(bad_arguments);
        };
        let (subject, reply, sizes) = match (count, with_headers) {
            (2, false) | (3, true) => (words[0], &[][..], &words[1..count]),
            (3, false) | (4, true) => (words[0], words[1], &words[2..count]),
            _ => return Err(bad_arguments),
        };
        let bad_size = || ClientFault::BadSize(name);
        let header_len = match sizes {
            [headers, _] => Some(size(headers).ok_or_else(bad_size)?),
            _ => None,
        };
        let len = sizes.last().and_then(|len| size(len)).ok_or_else(bad_size)?;
        if header_len.is_some_and(|headers| headers > len) {
            return Err(bad_size());
        }
        if len > limits.max_payload_bytes {
            return Err(ClientFault::MaxPayload { size: len, limit: limits.max_payload_bytes });
        }
        Ok(Self { subject, reply, header_len, len, sizes: sizes.into() })
    }
}

/// Returns the subject of the message at the start of `input`, if its control line is complete and valid,
/// whatever follows it.
// NATS 2.14: a pedantic client gets the error before its payload is read.
pub(crate) fn announced_subject<'a>(input: &'a [u8], limits: &ParserLimits) -> Option<&'a [u8]> {
    let (verb, at) = verb(input).ok()??;
    if !matches!(verb, Verb::Publish | Verb::PublishHeaders) {
        return None;
    }
    let line = verb.line(input, at, limits).ok()??;
    let announced = PublishLine::parse(&line, verb == Verb::PublishHeaders, limits).ok()?;
    Some(announced.subject)
}

/// Returns the message at the start of `input`, as far as its headers have arrived, and its size, if it has headers
/// and is larger than allowed.
pub(crate) fn oversized<'a>(
    input: &'a [u8],
    limits: &ParserLimits,
) -> Option<(Publish<'a>, usize)> {
    let (verb, at) = verb(input).ok()??;
    let line = verb.line(input, at, limits).ok()??;
    if verb != Verb::PublishHeaders {
        return None;
    }
    let unlimited = ParserLimits { max_payload_bytes: usize::MAX, ..*limits };
    let announced = PublishLine::parse(&line, true, &unlimited).ok()?;
    let PublishLine { subject, reply, header_len, len, .. } = announced;
    let arrived = input.get(line.end..).unwrap_or_default();
    let body = &arrived[..arrived.len().min(header_len?)];
    let header_len = Some(body.len());
    let message = Publish { subject, reply, header_len, body, sizes: b"", tail: None };
    Some((message, len)).filter(|_| len > limits.max_payload_bytes)
}

/// Parses `PUB` and `HPUB` in every spelling.
fn publish<'a>(
    input: &'a [u8],
    line: &Line<'a>,
    with_headers: bool,
    limits: &ParserLimits,
) -> Result<Parsed<'a>, ClientFault> {
    let announced = PublishLine::parse(line, with_headers, limits)?;
    let PublishLine { subject, reply, header_len, len, ref sizes } = announced;
    let body_end = line.end + len;
    // NATS 2.14: the bytes behind the payload are checked one by one, so that a wrong count is
    // reported at once.
    for (at, expected) in [(body_end, b'\r'), (body_end + 1, b'\n')] {
        if input.get(at).is_some_and(|byte| *byte != expected) {
            return Err(ClientFault::UnknownOperation);
        }
    }
    let used = body_end + 2;
    let Some(body) = input.get(line.end..body_end).filter(|_| input.len() >= used) else {
        return Ok(Parsed::Partial { used: 0, whole: used });
    };
    let first_size = sizes[0];
    let sizes_at = offset(input, first_size);
    let sizes_end = sizes.last().map_or(sizes_at, |last| offset(input, last) + last.len());
    let message = Publish {
        subject,
        reply,
        header_len,
        body,
        sizes: &input[sizes_at..sizes_end],
        tail: tail(input, line, reply, sizes, used),
    };
    Ok(Parsed::Op { op: Op::Publish(message), used })
}

/// Returns the offset of `part`, a piece of `whole`.
pub(in crate::proto) fn offset(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr().addr() - whole.as_ptr().addr()
}

/// See [`Publish::tail`].
pub(in crate::proto) fn tail<'a>(
    input: &'a [u8],
    line: &Line<'_>,
    reply: &[u8],
    sizes: &[&[u8]],
    used: usize,
) -> Option<&'a [u8]> {
    let blanks = usize::from(!reply.is_empty()) + sizes.len() - 1;
    let words: usize = reply.len() + sizes.iter().map(|size| size.len()).sum::<usize>();
    let start = if reply.is_empty() { offset(input, sizes[0]) } else { offset(input, reply) };
    let written = line.end - start;
    // NATS 2.14: a header length of 0 is not delivered.
    let is_plain = !(sizes.len() == 2 && size(sizes[0]) == Some(0))
        && written == words + blanks + 2
        && input[line.end - 2] == b'\r'
        && !input[start..line.end].contains(&b'\t')
        && line.start < start;
    is_plain.then(|| &input[start..used])
}

#[cfg(test)]
mod tests;
