//! The listener of the monitoring endpoints.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::Router;
use broker_net::{TlsOptions, answer_to_plain_http, listen_tcp};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use super::patience::Patient;
use super::routes;
use super::target::Escaped;
use crate::monitor::{MonitorOptions, Observer};

/// How long a request may take to arrive, and how long a connection may say nothing.
// NATS 2.14: server.go startMonitoring.
const HEADERS_WITHIN: Duration = Duration::from_secs(5);

/// How long a request may be, its headers included. nats-server grants 1 MiB.
const HEADERS_BYTES: usize = 16 << 10;

/// As many as fit into it: meshes and proxies add dozens.
const HEADERS: usize = HEADERS_BYTES / "a:\r\n".len();

/// The first byte of TLS: that of a handshake record.
const HANDSHAKE_RECORD: u8 = 0x16;

/// How long, and for how many bytes, whoever was refused is listened to, so that what is under way does not reset
/// the connection before the answer is read.
const LINGER: Duration = Duration::from_millis(250);
const LINGER_BYTES: u64 = 64 << 10;

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
        Ok(MonitorSocket::listen(options).await?.serve(options, observer))
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

/// The listener of monitoring before there is something to show: requests wait in the kernel until
/// [`Self::serve`]. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct MonitorSocket {
    listener: TcpListener,
    address: SocketAddr,
    tls: Tls,
}

impl MonitorSocket {
    /// As [`Monitor::bind`].
    pub(crate) async fn listen(options: &MonitorOptions) -> io::Result<Self> {
        let tls: Tls = Arc::new(ArcSwapOption::new(build(options.tls.as_ref())?));
        let listener = TcpListener::from_std(listen_tcp(&options.host, options.port).await?)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, tls })
    }

    /// Shows what `observer` sees.
    pub(crate) fn serve(self, options: &MonitorOptions, observer: Observer) -> Monitor {
        let Self { listener, address, tls } = self;
        let router = routes::router(options, observer, address);
        let serving = serve(listener, router, Arc::clone(&tls), options.max_connections.max(1));
        Monitor { address, tls, task: tokio::spawn(serving).abort_handle() }
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
    let Some(tls) = tls else { return serve_one(Patient::new(stream), router, may_stay).await };
    if let Ok(Ok(Some(stream))) = tokio::time::timeout(HEADERS_WITHIN, secure(stream, tls)).await {
        serve_one(stream, router, may_stay).await;
    }
}

/// Speaks TLS; tells whoever does not what is missing.
async fn secure(
    mut stream: TcpStream,
    tls: Arc<ServerConfig>,
) -> io::Result<Option<TlsStream<Patient<TcpStream>>>> {
    let mut first = [0; 5];
    stream.peek(&mut first[..1]).await?;
    if first[0] == HANDSHAKE_RECORD {
        return TlsAcceptor::from(tls).accept(Patient::new(stream)).await.map(Some);
    }
    stream.read_exact(&mut first).await?;
    if let Some(answer) = answer_to_plain_http(&first) {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        let mut rest = stream.take(LINGER_BYTES);
        let _ = tokio::time::timeout(LINGER, copy(&mut rest, &mut sink())).await;
    }
    Ok(None)
}

async fn serve_one<S>(stream: S, router: Router, may_stay: bool)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = TokioIo::new(Escaped::new(stream));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(HEADERS_BYTES)
        .max_headers(HEADERS)
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
