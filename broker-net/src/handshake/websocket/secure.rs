//! TLS beneath WebSocket.

use std::net::SocketAddr;
use std::sync::Arc;

use broker_core::{ClientFault, Security};

use super::{LINGER, LINGER_BYTES, plain_http, read_some, write_all};
use crate::handshake::ListenerConfig;
use crate::handshake::tls::{self, TlsConfig, TlsTransport};
use crate::transport::{Socket, Transport};

/// Runs the TLS handshake, or logs why it failed. Answers a client that sends plain HTTP with an error.
pub(super) async fn secure<T: Transport>(
    below: &Arc<ListenerConfig>,
    stream: T,
    config: Arc<TlsConfig>,
    remote: SocketAddr,
    deadline: tokio::time::Instant,
) -> Option<(Arc<Socket<TlsTransport<T>>>, Security)> {
    let socket = Arc::new(Socket::new(TlsTransport::new(stream)));
    let shaking = tls::shake_hands(below, &socket, config);
    let fault = match tokio::time::timeout_at(deadline, shaking).await {
        Ok(Ok(security)) => return Some((socket, security)),
        Ok(Err(fault)) => fault,
        Err(_) => ClientFault::TlsTimeout,
    };
    let is_in_the_clear = matches!(fault, ClientFault::TlsRequired(_));
    let looking = sends_plain_http(&socket);
    if !is_in_the_clear || tokio::time::timeout_at(deadline, looking).await != Ok(true) {
        log_tls(remote, &fault);
        return None;
    }
    log_tls(remote, &ClientFault::TlsRequired(plain_http::REASON.to_owned()));
    if write_all(&socket, plain_http::ANSWER).await.is_ok() {
        let socket: Arc<Socket> = socket;
        socket.linger(LINGER, LINGER_BYTES).await;
    }
    None
}

async fn sends_plain_http(lower: &impl Transport) -> bool {
    let mut head = Vec::new();
    while head.len() < plain_http::HEAD_BYTES {
        if read_some(lower, &mut head).await.is_err() {
            return false;
        }
    }
    plain_http::looks_like_it(&head)
}

/// Logs each failure: few clients probe a port for WebSocket, and a browser reports only that it failed.
// NATS 2.14: the error log of Go's net/http, by way of server.go captureHTTPServerLog.
fn log_tls(remote: SocketAddr, fault: &ClientFault) {
    match fault {
        ClientFault::TlsHandshake(_) | ClientFault::TlsRequired(_) | ClientFault::TlsTimeout => {
            let line = fault.to_string();
            let reason = line.strip_prefix("TLS handshake error: ").unwrap_or(&line);
            tracing::error!("websocket: TLS handshake error from {remote}: {reason}");
        }
        // Rate-limited connections are counted, and the count is logged.
        _ => tracing::debug!("{remote} - {fault}"),
    }
}
