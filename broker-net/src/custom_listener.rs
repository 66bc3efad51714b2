//! Listeners of the embedding program, for streams of any kind.

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

/// The bytes copied at a time in each direction. With the 8 KiB that wait from an unauthenticated client
/// they make the 16 KiB that each may cost.
const COPY_BYTES: usize = 4 << 10;

/// The time that a client has for reading the rest of its stream.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A stream that can carry a connection: every type that can be read, written and sent to another
/// thread.
pub trait Carries: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Carries for S {}

/// A listener of your own, for [`ServerBuilder::listener`](crate::ServerBuilder::listener): a simulated
/// network, streams within another protocol, a kind of socket that the server does not know.
///
/// Its clients are like any others. The server offers them no TLS: encryption is up to you, before you
/// hand the stream over. Bytes are copied once more than from sockets of the server; at most 64 KiB wait
/// in between in each direction, so that a client that does not read is a slow consumer as usual. At a
/// close the stream is shut down (`poll_shutdown`), and dropped a second later at the latest.
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
    /// The stream of a connection.
    type Stream: Carries;

    /// Waits for the next connection; returns it with its remote address, for logs and monitoring, if
    /// there is one. Called repeatedly until the server stops accepting, and then dropped.
    ///
    /// # Errors
    ///
    /// An error that prevents the next connection. It is logged, and this is called again after a while
    /// (10 ms, twice as long each time up to a second). If there will never be another connection, wait
    /// forever.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped at an await only when the server stops accepting.
    fn accept(
        &mut self,
    ) -> impl Future<Output = io::Result<(Self::Stream, Option<SocketAddr>)>> + Send;
}

/// An accepted connection of a custom listener.
pub(crate) struct Arrived {
    stream: Box<dyn Carries>,
    remote: Option<SocketAddr>,
}

type Accepting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// All custom listeners. Dropping it closes them.
pub(crate) struct CustomAcceptors {
    waiting: Vec<Accepting>,
    accepting: JoinSet<()>,
    come: mpsc::Sender<Arrived>,
    coming: mpsc::Receiver<Arrived>,
}

impl Default for CustomAcceptors {
    fn default() -> Self {
        // Accepting waits until the connection before is served.
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

    /// Begins to accept, in the current runtime.
    pub(crate) fn open(mut self) -> Self {
        for accepting in self.waiting.drain(..) {
            self.accepting.spawn(accepting);
        }
        self
    }

    /// Returns the next connection. Cancelled, it has accepted none.
    pub(crate) async fn accept(&mut self) -> Arrived {
        match self.coming.recv().await {
            Some(arrived) => arrived,
            // `self` holds a sender, so that the channel stays open.
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
    /// Returns the remote address, if the listener gave one.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// Returns the connection for a session, and the task that copies its bytes.
    pub(crate) fn admit(self) -> (AcceptedConnection, impl Future<Output = ()>) {
        let Self { stream, remote } = self;
        let (near, transport) = pipe::pipe();
        let arrival = Arrival { transport: TransportInfo::Stream, remote, ..Arrival::default() };
        let socket = Arc::new(Socket::new(transport));
        (AcceptedConnection { socket, arrival, handshake: None }, carry(stream, near))
    }
}

/// Copies bytes until the server closes, or the client cannot be written to.
async fn carry(stream: Box<dyn Carries>, near: LocalStream) {
    let (from_client, mut to_client) = split(stream);
    let (from_server, mut to_server) = split(near);
    let up = async {
        let mut from_client = BufReader::with_capacity(COPY_BYTES, from_client);
        // An error ends the stream; the client may still read the rest.
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

/// Serves a connection and copies its bytes.
pub(crate) async fn serve(serving: impl Future<Output = ()>, carrying: impl Future<Output = ()>) {
    // Boxed, so that only connections that need it pay for its memory.
    let (mut serving, mut carrying) = (Box::pin(serving), Box::pin(carrying));
    tokio::select! {
        biased;
        () = &mut serving => {
            let _ = tokio::time::timeout(LAST_WORDS, carrying).await;
        }
        () = &mut carrying => serving.await,
    }
}
