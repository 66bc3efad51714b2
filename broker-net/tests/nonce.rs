//! The challenge of log-ins by signature: random, one for each connection, on every transport.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the helpers of a test may panic as the test itself may"
)]

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker_core::auth::{Authenticator, Credentials, Decision, Grant};
use broker_net::Server;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

/// Notes the nonces that clients would have signed.
#[derive(Clone, Default)]
struct Signed(Arc<Mutex<Vec<String>>>);

impl Authenticator for Signed {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        self.0.lock().unwrap().push(credentials.nonce.clone());
        Grant::user("a").into()
    }

    fn nonce_required(&self) -> bool {
        true
    }
}

/// Logs in. Returns the nonce in INFO.
async fn log_in(stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    let mut stream = BufReader::new(stream);
    let mut line = async |said: &str| {
        let mut line = String::new();
        stream.write_all(said.as_bytes()).await.unwrap();
        timeout(SOON, stream.read_line(&mut line)).await.expect("in time").unwrap();
        line
    };
    let info = line("").await;
    assert_eq!(line("CONNECT {\"verbose\":false}\r\nPING\r\n").await, "PONG\r\n");
    let info: serde_json::Value = serde_json::from_str(info.trim_start_matches("INFO ")).unwrap();
    info["nonce"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_connection_signs_the_nonce_that_it_was_shown() {
    let signed = Signed::default();
    let server = Server::builder().authenticator(signed.clone()).bind().await.unwrap();
    let mut shown = Vec::new();
    for _ in 0..3 {
        shown.push(log_in(TcpStream::connect(server.local_addr()).await.unwrap()).await);
        shown.push(log_in(server.connect()).await);
    }
    assert_eq!(*signed.0.lock().unwrap(), shown);
    assert!(shown.iter().all(|nonce| nonce.len() == 15), "{shown:?}");
    assert_eq!(shown.iter().collect::<HashSet<_>>().len(), shown.len(), "{shown:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_client_of_a_unix_socket_has_a_nonce_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("natsd.sock");
    let signed = Signed::default();
    let options = broker_net::UnixOptions::new(&path);
    let builder = Server::builder().authenticator(signed.clone()).unix(options);
    let _server = builder.bind().await.unwrap();
    let shown = log_in(tokio::net::UnixStream::connect(&path).await.unwrap()).await;
    assert_eq!(*signed.0.lock().unwrap(), [shown]);
}

#[cfg(feature = "websocket")]
#[tokio::test]
async fn a_client_of_a_websocket_has_a_nonce_too() {
    let signed = Signed::default();
    let builder = Server::builder().websocket(broker_net::WebsocketOptions::default());
    let server = builder.websocket_authenticator(signed.clone()).bind().await.unwrap();
    let _client = async_nats::connect(server.websocket_url().unwrap()).await.unwrap();
    let signed = signed.0.lock().unwrap();
    assert!(signed.len() == 1 && signed[0].len() == 15, "{signed:?}");
}
