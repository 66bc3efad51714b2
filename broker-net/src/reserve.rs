//! Spare descriptors: when the process runs out of others, the server uses them to refuse all new connections at
//! once.

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

/// Number of descriptors kept in reserve. One would suffice to refuse connections one by one; with more, as many can
/// be [held open](LINGER) for a while.
const RESERVE: usize = 8;

/// The time for which a refused connection is held, unless another needs its descriptor. Closing at once would reset
/// a connection whose client has sent CONNECT meanwhile, and the client would not read the error.
const LINGER: Duration = Duration::from_millis(50);

/// Maximum connections refused in one turn.
const IN_ONE_GO: usize = 64;

/// Maximum bytes of a refused connection that are read and discarded.
const THROWN_AWAY_BYTES: usize = 64 << 10;

/// The spare descriptors, and the refused connections that they are in use for.
pub(crate) struct Reserve {
    spare: Vec<File>,
    /// Refused connections, the oldest first, with the time until which each is held.
    held: VecDeque<(RawConnection, Instant)>,
}

/// An accepted socket that cannot be served.
pub(crate) struct RawConnection {
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
    /// The number of connections refused. No other waits, or the rest is left to the next turn.
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

    /// Opens spare descriptors, as far as the system allows.
    pub(crate) fn refill(&mut self) {
        while self.spare.len() + self.held.len() < RESERVE {
            let Ok(file) = File::open("/dev/null") else { return };
            self.spare.push(file);
        }
    }

    /// Accepts all waiting connections and refuses them with an error. `accept` must not block.
    pub(crate) fn refuse_all(
        &mut self,
        mut accept: impl FnMut() -> Poll<io::Result<RawConnection>>,
    ) -> Refused {
        let mut count = 0;
        while count < IN_ONE_GO {
            self.give_one_up();
            match accept() {
                Poll::Ready(Ok(connection)) => {
                    connection.refuse();
                    self.held.push_back((connection, clock::now() + LINGER));
                    count += 1;
                }
                // The client closed the connection before it was accepted.
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

    /// Frees one descriptor.
    fn give_one_up(&mut self) {
        if self.spare.pop().is_none()
            && let Some((oldest, _)) = self.held.pop_front()
        {
            oldest.close();
        }
    }

    /// Closes connections that were held long enough; returns once none is left.
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

impl RawConnection {
    /// The error sent to a client that connects by the NATS protocol.
    pub(crate) const FULL: &[u8] = b"-ERR 'maximum connections exceeded'\r\n";

    /// `last_words` are sent to the client; they may be empty.
    pub(crate) fn tcp(stream: TcpStream, last_words: &'static [u8]) -> Self {
        Self { stream: Stream::Tcp(stream), last_words }
    }

    #[cfg(unix)]
    pub(crate) fn unix(stream: UnixStream) -> Self {
        Self { stream: Stream::Unix(stream), last_words: Self::FULL }
    }

    /// Accesses the socket directly, because the runtime does not know yet whether it is ready.
    fn socket(&self) -> SockRef<'_> {
        match &self.stream {
            Stream::Tcp(stream) => SockRef::from(stream),
            #[cfg(unix)]
            Stream::Unix(stream) => SockRef::from(stream),
        }
    }

    /// Sends the error and shuts down the write side. A new socket has room for it; if not, the close has to do.
    fn refuse(&self) {
        let socket = self.socket();
        let _ = socket.send(self.last_words);
        let _ = socket.shutdown(Shutdown::Write);
    }

    /// Reads and discards received bytes, then closes: unread bytes would reset the connection.
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

    /// Connects more clients than are held at once; all have sent bytes before they are accepted.
    #[tokio::test]
    async fn all_waiting_connections_are_refused_at_once_and_none_is_reset() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut clients = Vec::new();
        for _ in 0..3 * RESERVE {
            let mut client = std::net::TcpStream::connect(address).unwrap();
            client.write_all(b"CONNECT {}\r\n").unwrap();
            clients.push(client);
        }
        let mut reserve = Reserve::new();
        let mut refused_count = 0;
        while refused_count < clients.len() {
            let refused = std::future::poll_fn(|cx| {
                let mut accept = || {
                    let accepted = listener.poll_accept(cx);
                    accepted.map(|accepted| {
                        accepted.map(|(stream, _)| RawConnection::tcp(stream, RawConnection::FULL))
                    })
                };
                Poll::Ready(reserve.refuse_all(&mut accept))
            });
            let Refused::All(count) = refused.await else { panic!("not refused") };
            refused_count += count;
            // The runtime notices further connections only after a yield.
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
    fn a_failed_accept_is_a_failure() {
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
