//! The listener of the monitoring endpoints.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::Router;
use broker_net::{TlsOptions, listen_tcp};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
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

/// Timeout of reading a request, and of an idle connection.
// NATS 2.14: server.go startMonitoring.
const HEADERS_WITHIN: Duration = Duration::from_secs(5);

/// Maximum size of a request with its headers. nats-server allows 1 MiB.
const HEADERS_BYTES: usize = 16 << 10;

/// As many headers as fit into that size: meshes and proxies add dozens.
const HEADERS: usize = HEADERS_BYTES / "a:\r\n".len();

/// File descriptors reserved for monitoring when the process has run out of them, which is when
/// operators need it.
const RESERVE: usize = 8;

/// The response to a plain HTTP request on the HTTPS port.
const PLAIN_HTTP_ANSWER: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Time to read from the client after that response.
const LINGER: Duration = Duration::from_millis(250);

/// Delay after a failed accept.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Monitoring over HTTP. Stops when dropped.
#[derive(Debug)]
pub struct Monitor {
    address: SocketAddr,
    tls: Tls,
    task: AbortHandle,
}

/// The TLS configuration of new connections; `None` without TLS.
type Tls = Arc<ArcSwapOption<ServerConfig>>;

impl Monitor {
    /// Listens and serves the data of `observer`. Must be called in a tokio runtime.
    ///
    /// # Errors
    ///
    /// Returns an error if the address cannot be bound.
    pub async fn bind(options: &MonitorOptions, observer: Observer) -> io::Result<Self> {
        Ok(MonitorSocket::listen(options).await?.serve(options, observer))
    }

    /// Returns true if the listener uses TLS.
    pub fn is_secured(&self) -> bool {
        self.tls.load().is_some()
    }

    /// Replaces the certificate, if the listener uses TLS.
    ///
    /// # Errors
    ///
    /// Returns an error if the TLS options are invalid; nothing has changed then.
    pub fn set_tls(&self, options: &TlsOptions) -> io::Result<()> {
        if self.is_secured() {
            self.tls.store(build(Some(options))?);
        }
        Ok(())
    }

    /// The listener's address.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

/// The monitoring listener before the server exists: requests wait in the kernel until
/// [`Self::serve`]. Closed when dropped.
#[derive(Debug)]
pub(crate) struct MonitorSocket {
    listener: TcpListener,
    address: SocketAddr,
    tls: Tls,
}

impl MonitorSocket {
    /// See [`Monitor::bind`].
    pub(crate) async fn listen(options: &MonitorOptions) -> io::Result<Self> {
        let tls: Tls = Arc::new(ArcSwapOption::new(build(options.tls.as_ref())?));
        let listener = TcpListener::from_std(listen_tcp(&options.host, options.port).await?)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, tls })
    }

    /// Serves the data of `observer`.
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
        // Further connections wait in the kernel's queue at no cost.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        reserve.refill();
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => match reserve.accept(&listener).await {
                Some(accepted) => accepted,
                None => {
                    tracing::error!("Temporary monitor Accept Error ({error})");
                    tokio::time::sleep(BACK_OFF).await;
                    continue;
                }
            },
        };
        // Keep-alive connections must not keep others out.
        let may_stay = places.available_permits() > max_connections / 2;
        let (router, tls) = (router.clone(), tls.load_full());
        connections.spawn(async move {
            admit(stream, remote, tls, router, may_stay).await;
            drop(place);
        });
    }
}

async fn admit(
    stream: TcpStream,
    remote: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    may_stay: bool,
) {
    // An optimization only.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return serve_one(Patient::new(stream), router, may_stay).await };
    match tokio::time::timeout(HEADERS_WITHIN, secure(stream, tls)).await {
        Ok(Ok(stream)) => serve_one(stream, router, may_stay).await,
        Ok(Err(reason)) => log_insecure(remote, &reason),
        Err(_) => log_insecure(remote, "timeout"),
    }
}

/// Performs the TLS handshake, or explains its failure: plain HTTP is answered in plain HTTP.
// NATS 2.14: Go's net/http, conn.serve.
async fn secure(
    mut stream: TcpStream,
    tls: Arc<ServerConfig>,
) -> Result<TlsStream<Patient<TcpStream>>, Cow<'static, str>> {
    if is_plain_http(&stream).await {
        // A client that does not read the response in time does not learn the reason.
        let _ = stream.write_all(PLAIN_HTTP_ANSWER).await;
        let _ = stream.shutdown().await;
        // Unread input would reset the connection before the client reads the response.
        let mut rest = [0; 512];
        let reading = async { while stream.read(&mut rest).await.is_ok_and(|len| len > 0) {} };
        let _ = tokio::time::timeout(LINGER, reading).await;
        return Err(Cow::Borrowed("client sent an HTTP request to an HTTPS server"));
    }
    let handshake = TlsAcceptor::from(tls).accept(Patient::new(stream));
    handshake.await.map_err(|error| Cow::Owned(error.to_string()))
}

/// Inspects the first bytes without consuming them.
// NATS 2.14: Go's net/http, tlsRecordHeaderLooksLikeHTTP.
async fn is_plain_http(stream: &TcpStream) -> bool {
    let mut head = [0; 5];
    // The first segment suffices: HTTP clients do not send single bytes.
    let Ok(len) = stream.peek(&mut head).await else { return false };
    [b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO"].iter().any(|begin| *begin == &head[..len])
}

// NATS 2.14: server.go captureHTTPServerLog.
fn log_insecure(remote: SocketAddr, reason: &str) {
    tracing::error!("monitoring: TLS handshake error from {remote}: {reason}");
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
    // Both sides know of an error here.
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

    /// Accepts a connection using a reserved descriptor.
    async fn accept(&mut self, listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
        self.0.pop()?;
        let accepting = tokio::time::timeout(Duration::ZERO, listener.accept());
        accepting.await.ok()?.ok()
    }
}
