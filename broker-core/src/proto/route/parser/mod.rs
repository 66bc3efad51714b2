//! Parses the bytes of another server to operations, without a copy.
//!
//! As with [the parser of clients](crate::proto::Parser), the caller passes unused input again with the bytes that
//! follow, so that the parser can stop at any byte and each operation is contiguous.
//!
//! ```
//! use broker_core::proto::route::{RouteLimits, RouteOp, RouteParsed, RouteParser};
//!
//! let mut parser = RouteParser::default();
//! let input = b"RMSG A orders.eu | workers 5\r\nhello\r\nPING\r\n";
//! let parsed = parser.parse(input, None, &RouteLimits::default()).unwrap();
//! let RouteParsed::Op { op: RouteOp::Message(routed), used } = parsed else { panic!() };
//! assert_eq!((routed.account, routed.queues[0]), (&b"A"[..], &b"workers"[..]));
//! assert_eq!(routed.message.payload(), b"hello");
//! assert_eq!(&input[used..], b"PING\r\n");
//! ```

pub(crate) mod fast;
mod message;

use memchr::memchr;
use smallvec::SmallVec;

use super::fault::RouteFault;
use super::op::{RouteOp, RouteSubscription};
use crate::limits::{ROUTE_LINE_BYTES, ROUTE_PAYLOAD_BYTES};
use crate::proto::parser::fast::word_end;
use crate::proto::parser::{BLANKS_BYTES, LineFault, is_white, line, size};
use message::MessageVerb;

/// The words of a control line. Lines of servers mostly have at most eight.
type Words<'a> = SmallVec<[&'a [u8]; 8]>;

/// The limits of one route, and the form of its protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RouteLimits {
    /// The longest control line, without its verb.
    // NATS 2.14: parser.go overMaxControlLineLimit: sixteen times that of clients.
    pub max_control_line_bytes: usize,
    /// The largest message, headers included.
    pub max_message_bytes: usize,
    /// True if `LS-` names the cluster of leaf nodes: the other server sent `lnocu`.
    pub names_origin: bool,
    /// True if the header `traceparent` may request a trace: the session then handles the message.
    pub traces_by_account: bool,
}

impl Default for RouteLimits {
    fn default() -> Self {
        Self {
            max_control_line_bytes: ROUTE_LINE_BYTES,
            max_message_bytes: ROUTE_PAYLOAD_BYTES,
            names_origin: true,
            traces_by_account: false,
        }
    }
}

impl RouteLimits {
    /// Returns the longest incomplete control line that the parser leaves to be passed again.
    pub fn max_kept_line_bytes(&self) -> usize {
        // The longest verb, blanks, arguments and a CR.
        (b"CONNECT".len() + BLANKS_BYTES + 1).saturating_add(self.max_control_line_bytes)
    }
}

/// The form of the protocol on one route.
#[derive(Clone, Copy)]
struct Dialect<'a, 'l> {
    /// The account of the route, which lines then do not name; `None` if each line names one.
    account: Option<&'a [u8]>,
    limits: &'l RouteLimits,
}

/// The result of parsing.
#[derive(Debug, Eq, PartialEq)]
pub enum RouteParsed<'a> {
    /// One complete operation.
    Op {
        /// The operation.
        op: RouteOp<'a>,
        /// The bytes of input that it took.
        used: usize,
    },
    /// No complete operation. The caller drops `used` bytes and calls again with more behind the rest.
    Partial {
        /// The bytes that need not be passed again.
        used: usize,
        /// The number of bytes, from the first one that must be passed again, that make a whole operation;
        /// 0 if it is unknown. One byte less is worth another call: if the last of them is not the CR behind
        /// the payload, the other server has miscounted.
        whole: usize,
    },
}

/// The parser of operations of another server. It holds no bytes, only the state of the current line.
#[derive(Clone, Debug, Default)]
pub struct RouteParser {
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
    fn op<'a>(self) -> RouteOp<'a> {
        match self {
            Self::Ping => RouteOp::Ping,
            Self::Pong => RouteOp::Pong,
            Self::Ok => RouteOp::Ok,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verb {
    Message(MessageVerb),
    Subscribe {
        names_origin: bool,
    },
    Unsubscribe {
        is_leaf: bool,
    },
    Bare(Bare),
    Connect,
    Info,
    Err,
    /// Without effect on a route.
    Account,
}

/// The verbs. A capital letter matches in both cases.
// NATS 2.14: parser.go takes the operations of clients from servers too. `SUB` has no effect, `UNSUB` is `RS-`, and
// the message of `PUB` has no account, unless the route has one. `Au` is `A-`, `AU` is not.
const VERBS: [(&[u8], Verb); 20] = [
    (b"RMSG", Verb::Message(MessageVerb::Plain)),
    (b"HMSG", Verb::Message(MessageVerb::Headers)),
    (b"RS+", Verb::Subscribe { names_origin: false }),
    (b"RS-", Verb::Unsubscribe { is_leaf: false }),
    (b"PING", Verb::Bare(Bare::Ping)),
    (b"PONG", Verb::Bare(Bare::Pong)),
    (b"LMSG", Verb::Message(MessageVerb::Origin)),
    (b"LS+", Verb::Subscribe { names_origin: true }),
    (b"LS-", Verb::Unsubscribe { is_leaf: true }),
    (b"INFO", Verb::Info),
    (b"CONNECT", Verb::Connect),
    (b"+OK", Verb::Bare(Bare::Ok)),
    (b"-ERR", Verb::Err),
    (b"A+", Verb::Account),
    (b"A-", Verb::Account),
    (b"Au", Verb::Account),
    (b"SUB", Verb::Account),
    (b"UNSUB", Verb::Unsubscribe { is_leaf: false }),
    (b"PUB", Verb::Message(MessageVerb::Publish)),
    (b"HPUB", Verb::Message(MessageVerb::PublishHeaders)),
];

impl RouteParser {
    /// Parses the next operation in `input`, if it is complete. `account`: that of the route, which lines then do not
    /// name; `None` if each line names one.
    ///
    /// # Errors
    ///
    /// [`RouteFault`] if the input is invalid whatever bytes follow.
    #[inline]
    pub fn parse<'a>(
        &mut self,
        input: &'a [u8],
        account: Option<&'a [u8]>,
        limits: &RouteLimits,
    ) -> Result<RouteParsed<'a>, RouteFault> {
        let dialect = Dialect { account, limits };
        if self.skipping.is_none() {
            if let Some((message, used)) = fast::message(input, dialect) {
                return Ok(RouteParsed::Op { op: RouteOp::Message(message), used });
            }
            if let Some((interest, used)) = fast::interest(input, dialect) {
                return Ok(RouteParsed::Op { op: RouteOp::Subscribe(interest), used });
            }
        }
        self.parse_any(input, dialect)
    }

    /// Returns true if the next byte is the first of an operation.
    pub fn is_between_operations(&self) -> bool {
        self.skipping.is_none()
    }

    /// Parses every operation in every spelling.
    fn parse_any<'a>(
        &mut self,
        input: &'a [u8],
        dialect: Dialect<'a, '_>,
    ) -> Result<RouteParsed<'a>, RouteFault> {
        if let Some(bare) = self.skipping {
            return Ok(self.skip_line(bare, input, 0));
        }
        let Some((verb, at)) = verb(input)? else {
            return Ok(RouteParsed::Partial { used: 0, whole: 0 });
        };
        if let Verb::Bare(bare) = verb {
            return Ok(self.skip_line(bare, input, at));
        }
        // NATS 2.14: the JSON of CONNECT and INFO may follow without a blank.
        let needs_blank = !matches!(verb, Verb::Connect | Verb::Info);
        let Some(line) = line(input, at, needs_blank, dialect.limits.max_control_line_bytes)?
        else {
            return Ok(RouteParsed::Partial { used: 0, whole: 0 });
        };
        let op = match verb {
            Verb::Message(verb) => return message::parse(input, &line, verb, dialect),
            Verb::Subscribe { names_origin } => subscribe(line.arguments, names_origin, dialect)?,
            Verb::Unsubscribe { is_leaf } => {
                let names_origin = is_leaf && dialect.limits.names_origin;
                unsubscribe(line.arguments, names_origin, dialect)?
            }
            Verb::Connect => RouteOp::Connect(line.arguments),
            Verb::Info => RouteOp::Info(line.arguments),
            Verb::Err => RouteOp::Err(line.arguments),
            Verb::Account | Verb::Bare(_) => RouteOp::Account,
        };
        Ok(RouteParsed::Op { op, used: line.end })
    }

    fn skip_line<'a>(&mut self, bare: Bare, input: &'a [u8], at: usize) -> RouteParsed<'a> {
        match memchr(b'\n', &input[at..]) {
            Some(end) => {
                self.skipping = None;
                RouteParsed::Op { op: bare.op(), used: at + end + 1 }
            }
            None => {
                self.skipping = Some(bare);
                RouteParsed::Partial { used: input.len(), whole: 0 }
            }
        }
    }
}

/// Returns the verb and the arguments of an operation, which the parser has taken, as NATS's trace shows them: the
/// arguments as they were sent. `None` if it is not traced.
// NATS 2.14: parser.go parse.
pub fn traced(operation: &[u8]) -> Option<(&'static str, &[u8])> {
    let (verb, at) = verb(operation).ok()??;
    let name = match verb {
        Verb::Message(MessageVerb::Plain) => "RMSG",
        Verb::Message(MessageVerb::Headers) => "HMSG",
        Verb::Message(MessageVerb::Origin) => "LMSG",
        Verb::Message(MessageVerb::Publish) => "PUB",
        Verb::Message(MessageVerb::PublishHeaders) => "HPUB",
        Verb::Subscribe { names_origin: false } => "RS+",
        Verb::Subscribe { names_origin: true } => "LS+",
        Verb::Unsubscribe { .. } if operation.starts_with(b"U") || operation.starts_with(b"u") => {
            return None;
        }
        Verb::Unsubscribe { is_leaf: false } => "RS-",
        Verb::Unsubscribe { is_leaf: true } => "LS-",
        Verb::Bare(Bare::Ping) => return Some(("PING", b"")),
        Verb::Bare(Bare::Pong) => return Some(("PONG", b"")),
        Verb::Connect => "CONNECT",
        Verb::Account if operation.get(1) == Some(&b'+') => "A+",
        Verb::Account if operation.starts_with(b"A") || operation.starts_with(b"a") => "A-",
        Verb::Account | Verb::Bare(Bare::Ok) | Verb::Info | Verb::Err => return None,
    };
    let line = line(operation, at, false, usize::MAX).ok()??;
    Some((name, line.arguments))
}

impl From<LineFault> for RouteFault {
    fn from(fault: LineFault) -> Self {
        match fault {
            LineFault::NoBlank => Self::UnknownOperation,
            LineFault::TooLong => Self::MaxControlLine,
        }
    }
}

/// Returns the verb at the start of `input` and its end; `None` if it is incomplete.
fn verb(input: &[u8]) -> Result<Option<(Verb, usize)>, RouteFault> {
    // At its beginning a route carries a line for each subject of interest.
    if let [b'R', b'S', sign @ (b'+' | b'-'), ..] = input {
        let verb = if *sign == b'+' {
            Verb::Subscribe { names_origin: false }
        } else {
            Verb::Unsubscribe { is_leaf: false }
        };
        return Ok(Some((verb, b"RS+".len())));
    }
    let mut partial = false;
    for (text, verb) in VERBS {
        let common = text.len().min(input.len());
        if text.iter().zip(input).all(|(wanted, byte)| is_letter(*wanted, *byte)) {
            if common == text.len() {
                return Ok(Some((verb, common)));
            }
            partial = true;
        }
    }
    if partial { Ok(None) } else { Err(RouteFault::UnknownOperation) }
}

/// Returns true if `byte` is the wanted one of a verb.
fn is_letter(wanted: u8, byte: u8) -> bool {
    byte == wanted || byte.to_ascii_uppercase() == wanted
}

/// Splits a control line at white space.
fn words(text: &[u8]) -> Words<'_> {
    let mut words = Words::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        if is_white(*byte) {
            at += 1;
            continue;
        }
        let mut end = at;
        // Other control characters are part of words.
        while end < text.len() && !is_white(text[end]) {
            end = word_end(text, end + 1).unwrap_or(text.len());
        }
        words.push(&text[at..end]);
        at = end;
    }
    words
}

/// Removes the cluster of leaf nodes and the account from the start of `words`.
fn common<'a>(
    words: &mut &[&'a [u8]],
    names_origin: bool,
    dialect: Dialect<'a, '_>,
) -> Option<(Option<&'a [u8]>, &'a [u8])> {
    let mut next = || words.split_off_first().copied();
    let origin = if names_origin { Some(next()?) } else { None };
    let account = match dialect.account {
        Some(account) => account,
        None => next()?,
    };
    Some((origin, account))
}

// NATS 2.14: route.go processRemoteSub. An invalid weight is one that no member has.
fn subscribe<'a>(
    arguments: &'a [u8],
    names_origin: bool,
    dialect: Dialect<'a, '_>,
) -> Result<RouteOp<'a>, RouteFault> {
    let words = words(arguments);
    let mut rest = &words[..];
    let common = common(&mut rest, names_origin, dialect);
    let subscription = match (common, rest) {
        (Some((origin, account)), [filter]) => {
            RouteSubscription { origin, account, filter, queue: None, weight: 1 }
        }
        (Some((origin, account)), [filter, queue, weight]) => {
            let weight = size(weight).and_then(|weight| u32::try_from(weight).ok());
            let (queue, weight) = (Some(*queue), weight.unwrap_or(0));
            RouteSubscription { origin, account, filter, queue, weight }
        }
        _ => {
            let text = [if names_origin { &b"L "[..] } else { b"R " }, arguments].concat();
            return Err(RouteFault::of_text("processRemoteSub", "Parse Error", &text));
        }
    };
    Ok(RouteOp::Subscribe(subscription))
}

// NATS 2.14: route.go parseUnsubProto, processRemoteUnsub.
fn unsubscribe<'a>(
    arguments: &'a [u8],
    names_origin: bool,
    dialect: Dialect<'a, '_>,
) -> Result<RouteOp<'a>, RouteFault> {
    let words = words(arguments);
    let mut rest = &words[..];
    let common = common(&mut rest, names_origin, dialect);
    let (Some((origin, account)), [filter, queue @ ..]) = (common, rest) else {
        return Err(RouteFault::of_text("processRemoteUnsub", "parse error", arguments));
    };
    if queue.len() > 1 {
        return Err(RouteFault::of_text("processRemoteUnsub", "parse error", arguments));
    }
    let queue = queue.first().copied();
    Ok(RouteOp::Unsubscribe(RouteSubscription { origin, account, filter, queue, weight: 0 }))
}

#[cfg(test)]
mod tests;
