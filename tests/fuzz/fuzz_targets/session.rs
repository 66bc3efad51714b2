//! A session with arbitrary input in arbitrary chunks, while time passes and sockets are full.

#![no_main]

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use broker_core::auth::Token;
use broker_core::endpoint::{Scratch, WriteHandle};
use broker_core::proto::reply::{Reply, parse};
use broker_core::session::ClientSession;
use broker_core::session::client::Arrival;
use broker_core::{Broker, Limits, Options};
use futures_executor::block_on;
use libfuzzer_sys::fuzz_target;

const LIMITS: fn() -> Limits = || Limits {
    max_control_line_bytes: 512,
    max_payload_bytes: 2000,
    max_pending_bytes: 8000,
    max_pending_total_bytes: 20_000,
    max_subscriptions: Some(20),
    ..Limits::default()
};

/// Maximum memory kept for a control line: the line, its verb, blanks and a CR.
const KEPT_LINE_BYTES: usize = 512 + 1024 + 16;

fuzz_target!(|data: &[u8]| {
    let [cuts, pace, room, said @ ..] = data else { return };
    let how = How { cuts: *cuts, pace: *pace, room: *room };
    let options = Options { limits: LIMITS(), trace: how.pace & 1 == 1, ..Options::default() };
    let open = Broker::new(options.clone(), (Instant::now, SystemTime::now));
    play(&open, &how, said);
    // Too long to be guessed.
    let token = Token::new("7f1d0c4e-a token that cannot be guessed");
    let closed = Broker::with_authenticator(options, (Instant::now, SystemTime::now), token);
    let mut witness = block_on(closed.client().subscribe(">")).unwrap();
    play(&closed, &how, said);
    let stats = closed.stats();
    assert_eq!((stats.in_messages, stats.out_messages, stats.subscriptions), (0, 0, 1));
    assert!(witness.try_next().is_none(), "an unauthenticated client was served");
});

struct How {
    /// Size of chunks.
    cuts: u8,
    /// Speed of the clock, and whether tracing is on.
    pace: u8,
    /// Bytes that the link accepts between two chunks; 255 for all.
    room: u8,
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<(Vec<u8>, usize)>>);

impl WriteHandle for Memory {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let (bytes, room) = &mut *self.0.lock().unwrap();
        let mut count = 0;
        for piece in pieces {
            let take = piece.len().min(*room);
            bytes.extend_from_slice(&piece[..take]);
            *room -= take;
            count += take;
        }
        if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn wake(&self) {}
}

impl Memory {
    fn make_room(&self, room: usize) {
        self.0.lock().unwrap().1 = room;
    }

    /// Checks that the output is valid server protocol.
    fn check(&self) {
        let (bytes, _) = &mut *self.0.lock().unwrap();
        let mut used = 0;
        while let Some((reply, len)) = parse(&bytes[used..]).expect("what is sent can be read") {
            if let Reply::Info(json) = reply {
                check_info(json);
            }
            used += len;
        }
        bytes.drain(..used);
    }
}

fn check_info(json: &[u8]) {
    let text = std::str::from_utf8(json).expect("INFO is text");
    assert!(text.starts_with("{\"server_id\":\"N") && text.ends_with('}'), "{text}");
}

fn play(broker: &Broker, how: &How, said: &[u8]) {
    let before = broker.stats();
    let mut now = Instant::now();
    let mut scratch = Scratch::new();
    let link = Memory::default();
    link.make_room(usize::MAX);
    let session = broker.open(Arrival::default(), Box::new(link.clone()), now, &mut scratch);
    let other = Memory::default();
    other.make_room(usize::MAX);
    let mut listener = broker.open(Arrival::default(), Box::new(other.clone()), now, &mut scratch);
    let hello = b"CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB > 1\r\nSUB > q 2\r\n";
    listener.receive(now, hello, None, &mut scratch);
    let mut connection = Connection { session, kept: Vec::new() };
    for chunk in said.chunks(1 + usize::from(how.cuts)) {
        link.make_room(if how.room == 255 { usize::MAX } else { usize::from(how.room) });
        connection.session.byte_queue().drain(now, true, &mut scratch);
        if !connection.read(chunk, now, &mut scratch) {
            break;
        }
        link.check();
        other.check();
        now += Duration::from_millis(u64::from(how.pace) * 20);
        if now >= connection.session.next_timeout() {
            connection.session.handle_timeout(now, &mut scratch);
        }
    }
    link.make_room(usize::MAX);
    connection.session.byte_queue().drain(now, true, &mut scratch);
    link.check();
    other.check();
    drop((connection, listener));
    let after = broker.stats();
    assert_eq!(after.connections, before.connections);
    assert_eq!(after.subscriptions, before.subscriptions);
    assert_eq!(after.pending_bytes, 0);
}

struct Connection {
    session: ClientSession,
    kept: Vec<u8>,
}

impl Connection {
    /// Passes on input in the portions that the session accepts. Returns false when the connection
    /// has ended.
    fn read(&mut self, mut chunk: &[u8], now: Instant, scratch: &mut Scratch) -> bool {
        while !chunk.is_empty() {
            let room = self.session.read_limit().saturating_sub(self.kept.len());
            assert!(room > 0, "it wants more, but takes none");
            let (part, rest) = chunk.split_at(chunk.len().min(room));
            chunk = rest;
            self.kept.extend_from_slice(part);
            let received = loop {
                let received = self.session.receive(now, &self.kept, None, scratch);
                assert!(received.used <= self.kept.len());
                self.kept.drain(..received.used);
                if self.session.closing().is_some() {
                    return false;
                }
                if !self.session.has_chores() {
                    break received;
                }
            };
            let payload = if received.whole == 0 { 0 } else { LIMITS().max_payload_bytes };
            assert!(self.kept.len() <= KEPT_LINE_BYTES + payload, "{} are kept", self.kept.len());
            assert!(received.whole == 0 || received.whole > self.kept.len());
        }
        true
    }
}
