//! The client's side of a TLS handshake, on a transport that begins in the clear.

use std::future::poll_fn;
use std::sync::Arc;

use broker_core::Security;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};

use super::buffers::KEPT_BYTES;
use super::client_config::TlsClientConfig;
use super::client_error::TlsClientError;
use super::describe;
use super::handshaking::Progress;
use super::transport::TlsTransport;
use crate::transport::{Socket, Transport};

/// A transport whose side of TLS is the client.
pub(crate) type TlsClientTransport<T> = TlsTransport<T, ClientConnectionData>;

/// Runs the handshake with a server, within the time of the options. Must be called once for a socket.
pub(crate) async fn secure<T: Transport>(
    socket: &Socket<TlsClientTransport<T>>,
    config: &TlsClientConfig,
) -> Result<Security, TlsClientError> {
    let shaking = tokio::time::timeout(config.timeout, shake_hands(socket.transport(), config));
    shaking.await.unwrap_or(Err(TlsClientError::Timeout))
}

async fn shake_hands<T: Transport>(
    tls: &TlsClientTransport<T>,
    config: &TlsClientConfig,
) -> Result<Security, TlsClientError> {
    let failed = |error| TlsClientError::of(&error, &config.name.to_str());
    if tls.has_begun() {
        return Err(TlsClientError::NotOffered);
    }
    let connection =
        UnbufferedClientConnection::new(Arc::clone(&config.client), config.name.clone());
    tls.begin(Box::new(connection.map_err(failed)?));
    loop {
        let progress = tls.advance(&mut tls.lock()).map_err(failed);
        // Sends an alert, too, if there is one.
        poll_fn(|cx| tls.poll_unsent(cx)).await;
        if progress? == Progress::Done {
            break;
        }
        match poll_fn(|cx| tls.poll_more(KEPT_BYTES, cx)).await {
            Ok(0) => return Err(TlsClientError::Closed),
            Ok(_) => {}
            Err(error) => return Err(TlsClientError::Io(error)),
        }
    }
    let mut security = Security::default();
    tls.look(&mut |tls| security = describe(tls, &[], config.sha256));
    security.is_first = config.handshake_first;
    Ok(security)
}
