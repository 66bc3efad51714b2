//! The server's side of a TLS handshake, on a transport that begins in the clear.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::server::UnbufferedServerConnection;
use rustls::{CommonState, ServerConfig};

use super::buffers::KEPT_BYTES;
use super::handshaking::Progress;
use super::server_name::{self, Found};
use super::transport::TlsTransport;
use crate::transport::{Socket, Transport};

/// Maximum unprocessed input of an unfinished handshake: a hello, or a certificate chain. The rest of a handshake's
/// memory is about 8 KiB.
const HELLO_BYTES: usize = 8 << 10;
const CHAIN_BYTES: usize = 12 << 10;

/// A transport that can be upgraded to TLS.
pub(crate) trait Upgrade: Send + Sync {
    /// Peeks at the first byte that the peer sends; `None` if its stream has ended.
    fn poll_first(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<u8>>>;

    /// Begins TLS.
    fn begin(&self, config: Arc<ServerConfig>) -> Result<(), rustls::Error>;

    /// Returns true once TLS has begun.
    fn has_begun(&self) -> bool;

    /// Processes the buffered input, which may take milliseconds of a core.
    fn advance(&self) -> Result<Progress, rustls::Error>;

    /// Reads more input; returns 0 at the end. `shows_chain`: the peer is about to send its certificates.
    fn poll_more(&self, shows_chain: bool, cx: &mut Context<'_>) -> Poll<io::Result<usize>>;

    /// See [`Transport::poll_unsent`].
    fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// Passes the state of the connection to a callback.
    fn look(&self, look: &mut dyn FnMut(&CommonState));
}

impl<T: Transport> Upgrade for Socket<TlsTransport<T>> {
    fn poll_first(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<u8>>> {
        self.transport().poll_first(HELLO_BYTES, cx)
    }

    fn begin(&self, config: Arc<ServerConfig>) -> Result<(), rustls::Error> {
        let connection = Box::new(UnbufferedServerConnection::new(config)?);
        let tls = self.transport();
        tls.lock().awaits_hello = true;
        tls.begin(connection);
        Ok(())
    }

    fn has_begun(&self) -> bool {
        self.transport().has_begun()
    }

    fn advance(&self) -> Result<Progress, rustls::Error> {
        let tls = self.transport();
        let mut state = tls.lock();
        if state.awaits_hello {
            match server_name::hide(&mut state.incoming) {
                Found::Part => return Ok(Progress::Waits),
                Found::Hidden => state.hides_name = true,
                Found::Nothing => {}
            }
            state.awaits_hello = false;
        }
        let sent = state.unsent.bytes.len();
        let hides_name = state.hides_name;
        let progress = server_name::with_hidden(hides_name, || tls.advance(&mut state));
        // The second hello has the same name as the first.
        state.awaits_hello = hides_name && server_name::is_retry(&state.unsent.bytes[sent..]);
        progress
    }

    fn poll_more(&self, shows_chain: bool, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let most = if shows_chain { CHAIN_BYTES } else { HELLO_BYTES };
        self.transport().poll_more(most, cx)
    }

    fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.transport().poll_unsent(cx)
    }

    fn look(&self, look: &mut dyn FnMut(&CommonState)) {
        self.transport().look(look);
    }
}

const _: () = assert!(CHAIN_BYTES <= KEPT_BYTES && HELLO_BYTES <= CHAIN_BYTES);
