//! A publisher and its receivers without sockets, whose output is discarded.

use std::io::{self, IoSlice};
use std::time::{Instant, SystemTime};

use broker_core::account::{AccountConfig, GLOBAL, Mapping, MappingError};
use broker_core::endpoint::{Scratch, WriteHandle};
use broker_core::session::client::{Arrival, ClientSession};
use broker_core::{Broker, Options};
use bytes::Bytes;

use super::Scenario;
use super::chunk::Chunk;

/// From this size of read on, broker-net passes memory that receivers may share.
const SHARED_READ_BYTES: usize = 32 << 10;

/// A client that sends chunks in a cycle, and its receivers.
pub(crate) struct Sessions {
    broker: Broker,
    scratch: Scratch,
    now: Instant,
    publisher: ClientSession,
    listeners: Vec<ClientSession>,
    chunks: Vec<(Chunk, Option<Bytes>)>,
    next: usize,
    deliveries_each: usize,
    sent: usize,
}

/// A client's end that accepts everything, like a socket with room.
struct Sink;

impl WriteHandle for Sink {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn wake(&self) {}
}

const CONNECT: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\n";

impl Sessions {
    /// Creates a client that sends these chunks, alone in its broker.
    pub(crate) fn sending(chunks: Vec<Chunk>) -> Self {
        let broker = Broker::new(Options::default(), (Instant::now, SystemTime::now));
        let mut scratch = Scratch::new();
        let now = Instant::now();
        let mut publisher = broker.open(Arrival::default(), Box::new(Sink), now, &mut scratch);
        publisher.receive(now, CONNECT, None, &mut scratch);
        // A large message is read into separate memory.
        let shared = |chunk: &Chunk| {
            let is_large = chunk.operations == 1 && chunk.bytes.len() >= SHARED_READ_BYTES;
            is_large.then(|| Bytes::copy_from_slice(&chunk.bytes))
        };
        let chunks = chunks.into_iter().map(|chunk| (shared(&chunk), chunk));
        let chunks = chunks.map(|(shared, chunk)| (chunk, shared)).collect();
        Self {
            broker,
            scratch,
            now,
            publisher,
            listeners: Vec::new(),
            chunks,
            next: 0,
            deliveries_each: 0,
            sent: 0,
        }
    }

    /// Adds `count` clients that send `subscribe`; each message then reaches `deliveries` of them.
    pub(crate) fn heard_by(mut self, count: usize, subscribe: &[u8], deliveries: usize) -> Self {
        for _ in 0..count {
            let write_handle = Box::new(Sink);
            let mut listener =
                self.broker.open(Arrival::default(), write_handle, self.now, &mut self.scratch);
            listener.receive(self.now, CONNECT, None, &mut self.scratch);
            let used = all_turns(&mut listener, subscribe, None, self.now, &mut self.scratch);
            assert_eq!(used, subscribe.len(), "whole operations");
            self.listeners.push(listener);
        }
        self.deliveries_each += deliveries;
        self
    }

    /// Maps the subjects of the messages.
    pub(crate) fn mapped_by(self, mapping: Result<Mapping, MappingError>) -> Self {
        let mapping = mapping.unwrap_or_else(|error| panic!("{error}"));
        let account = AccountConfig::new(GLOBAL).with_mapping(mapping);
        drop(self.broker.update_options(|options| options.accounts = vec![account.into()]));
        self
    }
}

/// Makes a session process all of `input`. Returns the number of bytes used.
fn all_turns(
    session: &mut ClientSession,
    input: &[u8],
    shared: Option<&Bytes>,
    now: Instant,
    scratch: &mut Scratch,
) -> usize {
    let mut used = session.receive(now, input, shared, scratch).used;
    while session.has_chores() {
        used += session.receive(now, &input[used..], shared, scratch).used;
    }
    used
}

impl Scenario for Sessions {
    fn turns_in_round(&self) -> usize {
        self.chunks.len()
    }

    fn turn(&mut self) -> usize {
        let (chunk, shared) = &self.chunks[self.next];
        self.next = (self.next + 1) % self.chunks.len();
        let input = shared.as_deref().unwrap_or(&chunk.bytes);
        let (publisher, scratch) = (&mut self.publisher, &mut self.scratch);
        let used = all_turns(publisher, input, shared.as_ref(), self.now, scratch);
        assert_eq!(used, input.len(), "whole operations");
        self.sent += chunk.operations;
        chunk.operations * self.deliveries_each.max(1)
    }

    fn account(&self) -> (u64, u64) {
        let stats = self.broker.stats();
        let sent = self.sent as u64;
        (sent + sent * self.deliveries_each as u64, stats.in_messages + stats.out_messages)
    }
}
