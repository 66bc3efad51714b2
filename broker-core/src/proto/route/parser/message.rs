//! Messages of another server: `RMSG`, `HMSG` and `LMSG`.

use memchr::memchr;
use smallvec::SmallVec;

use super::{Dialect, RouteParsed, Words, words};
use crate::proto::Publish;
use crate::proto::parser::{Line, offset, size, tail};
use crate::proto::route::fault::RouteFault;
use crate::proto::route::op::{RouteMessage, RouteOp};

/// The operations that carry a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum MessageVerb {
    /// `RMSG`.
    Plain,
    /// `HMSG`.
    Headers,
    /// `LMSG`.
    Origin,
    /// `PUB`.
    Publish,
    /// `HPUB`.
    PublishHeaders,
}

impl MessageVerb {
    /// Returns the step that NATS's log names.
    fn step(self) -> &'static str {
        match self {
            Self::Plain => "processRoutedMsgArgs",
            Self::Headers => "processRoutedHeaderMsgArgs",
            Self::Origin => "processRoutedOriginClusterMsgArgs",
            Self::Publish => "processPub",
            Self::PublishHeaders => "processHeaderPub",
        }
    }

    /// Returns the number of sizes at the end of the line.
    fn sizes(self) -> usize {
        if matches!(self, Self::Plain | Self::Publish) { 1 } else { 2 }
    }

    fn is_of_client(self) -> bool {
        matches!(self, Self::Publish | Self::PublishHeaders)
    }
}

/// The control line of a message.
struct Head<'a> {
    origin: Option<&'a [u8]>,
    account: &'a [u8],
    subject: &'a [u8],
    reply: &'a [u8],
    queues: SmallVec<[&'a [u8]; 4]>,
    header_len: Option<usize>,
    len: usize,
    /// The sizes as spelled: one, or two if there are headers.
    sizes: SmallVec<[&'a [u8]; 2]>,
}

impl<'a> Head<'a> {
    /// Interprets the words of a line.
    // NATS 2.14: route.go processRoutedMsgArgs, processRoutedHeaderMsgArgs, processRoutedOriginClusterMsgArgs.
    fn of_words(
        words: &[&'a [u8]],
        verb: MessageVerb,
        dialect: Dialect<'a, '_>,
    ) -> Result<Self, Problem> {
        let mut rest = words;
        let mut next = || rest.split_off_first().copied().ok_or(Problem::Parse);
        let origin = if verb == MessageVerb::Origin { Some(next()?) } else { None };
        let account = match dialect.account {
            Some(account) => account,
            None if verb.is_of_client() => &[],
            None => next()?,
        };
        let subject = next()?;
        let sizes_at = rest.len().checked_sub(verb.sizes()).ok_or(Problem::Parse)?;
        let (between, sizes) = rest.split_at(sizes_at);
        let (reply, queues): (&[u8], &[&[u8]]) = match between {
            [] => (&[], &[]),
            [reply] => (reply, &[]),
            _ if verb.is_of_client() => return Err(Problem::Parse),
            [b"+", reply, queues @ ..] => (reply, queues),
            [b"|", queues @ ..] => (&[], queues),
            _ => return Err(Problem::ReplyIndicator),
        };
        let (header_len, len) = lengths(sizes)?;
        // NATS 2.14: a header length of 0 leaves a plain message.
        let sizes = if header_len == Some(0) { &sizes[1..] } else { sizes };
        Ok(Self {
            origin,
            account,
            subject,
            reply,
            queues: SmallVec::from_slice(queues),
            header_len: header_len.filter(|len| *len > 0),
            len,
            sizes: SmallVec::from_slice(sizes),
        })
    }

    /// Adds the body, which starts at `body_at`.
    fn with_body(
        self,
        input: &'a [u8],
        body_at: usize,
        tail: Option<&'a [u8]>,
    ) -> RouteMessage<'a> {
        let sizes = match &self.sizes[..] {
            [first, .., last] => &input[offset(input, first)..offset(input, last) + last.len()],
            [size] => *size,
            [] => &[],
        };
        let Self { origin, account, subject, reply, queues, header_len, len, .. } = self;
        let body = &input[body_at..body_at + len];
        let message = Publish { subject, reply, header_len, body, sizes, tail };
        RouteMessage { origin, account, queues, message }
    }
}

/// Parses the length of the headers, if there are two sizes, and that of the whole.
fn lengths(sizes: &[&[u8]]) -> Result<(Option<usize>, usize), Problem> {
    let header_len = match sizes {
        [headers, _] => Some(size(headers).ok_or(Problem::HeaderSize)?),
        _ => None,
    };
    let len = sizes.last().and_then(|len| size(len)).ok_or(Problem::Size)?;
    if header_len.is_some_and(|headers| headers > len) {
        return Err(Problem::HeadersLarger);
    }
    Ok((header_len, len))
}

/// The rule that the words of a line violate.
#[derive(Clone, Copy, Debug)]
enum Problem {
    /// Too few words.
    Parse,
    /// Several words in front of the sizes, without a sign that says what they are.
    ReplyIndicator,
    /// The size of the headers.
    HeaderSize,
    /// The size.
    Size,
    /// The headers are larger than the whole.
    HeadersLarger,
}

impl Problem {
    /// Returns the fault with NATS's words.
    #[cold]
    fn fault(
        self,
        verb: MessageVerb,
        arguments: &[u8],
        words: &Words<'_>,
        dialect: Dialect<'_, '_>,
    ) -> RouteFault {
        let step = verb.step();
        let problem = match self {
            Self::Parse => "Parse Error",
            Self::ReplyIndicator => "Bad or Missing Reply Indicator",
            Self::HeaderSize => "Bad or Missing Header Size",
            Self::Size if verb == MessageVerb::PublishHeaders => "Bad or Missing Total Size",
            Self::Size => "Bad or Missing Size",
            Self::HeadersLarger => "Header Size larger then TotalSize",
        };
        if verb.is_of_client() {
            let arguments = crate::error::Quoted::from(arguments).to_string();
            return RouteFault::BadArguments { step, problem, arguments };
        }
        // The account of the route takes its place among the words, with an origin only if there are three.
        let at = usize::from(verb == MessageVerb::Origin);
        let account = dialect.account.filter(|_| at == 0 || words.len() > 2);
        let (before, behind) = words.split_at(at.min(words.len()));
        let mut all = before.iter().copied().chain(account).chain(behind.iter().copied());
        match self {
            Self::HeaderSize | Self::HeadersLarger => RouteFault::of_text(step, problem, arguments),
            Self::ReplyIndicator => {
                let indicator = all.nth(at + 2).unwrap_or_default();
                RouteFault::of_text(step, problem, indicator)
            }
            Self::Parse | Self::Size => RouteFault::of_words(step, problem, all),
        }
    }
}

/// Parses the message behind a line, in every spelling.
pub(super) fn parse<'a>(
    input: &'a [u8],
    line: &Line<'a>,
    verb: MessageVerb,
    dialect: Dialect<'a, '_>,
) -> Result<RouteParsed<'a>, RouteFault> {
    let words = words(line.arguments);
    let head = Head::of_words(&words, verb, dialect)
        .map_err(|problem| problem.fault(verb, line.arguments, &words, dialect))?;
    let (size, limit) = (head.len, dialect.limits.max_message_bytes);
    if size > limit {
        return Err(RouteFault::MaxPayload { size, limit });
    }
    let body_end = line.end + size;
    // The bytes behind the payload are checked one by one, so that a wrong count is reported at once.
    for (at, expected) in [(body_end, b'\r'), (body_end + 1, b'\n')] {
        if input.get(at).is_some_and(|byte| *byte != expected) {
            return Err(RouteFault::UnknownOperation);
        }
    }
    let used = body_end + 2;
    if input.len() < used {
        return Ok(RouteParsed::Partial { used: 0, whole: used });
    }
    // A CR stands between words as a blank does, but a client would take it for the end of the line.
    let has_cr = |tail: &&[u8]| memchr(b'\r', &tail[..tail.len() - size - 4]).is_some();
    let tail = tail(input, line, head.reply, &head.sizes, used).filter(|tail| !has_cr(tail));
    let message = head.with_body(input, line.end, tail);
    Ok(RouteParsed::Op { op: RouteOp::Message(message), used })
}
