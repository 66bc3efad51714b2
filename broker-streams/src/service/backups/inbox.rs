//! The chunks of a backup that a client sends.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use broker_core::RawMessage;

use super::super::lock::{lock, wait};
use crate::limits::WAITING_CHUNK_BYTES;

/// A chunk, whose sender waits for an answer.
pub(super) struct Chunk {
    pub(super) reply: Box<[u8]>,
    pub(super) payload: Box<[u8]>,
}

/// The next input of a client.
pub(super) enum Next {
    /// A chunk; one without content is the end.
    Chunk(Chunk),
    /// A message that ends the restoration.
    Invalid(&'static str),
    /// Nothing yet.
    Nothing,
}

/// The chunks that wait.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    invalid: Option<&'static str>,
}

impl Inbox {
    /// Adds a message of the client.
    pub(super) fn push(&self, message: &RawMessage<'_>) {
        let reply = message.reply().unwrap_or_default();
        let (payload, mut state) = (message.payload(), lock(&self.state));
        let cost = cost(reply, payload);
        if reply.is_empty() {
            state.invalid = Some("requires reply subject for each chunk");
        } else if state.bytes + cost > WAITING_CHUNK_BYTES {
            state.invalid = Some("received chunks faster than it answered them");
        } else {
            state.bytes += cost;
            state.chunks.push_back(Chunk { reply: reply.into(), payload: payload.into() });
        }
        self.changed.notify_one();
    }

    /// Takes what came first, which is waited for.
    pub(super) fn next(&self, most: Duration) -> Next {
        let begin = Instant::now();
        let mut state = lock(&self.state);
        loop {
            if let Some(reason) = state.invalid {
                return Next::Invalid(reason);
            }
            if let Some(chunk) = state.chunks.pop_front() {
                state.bytes -= cost(&chunk.reply, &chunk.payload);
                return Next::Chunk(chunk);
            }
            let Some(left) = most.checked_sub(begin.elapsed()).filter(|left| !left.is_zero())
            else {
                return Next::Nothing;
            };
            state = wait(&self.changed, state, Some(left));
        }
    }
}

/// Returns the memory that a chunk takes: also one without content.
fn cost(reply: &[u8], payload: &[u8]) -> usize {
    reply.len() + payload.len() + 64
}
