//! A minimal TLS client.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use broker_net::Server;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::authority::Authority;

/// Longer than anything these tests wait for.
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) struct Raw<S> {
    pub(crate) stream: BufReader<S>,
}

pub(crate) type Tls = Raw<TlsStream<TcpStream>>;

pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("in time")
}

impl<S: AsyncRead + AsyncWrite + Unpin + Debug> Raw<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    pub(crate) async fn say(&mut self, text: &str) {
        in_time(self.stream.get_mut().write_all(text.as_bytes())).await.unwrap();
        in_time(self.stream.get_mut().flush()).await.unwrap();
    }

    pub(crate) async fn line(&mut self) -> String {
        self.try_line().await.unwrap()
    }

    pub(crate) async fn try_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        in_time(self.stream.read_line(&mut line)).await?;
        // PINGs arrive at any time.
        if line == "PING\r\n" {
            line.clear();
            in_time(self.stream.read_line(&mut line)).await?;
        }
        Ok(line)
    }

    /// Reads to the end of the connection, clean or not.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = in_time(self.stream.read_to_end(&mut rest)).await;
        String::from_utf8_lossy(&rest).into_owned()
    }

    pub(crate) async fn ping(&mut self) {
        self.say("PING\r\n").await;
        assert_eq!(self.line().await, "PONG\r\n");
    }
}

impl Raw<TcpStream> {
    pub(crate) async fn connect(server: &Server) -> Self {
        Self::new(in_time(TcpStream::connect(server.local_addr())).await.unwrap())
    }

    pub(crate) async fn upgrade(self, config: Arc<ClientConfig>) -> io::Result<Tls> {
        self.upgrade_as(config, "localhost").await
    }

    /// Upgrades to TLS, requesting the host `name`.
    pub(crate) async fn upgrade_as(self, config: Arc<ClientConfig>, name: &str) -> io::Result<Tls> {
        assert!(self.stream.buffer().is_empty());
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connecting = TlsConnector::from(config).connect(name, self.stream.into_inner());
        Ok(Raw::new(in_time(connecting).await?))
    }
}

impl Tls {
    /// Reads INFO, upgrades to TLS and sends CONNECT.
    pub(crate) async fn join(server: &Server, config: Arc<ClientConfig>) -> Self {
        let mut raw = Raw::connect(server).await;
        assert!(raw.line().await.starts_with("INFO "));
        let mut tls = raw.upgrade(config).await.unwrap();
        tls.say("CONNECT {\"verbose\":false}\r\n").await;
        tls.ping().await;
        tls
    }
}

pub(crate) async fn start(authority: &Authority) -> Server {
    Server::builder().tls(authority.options()).bind().await.unwrap()
}
