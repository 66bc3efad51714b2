//! Stands in for `broker_net` until that has its server: it listens, and hangs up on whoever comes.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::options::Options;

pub(crate) type BindError = io::Error;

#[derive(Debug)]
pub(crate) struct ServerOptions {
    host: String,
    port: u16,
    server_name: Option<String>,
}

impl From<&Options> for ServerOptions {
    fn from(options: &Options) -> Self {
        Self {
            host: options.host.clone(),
            port: options.port,
            server_name: options.server_name.clone(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Server {
    addr: SocketAddr,
    name: String,
    accepting: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn bind(options: ServerOptions) -> Result<Self, BindError> {
        let listener = TcpListener::bind((options.host, options.port)).await?;
        let addr = listener.local_addr()?;
        let accepting = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let name = options.server_name.unwrap_or_else(|| "NSTUB".into());
        Ok(Self { addr, name, accepting })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn id(&self) -> &str {
        "NSTUB"
    }

    pub(crate) async fn shutdown(self) {
        self.accepting.abort();
        let _ = self.accepting.await;
    }
}
