//! Requests to services of other accounts.
//!
//! Consecutive requests to one subject are passed on as a run: they are looked up once, their responses are noted under
//! one lock, and the queue of a service is locked once for them.

use super::{Crossing, KEPT_REPLIES, Reached, Requesting, set_trace, sizes_of};
use crate::account::{
    Account, Awaited, Context, Given, Measured, Outcome, Requester, ServiceImport, reply_of,
    to_json,
};
use crate::endpoint::{Endpoint, Run, Sender, Sending, recycle};
use crate::header_block;
use crate::limits::{SERVICE_HOPS, SHARED_PAYLOAD_MIN_BYTES};
use crate::proto::{Publish, encode};
use crate::reserved::{FAST_BATCH, REQUEST_INFO, TRACE_DISABLED};
use crate::subject::SubjectBuffer;
use crate::sync::{Arc, Ordering};

/// The requests that are passed on together, unless they are longer than [`SHARED_PAYLOAD_MIN_BYTES`] before that: as
/// many as make what is done once for all of them small beside what is done for each.
const TOGETHER: usize = 64;

/// A run on its way through services.
pub(super) struct Hop<'h> {
    /// The services that it has passed through.
    before: Option<&'h Hop<'h>>,
    import: &'h ServiceImport,
    /// The service is told more than the account of the sender.
    is_detailed: bool,
    /// The service is told the server of the sender.
    has_server: bool,
    depth: usize,
}

impl<'h> Hop<'h> {
    fn new(
        before: Option<&'h Hop<'h>>,
        import: &'h ServiceImport,
        exporter: &Account,
    ) -> Option<Self> {
        let hop = Self {
            before,
            import,
            // NATS 2.14: the first import decides. A later one that shares adds the server.
            is_detailed: before.map_or(import.share, |before| before.is_detailed),
            has_server: match before {
                Some(before) => before.has_server || (!before.import.share && import.share),
                None => import.share,
            } || exporter.is_system,
            depth: before.map_or(1, |before| before.depth + 1),
        };
        (hop.depth <= SERVICE_HOPS && !hop.is_repeated()).then_some(hop)
    }

    /// Returns true if the run has passed through the same service already.
    fn is_repeated(&self) -> bool {
        let mut before = self.before;
        while let Some(hop) = before {
            if Arc::ptr_eq(&hop.import.export, &self.import.export) {
                return true;
            }
            before = hop.before;
        }
        false
    }
}

/// Passes requests on to the account that exports the service. Notes which of them reached a receiver.
// NATS 2.14: client.go processServiceImport.
pub(super) fn request(
    account: &Arc<Account>,
    import: &ServiceImport,
    run: &Run<'_>,
    before: Option<&Hop<'_>>,
    requesting: &mut Requesting<'_>,
    reached: &mut [bool],
) {
    let (Some(exporter), Some(context)) = (import.exporter.upgrade(), account.context()) else {
        return;
    };
    let Some(hop) = Hop::new(before, import, &exporter) else { return };
    let mut buffer = SubjectBuffer::new();
    let subject = import.rewrite.apply(run.subject, &mut buffer);
    let allow_trace = import.export.allow_trace;
    let crossing = requesting.cross(&exporter.name, run.subject, subject, allow_trace);
    if let Crossing::End = crossing {
        return;
    }
    let mut info = std::mem::take(&mut requesting.state.info);
    info.clear();
    describe(&mut info, account, &hop, requesting.endpoint, context);
    let exporter = &exporter;
    let passage = Passage {
        account,
        exporter,
        context,
        hop: &hop,
        subject,
        info: &info,
        crossing: &crossing,
    };
    let (mut messages, mut reached) = (run.messages, reached);
    while !messages.is_empty() {
        let count = together(messages);
        let (some, others) = messages.split_at(count);
        let (some_reached, others_reached) = reached.split_at_mut(count);
        passage.pass(some, requesting, some_reached);
        (messages, reached) = (others, others_reached);
    }
    requesting.end_crossing(crossing);
    requesting.state.info = info;
}

/// Returns the number of messages that are passed on together, from the first on.
fn together(messages: &[Publish<'_>]) -> usize {
    let mut bytes = 0;
    let more = messages.iter().take(TOGETHER).skip(1);
    let fits = |message: &&Publish<'_>| {
        bytes += message.body.len();
        bytes < SHARED_PAYLOAD_MIN_BYTES
    };
    1 + more.take_while(fits).count()
}

/// The way of requests from one account to another.
struct Passage<'p> {
    account: &'p Arc<Account>,
    exporter: &'p Arc<Account>,
    context: &'p Context,
    hop: &'p Hop<'p>,
    /// The subject in the exporting account.
    subject: &'p [u8],
    /// The description of the sender.
    info: &'p [u8],
    crossing: &'p Crossing,
}

impl Passage<'_> {
    fn pass(
        &self,
        messages: &[Publish<'_>],
        requesting: &mut Requesting<'_>,
        reached: &mut [bool],
    ) {
        let mut memory = requesting.state.take_memory();
        let mut replies = std::mem::take(&mut memory.replies);
        self.expect_responses(messages, requesting, &mut replies);
        self.rewrite(messages, &replies, requesting, &mut memory);
        let mut rewritten = recycle(std::mem::take(&mut memory.messages));
        memory.list(self.subject, &mut rewritten);
        let from = Sender { is_served: true, ..requesting.endpoint.as_sender() };
        let mut taken = Reached::from_elem(false, messages.len());
        let (exporter, hop) = (self.exporter, Some(self.hop));
        // The description of the sender is in the headers.
        let _sending = Sending::nobody();
        requesting.deliver_in(exporter, from, self.subject, &rewritten, hop, &mut taken);
        memory.messages = recycle(rewritten);
        let is_only = matches!(self.crossing, Crossing::Traced { is_only: true });
        for ((given, is_taken), is_reached) in replies.iter().zip(&taken).zip(reached) {
            if let Some(given) = given.as_ref().filter(|_| !*is_taken || is_only) {
                self.expect_no_response(given, is_only, requesting);
            }
            *is_reached |= *is_taken;
        }
        memory.replies = replies;
        requesting.state.keep_memory(memory);
    }

    /// Notes the requests whose responses are awaited. Adds the reply subjects that the service gets to `replies`.
    fn expect_responses(
        &self,
        messages: &[Publish<'_>],
        requesting: &mut Requesting<'_>,
        replies: &mut Vec<Option<Given>>,
    ) {
        let import = self.hop.import;
        let mut measured = Vec::new();
        if import.export.latency.is_some() {
            let measure = |message| self.measure(message, requesting).map(Arc::new);
            measured = messages.iter().map(measure).collect();
        }
        if !messages.iter().any(is_answered) {
            return replies.extend(messages.iter().map(|_| None));
        }
        let asked = requesting.state.asked(self.account, import);
        let mut measured = measured.into_iter();
        let awaited = messages.iter().map(|message| {
            let measured = measured.next().flatten();
            is_answered(message).then_some(Awaited { to: message.reply, measured })
        });
        let now = requesting.scratch.now();
        self.exporter.responses().add_all(&asked, awaited, requesting.random, now, replies);
    }

    /// Returns the beginning of a measurement, if the request is to be measured.
    #[cold]
    fn measure(&self, message: &Publish<'_>, requesting: &mut Requesting<'_>) -> Option<Measured> {
        let import = self.hop.import;
        let measured = requesting.measure(import, message, self.context)?;
        if message.reply.is_empty() {
            requesting.tell(self.exporter, import, &measured, Outcome::BadRequest);
            return None;
        }
        Some(measured)
    }

    /// Forgets a request that reached no service.
    fn expect_no_response(
        &self,
        given: &Given,
        is_only_traced: bool,
        requesting: &mut Requesting<'_>,
    ) {
        let removed = self.exporter.responses().remove(&given.reply);
        let measured = removed.and_then(|removed| removed.measured).filter(|_| !is_only_traced);
        if let Some(measured) = measured {
            requesting.tell(self.exporter, self.hop.import, &measured, Outcome::Unavailable);
        }
    }

    /// Writes the requests as the service gets them: with a description of the sender in place of any that the sender has
    /// sent.
    fn rewrite(
        &self,
        messages: &[Publish<'_>],
        replies: &[Option<Given>],
        requesting: &mut Requesting<'_>,
        memory: &mut Rewritten,
    ) {
        let mut headers = std::mem::take(&mut memory.headers);
        let mut sizes = std::mem::take(&mut memory.sizes);
        // The headers of messages without headers are the same.
        let mut is_plain = false;
        for (message, given) in messages.iter().zip(replies) {
            let original = self.reply_to_tell(message);
            if !is_plain || message.has_headers() || original.is_some() {
                headers.clear();
                let info = match &original {
                    Some(reply) => &with_reply(self.info, reply),
                    None => self.info,
                };
                header_block::append(&mut headers, message.headers(), REQUEST_INFO, info);
                self.set_trace(&mut headers, requesting);
                is_plain = !message.has_headers() && original.is_none();
            }
            let marked = given.as_ref().filter(|given| given.is_measured);
            let marked = marked.and_then(|given| self.context.remote.mark(&given.reply));
            let reply = match (&marked, given) {
                (Some(marked), _) => marked,
                (None, Some(given)) => &given.reply[..],
                (None, None) => message.reply,
            };
            let payload = message.payload();
            memory.push(reply, sizes.of(headers.len(), payload.len()), &headers, payload);
        }
        (memory.headers, memory.sizes) = (headers, sizes);
    }

    /// Returns the reply subject of the sender, if it is that of a fast batch of messages for a stream, which contains the number of
    /// the message.
    // NATS 2.14: client.go processServiceImport.
    fn reply_to_tell(&self, message: &Publish<'_>) -> Option<String> {
        if message.reply.ends_with(FAST_BATCH) {
            return Some(String::from_utf8_lossy(message.reply).into_owned());
        }
        // It was replaced by the service before this one.
        self.hop.before?;
        header_block::value(message.headers(), REQUEST_INFO).and_then(reply_of)
    }

    fn set_trace(&self, headers: &mut Vec<u8>, requesting: &mut Requesting<'_>) {
        match self.crossing {
            Crossing::Untraced | Crossing::End => {}
            Crossing::Held(_) => set_trace(headers, TRACE_DISABLED),
            // NATS 2.14: msgtrace.go setupResponseServiceImport: events of other servers come back by a reply subject.
            Crossing::Traced { .. } => {
                let unused = self.exporter.responses().unused(requesting.random);
                set_trace(headers, &unused);
            }
        }
    }
}

/// Returns true if the service gets a reply subject of its own account, to which it responds.
fn is_answered(message: &Publish<'_>) -> bool {
    !message.reply.is_empty() && !message.reply.starts_with(KEPT_REPLIES)
}

/// The sizes of the latest message with headers: requests are often as long as the one before.
#[derive(Default)]
struct Sizes {
    header_len: usize,
    payload_len: usize,
    text: Vec<u8>,
}

impl Sizes {
    fn of(&mut self, header_len: usize, payload_len: usize) -> &[u8] {
        if self.text.is_empty() || (self.header_len, self.payload_len) != (header_len, payload_len)
        {
            (self.header_len, self.payload_len) = (header_len, payload_len);
            self.text.clear();
            sizes_of(header_len, header_len + payload_len, &mut self.text);
        }
        &self.text
    }
}

/// Adds the reply subject of the sender to its description.
fn with_reply(info: &[u8], reply: &str) -> Vec<u8> {
    let mut info = info.strip_suffix(b"}").unwrap_or(info).to_vec();
    if info.len() > 1 {
        info.push(b',');
    }
    for part in [&b"\"reply\":"[..], &to_json(&reply), b"}"] {
        info.extend_from_slice(part);
    }
    info
}

/// Messages that were rewritten, one behind the other, in the form in which receivers get them.
#[derive(Default)]
pub(super) struct Rewritten {
    text: Vec<u8>,
    places: Vec<Place>,
    /// Memory for the headers of one message.
    headers: Vec<u8>,
    sizes: Sizes,
    /// Memory for the reply subjects that the service gets, and for the list of messages.
    replies: Vec<Option<Given>>,
    messages: Vec<Publish<'static>>,
}

/// The ends of the parts of a message.
struct Place {
    reply_end: usize,
    sizes_begin: usize,
    sizes_end: usize,
    body_end: usize,
    header_len: usize,
}

impl Rewritten {
    fn push(&mut self, reply: &[u8], sizes: &[u8], headers: &[u8], payload: &[u8]) {
        let Self { text, places, .. } = self;
        text.reserve(reply.len() + headers.len() + payload.len() + 48);
        text.extend_from_slice(reply);
        let reply_end = text.len();
        if !reply.is_empty() {
            text.push(b' ');
        }
        let sizes_begin = text.len();
        text.extend_from_slice(sizes);
        let sizes_end = text.len();
        for part in [b"\r\n", headers, payload, b"\r\n"] {
            text.extend_from_slice(part);
        }
        let (body_end, header_len) = (text.len() - 2, headers.len());
        places.push(Place { reply_end, sizes_begin, sizes_end, body_end, header_len });
    }

    /// Adds the messages to a list.
    fn list<'m>(&'m self, subject: &'m [u8], messages: &mut Vec<Publish<'m>>) {
        let mut begin = 0;
        let message = |place: &Place| {
            let (from, text) = (begin, &self.text[..]);
            begin = place.body_end + 2;
            Publish {
                subject,
                reply: &text[from..place.reply_end],
                header_len: Some(place.header_len),
                body: &text[place.sizes_end + 2..place.body_end],
                sizes: &text[place.sizes_begin..place.sizes_end],
                tail: Some(&text[from..begin]),
            }
        };
        messages.extend(self.places.iter().map(message));
    }

    /// Returns the memory for reuse, unless it is large.
    pub(super) fn emptied(mut self) -> Option<Self> {
        self.text.clear();
        self.places.clear();
        self.replies.clear();
        let bytes = self.text.capacity() + self.headers.capacity();
        (bytes <= 2 * SHARED_PAYLOAD_MIN_BYTES).then_some(self)
    }
}

/// Writes the description of the sender.
fn describe(
    info: &mut Vec<u8>,
    account: &Account,
    hop: &Hop<'_>,
    endpoint: &Endpoint,
    context: &Context,
) {
    let name = endpoint.membership.load();
    let name = name.as_ref().map_or("N/A", |one| &**one.account());
    if hop.before.is_none() && !hop.has_server && is_plain(name) {
        let rtt = endpoint.rtt_nanos.load(Ordering::Relaxed);
        write_brief(info, name, rtt);
        return;
    }
    let mut requester = Requester::of(endpoint, name, hop.is_detailed, context);
    if hop.before.is_some() {
        requester.service = account.name.to_string();
    }
    if hop.has_server {
        requester.server = context.server_name.to_string();
        requester.cluster = context.cluster.load().as_deref().cloned().unwrap_or_default();
    }
    info.extend_from_slice(&to_json(&requester));
}

/// Returns true if JSON contains the text unchanged.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'$'))
}

/// Writes the description that every service is given: the account, and the round trip if it is known.
fn write_brief(info: &mut Vec<u8>, account: &str, rtt_nanos: u64) {
    info.extend_from_slice(b"{\"acc\":\"");
    info.extend_from_slice(account.as_bytes());
    info.push(b'"');
    if rtt_nanos > 0 {
        info.extend_from_slice(b",\"rtt\":");
        encode::number(info, usize::try_from(rtt_nanos).unwrap_or(usize::MAX));
    }
    info.push(b'}');
}
