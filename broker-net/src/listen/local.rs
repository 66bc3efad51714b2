//! Connections within the process: without a socket, or with a dialled one.

use std::io;
use std::task::{Context, Poll, ready};

use broker_core::session::client::Arrival;
use broker_core::transport::TransportInfo;
use tokio::sync::mpsc;

use super::{Accepted, Acceptor, Admission};
use crate::handshake::AcceptedConnection;
use crate::pipe::LocalTransport;

/// Passes connections to a server.
#[derive(Clone, Debug)]
pub(crate) struct LocalSender(mpsc::UnboundedSender<Accepted>);

/// Accepts the connections that a [`LocalSender`] passes.
pub(crate) struct LocalAcceptor(mpsc::UnboundedReceiver<Accepted>);

impl LocalAcceptor {
    pub(crate) fn new() -> (LocalSender, Self) {
        // Unbounded, because `Server::connect` cannot wait; each connection in the channel belongs to a caller, which
        // holds its other end.
        let (send, receive) = mpsc::unbounded_channel();
        (LocalSender(send), Self(receive))
    }
}

impl LocalSender {
    /// Passes a connection. If the server has shut down the connection is dropped, which ends it.
    pub(crate) fn send(&self, accepted: Accepted) {
        let _ = self.0.send(accepted);
    }

    /// Passes the server's end of a connection within the process.
    pub(crate) fn connect(&self, transport: LocalTransport) {
        self.send(Accepted::new(None, || {
            let arrival = Arrival { transport: TransportInfo::Memory, ..Arrival::default() };
            Admission::Ready(AcceptedConnection::new(transport, arrival))
        }));
    }
}

impl Acceptor for LocalAcceptor {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        match ready!(self.0.poll_recv(cx)) {
            Some(accepted) => Poll::Ready(Ok(accepted)),
            // The server has shut down, and stops accepting.
            None => Poll::Pending,
        }
    }
}
