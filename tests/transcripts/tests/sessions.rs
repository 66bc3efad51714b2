//! Every dialogue agrees with the core's sessions: without sockets or threads, under a simulated
//! clock.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use broker_core::endpoint::{Scratch, WriteHandle};
use broker_core::session::ClientSession;
use broker_core::session::client::Arrival as Coming;
use broker_core::{Broker, Options};
use setup_options::{authenticator, options};
use transcripts::{Arrival, Dialogue, Line, Server, Setup, Stage, play_all};

mod setup_options;

#[test]
fn sessions_without_io_agree_with_the_dialogues() {
    play(usize::MAX, false);
}

#[test]
fn sessions_respond_alike_however_the_input_is_split() {
    play(1, false);
}

#[test]
fn sessions_respond_alike_when_traced() {
    play(usize::MAX, true);
}

fn play(read_bytes: usize, trace: bool) {
    let mut dialogues = Dialogue::all_for(Server::Natsd).unwrap();
    // Dialogues of routes are played with nats-server.
    dialogues.retain(|dialogue| dialogue.setup.cluster.is_none());
    // Plays one dialogue, or those with a common prefix, during development.
    if let Ok(only) = std::env::var("TRANSCRIPT") {
        dialogues.retain(|dialogue| dialogue.name.starts_with(&only));
    }
    assert!(!dialogues.is_empty(), "no dialogue to play");
    let failures = play_all(&dialogues, |setup| {
        Ok(Box::new(Sessions::new(setup, read_bytes, trace)) as Box<dyn Stage>)
    });
    let report: String = failures.iter().map(|failure| format!("\n{failure}\n")).collect();
    assert!(failures.is_empty(), "{} of {} failed:\n{report}", failures.len(), dialogues.len());
}

/// A broker and its connections.
struct Sessions {
    broker: Broker,
    scratch: Scratch,
    now: Instant,
    /// Maximum bytes of a client's input read at once.
    read_bytes: usize,
    lines: Vec<Connection>,
}

struct Connection {
    /// `None` once it has ended.
    session: Option<ClientSession>,
    link: Memory,
    /// Input that the session has not consumed.
    kept: Vec<u8>,
    /// The input length needed for a complete operation.
    whole: usize,
}

/// The output to a client, not received yet.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl WriteHandle for Memory {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut written = self.0.lock().unwrap();
        let before = written.len();
        pieces.iter().for_each(|piece| written.extend_from_slice(piece));
        Ok(written.len() - before)
    }

    fn wake(&self) {}
}

impl Sessions {
    fn new(setup: &Setup, read_bytes: usize, trace: bool) -> Self {
        let options = Options { trace, ..options(setup) };
        let broker = Broker::with_authenticator(
            options,
            (Instant::now, SystemTime::now),
            authenticator(setup),
        );
        // Set by the listener in a real server.
        broker.update_info(|info| (info.host, info.port) = ("127.0.0.1".into(), 4222));
        Self { broker, scratch: Scratch::new(), now: Instant::now(), read_bytes, lines: Vec::new() }
    }

    fn line(&mut self, line: Line) -> io::Result<&mut Connection> {
        self.lines.get_mut(line.0).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Ends the connections that must end, and keeps their output.
    fn end_closed(&mut self) {
        for connection in &mut self.lines {
            let ends = connection.session.as_ref().is_some_and(|s| s.closing().is_some());
            if let Some(session) = connection.session.take_if(|_| ends) {
                session.byte_queue().drain(self.now, true, &mut self.scratch);
            }
        }
    }
}

impl Connection {
    /// Passes on input, in the portions that the session accepts.
    fn read(&mut self, mut bytes: &[u8], most: usize, now: Instant, scratch: &mut Scratch) {
        while !bytes.is_empty() {
            let Some(session) = &mut self.session else { return };
            let room = session.read_limit().saturating_sub(self.kept.len());
            assert!(room > 0, "a session that wants more must take it");
            // Dialogues are short, except for payloads, whose boundaries do not matter.
            let most = if self.kept.len() < 2000 { most } else { most.max(1000) };
            let (now_read, rest) = bytes.split_at(bytes.len().min(room).min(most));
            self.kept.extend_from_slice(now_read);
            bytes = rest;
            if self.kept.len() + 1 >= self.whole {
                self.serve(now, scratch);
            }
        }
    }

    fn serve(&mut self, now: Instant, scratch: &mut Scratch) {
        let Some(session) = &mut self.session else { return };
        loop {
            let received = session.receive(now, &self.kept, None, scratch);
            self.kept.drain(..received.used);
            self.whole = received.whole;
            if session.has_chores() {
                continue;
            }
            let Some(check) = session.take_check() else { return };
            session.handle_checked(check.run(), now, scratch);
        }
    }
}

impl Stage for Sessions {
    fn open(&mut self) -> io::Result<Line> {
        let link = Memory::default();
        let remote = Some(SocketAddr::from(([127, 0, 0, 1], 4000)));
        let coming = Coming { remote, ..Coming::default() };
        let session = self.broker.open(coming, Box::new(link.clone()), self.now, &mut self.scratch);
        self.lines.push(Connection { session: Some(session), link, kept: Vec::new(), whole: 0 });
        self.end_closed();
        Ok(Line(self.lines.len() - 1))
    }

    fn send(&mut self, line: Line, bytes: &[u8]) -> io::Result<()> {
        let (now, most) = (self.now, self.read_bytes);
        let mut scratch = std::mem::take(&mut self.scratch);
        self.line(line)?.read(bytes, most, now, &mut scratch);
        self.scratch = scratch;
        self.end_closed();
        Ok(())
    }

    fn receive(&mut self, line: Line, inbox: &mut Vec<u8>, _: Duration) -> io::Result<Arrival> {
        let connection = self.line(line)?;
        let mut written = connection.link.0.lock().unwrap();
        if !written.is_empty() {
            inbox.append(&mut written);
            return Ok(Arrival::Bytes);
        }
        Ok(if connection.session.is_some() { Arrival::Nothing } else { Arrival::Closed })
    }

    fn hang_up(&mut self, line: Line) -> io::Result<()> {
        self.line(line)?.session = None;
        Ok(())
    }

    /// Advances from one timeout to the next.
    fn pass(&mut self, time: Duration) -> io::Result<()> {
        let end = self.now + time;
        loop {
            let sessions = self.lines.iter_mut().filter_map(|line| line.session.as_mut());
            let next = sessions.min_by_key(|session| session.next_timeout());
            let Some(next) = next.filter(|session| session.next_timeout() <= end) else { break };
            self.now = self.now.max(next.next_timeout());
            next.handle_timeout(self.now, &mut self.scratch);
            self.end_closed();
        }
        self.now = end;
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.lines.clear();
        let stats = self.broker.stats();
        let left = (stats.connections, stats.subscriptions, stats.pending_bytes);
        if left == (0, 0, 0) { Ok(()) } else { Err(io::Error::other(format!("{left:?} left"))) }
    }

    fn patience(&self) -> Duration {
        Duration::ZERO
    }
}
