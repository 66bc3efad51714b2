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

/// What an unfinished handshake may have sent without our being able to do something with it: a hello, or
/// a certificate with those of its issuers. All else that it costs is about 8 KiB.
const HELLO_BYTES: usize = 8 << 10;
const CHAIN_BYTES: usize = 12 << 10;

/// What takes a transport from plain to TLS.
pub(crate) trait Upgrade: Send + Sync {
    /// The first byte that the other side sends, which stays there to be read; `None` if it has ended.
    fn poll_first(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<u8>>>;

    /// From here on all is TLS.
    fn begin(&self, config: Arc<ServerConfig>) -> Result<(), rustls::Error>;

    /// Has TLS begun?
    fn has_begun(&self) -> bool;

    /// Computes what can be computed, which may take long.
    fn advance(&self) -> Result<Progress, rustls::Error>;

    /// Reads more; 0 at the end. `shows_chain`: the other side is about to show its certificates.
    fn poll_more(&self, shows_chain: bool, cx: &mut Context<'_>) -> Poll<io::Result<usize>>;

    /// See [`Transport::poll_unsent`].
    fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// Tells of what was agreed upon.
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
        // The same name comes again.
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
