//! A broker and clients without sockets, under a clock that moves only on request.

#![allow(dead_code, reason = "every test file uses a part of this")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use broker_core::auth::Authenticator;
use broker_core::endpoint::{Scratch, WriteHandle};
use broker_core::session::ClientSession;
use broker_core::session::client::Arrival;
use broker_core::{Broker, CloseReason, Limits, Options};

/// CONNECT of a client that is not verbose.
pub(crate) const CONNECT: &str =
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n";

/// A link to memory, which can be made full.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Written>>);

#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    room: Option<usize>,
    wakes: usize,
}

impl Memory {
    /// Limits the bytes accepted from now on; `None` for no limit.
    pub(crate) fn set_room(&self, room: Option<usize>) {
        self.0.lock().unwrap().room = room;
    }

    pub(crate) fn wakes(&self) -> usize {
        self.0.lock().unwrap().wakes
    }

    /// Returns the number of references to the memory.
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    pub(crate) fn read(&self) -> String {
        String::from_utf8(self.read_bytes()).unwrap()
    }

    pub(crate) fn read_bytes(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap().bytes)
    }
}

impl WriteHandle for Memory {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut written = self.0.lock().unwrap();
        let mut count = 0;
        for piece in pieces {
            let take = written.room.map_or(piece.len(), |room| room.min(piece.len()));
            written.bytes.extend_from_slice(&piece[..take]);
            written.room = written.room.map(|room| room - take);
            count += take;
        }
        if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn wake(&self) {
        self.0.lock().unwrap().wakes += 1;
    }
}

/// A connection.
pub(crate) struct Party {
    pub(crate) session: ClientSession,
    pub(crate) write_handle: Memory,
    kept: Vec<u8>,
}

impl Party {
    pub(crate) fn of(session: ClientSession, write_handle: Memory) -> Self {
        Self { session, write_handle, kept: Vec::new() }
    }

    pub(crate) fn read(&self) -> String {
        self.write_handle.read()
    }

    pub(crate) fn read_bytes(&self) -> Vec<u8> {
        self.write_handle.read_bytes()
    }

    /// Returns the number of messages received since the last call.
    pub(crate) fn count(&self) -> usize {
        self.read().lines().filter(|line| line.starts_with("MSG ")).count()
    }

    pub(crate) fn closing(&self) -> Option<CloseReason> {
        self.session.closing()
    }
}

pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) now: Instant,
    pub(crate) scratch: Scratch,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self::of(Broker::new(
            Options { limits, ..Options::default() },
            (Instant::now, SystemTime::now),
        ))
    }

    pub(crate) fn with_auth(authenticator: impl Authenticator) -> Self {
        Self::of(Broker::with_authenticator(
            Options::default(),
            (Instant::now, SystemTime::now),
            authenticator,
        ))
    }

    pub(crate) fn of(broker: Broker) -> Self {
        Self { broker, now: Instant::now(), scratch: Scratch::new() }
    }

    /// Opens a connection and reads INFO.
    pub(crate) fn arrive(&mut self) -> Party {
        let party = self.arrive_by(Arrival::default());
        assert!(party.read().starts_with("INFO {"));
        party
    }

    pub(crate) fn arrive_by(&mut self, arrival: Arrival) -> Party {
        let write_handle = Memory::default();
        let session =
            self.broker.open(arrival, Box::new(write_handle.clone()), self.now, &mut self.scratch);
        Party::of(session, write_handle)
    }

    /// Connects a client that is not verbose and supports headers.
    pub(crate) fn join(&mut self) -> Party {
        self.join_as(CONNECT)
    }

    pub(crate) fn join_as(&mut self, connect: &str) -> Party {
        let mut party = self.arrive();
        self.send(&mut party, connect);
        party
    }

    pub(crate) fn send(&mut self, party: &mut Party, text: impl AsRef<[u8]>) {
        party.kept.extend_from_slice(text.as_ref());
        loop {
            let received = party.session.receive(self.now, &party.kept, None, &mut self.scratch);
            party.kept.drain(..received.used);
            let Some(check) = party.session.take_check() else { return };
            party.session.handle_checked(check.run(), self.now, &mut self.scratch);
        }
    }

    /// Runs what a connection does when it is woken.
    pub(crate) fn settle(&mut self, party: &mut Party) {
        if party.session.has_update() {
            party.session.handle_update(self.now, &mut self.scratch);
        }
    }

    /// Lets time pass for one client.
    pub(crate) fn wait(&mut self, party: &mut Party, time: Duration) {
        let end = self.now + time;
        while party.closing().is_none() && party.session.next_timeout() <= end {
            self.now = self.now.max(party.session.next_timeout());
            party.session.handle_timeout(self.now, &mut self.scratch);
        }
        self.now = end;
    }
}
