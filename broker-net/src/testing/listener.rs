//! A configurable listener for tests of code that dials.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The size of one read of discarded bytes.
const READ_BYTES: usize = 4 << 10;

/// The answer of a [`TestListener`] to a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// Sends these bytes, if there are any, and reads until the other side closes.
    Say(Vec<u8>),
    /// Closes at once.
    Close,
    /// Resets the connection at once.
    Reset,
    /// Performs a TLS handshake as the server, for instance with a wrong certificate, and reads
    /// until the peer closes.
    #[cfg(feature = "tls-core")]
    Tls(Box<crate::TlsOptions>),
}

impl Answer {
    /// Accepts the connection, and sends nothing.
    pub const STALL: Self = Self::Say(Vec::new());
}

/// A listener on any free port of `127.0.0.1` that accepts, refuses, stalls or resets connections,
/// or presents a wrong certificate: for tests of code that dials. It runs in the runtime in which
/// it was started.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use broker_net::testing::{Answer, TestListener};
/// use broker_net::{DialError, DialOptions, Dialer};
///
/// let listener = TestListener::refusing()?;
/// let mut dialer = Dialer::new(&listener.address().to_string(), DialOptions::default())?;
/// assert!(matches!(dialer.dial().await, Err(DialError::Connect { .. })));
///
/// listener.listen(Answer::Say(b"INFO {}\r\n".to_vec()))?;
/// let mut connection = dialer.dial().await?;
/// assert_eq!(connection.read_line(1024).await?, b"INFO {}");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct TestListener {
    socket: Socket,
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: Mutex<JoinSet<()>>,
    /// Connections that fill the backlog.
    fillers: Vec<Socket>,
}

#[derive(Debug)]
struct Shared {
    answer: Mutex<Answer>,
    accepted: AtomicUsize,
}

impl TestListener {
    /// Binds a port whose connections are refused until [`listen`](Self::listen) is called.
    ///
    /// # Errors
    ///
    /// Returns an error if no port can be bound.
    pub fn refusing() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        let no_address = || io::Error::from(io::ErrorKind::AddrNotAvailable);
        let address = socket.local_addr()?.as_socket().ok_or_else(no_address)?;
        let shared = Shared { answer: Mutex::new(Answer::Close), accepted: AtomicUsize::new(0) };
        let (shared, serving) = (Arc::new(shared), Mutex::default());
        Ok(Self { socket, address, shared, serving, fillers: Vec::new() })
    }

    /// Binds a port and answers its connections.
    ///
    /// # Errors
    ///
    /// Returns an error if no port can be bound.
    pub fn start(answer: Answer) -> io::Result<Self> {
        let listener = Self::refusing()?;
        listener.listen(answer)?;
        Ok(listener)
    }

    /// Binds a port to which connecting takes forever, as behind a firewall that drops packets: its
    /// backlog is full. Linux only: other systems refuse, or accept more than the backlog.
    ///
    /// # Errors
    ///
    /// Returns an error if no port can be bound.
    pub fn unreachable() -> io::Result<Self> {
        let mut listener = Self::refusing()?;
        listener.socket.listen(0)?;
        // One more than fits: the last one is never answered.
        for _ in 0..2 {
            let filler = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            filler.set_nonblocking(true)?;
            let _ = filler.connect(&listener.address.into());
            listener.fillers.push(filler);
        }
        Ok(listener)
    }

    /// Accepts and answers connections from now on.
    ///
    /// # Errors
    ///
    /// Returns an error if the port cannot be listened on.
    pub fn listen(&self, answer: Answer) -> io::Result<()> {
        self.answer(answer);
        self.socket.listen(128)?;
        self.socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(self.socket.try_clone()?.into())?;
        let mut serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        serving.spawn(serve(listener, Arc::clone(&self.shared)));
        Ok(())
    }

    /// Changes the answer from the next connection on.
    pub fn answer(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// Returns the address that it is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of connections that it has accepted.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Acquire)
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        shared.accepted.fetch_add(1, Ordering::AcqRel);
        let answer = shared.answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            // The peer has closed the connection.
            let _ = give(answer, stream).await;
        });
    }
}

async fn give(answer: Answer, mut stream: TcpStream) -> io::Result<()> {
    match answer {
        Answer::Say(bytes) => {
            stream.write_all(&bytes).await?;
            let mut rest = [0; READ_BYTES];
            while stream.read(&mut rest).await? > 0 {}
            Ok(())
        }
        Answer::Close => Ok(()),
        Answer::Reset => SockRef::from(&stream).set_linger(Some(Duration::ZERO)),
        #[cfg(feature = "tls-core")]
        Answer::Tls(options) => shake_hands(stream, *options).await,
    }
}

#[cfg(feature = "tls-core")]
async fn shake_hands(stream: TcpStream, options: crate::TlsOptions) -> io::Result<()> {
    use std::future::poll_fn;

    use crate::handshake::{ListenerConfig, tls};
    use crate::transport::poll_io;

    let config = Arc::new(ListenerConfig::default());
    let built = options.build().map_err(io::Error::other)?;
    let remote = stream.peer_addr()?;
    tls::set(&config, None, Some((options, built)));
    let accepted = config.admit(stream, remote);
    if let Some(mut handshake) = accepted.handshake {
        handshake.run().await.map_err(|fault| io::Error::other(fault.to_string()))?;
    }
    let transport = &accepted.socket.transport;
    let mut rest = [0; READ_BYTES];
    loop {
        let mut read = || transport.try_read(&mut rest);
        let reading = poll_fn(|cx| poll_io(cx, |cx| transport.poll_read_ready(cx), &mut read));
        if reading.await? == 0 {
            return Ok(());
        }
    }
}
