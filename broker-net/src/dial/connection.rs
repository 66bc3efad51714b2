//! Dialled connections.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use broker_core::Security;
use broker_core::session::client::{Arrival, HandshakeOrder};
use broker_core::transport::TransportInfo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop::{consume_budget, poll_proceed};

use super::error::ReadLineError;
use crate::handshake::{AcceptedConnection, Agreed, Handshake};
use crate::listen::{Accepted, Admission};
use crate::transport::{Socket, poll_io};

/// A dialled connection, in the clear or encrypted.
///
/// It can be read and written as any stream of tokio, and be [served](crate::Server::serve) as an accepted
/// connection. Dropping it closes it.
///
/// # Cancel safety
///
/// Reading and writing are cancel safe, as with a socket.
pub struct DialedConnection {
    pub(super) socket: Arc<Socket>,
    pub(super) remote: SocketAddr,
    #[cfg(feature = "tls-core")]
    pub(super) upgrade: Option<super::upgrade::Upgrade>,
    pub(super) security: Option<Security>,
}

impl fmt::Debug for DialedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { remote, security, .. } = self;
        f.debug_struct("DialedConnection")
            .field("remote", remote)
            .field("is_secure", &security.is_some())
            .finish_non_exhaustive()
    }
}

impl DialedConnection {
    /// Creates a connection that cannot be upgraded to TLS.
    pub(super) fn plain(stream: TcpStream, remote: SocketAddr) -> Self {
        Self {
            socket: Arc::new(Socket::new(stream)),
            remote,
            #[cfg(feature = "tls-core")]
            upgrade: None,
            security: None,
        }
    }

    /// Returns the address that has accepted the connection.
    pub fn remote_addr(&self) -> SocketAddr {
        self.remote
    }

    /// Returns the parameters of TLS and the certificates of the server; `None` in the clear.
    pub fn security(&self) -> Option<&Security> {
        self.security.as_ref()
    }

    /// Reads a line, such as INFO, and no byte behind it; returns it without its line end.
    ///
    /// Reads one byte at a time, so that plaintext bytes behind the line never pass for bytes protected by TLS. One
    /// line at the beginning of a connection costs some hundred system calls.
    ///
    /// # Errors
    ///
    /// [`ReadLineError`]. The connection is unusable then.
    ///
    /// # Cancel safety
    ///
    /// The part of the line already read is lost. The call waits as long as the server does: put a timeout around it,
    /// and drop the connection if that expires.
    pub async fn read_line(&mut self, limit: usize) -> Result<Vec<u8>, ReadLineError> {
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            let transport = &self.socket.transport;
            let mut read = || transport.try_read(&mut byte);
            let reading = poll_fn(|cx| poll_io(cx, |cx| transport.poll_read_ready(cx), &mut read));
            if reading.await.map_err(ReadLineError::Io)? == 0 {
                return Err(ReadLineError::Closed);
            }
            match byte {
                [b'\n'] => break,
                _ if line.len() == limit => return Err(ReadLineError::TooLong { limit }),
                [byte] => line.push(byte),
            }
            consume_budget().await;
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    }
}

impl DialedConnection {
    /// Converts the connection into one that can be admitted.
    pub(crate) fn into_accepted(self) -> Accepted {
        let Self { socket, remote, security, .. } = self;
        let admit = move || {
            // INFO asks for no TLS: the program that dialled has decided about it.
            let transport = TransportInfo::Stream;
            let mut arrival = Arrival { remote: Some(remote), transport, ..Arrival::default() };
            let mut handshake: Option<Box<dyn Handshake>> = None;
            if security.is_some() {
                arrival.handshake = HandshakeOrder::BeforeInfo;
                handshake = Some(Box::new(Agreed(security)));
            }
            Admission::Ready(AcceptedConnection { socket, arrival, handshake })
        };
        Accepted::new(Some(remote), admit)
    }
}

impl AsyncRead for DialedConnection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let budget = ready!(poll_proceed(cx));
        let transport = &self.socket.transport;
        let room = buf.initialize_unfilled();
        let read = || transport.try_read(room);
        let len = ready!(poll_io(cx, |cx| transport.poll_read_ready(cx), read))?;
        budget.made_progress();
        buf.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for DialedConnection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if pieces.iter().all(|piece| piece.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let budget = ready!(poll_proceed(cx));
        let transport = &self.socket.transport;
        let write = || transport.try_write(pieces);
        let len = ready!(poll_io(cx, |cx| transport.poll_write_ready(cx), write))?;
        budget.made_progress();
        Poll::Ready(Ok(len))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.transport.poll_unsent(cx).map(Ok)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.socket.transport.poll_unsent(cx));
        match self.socket.transport.shut_down_write() {
            // The peer has closed already.
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}
