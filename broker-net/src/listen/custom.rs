//! Listeners of the embedding program, for streams of any kind.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use broker_core::session::client::Arrival;
use broker_core::transport::TransportInfo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, copy_buf, split};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Accepted, Acceptor, Admission, BACK_OFF_MAX, BACK_OFF_MIN};
use crate::handshake::AcceptedConnection;
use crate::pipe::{self, LocalStream};

/// The bytes copied at a time in each direction. With the 8 KiB kept from an unauthenticated client they make the 16
/// KiB that each may cost.
const COPY_BYTES: usize = 4 << 10;

/// A stream that can carry a connection: every type that can be read, written and sent to another thread.
pub trait Carries: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Carries for S {}

/// A listener of the embedding program, for [`ServerBuilder::listener`](crate::ServerBuilder::listener): a simulated
/// network, streams within another protocol, a kind of socket that the server does not support.
///
/// Its clients are like any others. The server offers them no TLS: the listener encrypts, if at all, before it
/// returns the stream. Bytes are copied once more than from sockets of the server; at most 64 KiB are buffered in
/// between in each direction, so that a client that does not read is a slow consumer as usual. At a close the stream
/// is shut down (`poll_shutdown`), and dropped a second later at the latest.
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
///             None => std::future::pending().await, // no connection will follow
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

    /// Waits for the next connection; returns it with its remote address, if there is one, for logs and monitoring.
    /// Called repeatedly until the server stops accepting, and then dropped.
    ///
    /// # Errors
    ///
    /// An error that prevents the next connection. The server logs it and calls again after a pause (10 ms, doubled
    /// each time up to a second). If there will never be another connection, wait forever.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped at an await only when the server stops accepting.
    fn accept(
        &mut self,
    ) -> impl Future<Output = io::Result<(Self::Stream, Option<SocketAddr>)>> + Send;
}

type Accepting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A custom listener that does not accept yet.
pub(crate) struct CustomListener {
    accepting: Accepting,
    accepted: mpsc::Receiver<Stream>,
}

impl fmt::Debug for CustomListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomListener").finish_non_exhaustive()
    }
}

/// A stream that the listener has accepted.
struct Stream {
    stream: Box<dyn Carries>,
    remote: Option<SocketAddr>,
}

/// A custom listener that accepts on a task of its own: the futures of its trait need not be cancel safe. Dropping it
/// closes the listener.
struct CustomAcceptor {
    accepted: mpsc::Receiver<Stream>,
    /// Aborts the task when it is dropped.
    _accepting: JoinSet<()>,
}

impl CustomListener {
    pub(crate) fn new(listener: impl Listener) -> Self {
        // At most one accepted connection is queued, so that accepting waits until the one before is served.
        let (send, accepted) = mpsc::channel(1);
        Self { accepting: Box::pin(accept_all(listener, send)), accepted }
    }

    /// Starts accepting, in the current runtime.
    pub(crate) fn open(self) -> Box<dyn Acceptor> {
        let mut accepting = JoinSet::new();
        accepting.spawn(self.accepting);
        Box::new(CustomAcceptor { accepted: self.accepted, _accepting: accepting })
    }
}

impl Acceptor for CustomAcceptor {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        match ready!(self.accepted.poll_recv(cx)) {
            Some(stream) => Poll::Ready(Ok(Accepted::new(stream.remote, || stream.admit()))),
            // The listener has panicked: no more connections follow.
            None => Poll::Pending,
        }
    }
}

async fn accept_all(mut listener: impl Listener, accepted: mpsc::Sender<Stream>) {
    let mut back_off = BACK_OFF_MIN;
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                back_off = BACK_OFF_MIN;
                let stream = Stream { stream: Box::new(stream), remote };
                if accepted.send(stream).await.is_err() {
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

impl Stream {
    /// Returns the connection for a session, and the future that copies its bytes.
    fn admit(self) -> Admission {
        let Self { stream, remote } = self;
        let (near, transport) = pipe::pipe();
        let arrival = Arrival { transport: TransportInfo::Stream, remote, ..Arrival::default() };
        let accepted = AcceptedConnection::new(transport, arrival);
        Admission::Carried(accepted, Box::pin(carry(stream, near)))
    }
}

/// Copies bytes until the server closes, or a write to the client fails.
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
