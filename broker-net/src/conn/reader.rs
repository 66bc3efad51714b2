//! Stage 1 of 8: reads available bytes into a borrowed buffer. After it: the parser, in the core.
//!
//! The connection keeps only the bytes that do not yet form an operation, and a message too large for the buffer,
//! which is read into memory of its own that its receivers then share.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use broker_core::session::{Received, Session};
use bytes::{Bytes, BytesMut};

use crate::clock;
use crate::transport::{Broken, Buffers, READ_BYTES, Socket, poll_io, with_buffers};

/// A message of this size or more is read into memory of its own.
const LARGE_BYTES: usize = 32 << 10;

/// Capacity that a connection keeps between two messages without a check whether it is idle.
const KEPT_CAPACITY_BYTES: usize = 4 << 10;

/// The outcome of a read.
pub(super) enum Read {
    /// So many bytes, and no more are available.
    Some(usize),
    /// Enough bytes to fill the buffer: more are available. Deliveries have not been flushed.
    Full,
    End,
    Failed,
}

/// The input of a connection that is kept between two reads.
#[derive(Default)]
pub(super) struct Reader {
    /// The beginning of an operation.
    kept: Vec<u8>,
    /// A message read into a buffer of its own.
    large: Option<Large>,
    /// The kept input must be passed to the session before more is read.
    must_look: bool,
    /// The last read filled the buffer.
    is_full: bool,
    /// The time of the measured read, until all of its deliveries have been flushed.
    measured_since: Option<Instant>,
}

/// A large message, or a control line longer than the shared buffer, as far as it was received.
struct Large {
    data: BytesMut,
    /// Bytes needed before the session can make progress; 0 if any byte may be the last.
    whole: usize,
    /// Maximum bytes to hold.
    room: usize,
}

impl Reader {
    /// Makes the next read pass the kept input to the session, which can process it now.
    pub(super) fn look_again(&mut self) {
        self.must_look = !self.kept.is_empty() || self.large.is_some();
    }

    /// Takes the kept input, because it must be decoded before the session gets it.
    pub(super) fn take_kept(&mut self) -> Vec<u8> {
        self.must_look = false;
        match self.large.take() {
            Some(large) => large.data.into(),
            None => std::mem::take(&mut self.kept),
        }
    }

    /// Frees memory that is unused while the connection is idle.
    pub(super) fn give_up_idle_memory(&mut self) {
        if self.kept.is_empty() {
            self.kept = Vec::new();
        }
    }

    /// Reads once and passes the input to the session.
    pub(super) fn poll_read(
        &mut self,
        socket: &Socket,
        session: &mut impl Session,
        cx: &mut Context<'_>,
    ) -> Poll<Read> {
        if std::mem::take(&mut self.must_look) {
            if let Some(large) = self.large.take() {
                self.receive_large(&large.data.freeze(), session);
                return Poll::Ready(Read::Some(0));
            }
            let kept = std::mem::take(&mut self.kept);
            with_buffers(|buffers| {
                let received = session.receive(clock::now(), &kept, None, &mut buffers.scratch);
                self.keep(&kept, received);
            });
            return Poll::Ready(Read::Some(0));
        }
        let read = || self.read(socket, session);
        Poll::Ready(match ready!(poll_io(cx, |cx| socket.poll_read_ready(cx), read)) {
            Ok(0) => Read::End,
            Ok(_) if std::mem::take(&mut self.is_full) => Read::Full,
            Ok(len) => Read::Some(len),
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

    /// Reports the time of the measured read to the session, once all of it has been flushed.
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
        // Kept input leaves room: it is shorter than a large message.
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
            // Clears the mark of earlier publishes, which are not measured.
            session.take_has_published();
            self.measured_since = Some(now);
        }
        let received = session.receive(now, input, None, scratch);
        self.keep(input, received);
        Ok(len)
    }

    /// Keeps the bytes that the session has not consumed.
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
    /// Returns true if the session can make progress: with the whole message, or with all but its last byte if that
    /// shows that the client has miscounted, because such a client may wait for the answer.
    fn is_enough(&self) -> bool {
        let missing = self.whole.saturating_sub(self.data.len());
        missing == 0 || (missing == 1 && self.data.last() != Some(&b'\r'))
    }

    fn read(&mut self, socket: &Socket) -> io::Result<usize> {
        let room = self.room - self.data.len();
        socket.transport.try_read_behind(&mut self.data, room)
    }
}
