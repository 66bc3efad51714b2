//! The listener of the monitoring endpoints.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

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
    task: AbortHandle,
}

impl Monitor {
    /// Listens, and shows what `observer` sees. Must be called in a tokio runtime.
    ///
    /// # Errors
    ///
    /// If the address cannot be listened at.
    pub async fn bind(options: &MonitorOptions, observer: Observer) -> io::Result<Self> {
        let listener = listen(&options.host, options.port).await?;
        let address = listener.local_addr()?;
        let router = routes::router(options, observer, address);
        let serving = serve(listener, router, options.max_connections.max(1));
        Ok(Self { address, task: tokio::spawn(serving).abort_handle() })
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

async fn serve(listener: TcpListener, router: Router, max_connections: usize) {
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
        let router = router.clone();
        connections.spawn(async move {
            serve_one(stream, router, may_stay).await;
            drop(place);
        });
    }
}

async fn serve_one(stream: TcpStream, router: Router, may_stay: bool) {
    // Not vital.
    let _ = stream.set_nodelay(true);
    let stream = TokioIo::new(Patient::new(stream));
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
