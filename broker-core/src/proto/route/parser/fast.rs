//! The fast path: `RMSG`, `HMSG` and `RS+` in the spelling that all servers use.
//!
//! It never rejects input: other spellings, incomplete operations and those beyond a limit are `None` and left to the
//! general parser, which alone reports faults.

use smallvec::SmallVec;

use super::{Dialect, RouteLimits};
use crate::proto::parser::fast::word_end;
use crate::proto::parser::size;
use crate::proto::route::op::{RouteMessage, RouteSubscription};
use crate::proto::{Batch, Publish, traced};

/// The most words of a line behind its verb; with more queue groups it is left to the general parser.
const MAX_WORDS: usize = 12;

/// The verbs are equally long.
const WORDS_AT: usize = b"RMSG ".len();

/// The recipients of a message: an account, and the queue groups that this server was picked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Addressed<'a> {
    pub(crate) account: &'a [u8],
    /// Their names, with one blank between two.
    queues: &'a [u8],
}

impl<'a> Addressed<'a> {
    /// Returns the names of the queue groups.
    pub(crate) fn queues(&self) -> SmallVec<[&'a [u8]; 4]> {
        if self.queues.is_empty() {
            return SmallVec::new();
        }
        self.queues.split(|byte| *byte == b' ').collect()
    }
}

/// A message in the usual spelling.
struct Common<'a> {
    to: Addressed<'a>,
    message: Publish<'a>,
    /// The length of the operation.
    used: usize,
}

/// Parses the message at the start of `input`. Returns it with its length in bytes.
#[inline]
pub(super) fn message<'a>(
    input: &'a [u8],
    dialect: Dialect<'a, '_>,
) -> Option<(RouteMessage<'a>, usize)> {
    let Common { to, message, used } = common(input, dialect)?;
    let routed = RouteMessage { origin: None, account: to.account, queues: to.queues(), message };
    Some((routed, used))
}

/// Parses the interest at the start of `input`. Returns it with its length in bytes. At its beginning a route carries such a line
/// for each subject of interest.
#[inline]
pub(super) fn interest<'a>(
    input: &'a [u8],
    dialect: Dialect<'a, '_>,
) -> Option<(RouteSubscription<'a>, usize)> {
    const WORDS_AT: usize = b"RS+ ".len();
    if input.first_chunk::<WORDS_AT>()? != b"RS+ " {
        return None;
    }
    let (account, filter_at) = match dialect.account {
        Some(account) => (account, WORDS_AT),
        None => {
            let (account, end) = word(input, WORDS_AT)?;
            (account, blank(input, end)?)
        }
    };
    let (filter, mut end) = word(input, filter_at)?;
    let (mut queue, mut weight) = (None, 1);
    if let Some(queue_at) = blank(input, end) {
        let (name, queue_end) = word(input, queue_at)?;
        let (number, weight_end) = word(input, blank(input, queue_end)?)?;
        queue = Some(name);
        weight = u32::try_from(size(number)?).ok()?;
        end = weight_end;
    }
    let is_common = input.get(end..end + 2)? == b"\r\n"
        && end - WORDS_AT <= dialect.limits.max_control_line_bytes;
    let interest = RouteSubscription { origin: None, account, filter, queue, weight };
    is_common.then_some((interest, end + 2))
}

/// Returns the word that begins there, unless it is empty, and its end.
#[inline]
fn word(input: &[u8], from: usize) -> Option<(&[u8], usize)> {
    let end = word_end(input, from)?;
    (end > from).then(|| (&input[from..end], end))
}

/// Returns the place behind a blank.
#[inline]
fn blank(input: &[u8], at: usize) -> Option<usize> {
    (input.get(at) == Some(&b' ')).then_some(at + 1)
}

/// Adds the messages at the start of `input` to `batch`, as many as fit, have the same recipients as those in it, and
/// cannot be traced. Returns their length in bytes. `to`: the recipients, which the first message of a batch sets.
///
/// As from a fast client, consecutive control lines are often equal, and only the payload differs.
pub(crate) fn gather<'a>(
    input: &'a [u8],
    account: Option<&'a [u8]>,
    limits: &RouteLimits,
    to: &mut Addressed<'a>,
    batch: &mut Batch<'a>,
) -> usize {
    let dialect = Dialect { account, limits };
    let mut used = 0;
    // The previous operation, the offsets of its tail and its body, and the length of its header block.
    let (mut last, mut tail_at, mut body_at): (&[u8], usize, usize) = (&[], 0, 0);
    let mut headers = 0;
    while !batch.has_most_messages() {
        let rest = &input[used..];
        if let Some(before) = batch.last().filter(|_| !last.is_empty())
            && let Some(operation) = rest.get(..last.len())
            && operation[..body_at] == last[..body_at]
            && operation.ends_with(b"\r\n")
        {
            let body = &operation[body_at..operation.len() - 2];
            // Headers equal to those of the previous message have been checked.
            if headers > 0
                && body[..headers] != before.body[..headers]
                && traced::is_mentioned(&body[..headers], limits.traces_by_account)
            {
                break;
            }
            let tail = before.tail.map(|_| &operation[tail_at..]);
            batch.push_to_same(Publish { body, tail, ..*before });
            used += operation.len();
            continue;
        }
        if batch.has_most_runs() {
            break;
        }
        let Some(next) = common(rest, dialect) else { break };
        let Common { message, used: len, .. } = next;
        if message.header_len.is_some()
            && traced::is_mentioned(message.headers(), limits.traces_by_account)
        {
            break;
        }
        if batch.messages().is_empty() {
            *to = next.to;
        } else if *to != next.to {
            break;
        }
        last = &rest[..len];
        body_at = len - 2 - message.body.len();
        tail_at = len - message.tail.map_or(0, <[u8]>::len);
        headers = message.header_len.unwrap_or_default();
        batch.push(message);
        used += len;
    }
    used
}

/// The words of a control line between which stands one blank.
struct Line<'a> {
    input: &'a [u8],
    ends: [usize; MAX_WORDS],
    count: usize,
}

impl<'a> Line<'a> {
    /// Splits the line up to its CR.
    #[inline]
    fn split(input: &'a [u8]) -> Option<Self> {
        let (mut ends, mut count, mut at) = ([0; MAX_WORDS], 0, WORDS_AT);
        loop {
            let end = word_end(input, at)?;
            if end == at || count == MAX_WORDS {
                return None;
            }
            ends[count] = end;
            count += 1;
            match input[end] {
                b' ' => at = end + 1,
                b'\r' => return Some(Self { input, ends, count }),
                _ => return None,
            }
        }
    }

    #[inline]
    fn start(&self, word: usize) -> usize {
        if word == 0 { WORDS_AT } else { self.ends[word - 1] + 1 }
    }

    #[inline]
    fn word(&self, word: usize) -> &'a [u8] {
        &self.input[self.start(word)..self.ends[word]]
    }

    /// Returns the text of the words from one to before another.
    #[inline]
    fn text(&self, from: usize, until: usize) -> &'a [u8] {
        if from < until { &self.input[self.start(from)..self.ends[until - 1]] } else { &[] }
    }

    #[inline]
    fn end(&self) -> usize {
        self.ends[self.count - 1]
    }
}

#[inline]
fn common<'a>(input: &'a [u8], dialect: Dialect<'a, '_>) -> Option<Common<'a>> {
    let sizes = match input.first_chunk::<WORDS_AT>()? {
        b"RMSG " => 1,
        b"HMSG " => 2,
        _ => return None,
    };
    let line = Line::split(input)?;
    let (account, subject_at) = match dialect.account {
        Some(account) => (account, 0),
        None => (line.word(0), 1),
    };
    // The words behind the subject, up to the sizes.
    let first = subject_at + 1;
    let sizes_at = line.count.checked_sub(sizes).filter(|sizes_at| *sizes_at >= first)?;
    let (reply, queues_at) = match sizes_at - first {
        0 => (&[][..], first),
        1 => (line.word(first), sizes_at),
        _ => match line.word(first) {
            b"|" => (&[][..], first + 1),
            b"+" => (line.word(first + 1), first + 2),
            _ => return None,
        },
    };
    let queues = line.text(queues_at, sizes_at);
    let header_len = if sizes == 2 { Some(size(line.word(sizes_at))?) } else { None };
    let len = size(line.word(line.count - 1))?;
    let body_at = line.end() + 2;
    let used = body_at + len + 2;
    let whole = input.get(..used)?;
    let is_common = whole[body_at - 1] == b'\n'
        && whole[used - 2] == b'\r'
        && whole[used - 1] == b'\n'
        && len <= dialect.limits.max_message_bytes
        && line.end() - WORDS_AT <= dialect.limits.max_control_line_bytes
        && header_len.is_none_or(|headers| (1..=len).contains(&headers));
    if !is_common {
        return None;
    }
    let tail_at = if reply.is_empty() {
        Some(line.start(sizes_at))
    } else if queues.is_empty() {
        Some(line.start(sizes_at) - reply.len() - 1)
    } else {
        None
    };
    let message = Publish {
        subject: line.word(subject_at),
        reply,
        header_len,
        body: &whole[body_at..used - 2],
        sizes: line.text(sizes_at, line.count),
        tail: tail_at.map(|at| &whole[at..]),
    };
    Some(Common { to: Addressed { account, queues }, message, used })
}
