//! Direct gets: requests for messages that are answered by the messages themselves.
// NATS 2.14: stream.go processDirectGetRequest, getDirectRequest, getDirectMulti; ADR-31.

use broker_core::SubjectFilter;

use super::get::filters;
use super::limits::{MAX_GET_BYTES, MAX_MULTI_GET, MAX_WAITING_READS};
use super::{Context, MessageRequest, Stream, fields};
use crate::decimal::write_decimal;
use crate::filters::Filters;
use crate::outbox::Outgoing;
use crate::store::Record;

const EMPTY_REQUEST: &[u8] = b"NATS/1.0 408 Empty Request\r\n\r\n";
const BAD_REQUEST: &[u8] = b"NATS/1.0 408 Bad Request\r\n\r\n";
const MALFORMED_REQUEST: &[u8] = b"NATS/1.0 408 Malformed Request\r\n\r\n";
const NOT_FOUND: &[u8] = b"NATS/1.0 404 Message Not Found\r\n\r\n";
const NO_RESULTS: &[u8] = b"NATS/1.0 404 No Results\r\n\r\n";
const TOO_MANY_RESULTS: &[u8] = b"NATS/1.0 413 Too Many Results\r\n\r\n";
const UNAVAILABLE: &[u8] = b"NATS/1.0 503\r\n\r\n";

/// The progress of a request for several messages.
struct Progress {
    /// The messages that remain.
    pending: u64,
    /// The last sequence that was sent.
    last: u64,
    bytes: usize,
    max_bytes: usize,
}

impl Stream {
    /// Answers the payload of a request to `$JS.API.DIRECT.GET.stream`; with `subject`, of one to
    /// `$JS.API.DIRECT.GET.stream.subject`. Nothing happens without a reply subject.
    pub fn direct_request(
        &mut self,
        payload: &[u8],
        subject: Option<&[u8]>,
        reply: &[u8],
        context: &mut Context<'_>,
    ) {
        if reply.is_empty() {
            return;
        }
        match parse(payload, subject) {
            Ok(request) => self.direct_get(&request, reply, context),
            Err(status) => self.answer(reply, status, context),
        }
    }

    /// Answers a request for messages by the messages.
    pub fn direct_get(
        &mut self,
        request: &MessageRequest,
        reply: &[u8],
        context: &mut Context<'_>,
    ) {
        if self.reads.bytes() > MAX_WAITING_READS {
            // Behind the messages that wait it would take memory itself.
            let (to, headers) = (reply, UNAVAILABLE);
            context.out.send(&Outgoing { to, subject: to, headers, ..Outgoing::default() });
        } else if request.multi_last_for.is_empty() {
            self.get_each(request, reply, context);
        } else {
            self.get_last_of_each(request, reply, context);
        }
    }

    fn get_each(&mut self, request: &MessageRequest, reply: &[u8], context: &mut Context<'_>) {
        let mut next = match request.start_time {
            Some(time) => self.storage.sequence_at(time),
            None => request.sequence,
        };
        let is_batch = request.batch != 0;
        let selected = match request.next_for.as_str() {
            "" => Some(Filters::default()),
            filter => filters(filter),
        };
        let mut progress = Progress::new(request);
        if let Some(filters) = selected.as_ref().filter(|_| is_batch) {
            progress.pending = self.storage.count(filters, next, false);
        }
        for turn in 0..if is_batch { request.batch } else { 1 } {
            let is_last_for = request.next_for.is_empty() && next == 0;
            let found = if is_last_for {
                self.last_of(&request.last_for)
            } else if request.next_for.is_empty() && !is_batch {
                Some(next)
            } else {
                let filters = selected.as_ref();
                filters.and_then(|filters| self.storage.next_match(filters, next))
            };
            let is_sent = found.is_some_and(|sequence| {
                self.send_message(sequence, request, &mut progress, (reply, is_batch), context)
            });
            if !is_sent {
                if turn > 0 {
                    break;
                }
                return self.answer(reply, NOT_FOUND, context);
            }
            next = progress.last + 1;
            if progress.bytes >= progress.max_bytes {
                break;
            }
        }
        if is_batch {
            let Progress { pending, last, .. } = progress;
            let end = format!(
                "NATS/1.0 204 EOB\r\nNats-Num-Pending: {pending}\r\nNats-Last-Sequence: {last}\r\n\r\n"
            );
            self.answer(reply, end.as_bytes(), context);
        }
    }

    fn get_last_of_each(
        &mut self,
        request: &MessageRequest,
        reply: &[u8],
        context: &mut Context<'_>,
    ) {
        let until = match request.up_to_time {
            // Nothing that is as old.
            Some(time) => self.storage.sequence_at(time),
            None if request.up_to_sequence == 0 => self.state().last_sequence + 1,
            None => request.up_to_sequence + 1,
        };
        if request.up_to_time.is_some() && until <= self.state().first_sequence {
            return self.answer(reply, NO_RESULTS, context);
        }
        let until = until - 1;
        let sequences = match self.last_sequences(&request.multi_last_for, until) {
            Ok(sequences) => sequences,
            Err(status) => return self.answer(reply, status, context),
        };
        let mut progress = Progress::new(request);
        progress.pending = sequences.len() as u64;
        let mut sent = 0;
        for sequence in sequences {
            if sequence < request.sequence {
                progress.pending = progress.pending.saturating_sub(1);
                continue;
            }
            // Such requests have headers even if they ask for none.
            let with_headers = MessageRequest::default();
            if !self.send_message(sequence, &with_headers, &mut progress, (reply, true), context) {
                return self.answer(reply, NOT_FOUND, context);
            }
            sent += 1;
            if progress.bytes >= progress.max_bytes || request.batch > 0 && sent >= request.batch {
                break;
            }
        }
        let Progress { pending, last, .. } = progress;
        let end = format!(
            "NATS/1.0 204 EOB\r\nNats-Num-Pending: {pending}\r\nNats-Last-Sequence: {last}\r\n\
             Nats-UpTo-Sequence: {until}\r\n\r\n"
        );
        self.answer(reply, end.as_bytes(), context);
    }

    /// Returns the last sequence of each selected subject at or before another one.
    // NATS 2.14: memstore.go MultiLastSeqs.
    fn last_sequences(&self, selected: &[String], until: u64) -> Result<Vec<u64>, &'static [u8]> {
        let parsed = selected.iter().filter_map(|filter| SubjectFilter::parse(filter).ok());
        let parsed: Vec<_> = parsed.collect();
        if parsed.is_empty() {
            return Err(NO_RESULTS);
        }
        let mut sequences = Vec::new();
        self.storage.for_each_subject(&Filters::new(parsed), &mut |subject, state| {
            let last = if state.last <= until {
                Some(state.last)
            } else if state.first <= until {
                std::str::from_utf8(subject)
                    .ok()
                    .and_then(filters)
                    .and_then(|filters| self.storage.previous_match(&filters, until))
            } else {
                None
            };
            sequences.extend(last);
            sequences.len() <= MAX_MULTI_GET
        });
        match sequences.len() {
            0 => return Err(NO_RESULTS),
            len if len > MAX_MULTI_GET => return Err(TOO_MANY_RESULTS),
            _ => {}
        }
        sequences.sort_unstable();
        Ok(sequences)
    }

    /// Sends a message. Returns false if there is none.
    fn send_message(
        &mut self,
        sequence: u64,
        request: &MessageRequest,
        progress: &mut Progress,
        (reply, is_batch): (&[u8], bool),
        context: &mut Context<'_>,
    ) -> bool {
        let positions = self.positions_of(sequence);
        let record = self.storage.load(sequence, &mut self.buffer);
        let Ok(Some(record)) = record else { return false };
        self.scratch.clear();
        if !request.no_headers {
            progress.pending = progress.pending.saturating_sub(1);
            let progress = is_batch.then_some(&*progress);
            write_headers(&mut self.scratch, &self.config.name, &record, progress);
        }
        progress.last = sequence;
        progress.bytes += record.subject.len() + record.headers.len() + record.payload.len();
        let message = Outgoing {
            to: reply,
            subject: reply,
            headers: &self.scratch,
            payload: record.payload,
            ..Outgoing::default()
        };
        self.reads.send(&message, positions, context.out);
        true
    }

    /// Sends a status behind the messages that were sent.
    fn answer(&mut self, reply: &[u8], status: &[u8], context: &mut Context<'_>) {
        let message =
            Outgoing { to: reply, subject: reply, headers: status, ..Outgoing::default() };
        self.reads.send(&message, (0, 0), context.out);
    }
}

impl Progress {
    fn new(request: &MessageRequest) -> Self {
        let max_bytes = match usize::try_from(request.max_bytes).unwrap_or_default() {
            0 => MAX_GET_BYTES,
            bytes => bytes.min(MAX_GET_BYTES),
        };
        Self { pending: 0, last: 0, bytes: 0, max_bytes }
    }
}

/// Reads a request, or returns the status that refuses it.
fn parse(payload: &[u8], subject: Option<&[u8]>) -> Result<MessageRequest, &'static [u8]> {
    if payload.is_empty() && subject.is_none() {
        return Err(EMPTY_REQUEST);
    }
    let mut request = match payload {
        b"" => MessageRequest::default(),
        payload => serde_json::from_slice(payload).map_err(|_| MALFORMED_REQUEST)?,
    };
    match subject {
        None => check(&request)?,
        Some(subject) => {
            check_of_subject(&request)?;
            let subject = std::str::from_utf8(subject).ok().filter(|subject| !subject.is_empty());
            request.last_for = subject.ok_or(BAD_REQUEST)?.to_owned();
        }
    }
    Ok(request)
}

fn check(request: &MessageRequest) -> Result<(), &'static [u8]> {
    let has_sequence = request.sequence > 0;
    let has_time = request.start_time.is_some();
    let has_last = !request.last_for.is_empty();
    let has_next = !request.next_for.is_empty();
    let has_multi = !request.multi_last_for.is_empty();
    if !(has_sequence || has_time || has_last || has_next || has_multi) {
        return Err(EMPTY_REQUEST);
    }
    let is_contradiction = has_sequence && (has_last || has_time)
        || has_last && (has_time || has_next || has_multi || request.batch > 0)
        || has_next && has_multi
        || request.up_to_sequence > 0 && request.up_to_time.is_some();
    if is_contradiction { Err(BAD_REQUEST) } else { Ok(()) }
}

/// Refuses fields that contradict a subject in the subject of the request.
fn check_of_subject(request: &MessageRequest) -> Result<(), &'static [u8]> {
    let MessageRequest { max_bytes, no_headers, .. } = *request;
    let allowed = MessageRequest { max_bytes, no_headers, ..MessageRequest::default() };
    if *request == allowed { Ok(()) } else { Err(BAD_REQUEST) }
}

fn write_headers(
    out: &mut Vec<u8>,
    stream: &str,
    record: &Record<'_>,
    progress: Option<&Progress>,
) {
    fields::begin(out, record.headers);
    out.extend_from_slice(b"Nats-Stream: ");
    out.extend_from_slice(stream.as_bytes());
    out.extend_from_slice(b"\r\nNats-Subject: ");
    out.extend_from_slice(record.subject);
    out.extend_from_slice(b"\r\nNats-Sequence: ");
    write_decimal(out, record.sequence);
    out.extend_from_slice(b"\r\nNats-Time-Stamp: ");
    record.time.write(out);
    if let Some(Progress { pending, last, .. }) = progress {
        out.extend_from_slice(b"\r\nNats-Num-Pending: ");
        write_decimal(out, *pending);
        out.extend_from_slice(b"\r\nNats-Last-Sequence: ");
        write_decimal(out, *last);
    }
    out.extend_from_slice(b"\r\n\r\n");
}
