//! Ways in that a program brings: whatever carries bytes both ways.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use broker_core::session::client::Arrival;
use broker_core::transport::TransportInfo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, copy_buf, split};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::handshake::AcceptedConnection;
use crate::listener::{BACK_OFF_MAX, BACK_OFF_MIN};
use crate::pipe::{self, LocalStream};
use crate::transport::Socket;

/// What is copied at a time, each way. With the 8 KiB that wait of a stranger it is 16 KiB, as for any.
const COPY_BYTES: usize = 4 << 10;

/// How long a client may take to read the last words that were meant for it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What can carry a connection: bytes both ways. Everything is that can be read and written and sent to
/// another thread.
pub trait Carries: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Carries for S {}

/// A way in of your own, for [`ServerBuilder::listener`](crate::ServerBuilder::listener): a simulated network,
/// streams within another protocol, a kind of socket that the server does not know.
///
/// Clients that come this way are like any others. The server offers them no TLS: whether the stream is
/// encrypted is your affair, and done before it is handed over. Bytes are copied once more than from
/// sockets of the server's own; at most 64 KiB wait in between each way, so that a client that does
/// not read is a slow consumer as ever. A client that is cut, or whose server ends, sees the end of the
/// stream (`poll_shutdown`), and the stream is dropped a second later at the latest.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::io;
/// use std::net::SocketAddr;
/// use broker_net::{Listener, Server};
/// use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream};
/// use tokio::sync::mpsc;
///
/// /// A network within the process.
/// struct Network(mpsc::Receiver<DuplexStream>);
///
/// impl Listener for Network {
///     type Stream = DuplexStream;
///
///     async fn accept(&mut self) -> io::Result<(DuplexStream, Option<SocketAddr>)> {
///         match self.0.recv().await {
///             Some(stream) => Ok((stream, None)),
///             None => std::future::pending().await, // nobody will come any more
///         }
///     }
/// }
///
/// let (dial, network) = mpsc::channel(16);
/// let server = Server::builder().listener(Network(network)).bind().await?;
///
/// let (mut client, far_end) = tokio::io::duplex(4096);
/// dial.send(far_end).await?;
/// let mut line = String::new();
/// BufReader::new(&mut client).read_line(&mut line).await?;
/// assert!(line.starts_with("INFO {"));
/// # Ok(()) }
/// ```
pub trait Listener: Send + 'static {
    /// What carries a connection.
    type Stream: Carries;

    /// Waits for the next connection; with where it comes from, for logs and monitoring, if that can be
    /// said. Called again and again until the server stops accepting, and then dropped.
    ///
    /// # Errors
    ///
    /// Whatever keeps the next connection from coming. It is logged, and after a while (10 ms, twice as
    /// long each time up to a second) this is called again. When there will never be another, wait for
    /// ever.
    ///
    /// # Cancel safety
    ///
    /// It is dropped at its await only when the server stops accepting.
    fn accept(
        &mut self,
    ) -> impl Future<Output = io::Result<(Self::Stream, Option<SocketAddr>)>> + Send;
}

/// Somebody who came by a way of the program's own.
pub(crate) struct Arrived {
    stream: Box<dyn Carries>,
    remote: Option<SocketAddr>,
}

type Accepting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// All ways in that the program has brought. Dropped, they are closed.
pub(crate) struct CustomAcceptors {
    waiting: Vec<Accepting>,
    accepting: JoinSet<()>,
    come: mpsc::Sender<Arrived>,
    coming: mpsc::Receiver<Arrived>,
}

impl Default for CustomAcceptors {
    fn default() -> Self {
        // Who accepts waits until the one before is served.
        let (come, coming) = mpsc::channel(1);
        Self { waiting: Vec::new(), accepting: JoinSet::new(), come, coming }
    }
}

impl fmt::Debug for CustomAcceptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnDoors")
            .field("count", &(self.waiting.len() + self.accepting.len()))
            .finish()
    }
}

impl CustomAcceptors {
    pub(crate) fn add(&mut self, listener: impl Listener) {
        self.waiting.push(Box::pin(accept_all(listener, self.come.clone())));
    }

    /// Begins to accept, in the runtime that it is called in.
    pub(crate) fn open(mut self) -> Self {
        for accepting in self.waiting.drain(..) {
            self.accepting.spawn(accepting);
        }
        self
    }

    /// Whoever comes next. Cancelled, it has accepted nobody.
    pub(crate) async fn accept(&mut self) -> Arrived {
        match self.coming.recv().await {
            Some(arrived) => arrived,
            // It holds a sender itself.
            None => std::future::pending().await,
        }
    }
}

async fn accept_all(mut listener: impl Listener, come: mpsc::Sender<Arrived>) {
    let mut back_off = BACK_OFF_MIN;
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                back_off = BACK_OFF_MIN;
                if come.send(Arrived { stream: Box::new(stream), remote }).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::error!(
                    "Temporary Client Accept Error ({error}), sleeping {}ms",
                    back_off.as_millis()
                );
                tokio::time::sleep(back_off).await;
                back_off = (back_off * 2).min(BACK_OFF_MAX);
            }
        }
    }
}

impl Arrived {
    /// What a session is opened for, and what must go on beside it.
    pub(crate) fn admit(self) -> (AcceptedConnection, impl Future<Output = ()>) {
        let Self { stream, remote } = self;
        let (near, transport) = pipe::pipe();
        let arrival = Arrival { transport: TransportInfo::Stream, remote, ..Arrival::default() };
        let socket = Arc::new(Socket::new(transport));
        (AcceptedConnection { socket, arrival, handshake: None }, carry(stream, near))
    }
}

/// Carries bytes until the server has said its last, or the client cannot be written to.
async fn carry(stream: Box<dyn Carries>, near: LocalStream) {
    let (from_client, mut to_client) = split(stream);
    let (from_server, mut to_server) = split(near);
    let up = async {
        let mut from_client = BufReader::with_capacity(COPY_BYTES, from_client);
        // An error is an end; what is still to be read the client may read.
        let _ = copy_buf(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
        std::future::pending::<()>().await;
    };
    let down = async {
        let mut from_server = BufReader::with_capacity(COPY_BYTES, from_server);
        let _ = copy_buf(&mut from_server, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

/// Serves a connection, and carries its bytes.
pub(crate) async fn serve(serving: impl Future<Output = ()>, carrying: impl Future<Output = ()>) {
    // Boxed: what few connections need must not be in every connection's memory.
    let (mut serving, mut carrying) = (Box::pin(serving), Box::pin(carrying));
    tokio::select! {
        biased;
        () = &mut serving => {
            let _ = tokio::time::timeout(LAST_WORDS, carrying).await;
        }
        () = &mut carrying => serving.await,
    }
}
