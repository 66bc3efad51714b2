//! The listener of the monitoring endpoints.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::Router;
use broker_net::TlsOptions;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::patience::Patient;
use super::routes;
use crate::monitor::{MonitorOptions, Observer};

/// How long a request may take to arrive, and how long a connection may say nothing.
// NATS 2.14: server.go startMonitoring.
const HEADERS_WITHIN: Duration = Duration::from_secs(5);

/// How long a request may be, its headers included. nats-server grants 1 MiB.
const HEADERS_BYTES: usize = 16 << 10;

/// Descriptors kept for the moment when the process has no others: just then somebody will want to look.
const RESERVE: usize = 8;

/// After a failed accept.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Monitoring over HTTP. Dropped, it ends.
#[derive(Debug)]
pub struct Monitor {
    address: SocketAddr,
    tls: Tls,
    task: AbortHandle,
}

/// What connections that come now are secured by; `None` if they are not.
type Tls = Arc<ArcSwapOption<ServerConfig>>;

impl Monitor {
    /// Listens, and shows what `observer` sees. Must be called in a tokio runtime.
    ///
    /// # Errors
    ///
    /// If the address cannot be listened at.
    pub async fn bind(options: &MonitorOptions, observer: Observer) -> io::Result<Self> {
        let tls: Tls = Arc::new(ArcSwapOption::new(build(options.tls.as_ref())?));
        let listener = listen(&options.host, options.port).await?;
        let address = listener.local_addr()?;
        let router = routes::router(options, observer, address);
        let serving = serve(listener, router, Arc::clone(&tls), options.max_connections.max(1));
        Ok(Self { address, tls, task: tokio::spawn(serving).abort_handle() })
    }

    /// Does it speak TLS?
    pub fn is_secured(&self) -> bool {
        self.tls.load().is_some()
    }

    /// Goes by another certificate from now on, if it speaks TLS at all.
    ///
    /// # Errors
    ///
    /// If there cannot be TLS with it; then nothing has changed.
    pub fn set_tls(&self, options: &TlsOptions) -> io::Result<()> {
        if self.is_secured() {
            self.tls.store(build(Some(options))?);
        }
        Ok(())
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn build(options: Option<&TlsOptions>) -> io::Result<Option<Arc<ServerConfig>>> {
    let Some(options) = options else { return Ok(None) };
    let config =
        options.build().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok(Some(config.rustls()))
}

async fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    // As Go does: every address of either family, where the machine has both.
    if matches!(host, "" | "0.0.0.0" | "::")
        && let Ok(listener) = TcpListener::bind(("::", port)).await
    {
        return Ok(listener);
    }
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
    TcpListener::bind(&*addresses).await
}

async fn serve(listener: TcpListener, router: Router, tls: Tls, max_connections: usize) {
    let places = Arc::new(Semaphore::new(max_connections));
    let mut reserve = Reserve::default();
    let mut connections = JoinSet::new();
    loop {
        // Whoever finds no place waits in the kernel's queue, and costs nothing.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        reserve.refill();
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => match reserve.accept(&listener).await {
                Some(stream) => stream,
                None => {
                    tracing::error!("Temporary monitor Accept Error ({error})");
                    tokio::time::sleep(BACK_OFF).await;
                    continue;
                }
            },
        };
        // Connections that stay open for more requests must not keep others out.
        let may_stay = places.available_permits() > max_connections / 2;
        let (router, tls) = (router.clone(), tls.load_full());
        connections.spawn(async move {
            admit(stream, tls, router, may_stay).await;
            drop(place);
        });
    }
}

async fn admit(stream: TcpStream, tls: Option<Arc<ServerConfig>>, router: Router, may_stay: bool) {
    // Not vital.
    let _ = stream.set_nodelay(true);
    let stream = Patient::new(stream);
    let Some(tls) = tls else { return serve_one(stream, router, may_stay).await };
    let handshake = TlsAcceptor::from(tls).accept(stream);
    if let Ok(Ok(stream)) = tokio::time::timeout(HEADERS_WITHIN, handshake).await {
        serve_one(stream, router, may_stay).await;
    }
}

async fn serve_one<S>(stream: S, router: Router, may_stay: bool)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = TokioIo::new(stream);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(HEADERS_BYTES)
        .keep_alive(may_stay)
        .serve_connection(stream, TowerToHyperService::new(router));
    // Whoever is cut, or breaks off, knows it.
    let _ = connection.await;
}

/// See [`RESERVE`].
#[derive(Default)]
struct Reserve(Vec<File>);

impl Reserve {
    fn refill(&mut self) {
        while self.0.len() < RESERVE {
            let Ok(file) = File::open("/dev/null") else { return };
            self.0.push(file);
        }
    }

    /// Accepts with a descriptor given up for it.
    async fn accept(&mut self, listener: &TcpListener) -> Option<TcpStream> {
        self.0.pop()?;
        let accepting = tokio::time::timeout(Duration::ZERO, listener.accept());
        accepting.await.ok()?.ok().map(|(stream, _)| stream)
    }
}
