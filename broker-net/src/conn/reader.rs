//! Stage 1 of 8: reads what is there into a borrowed buffer. After it: the parser, in the core.
//!
//! Only what no operation could be made of yet stays with the connection, and a message too large for
//! the buffer, which is read into memory of its own that its receivers then share.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use broker_core::session::{Received, Session};
use bytes::{Bytes, BytesMut};

use crate::clock;
use crate::transport::{Broken, Buffers, READ_BYTES, Socket, poll_io, with_buffers};

/// A message of this size or more is read into memory of its own.
const LARGE_BYTES: usize = 32 << 10;

/// What a connection keeps between two messages without asking whether it is idle.
const KEPT_CAPACITY_BYTES: usize = 4 << 10;

/// What a read came to.
pub(super) enum Read {
    /// Something, and that was all.
    Some,
    /// As much as there was room for: there is more. What it delivered has not been flushed.
    Full,
    End,
    Failed,
}

/// What stays of a connection's input between two reads.
#[derive(Default)]
pub(super) struct Reader {
    /// The beginning of an operation.
    kept: Vec<u8>,
    /// What has a buffer of its own.
    large: Option<Large>,
    /// What is kept must be looked at before anything is read.
    must_look: bool,
    /// The last read filled the buffer.
    is_full: bool,
    /// When what was read and is measured was read, until all that it brought has been flushed.
    measured_since: Option<Instant>,
}

/// A large message, or a control line longer than the shared buffer, as far as it has come.
struct Large {
    data: BytesMut,
    /// How much to read before the session can do something with it; 0 if any byte may be the last.
    whole: usize,
    /// How much to have at most.
    room: usize,
}

impl Reader {
    /// The session can go on with what was kept.
    pub(super) fn look_again(&mut self) {
        self.must_look = !self.kept.is_empty() || self.large.is_some();
    }

    /// Nothing has come for long.
    pub(super) fn give_up_idle_memory(&mut self) {
        if self.kept.is_empty() {
            self.kept = Vec::new();
        }
    }

    /// Reads once and has the session do what was asked for.
    pub(super) fn poll_read(
        &mut self,
        socket: &Socket,
        session: &mut impl Session,
        cx: &mut Context<'_>,
    ) -> Poll<Read> {
        if std::mem::take(&mut self.must_look) {
            if let Some(large) = self.large.take() {
                self.receive_large(&large.data.freeze(), session);
                return Poll::Ready(Read::Some);
            }
            let kept = std::mem::take(&mut self.kept);
            with_buffers(|buffers| {
                let received = session.receive(clock::now(), &kept, None, &mut buffers.scratch);
                self.keep(&kept, received);
            });
            return Poll::Ready(Read::Some);
        }
        let read = || self.read(socket, session);
        Poll::Ready(match ready!(poll_io(cx, |cx| socket.poll_read_ready(cx), read)) {
            Ok(0) => Read::End,
            Ok(_) if std::mem::take(&mut self.is_full) => Read::Full,
            Ok(_) => Read::Some,
            Err(error) => {
                let inner = error.get_ref();
                if let Some(broken) = inner.and_then(|inner| inner.downcast_ref::<Broken>()) {
                    session.log_read_error(broken);
                }
                Read::Failed
            }
        })
    }

    fn read(&mut self, socket: &Socket, session: &mut impl Session) -> io::Result<usize> {
        if let Some(mut large) = self.large.take() {
            let result = large.read(socket);
            if result.is_err() || !large.is_enough() {
                self.large = Some(large);
            } else {
                self.receive_large(&large.data.freeze(), session);
            }
            return result;
        }
        let result = with_buffers(|buffers| self.read_chunk(socket, session, buffers));
        if !self.is_full {
            self.note_flush(session);
        }
        result
    }

    /// All that was read has been flushed.
    pub(super) fn note_flush(&mut self, session: &mut impl Session) {
        let Some(since) = self.measured_since.take() else { return };
        if session.take_has_published() {
            session.note_flush(clock::now().saturating_duration_since(since));
        }
    }

    fn read_chunk(
        &mut self,
        socket: &Socket,
        session: &mut impl Session,
        buffers: &mut Buffers,
    ) -> io::Result<usize> {
        let Buffers { scratch, read, samples } = buffers;
        let kept = self.kept.len();
        // What was kept leaves room: it is less than a large message.
        let end = session.read_limit().clamp(kept + 1, READ_BYTES.max(kept + 1)).min(read.len());
        let room = &mut read[kept..end];
        let len = socket.transport.try_read(room)?;
        read[..kept].copy_from_slice(&self.kept);
        let input = &read[..kept + len];
        self.is_full = kept + len == READ_BYTES;
        if self.is_full {
            scratch.expect_more();
        }
        let now = clock::now();
        if samples.is_due() && self.measured_since.is_none() {
            // What was published before is not meant.
            session.take_has_published();
            self.measured_since = Some(now);
        }
        let received = session.receive(now, input, None, scratch);
        self.keep(input, received);
        Ok(len)
    }

    /// Keeps what the session has not used.
    fn keep(&mut self, input: &[u8], received: Received) {
        let rest = input.get(received.used..).unwrap_or_default();
        self.kept.clear();
        let Received { whole, .. } = received;
        if whole >= LARGE_BYTES || rest.len() > READ_BYTES / 2 {
            let room = if whole > 0 { whole } else { rest.len() * 2 };
            let mut data = BytesMut::with_capacity(room);
            data.extend_from_slice(rest);
            self.large = Some(Large { data, whole, room });
        } else {
            self.kept.extend_from_slice(rest);
        }
        if self.kept.is_empty() && self.kept.capacity() > KEPT_CAPACITY_BYTES {
            self.kept = Vec::new();
        }
    }

    fn receive_large(&mut self, data: &Bytes, session: &mut impl Session) {
        with_buffers(|buffers| {
            let received = session.receive(clock::now(), data, Some(data), &mut buffers.scratch);
            self.keep(data, received);
        });
    }
}

impl Large {
    /// Can the session do something with it? With all of it, and with what is one byte short if that
    /// shows that the client has miscounted: it may wait for the answer.
    fn is_enough(&self) -> bool {
        let missing = self.whole.saturating_sub(self.data.len());
        missing == 0 || (missing == 1 && self.data.last() != Some(&b'\r'))
    }

    fn read(&mut self, socket: &Socket) -> io::Result<usize> {
        let room = self.room - self.data.len();
        socket.transport.try_read_behind(&mut self.data, room)
    }
}
