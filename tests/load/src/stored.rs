//! Scenarios with streams: messages that the server stores, and those that it delivers from there.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::arena::Arena;
use crate::fault::{During, Fault};
use crate::receive::refuse_errors;
use crate::sample::{Cost, Span, Start};
use crate::server::Server;
use crate::stamp::FILL;
use crate::stats::Latencies;
use crate::wire::{PATIENCE, Wire};

const PAYLOAD_BYTES: usize = 128;

/// Messages in the stream from which consumers read.
const STORED: u64 = 200_000;

/// Messages of one fetch.
const BATCH: u64 = 100;

/// Publishes outstanding while the stream is filled.
const FILLING: u64 = 1_000;

const BUFFER_BYTES: usize = 256 << 10;

/// Interval of checking the processor time.
const TICK: Duration = Duration::from_millis(10);

/// The destinations of messages, each followed by a token.
const ANSWERS: &str = "_INBOX.TKz3XQmVq4Bw7nD2sEr9L1";
const ACKS: &str = "_INBOX.TKz3XQmVq4Bw7nD2sEr9L2";
const DELIVERIES: &str = "_INBOX.TKz3XQmVq4Bw7nD2sEr9L3";

/// Publishes to a new stream, with `outstanding` acknowledgements awaited.
pub(crate) fn publish(arena: &mut Arena<'_>, storage: &str, outstanding: u64) -> Result<(), Fault> {
    let mut line = Line::dial(arena.server, storage)?;
    let mut publisher = Publisher::new(outstanding, u64::MAX);
    measure(arena, &mut line, &mut publisher)
}

/// Fetches with a pull consumer, and acknowledges each message.
pub(crate) fn pull(arena: &mut Arena<'_>, storage: &str) -> Result<(), Fault> {
    let mut line = Line::dial(arena.server, storage)?;
    line.fill(arena.server)?;
    measure(arena, &mut line, &mut Reader::new(Kind::Pull))
}

/// Reads with ordered push consumers.
pub(crate) fn push(arena: &mut Arena<'_>, storage: &str) -> Result<(), Fault> {
    let mut line = Line::dial(arena.server, storage)?;
    line.fill(arena.server)?;
    measure(arena, &mut line, &mut Reader::new(Kind::Push))
}

fn measure(arena: &mut Arena<'_>, line: &mut Line, job: &mut impl Job) -> Result<(), Fault> {
    let effort = arena.effort;
    line.phase(arena.server, effort.warm_up(), job)?;
    let (count, cost) = line.phase(arena.server, effort.span, job)?;
    arena.report.add_cost(count, &cost);
    arena.report.add_latencies(job.latencies());
    Ok(())
}

/// The work of the client of a scenario.
trait Job {
    /// Begins a phase.
    fn begin(&mut self, out: &mut Vec<u8>);

    /// Handles a message; commands are appended to `out`.
    ///
    /// # Errors
    /// The message is not an expected one.
    fn take(&mut self, message: &Message<'_>, out: &mut Vec<u8>) -> Result<(), Fault>;

    /// Ends the phase as soon as nothing is outstanding.
    fn close(&mut self);

    /// Returns true if nothing is outstanding.
    fn is_done(&self) -> bool;

    /// The number of messages so far.
    fn count(&self) -> u64;

    /// Returns what was measured since the beginning of the phase.
    fn latencies(&mut self) -> Latencies;
}

/// A message from the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Message<'a> {
    sid: &'a [u8],
    /// Empty if there is none.
    reply: &'a [u8],
    headers: &'a [u8],
    payload: &'a [u8],
}

/// One element of the server's output, and its length.
#[derive(Debug, Eq, PartialEq)]
enum Piece<'a> {
    Message(Message<'a>, usize),
    Control(&'a [u8], usize),
    /// The input ends within it.
    Part,
}

/// Reads the first element of `input`.
fn first(input: &[u8]) -> Result<Piece<'_>, Fault> {
    let Some(end) = memchr::memchr(b'\n', input) else { return Ok(Piece::Part) };
    let line = input[..end].trim_ascii_end();
    let at = end + 1;
    let garbled = || Fault::Garbled(format!("\"{}\"", line.escape_ascii()));
    let mut words: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
    let has_headers = match words.first() {
        Some(&b"MSG") => false,
        Some(&b"HMSG") => true,
        _ => return Ok(Piece::Control(line, at)),
    };
    let mut number = || -> Option<usize> { str::from_utf8(words.pop()?).ok()?.parse().ok() };
    let total = number().ok_or_else(garbled)?;
    let headers = if has_headers { number().ok_or_else(garbled)? } else { 0 };
    let (sid, reply) = match words[..] {
        [_, _, sid] => (sid, &b""[..]),
        [_, _, sid, reply] => (sid, reply),
        _ => return Err(garbled()),
    };
    let Some(body) = input.get(at..at + total + 2) else { return Ok(Piece::Part) };
    let (headers, payload) = body[..total].split_at_checked(headers).ok_or_else(garbled)?;
    Ok(Piece::Message(Message { sid, reply, headers, payload }, at + total + 2))
}

/// The connection of the client.
#[derive(Debug)]
struct Line {
    stream: TcpStream,
    input: Vec<u8>,
    /// The part of `input` that was read and not handled.
    kept: usize,
    out: Vec<u8>,
}

impl Line {
    /// Connects and creates a stream.
    fn dial(server: &Server, storage: &str) -> Result<Self, Fault> {
        let mut wire = Wire::dial(server.address())?;
        // nats-server delivers only to a subscription of exactly the deliver subject.
        for (sid, inbox, token) in [(1, ANSWERS, "*"), (2, ACKS, "*"), (3, DELIVERIES, "1")] {
            wire.send(format!("SUB {inbox}.{token} {sid}\r\n").as_bytes())?;
        }
        wire.barrier()?;
        let (stream, _) = wire.into_parts();
        let mut line = Self { stream, input: vec![0; BUFFER_BYTES], kept: 0, out: Vec::new() };
        let config = format!(r#"{{"name":"LOAD","subjects":["orders.>"],"storage":"{storage}"}}"#);
        request(&mut line.out, "STREAM.CREATE.LOAD", &config);
        let mut answered = false;
        while !answered {
            line.turn(&mut |message, _| {
                answered = true;
                refuse_error(message)
            })?;
        }
        Ok(line)
    }

    /// Publishes what consumers will read.
    fn fill(&mut self, server: &mut Server) -> Result<(), Fault> {
        let mut publisher = Publisher::new(FILLING, STORED);
        self.phase(server, Span::exactly(Duration::MAX), &mut publisher).map(drop)
    }

    /// Performs a job for the duration of `span`.
    fn phase(
        &mut self,
        server: &mut Server,
        span: Span,
        job: &mut impl Job,
    ) -> Result<(u64, Cost), Fault> {
        let start = Start::now(server)?;
        let before = job.count();
        let mut tick = Instant::now();
        job.begin(&mut self.out);
        while !job.is_done() {
            self.turn(&mut |message, out| job.take(message, out))?;
            if tick.elapsed() > TICK {
                tick = Instant::now();
                server.check()?;
                if span.is_over(&start, server)? {
                    job.close();
                }
            }
        }
        Ok((job.count() - before, start.cost(server)?))
    }

    /// Writes, reads once, and handles what has arrived.
    fn turn(
        &mut self,
        take: &mut impl FnMut(&Message<'_>, &mut Vec<u8>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.stream.write_all(&self.out).during("writing to the server")?;
        self.out.clear();
        match self.stream.read(&mut self.input[self.kept..]) {
            Ok(0) => return Err(Fault::Closed("client")),
            Ok(read) => self.kept += read,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                return Err(Fault::Late(PATIENCE, "a message"));
            }
            Err(e) => return Err(e).during("reading from the server"),
        }
        let mut at = 0;
        loop {
            match first(&self.input[at..self.kept])? {
                Piece::Part => break,
                Piece::Message(message, length) => {
                    take(&message, &mut self.out)?;
                    at += length;
                }
                Piece::Control(b"PING", length) => {
                    self.out.extend_from_slice(b"PONG\r\n");
                    at += length;
                }
                Piece::Control(line, length) => {
                    refuse_errors(line)?;
                    at += length;
                }
            }
        }
        self.input.copy_within(at..self.kept, 0);
        self.kept -= at;
        Ok(())
    }
}

/// Appends a request to the API.
fn request(out: &mut Vec<u8>, name: &str, body: &str) {
    put(out, format_args!("PUB $JS.API.{name} {ANSWERS}.1 {}\r\n{body}\r\n", body.len()));
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a vector cannot fail.
    let _ = out.write_fmt(text);
}

/// Fails if the answer is an error, or if there is none.
fn refuse_error(message: &Message<'_>) -> Result<(), Fault> {
    let is_error = memchr::memmem::find(message.payload, b"\"error\":").is_some();
    if is_error || message.payload.is_empty() {
        let text = [message.headers, message.payload].concat();
        return Err(Fault::Refused(String::from_utf8_lossy(&text).into_owned()));
    }
    Ok(())
}

/// Returns the sequence in an acknowledgement of the server.
fn stored_as(payload: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"\"seq\":";
    let at = memchr::memmem::find(payload, KEY)? + KEY.len();
    let digits = payload[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    str::from_utf8(&payload[at..at + digits]).ok()?.parse().ok()
}

/// Publishes one message for each acknowledgement.
#[derive(Debug)]
struct Publisher {
    outstanding: u64,
    /// The number of messages to be published at most.
    limit: u64,
    published: u64,
    acknowledged: u64,
    open: bool,
    begun: VecDeque<Instant>,
    latencies: Latencies,
    number: String,
}

impl Publisher {
    fn new(outstanding: u64, limit: u64) -> Self {
        Self {
            outstanding,
            limit,
            published: 0,
            acknowledged: 0,
            open: true,
            begun: VecDeque::new(),
            latencies: Latencies::default(),
            number: String::new(),
        }
    }

    fn put(&mut self, now: Instant, out: &mut Vec<u8>) {
        if !self.open || self.published == self.limit {
            return;
        }
        self.number.clear();
        let _ = write!(self.number, "{:08}", self.published % 100_000_000);
        for part in ["PUB orders.eu ", ACKS, ".", &self.number, " 128\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        out.resize(out.len() + PAYLOAD_BYTES, FILL);
        out.extend_from_slice(b"\r\n");
        self.published += 1;
        self.begun.push_back(now);
    }
}

impl Job for Publisher {
    fn begin(&mut self, out: &mut Vec<u8>) {
        self.open = true;
        self.latencies = Latencies::default();
        let now = Instant::now();
        (0..self.outstanding).for_each(|_| self.put(now, out));
    }

    fn take(&mut self, message: &Message<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.acknowledged += 1;
        if stored_as(message.payload) != Some(self.acknowledged) {
            refuse_error(message)?;
            let text = message.payload.escape_ascii();
            let due = self.acknowledged;
            return Err(Fault::Garbled(format!("not message {due}: \"{text}\"")));
        }
        let now = Instant::now();
        if let Some(begun) = self.begun.pop_front() {
            self.latencies.add((now - begun).as_nanos() as u64);
        }
        self.put(now, out);
        Ok(())
    }

    fn close(&mut self) {
        self.open = false;
    }

    fn is_done(&self) -> bool {
        self.published == self.acknowledged
    }

    fn count(&self) -> u64 {
        self.acknowledged
    }

    fn latencies(&mut self) -> Latencies {
        std::mem::take(&mut self.latencies)
    }
}

/// The way of delivery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// By requests of a durable consumer.
    Pull,
    /// As fast as flow control allows.
    Push,
}

/// Reads the stream again and again, each time with another consumer.
#[derive(Debug)]
struct Reader {
    kind: Kind,
    open: bool,
    /// True while a consumer is being read from.
    active: bool,
    /// The number of answers awaited.
    asked: u32,
    /// The number of the consumer.
    consumer: u64,
    /// The last sequence delivered by it.
    sequence: u64,
    delivered: u64,
    fetched: Instant,
    latencies: Latencies,
}

impl Reader {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            open: true,
            active: false,
            asked: 0,
            consumer: 0,
            sequence: 0,
            delivered: 0,
            fetched: Instant::now(),
            latencies: Latencies::default(),
        }
    }

    /// Replaces the consumer.
    fn restart(&mut self, out: &mut Vec<u8>) {
        if self.consumer > 0 {
            request(out, &format!("CONSUMER.DELETE.LOAD.c{}", self.consumer), "");
            self.asked += 1;
        }
        self.consumer += 1;
        self.sequence = 0;
        self.active = true;
        let name = format!("c{}", self.consumer);
        let config = match self.kind {
            Kind::Pull => format!(r#""durable_name":"{name}","ack_policy":"explicit""#),
            Kind::Push => format!(
                r#""deliver_subject":"{DELIVERIES}.1","ack_policy":"none","flow_control":true,
                "idle_heartbeat":5000000000,"max_deliver":1,"mem_storage":true,"num_replicas":1"#
            ),
        };
        let body = format!(r#"{{"stream_name":"LOAD","config":{{"name":"{name}",{config}}}}}"#);
        request(out, &format!("CONSUMER.CREATE.LOAD.{name}"), &body);
        self.asked += 1;
    }

    /// Requests the next messages.
    fn fetch(&mut self, out: &mut Vec<u8>) {
        self.fetched = Instant::now();
        let body = format!(r#"{{"batch":{BATCH},"expires":5000000000}}"#);
        let (consumer, size) = (self.consumer, body.len());
        let next = format_args!(
            "PUB $JS.API.CONSUMER.MSG.NEXT.LOAD.c{consumer} {DELIVERIES}.1 {size}\r\n{body}\r\n"
        );
        put(out, next);
    }

    /// Handles a status: flow control needs an answer.
    fn status(message: &Message<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        if !message.headers.starts_with(b"NATS/1.0 100") {
            return refuse_error(message);
        }
        if !message.reply.is_empty() {
            put(out, format_args!("PUB {} 0\r\n\r\n", message.reply.escape_ascii()));
        }
        Ok(())
    }

    /// Checks the order, by the sequence in the reply subject.
    fn accept(&mut self, message: &Message<'_>) -> Result<(), Fault> {
        let mut words = message.reply.split(|&b| b == b'.');
        let sequence = words.nth(5).and_then(|word| str::from_utf8(word).ok()?.parse().ok());
        self.sequence += 1;
        if sequence != Some(self.sequence) || message.payload.len() != PAYLOAD_BYTES {
            let reply = message.reply.escape_ascii();
            return Err(Fault::Garbled(format!("not message {}: \"{reply}\"", self.sequence)));
        }
        self.delivered += 1;
        Ok(())
    }
}

impl Job for Reader {
    fn begin(&mut self, out: &mut Vec<u8>) {
        self.open = true;
        self.latencies = Latencies::default();
        self.restart(out);
    }

    fn take(&mut self, message: &Message<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        if message.sid == b"1" {
            self.asked = self.asked.saturating_sub(1);
            // A consumer can be asked for messages once it exists.
            if self.asked == 0 && self.kind == Kind::Pull {
                self.fetch(out);
            }
            return refuse_error(message);
        }
        if message.reply.is_empty() || message.headers.starts_with(b"NATS/1.0 ") {
            return Self::status(message, out);
        }
        self.accept(message)?;
        let is_last = self.sequence == STORED;
        if self.kind == Kind::Pull {
            for part in [b"PUB ", message.reply, b" 4\r\n+ACK\r\n"] {
                out.extend_from_slice(part);
            }
            if self.sequence.is_multiple_of(BATCH) {
                self.latencies.add(self.fetched.elapsed().as_nanos() as u64);
                self.active = self.open;
                if self.open && !is_last {
                    self.fetch(out);
                }
            }
        }
        if is_last {
            self.active = false;
            if self.open {
                self.restart(out);
            }
        }
        Ok(())
    }

    fn close(&mut self) {
        self.open = false;
    }

    fn is_done(&self) -> bool {
        !self.active
    }

    fn count(&self) -> u64 {
        self.delivered
    }

    fn latencies(&mut self) -> Latencies {
        std::mem::take(&mut self.latencies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_in_pieces_of_any_length() {
        let input = b"MSG a.b 2 reply 3\r\nabc\r\nHMSG a 3 2 4\r\nhhpp\r\nPING\r\n";
        let one = Message { sid: b"2", reply: b"reply", headers: b"", payload: b"abc" };
        let two = Message { sid: b"3", reply: b"", headers: b"hh", payload: b"pp" };
        assert_eq!(first(input).unwrap(), Piece::Message(one, 24));
        assert_eq!(first(&input[24..]).unwrap(), Piece::Message(two, 20));
        assert_eq!(first(&input[44..]).unwrap(), Piece::Control(b"PING", 6));
        for end in 0..24 {
            assert_eq!(first(&input[..end]).unwrap(), Piece::Part, "{end}");
        }
        assert!(first(b"MSG a\r\n").is_err() && first(b"HMSG a 1 5 4\r\nabcd\r\n").is_err());
    }

    #[test]
    fn a_publisher_accepts_only_the_next_sequence() {
        let mut publisher = Publisher::new(2, 3);
        let mut out = Vec::new();
        publisher.begin(&mut out);
        let mut take = |payload: &[u8]| {
            let message = Message { sid: b"2", reply: b"", headers: b"", payload };
            publisher.take(&message, &mut out)
        };
        take(br#"{"stream":"LOAD","seq":1}"#).unwrap();
        take(br#"{"stream":"LOAD", "seq":2}"#).unwrap();
        assert!(take(br#"{"stream":"LOAD","seq":4}"#).is_err());
        assert_eq!(publisher.published, 3);
        assert_eq!(memchr::memmem::find_iter(&out, b"PUB orders.eu ").count(), 3);
    }

    #[test]
    fn flow_control_is_answered() {
        let mut out = Vec::new();
        let headers = b"NATS/1.0 100 FlowControl Request\r\n\r\n";
        let message = Message { sid: b"3", reply: b"$JS.FC.x", headers, payload: b"" };
        Reader::new(Kind::Push).take(&message, &mut out).unwrap();
        assert_eq!(out, b"PUB $JS.FC.x 0\r\n\r\n");
    }
}
