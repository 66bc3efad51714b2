//! Requests and replies between one requester and one responder.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::arena::Arena;
use crate::batch::write_digits;
use crate::check::{Checker, Order};
use crate::fault::{During, Fault};
use crate::frame::{Scanner, Sink};
use crate::hub::Hub;
use crate::receive::refuse_errors;
use crate::sample::{Cost, Span, Start};
use crate::server::Server;
use crate::stamp::{FILL, STAMP_BYTES, Stamp};
use crate::stats::Latencies;
use crate::wire::{PATIENCE, Wire};

/// Bytes of a request and of a reply.
const PAYLOAD_BYTES: usize = 128;

const SERVICE: &str = "svc.time";

/// As long as those of the official clients.
const INBOX: &str = "_INBOX.TKz3XQmVq4Bw7nD2sEr9Lp";

const BUFFER_BYTES: usize = 64 << 10;

/// Interval of checking the processor time.
const TICK: Duration = Duration::from_millis(10);

/// The destination of replies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Inboxes {
    /// One wildcard subscription.
    Shared,
    /// A subscription per request, which ends with the reply.
    Each,
}

/// Keeps `outstanding` requests open.
pub(crate) fn requests(
    arena: &mut Arena<'_>,
    outstanding: u64,
    inboxes: Inboxes,
) -> Result<(), Fault> {
    let effort = arena.effort;
    let server = &mut *arena.server;
    let hub = Hub::new();
    let mut wire = Wire::dial(server.far_address())?;
    wire.send(format!("SUB {SERVICE} 1\r\n").as_bytes())?;
    wire.barrier()?;
    let (responder, responder_scanner) = wire.into_parts();
    let mut wire = Wire::dial(server.address())?;
    if inboxes == Inboxes::Shared {
        wire.send(format!("SUB {INBOX}.* 1\r\n").as_bytes())?;
    }
    wire.barrier()?;
    server.await_interest();
    let (stream, scanner) = wire.into_parts();
    let mut requester = Requester {
        stream,
        scanner,
        sink: ReplySink {
            inboxes,
            sequence: 0,
            under_way: 0,
            open: true,
            now_ns: 0,
            out: Vec::new(),
            latencies: Latencies::default(),
            checker: Checker::new(Order::All, 1),
        },
    };
    let (asked, answered) = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            respond(responder, responder_scanner, &hub).inspect_err(|_| hub.set_broken())
        });
        let _guard = hub.guard();
        let asked = requester
            .phase(server, &hub, outstanding, effort.warm_up())
            .and_then(|_| requester.phase(server, &hub, outstanding, effort.span));
        hub.finish();
        (asked, thread.join())
    });
    answered.map_err(|_| Fault::Garbled("the responder panicked".into()))??;
    let (count, cost) = asked?;
    // Each request takes two messages.
    arena.report.add_cost(2 * count, &cost);
    arena.report.add_latencies(requester.sink.latencies);
    Ok(())
}

#[derive(Debug)]
struct Requester {
    stream: TcpStream,
    scanner: Scanner,
    sink: ReplySink,
}

impl Requester {
    /// Sends requests for the duration of `span`, and awaits the last reply.
    fn phase(
        &mut self,
        server: &mut Server,
        hub: &Hub,
        outstanding: u64,
        span: Span,
    ) -> Result<(u64, Cost), Fault> {
        let start = Start::now(server)?;
        let before = self.sink.sequence;
        self.sink.latencies = Latencies::default();
        self.sink.open = true;
        self.sink.now_ns = hub.now_ns();
        (0..outstanding).for_each(|_| self.sink.ask());
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut tick = Instant::now();
        while self.sink.under_way > 0 {
            self.stream.write_all(&self.sink.out).during("writing requests")?;
            self.sink.out.clear();
            let kept = self.scanner.resume(&mut buffer);
            let n = match self.stream.read(&mut buffer[kept..]) {
                Ok(0) => return Err(Fault::Closed("requester")),
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    return Err(Fault::Late(PATIENCE, "a reply"));
                }
                Err(e) => return Err(e).during("reading replies"),
            };
            self.sink.now_ns = hub.now_ns();
            self.scanner.scan(&buffer[..kept + n], &mut self.sink)?;
            if tick.elapsed() > TICK {
                tick = Instant::now();
                server.check()?;
                self.sink.open = !span.is_over(&start, server)?;
            }
        }
        Ok((self.sink.sequence - before, start.cost(server)?))
    }
}

/// Receives replies, and sends another request for each.
#[derive(Debug)]
struct ReplySink {
    inboxes: Inboxes,
    sequence: u64,
    under_way: u64,
    /// Sends another request after each reply.
    open: bool,
    now_ns: u64,
    /// Requests to be written.
    out: Vec<u8>,
    latencies: Latencies,
    checker: Checker,
}

impl ReplySink {
    fn ask(&mut self) {
        let mut number = *b"0000.0000";
        write_digits(&mut number, (self.sequence / 10_000 % 10_000) as u32);
        write_digits(&mut number[5..], (self.sequence % 10_000) as u32);
        let [high, low] = [&number[..4], &number[5..]];
        let parts: &[&[u8]] = match self.inboxes {
            Inboxes::Shared => {
                &[b"PUB ", SERVICE.as_bytes(), b" ", INBOX.as_bytes(), b".", high, low]
            }
            Inboxes::Each => {
                let inbox = &INBOX.as_bytes()[..INBOX.len() - 8];
                let sid = format!("{}", self.sequence + 1);
                let sid = sid.as_bytes();
                self.put(&[b"SUB ", inbox, high, low, b" ", sid, b"\r\n"]);
                self.put(&[b"UNSUB ", sid, b" 1\r\n"]);
                &[b"PUB ", SERVICE.as_bytes(), b" ", inbox, high, low]
            }
        };
        self.put(parts);
        put_payload(&mut self.out, Stamp::new(0, self.sequence, self.now_ns));
        self.sequence += 1;
        self.under_way += 1;
    }

    fn put(&mut self, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.out.extend_from_slice(part));
    }
}

impl Sink for ReplySink {
    fn message(&mut self, _: &[u8], stamp: &[u8]) -> Result<(), Fault> {
        let stamp = Stamp::read(stamp);
        self.checker.accept(stamp)?;
        self.latencies.add(self.now_ns.saturating_sub(stamp.extra));
        self.under_way = self.under_way.saturating_sub(1);
        if self.open {
            self.ask();
        }
        Ok(())
    }

    fn control(&mut self, line: &[u8]) -> Result<(), Fault> {
        answer(line, &mut self.out)
    }
}

/// Responds until the run is finished.
fn respond(mut stream: TcpStream, mut scanner: Scanner, hub: &Hub) -> Result<(), Fault> {
    stream.set_read_timeout(Some(TICK)).during("setting up the responder")?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut answers = Answers::default();
    while !hub.finished() && !hub.broken() {
        let kept = scanner.resume(&mut buffer);
        let n = match stream.read(&mut buffer[kept..]) {
            Ok(0) => return Err(Fault::Closed("responder")),
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => continue,
            Err(e) => return Err(e).during("reading requests"),
        };
        scanner.scan(&buffer[..kept + n], &mut answers)?;
        stream.write_all(&answers.0).during("writing replies")?;
        answers.0.clear();
    }
    Ok(())
}

/// Replies to be written, each with the stamp of its request.
#[derive(Debug, Default)]
struct Answers(Vec<u8>);

impl Sink for Answers {
    fn message(&mut self, line: &[u8], stamp: &[u8]) -> Result<(), Fault> {
        // Second to last in a server's line as well as in a relay's.
        let reply = line.rsplit(|&b| b == b' ').nth(1).unwrap_or_default();
        self.0.extend_from_slice(b"PUB ");
        self.0.extend_from_slice(reply);
        put_payload(&mut self.0, Stamp::read(stamp));
        Ok(())
    }

    fn control(&mut self, line: &[u8]) -> Result<(), Fault> {
        answer(line, &mut self.0)
    }
}

fn answer(line: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    if line != b"PING" {
        return refuse_errors(line);
    }
    out.extend_from_slice(b"PONG\r\n");
    Ok(())
}

/// Appends size, stamp and fill.
fn put_payload(out: &mut Vec<u8>, stamp: Stamp) {
    out.extend_from_slice(b" 128\r\n");
    let at = out.len();
    out.resize(at + PAYLOAD_BYTES, FILL);
    stamp.write(&mut out[at..at + STAMP_BYTES]);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_goes_to_the_reply_subject_and_has_the_stamp_of_the_request() {
        let mut stamp = [0; STAMP_BYTES];
        Stamp::new(0, 5, 6).write(&mut stamp);
        let mut answers = Answers::default();
        answers.message(b"MSG svc.time 1 _INBOX.a.1 128", &stamp).unwrap();
        let one = answers.0.len();
        answers.message(b"PUB svc.time _INBOX.a.1 128", &stamp).unwrap();
        let (server, relay) = answers.0.split_at(one);
        assert_eq!(server, relay);
        assert!(server.starts_with(b"PUB _INBOX.a.1 128\r\n"));
        assert_eq!(Stamp::read(&server[20..]), Stamp::new(0, 5, 6));
        assert_eq!(server.len(), 20 + PAYLOAD_BYTES + 2);
    }
}
