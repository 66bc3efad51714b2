//! Spare descriptors: when the process runs out of others, they serve to refuse all new connections at once.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::task::Poll;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use crate::clock;

/// Descriptors kept for the moment when there are no others. One would do to tell newcomers one by one;
/// with more, as many can be [listened to](LINGER) for a while.
const RESERVE: usize = 8;

/// The time for which a refused newcomer is held, unless another needs its place: one that has sent
/// CONNECT meanwhile would have its connection reset, and not read why, if it were closed at once.
const LINGER: Duration = Duration::from_millis(50);

/// The most newcomers refused in one go, before others get their turn.
const IN_ONE_GO: usize = 64;

/// The most bytes of a newcomer that are thrown away.
const THROWN_AWAY_BYTES: usize = 64 << 10;

/// The spare descriptors, and those they were given up for.
pub(crate) struct Reserve {
    spare: Vec<File>,
    /// Refused, the oldest first, and until when each is held.
    held: VecDeque<(Newcomer, Instant)>,
}

/// A connection that cannot be served.
pub(crate) struct Newcomer {
    stream: Stream,
    last_words: &'static [u8],
}

enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// The outcome of refusing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    /// The number of newcomers that were refused. No other waits, or the rest is left to the next turn.
    All(usize),
    /// Accepting failed.
    Failed,
}

impl Reserve {
    pub(crate) fn new() -> Self {
        let mut reserve = Self { spare: Vec::new(), held: VecDeque::new() };
        reserve.refill();
        reserve
    }

    /// Takes spare descriptors, where there are some to be had.
    pub(crate) fn refill(&mut self) {
        while self.spare.len() + self.held.len() < RESERVE {
            let Ok(file) = File::open("/dev/null") else { return };
            self.spare.push(file);
        }
    }

    /// Accepts all connections that wait, and tells them that there is no room. `accept` must not wait.
    pub(crate) fn refuse_all(
        &mut self,
        mut accept: impl FnMut() -> Poll<io::Result<Newcomer>>,
    ) -> Refused {
        let mut count = 0;
        while count < IN_ONE_GO {
            self.give_one_up();
            match accept() {
                Poll::Ready(Ok(newcomer)) => {
                    newcomer.refuse();
                    self.held.push_back((newcomer, clock::now() + LINGER));
                    count += 1;
                }
                // The client had gone before it was accepted.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Poll::Ready(Err(_)) => {
                    self.refill();
                    return Refused::Failed;
                }
                Poll::Pending => break,
            }
        }
        self.refill();
        Refused::All(count)
    }

    /// Makes a descriptor free.
    fn give_one_up(&mut self) {
        if self.spare.pop().is_none()
            && let Some((oldest, _)) = self.held.pop_front()
        {
            oldest.close();
        }
    }

    /// Closes those that were held long enough; returns when the last of them are.
    pub(crate) async fn retire(&mut self) {
        while let Some((_, until)) = self.held.front() {
            tokio::time::sleep_until((*until).into()).await;
            if let Some((oldest, _)) = self.held.pop_front() {
                oldest.close();
            }
        }
        self.refill();
    }

    pub(crate) fn holds_some(&self) -> bool {
        !self.held.is_empty()
    }
}

/// Returns true if the process or the machine has no descriptor left.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    // EMFILE and ENFILE, which are the same on all systems; WSAEMFILE.
    matches!(error.raw_os_error(), Some(23 | 24 | 10_024))
}

impl Newcomer {
    /// The last words to a client of NATS.
    pub(crate) const FULL: &[u8] = b"-ERR 'maximum connections exceeded'\r\n";

    /// `last_words` are sent to the client; they may be empty.
    pub(crate) fn tcp(stream: TcpStream, last_words: &'static [u8]) -> Self {
        Self { stream: Stream::Tcp(stream), last_words }
    }

    #[cfg(unix)]
    pub(crate) fn unix(stream: UnixStream) -> Self {
        Self { stream: Stream::Unix(stream), last_words: Self::FULL }
    }

    /// Past the runtime, which does not know yet whether the socket is ready.
    fn socket(&self) -> SockRef<'_> {
        match &self.stream {
            Stream::Tcp(stream) => SockRef::from(stream),
            #[cfg(unix)]
            Stream::Unix(stream) => SockRef::from(stream),
        }
    }

    /// Says why, and that nothing will follow. A new socket has room for it; if not, closing says it.
    fn refuse(&self) {
        let socket = self.socket();
        let _ = socket.send(self.last_words);
        let _ = socket.shutdown(Shutdown::Write);
    }

    /// Closes, once what has come is read: else the connection would be reset.
    fn close(self) {
        let socket = self.socket();
        let mut rest = [MaybeUninit::uninit(); 4096];
        let mut thrown_away = 0;
        while thrown_away < THROWN_AWAY_BYTES {
            match socket.recv(&mut rest) {
                Ok(len @ 1..) => thrown_away += len,
                Ok(0) | Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use tokio::net::TcpListener;

    use super::*;

    /// More than are held at once, all of whom have sent something before they are accepted.
    #[tokio::test]
    async fn all_who_wait_are_told_at_once_and_none_is_reset() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut clients = Vec::new();
        for _ in 0..3 * RESERVE {
            let mut client = std::net::TcpStream::connect(address).unwrap();
            client.write_all(b"CONNECT {}\r\n").unwrap();
            clients.push(client);
        }
        let mut reserve = Reserve::new();
        let mut told = 0;
        while told < clients.len() {
            let refused = std::future::poll_fn(|cx| {
                let mut accept = || {
                    let accepted = listener.poll_accept(cx);
                    accepted.map(|accepted| {
                        accepted.map(|(stream, _)| Newcomer::tcp(stream, Newcomer::FULL))
                    })
                };
                Poll::Ready(reserve.refuse_all(&mut accept))
            });
            let Refused::All(count) = refused.await else { panic!("not refused") };
            told += count;
            // Only so is it seen that more have come.
            tokio::task::yield_now().await;
            assert!(reserve.held.len() <= RESERVE);
        }
        assert!(reserve.holds_some());
        reserve.retire().await;
        assert!(!reserve.holds_some());
        assert_eq!(reserve.spare.len(), RESERVE);
        for mut client in clients {
            let mut said = String::new();
            client.read_to_string(&mut said).unwrap();
            assert_eq!(said, "-ERR 'maximum connections exceeded'\r\n");
        }
    }

    #[test]
    fn what_cannot_be_accepted_is_a_failure() {
        let mut reserve = Reserve::new();
        let mut refuse = |error: i32| {
            let mut errors = vec![Poll::Ready(Err(io::Error::from_raw_os_error(error)))];
            reserve.refuse_all(|| errors.pop().unwrap_or(Poll::Pending))
        };
        assert_eq!(refuse(24), Refused::Failed);
        assert!(is_exhausted(&io::Error::from_raw_os_error(24)));
        assert!(!is_exhausted(&io::Error::from(io::ErrorKind::ConnectionAborted)));
        let mut aborted = vec![Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))];
        let refused = reserve.refuse_all(|| aborted.pop().unwrap_or(Poll::Pending));
        assert_eq!(refused, Refused::All(0));
    }
}
