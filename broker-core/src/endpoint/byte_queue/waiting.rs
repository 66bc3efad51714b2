//! The wait of pending bytes for a link that takes no more.

use std::io;
use std::time::{Duration, Instant};

use super::{ByteQueue, Encoder, State};
use crate::error::CloseReason;
use crate::limits::WriteTimeout;

/// The longest wait of pending bytes, and what happens at its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteWait {
    pub(crate) deadline: Duration,
    pub(crate) timeout: WriteTimeout,
}

impl From<Duration> for WriteWait {
    fn from(deadline: Duration) -> Self {
        Self { deadline, timeout: WriteTimeout::Close }
    }
}

/// Bytes that must be written by a deadline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocked {
    pub(super) since: Instant,
    until_out_bytes: u64,
    /// The last time at which the link has taken bytes.
    moved: Instant,
    /// The pieces and bytes that were pending at the beginning.
    begun_with: (usize, usize),
}

impl Blocked {
    /// Returns when the connection is closed, or has to try again.
    // NATS 2.14: client.go handleWriteTimeout closes a connection that has taken nothing in an attempt, so between one
    // and two deadlines after its last byte. Here it is one.
    fn deadline(&self, wait: WriteWait) -> Instant {
        let begin = match wait.timeout {
            WriteTimeout::Close => self.since,
            WriteTimeout::Retry => self.since.min(self.moved),
        };
        begin + wait.deadline
    }
}

/// The log line about a connection that reads too slowly and is not closed for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SlowWrite {
    /// It has missed the deadline. `is_first`: it had not been slow before.
    Detected { is_first: bool, pieces: usize, bytes: usize },
    /// It has taken all that was pending at the last deadline.
    Recovered { took: Duration, pieces: usize, bytes: usize },
}

impl State {
    /// Records the wait after a write that has taken so many bytes. Writes that leave nothing, and before which nothing
    /// waited, change nothing, and do without.
    #[cold]
    pub(super) fn note_wait(&mut self, bytes: usize, result: &io::Result<()>, now: Instant) {
        let is_blocked = matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        let is_lost = result.is_err() && !is_blocked;
        let before = self.blocked;
        self.blocked = match before {
            _ if !is_blocked => None,
            Some(blocked) if self.out_bytes < blocked.until_out_bytes => {
                Some(Blocked { moved: if bytes > 0 { now } else { blocked.moved }, ..blocked })
            }
            _ => Some(self.wait_from(now, now)),
        };
        if let Some(before) = before.filter(|_| self.is_slow && !is_lost)
            && self.blocked.is_none_or(|blocked| blocked.since != before.since)
        {
            self.is_slow = false;
            let took = now.saturating_duration_since(before.since);
            let (pieces, bytes) = before.begun_with;
            self.recovered = Some((now, SlowWrite::Recovered { took, pieces, bytes }));
        }
    }

    /// Returns a wait for all pending bytes.
    fn wait_from(&self, since: Instant, moved: Instant) -> Blocked {
        let begun_with = (self.pieces(), self.pending_bytes);
        Blocked { since, until_out_bytes: self.in_bytes, moved, begun_with }
    }

    pub(super) fn pieces(&self) -> usize {
        self.sealed.len() + usize::from(!self.open.is_empty())
    }
}

impl<E: Encoder> ByteQueue<E> {
    /// Returns when the client must have read the pending bytes; `None` if the last write left none. If a slow
    /// connection has recovered, which its session is to log: the time of it.
    pub fn write_deadline(&self) -> Option<Instant> {
        let state = self.state.lock();
        let recovered = state.recovered.map(|(at, _)| at);
        recovered.or_else(|| state.blocked.map(|blocked| blocked.deadline(self.wait)))
    }

    /// Returns true if the link takes no more bytes.
    pub(crate) fn is_blocked(&self) -> bool {
        self.state.lock().blocked.is_some()
    }

    /// Closes the connection if the client has missed the deadline. Returns what is to be logged if it is not closed.
    // NATS 2.14: client.go handleWriteTimeout.
    pub(crate) fn handle_timeout(&self, now: Instant) -> Option<SlowWrite> {
        let mut state = self.state.lock();
        if let Some((_, recovered)) = state.recovered.take() {
            return Some(recovered);
        }
        let blocked = state.blocked.filter(|blocked| now >= blocked.deadline(self.wait))?;
        let has_moved = now < blocked.moved + self.wait.deadline;
        if self.wait.timeout == WriteTimeout::Close || !has_moved {
            self.close_locked(state, CloseReason::SlowConsumerWriteDeadline);
            return None;
        }
        let is_first = !std::mem::replace(&mut state.is_slow, true);
        state.blocked = Some(state.wait_from(now, blocked.moved));
        let (pieces, bytes) = (state.pieces(), state.pending_bytes);
        Some(SlowWrite::Detected { is_first, pieces, bytes })
    }

    /// Returns true if the connection has missed a deadline and not recovered since.
    pub(crate) fn is_slow(&self) -> bool {
        self.state.lock().is_slow
    }

    /// Returns how long pending bytes may wait.
    pub(crate) fn max_wait(&self) -> Duration {
        self.wait.deadline
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;
    use crate::endpoint::{ClientEncoder, Queues, Scratch, WriteHandle};
    use crate::sync::{Arc, AtomicUsize, Ordering};

    /// A link that takes so many bytes.
    #[derive(Clone, Default)]
    struct Room(Arc<AtomicUsize>);

    impl WriteHandle for Room {
        fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
            let wanted: usize = pieces.iter().map(|piece| piece.len()).sum();
            let taken = wanted.min(self.0.load(Ordering::Relaxed));
            self.0.fetch_sub(taken, Ordering::Relaxed);
            if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
        }

        fn wake(&self) {}
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// Twelve bytes that wait for a link that takes none, for ten seconds at most.
    fn waiting(timeout: WriteTimeout, start: Instant) -> (ByteQueue, Room, Scratch) {
        let (room, mut scratch) = (Room::default(), Scratch::new());
        let wait = WriteWait { deadline: 10 * SECOND, timeout };
        let (handle, queues) = (Box::new(room.clone()), Arc::new(Queues::default()));
        let queue = ByteQueue::new(ClientEncoder::default(), 1, handle, 1000, wait, queues);
        queue.send(&mut scratch, |out| out.extend_from_slice(b"PING\r\nPONG\r\n"));
        queue.drain(start, false, &mut scratch);
        (queue, room, scratch)
    }

    #[test]
    fn a_connection_that_reads_a_little_is_closed_or_waited_for_again() {
        let start = Instant::now();
        let at = |seconds: u32| start + seconds * SECOND;
        for timeout in [WriteTimeout::Close, WriteTimeout::Retry] {
            let (queue, room, mut scratch) = waiting(timeout, start);
            room.0.store(2, Ordering::Relaxed);
            queue.drain(at(9), true, &mut scratch);
            assert_eq!(queue.write_deadline(), Some(at(10)));
            let slow = queue.handle_timeout(at(10));
            if timeout == WriteTimeout::Close {
                assert_eq!(slow, None);
                assert_eq!(queue.ending(), Some(CloseReason::SlowConsumerWriteDeadline));
                continue;
            }
            let detected = |is_first, bytes| SlowWrite::Detected { is_first, pieces: 1, bytes };
            assert_eq!((slow, queue.ending()), (Some(detected(true, 10)), None));
            assert!(queue.is_slow());
            room.0.store(1, Ordering::Relaxed);
            queue.drain(at(15), true, &mut scratch);
            assert_eq!(queue.write_deadline(), Some(at(20)));
            assert_eq!(queue.handle_timeout(at(20)), Some(detected(false, 9)));
            room.0.store(9, Ordering::Relaxed);
            queue.drain(at(21), true, &mut scratch);
            assert_eq!(queue.write_deadline(), Some(at(21)), "the session is to log it");
            let recovered = SlowWrite::Recovered { took: SECOND, pieces: 1, bytes: 9 };
            assert_eq!(queue.handle_timeout(at(21)), Some(recovered));
            assert_eq!((queue.write_deadline(), queue.is_slow()), (None, false));
        }
    }

    #[test]
    fn a_connection_that_reads_nothing_for_the_time_is_closed_in_any_case() {
        let start = Instant::now();
        let at = |seconds: u32| start + seconds * SECOND;
        let (queue, room, mut scratch) = waiting(WriteTimeout::Retry, start);
        room.0.store(2, Ordering::Relaxed);
        queue.drain(at(3), true, &mut scratch);
        assert!(queue.handle_timeout(at(10)).is_some());
        assert_eq!(queue.write_deadline(), Some(at(13)));
        assert_eq!((queue.handle_timeout(at(13)), queue.left_behind()), (None, (1, 10)));
        assert_eq!(queue.ending(), Some(CloseReason::SlowConsumerWriteDeadline));
    }
}
