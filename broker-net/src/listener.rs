//! Listening: one socket, and what to do when the process runs out of descriptors.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Weak};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, lookup_host};

/// After a failed accept: wait this long, twice as long each time.
// NATS 2.14: 10 ms to 1 s.
pub(crate) const BACK_OFF_MIN: Duration = Duration::from_millis(10);
pub(crate) const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// Connections that the kernel holds until they are accepted. A restart may bring thousands at once;
/// the kernel has a limit of its own.
const BACKLOG: i32 = 4096;

/// Keepalive finds peers that vanished, which PINGs every two minutes take minutes for.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 3;
const UNACKNOWLEDGED: Duration = Duration::from_secs(45);

/// A bound TCP socket.
pub(crate) struct TcpAcceptor {
    socket: Arc<TcpListener>,
    address: SocketAddr,
}

/// Randomness for a server that was given none: the standard library draws it from the system.
pub(crate) fn random_seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

impl TcpAcceptor {
    pub(crate) async fn bind(host: &str, port: u16) -> io::Result<Self> {
        let socket = Self::bind_any(host, port).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket: Arc::new(socket), address })
    }

    async fn bind_any(host: &str, port: u16) -> io::Result<TcpListener> {
        // As Go does: every address of either family, where the machine has both.
        if matches!(host, "" | "0.0.0.0" | "::")
            && let Ok(socket) = listen((Ipv6Addr::UNSPECIFIED, port).into())
        {
            return Ok(socket);
        }
        let host = if host.is_empty() { "0.0.0.0" } else { host };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in lookup_host((host, port)).await? {
            match listen(address) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Takes over a socket that somebody else has bound, and listens already.
    pub(crate) fn adopt(socket: StdListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let socket = Socket::from(socket);
        tune(&socket);
        let socket = TcpListener::from_std(StdListener::from(socket))?;
        Ok(Self { socket: Arc::new(socket), address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What can close it from elsewhere.
    pub(crate) fn guard(&self) -> ListenerGuard {
        ListenerGuard(Arc::downgrade(&self.socket))
    }

    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.socket.accept().await
    }
}

/// Closes a listener that somebody else holds, as soon as it is dropped: its port is free then, although
/// the one who holds it has not noticed yet.
#[derive(Debug, Default)]
pub(crate) struct ListenerGuard(Weak<TcpListener>);

impl Drop for ListenerGuard {
    fn drop(&mut self) {
        if let Some(socket) = self.0.upgrade() {
            // Where that is no way to end listening, it ends when the socket is dropped.
            let _ = SockRef::from(&*socket).shutdown(Shutdown::Both);
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    // A restart must not wait for the connections of the last run to be forgotten.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    tune(&socket);
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(StdListener::from(socket))
}

/// Without delay, and with an eye on whether the peer is there. None of it is vital.
///
/// Connections inherit it from the socket that accepts them, which spares each of them six calls.
fn tune(socket: &Socket) {
    let _ = socket.set_tcp_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    #[cfg(target_os = "linux")]
    let keepalive = keepalive.with_retries(KEEPALIVE_PROBES);
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
}

/// A descriptor kept for the moment when there are no others: then it is given up to accept a
/// connection and tell it so, instead of leaving it hanging.
pub(crate) struct Reserve(Option<File>);

impl Reserve {
    pub(crate) fn new() -> Self {
        let mut reserve = Self(None);
        reserve.refill();
        reserve
    }

    pub(crate) fn refill(&mut self) {
        if self.0.is_none() {
            self.0 = File::open("/dev/null").ok();
        }
    }

    pub(crate) async fn refuse_one(&mut self, listener: &TcpAcceptor) {
        self.0 = None;
        let accepting = tokio::time::timeout(Duration::ZERO, listener.accept());
        if let Ok(Ok((stream, _))) = accepting.await {
            say_full(&stream);
        }
        self.refill();
    }
}

fn say_full(stream: &TcpStream) {
    // A new socket has room for a line; if not, closing says it.
    let _ = stream.try_write(b"-ERR 'maximum connections exceeded'\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_inherit_what_the_listener_is_tuned_to() {
        let listener = TcpAcceptor::bind("127.0.0.1", 0).await.unwrap();
        let connecting = TcpStream::connect(listener.address());
        let (accepted, _client) = tokio::join!(listener.socket.accept(), connecting);
        let (stream, _) = accepted.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
    }
}
