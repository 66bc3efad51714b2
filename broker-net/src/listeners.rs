//! All ways into a server, and what is behind them.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use broker_core::session::client::Arrival;
use broker_core::transport::TransportInfo;
use broker_core::{Broker, CloseReason};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::auth_checks::AuthChecks;
use crate::conn;
use crate::custom_listener::{self, CustomAcceptors};
#[cfg(feature = "websocket")]
use crate::handshake::websocket::WebsocketAcceptor;
use crate::handshake::{AcceptedConnection, ListenerConfig};
#[cfg(feature = "testing")]
use crate::listener::ListenerKind;
use crate::listener::{BACK_OFF_MAX, BACK_OFF_MIN, TcpAcceptor};
use crate::phase::Phase;
use crate::pipe::LocalTransport;
use crate::reserve::{Newcomer, Refused, Reserve, is_exhausted};
use crate::transport::Socket;
#[cfg(feature = "websocket")]
use crate::transport::Transport;
use crate::unauthenticated::{UnauthenticatedConnections, UnauthenticatedGuard};
#[cfg(unix)]
use crate::unix::UnixAcceptor;
use crate::workers::Workers;
use crate::{lame_duck, proxy};

/// How long a proxy may take to say whom it connects for.
// NATS 2.14: 5 seconds.
const PROXY_HEADER: Duration = Duration::from_secs(2);

/// The interval at which memory is freed that no queue has needed since.
const FREE_UNUSED: Duration = Duration::from_secs(10);

/// The ways in.
pub(crate) struct Listeners {
    pub(crate) tcp: TcpAcceptor,
    #[cfg(feature = "websocket")]
    pub(crate) websocket: Option<(TcpAcceptor, Arc<WebsocketAcceptor>)>,
    #[cfg(unix)]
    pub(crate) unix: Option<UnixAcceptor>,
    pub(crate) local: mpsc::UnboundedReceiver<Local>,
    pub(crate) own: CustomAcceptors,
}

/// A connection within the process.
pub(crate) struct Local {
    pub(crate) transport: LocalTransport,
    /// Treated as if it came by that way.
    #[cfg(feature = "testing")]
    pub(crate) way: Option<ListenerKind>,
}

/// What every connection needs.
#[derive(Clone)]
pub(crate) struct ConnectionContext {
    pub(crate) listener_config: Arc<ListenerConfig>,
    pub(crate) broker: Broker,
    pub(crate) auth_checks: Arc<AuthChecks>,
    pub(crate) unauthenticated: Arc<UnauthenticatedConnections>,
    pub(crate) workers: Arc<Workers>,
    /// What a test puts before connections.
    #[cfg(feature = "testing")]
    pub(crate) gates: Arc<crate::stall::StallGates>,
}

impl ConnectionContext {
    fn serve(
        self,
        accepted: AcceptedConnection,
        unauthenticated_guard: UnauthenticatedGuard,
    ) -> impl Future<Output = ()> {
        #[cfg(feature = "testing")]
        let accepted =
            AcceptedConnection { socket: self.gates.put_before(accepted.socket), ..accepted };
        conn::serve(
            Box::new(accepted),
            self.broker,
            self.auth_checks,
            unauthenticated_guard,
            self.workers,
        )
    }
}

/// Somebody came.
enum Arrived {
    Tcp(TcpStream, SocketAddr),
    #[cfg(feature = "websocket")]
    Websocket(TcpStream, SocketAddr, Arc<WebsocketAcceptor>),
    #[cfg(unix)]
    Unix(UnixStream),
    Local(LocalTransport),
    /// As by the port for clients.
    #[cfg(feature = "testing")]
    Piped(LocalTransport),
    /// As by the port for WebSocket.
    #[cfg(all(feature = "testing", feature = "websocket"))]
    PipedWebsocket(LocalTransport, Arc<WebsocketAcceptor>),
    Own(custom_listener::Arrived),
}

/// Serves until told to finish and all connections are gone. Dropped, it closes them all.
pub(crate) async fn serve(
    mut listeners: Listeners,
    context: ConnectionContext,
    mut phase: watch::Receiver<Phase>,
    finished: watch::Sender<bool>,
) {
    let mut connections = JoinSet::new();
    listeners.accept_all(&context, &mut phase, &mut connections).await;
    // The ports are free from here on.
    drop(listeners);
    let broker = context.broker;
    let now = *phase.borrow_and_update();
    if let Phase::LameDuck(plan) = now {
        lame_duck::run(plan, &broker, &mut phase, &mut connections).await;
    }
    // Whoever came in while the others were told.
    broker.finish_all(CloseReason::ServerShutdown);
    loop {
        let now = *phase.borrow_and_update();
        let Phase::Finishing(deadline) = now else { break };
        tokio::select! {
            biased;
            gone = connections.join_next() => if gone.is_none() { break },
            // The deadline may have come nearer.
            changed = phase.changed() => if changed.is_err() { break },
            () = tokio::time::sleep_until(deadline.into()) => break,
        }
    }
    connections.shutdown().await;
    // Nobody may wait for it.
    let _ = finished.send(true);
}

impl Listeners {
    async fn accept_all(
        &mut self,
        context: &ConnectionContext,
        phase: &mut watch::Receiver<Phase>,
        connections: &mut JoinSet<()>,
    ) {
        let mut reserve = Reserve::new();
        let mut back_off = Duration::ZERO;
        let mut free_unused = interval_at(Instant::now() + FREE_UNUSED, FREE_UNUSED);
        free_unused.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                // Also when the server was dropped.
                () = has_left(phase, Phase::Serving) => return,
                _ = free_unused.tick() => context.broker.free_unused_memory(),
                Some(_) = connections.join_next() => {}
                () = reserve.retire(), if reserve.holds_some() => {}
                accepted = self.accept() => match accepted {
                    Ok(arrived) => {
                        back_off = Duration::ZERO;
                        reserve.refill();
                        #[cfg(feature = "testing")]
                        if context.gates.refuse_one() {
                            continue;
                        }
                        tokio::select! {
                            biased;
                            () = has_left(phase, Phase::Serving) => return,
                            () = context.unauthenticated.room() => {}
                        }
                        arrived.serve(context, phase, connections);
                    }
                    Err(error) => self.see_to(&error, &mut reserve, &mut back_off).await,
                },
            }
        }
    }

    /// Handles a failed accept. If descriptors ran out, it refuses all connections that wait; otherwise, or
    /// if that fails, it backs off.
    async fn see_to(&mut self, error: &io::Error, reserve: &mut Reserve, back_off: &mut Duration) {
        let mut refused = Refused::Failed;
        if is_exhausted(error) {
            let refusing =
                |cx: &mut Context<'_>| Poll::Ready(reserve.refuse_all(|| self.poll_newcomer(cx)));
            refused = poll_fn(refusing).await;
        }
        if let Refused::All(count) = refused {
            *back_off = Duration::ZERO;
            tracing::error!("Temporary Client Accept Error ({error}), {count} refused");
            // Others get their turn, however many come.
            return tokio::task::yield_now().await;
        }
        *back_off = (*back_off * 2).clamp(BACK_OFF_MIN, BACK_OFF_MAX);
        tracing::error!(
            "Temporary Client Accept Error ({error}), sleeping {}ms",
            back_off.as_millis()
        );
        tokio::time::sleep(*back_off).await;
    }

    /// Accepts a connection at any listener whose connections take a descriptor, without waiting.
    fn poll_newcomer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Newcomer>> {
        if let Poll::Ready(accepted) = self.tcp.poll_accept(cx) {
            return Poll::Ready(accepted.map(Newcomer::tcp));
        }
        #[cfg(feature = "websocket")]
        if let Some((listener, websocket_acceptor)) = &self.websocket
            && let Poll::Ready(accepted) = listener.poll_accept(cx)
        {
            let newcomer = |stream| Newcomer::websocket(stream, websocket_acceptor.speaks_tls());
            return Poll::Ready(accepted.map(newcomer));
        }
        #[cfg(unix)]
        if let Some(acceptor) = &self.unix
            && let Poll::Ready(accepted) = acceptor.listener.poll_accept(cx)
        {
            return Poll::Ready(accepted.map(|(stream, _)| Newcomer::unix(stream)));
        }
        Poll::Pending
    }

    /// Whoever comes next. Cancelled, it has accepted nobody. No way in is favoured: one that is stormed
    /// must not close the others.
    async fn accept(&mut self) -> io::Result<Arrived> {
        tokio::select! {
            tcp = self.tcp.accept() => tcp.map(|(stream, remote)| Arrived::Tcp(stream, remote)),
            Some(local) = self.local.recv() => Ok(self.arrive(local)),
            own = self.own.accept() => Ok(Arrived::Own(own)),
            other = accept_other(
                #[cfg(feature = "websocket")]
                self.websocket.as_ref(),
                #[cfg(unix)]
                self.unix.as_ref(),
            ) => other,
        }
    }

    #[cfg(not(feature = "testing"))]
    fn arrive(&self, local: Local) -> Arrived {
        Arrived::Local(local.transport)
    }

    #[cfg(feature = "testing")]
    fn arrive(&self, local: Local) -> Arrived {
        let transport = local.transport;
        match local.way {
            Some(ListenerKind::Clients) => Arrived::Piped(transport),
            #[cfg(feature = "websocket")]
            Some(ListenerKind::Websocket) => match &self.websocket {
                Some((_, websocket_acceptor)) => {
                    Arrived::PipedWebsocket(transport, Arc::clone(websocket_acceptor))
                }
                None => Arrived::Local(transport),
            },
            _ => Arrived::Local(transport),
        }
    }
}

/// By the ways in that need not be there.
async fn accept_other(
    #[cfg(feature = "websocket")] websocket: Option<&(TcpAcceptor, Arc<WebsocketAcceptor>)>,
    #[cfg(unix)] unix: Option<&UnixAcceptor>,
) -> io::Result<Arrived> {
    let websocket = async {
        #[cfg(feature = "websocket")]
        if let Some((listener, websocket_acceptor)) = websocket {
            let (stream, remote) = listener.accept().await?;
            return Ok(Arrived::Websocket(stream, remote, Arc::clone(websocket_acceptor)));
        }
        std::future::pending().await
    };
    let unix = async {
        #[cfg(unix)]
        if let Some(acceptor) = unix {
            let (stream, _) = acceptor.listener.accept().await?;
            return Ok(Arrived::Unix(stream));
        }
        std::future::pending().await
    };
    tokio::select! {
        arrived = websocket => arrived,
        arrived = unix => arrived,
    }
}

impl Arrived {
    /// Has a task of its own serve it, also for what comes before there is a session.
    fn serve(
        self,
        context: &ConnectionContext,
        phase: &watch::Receiver<Phase>,
        tasks: &mut JoinSet<()>,
    ) {
        let unauthenticated = &context.unauthenticated;
        let unauthenticated_guard = unauthenticated.enter();
        let id = unauthenticated_guard.id();
        let task = self.spawn(context, unauthenticated_guard, phase, tasks);
        unauthenticated.is_served_by(id, task);
    }

    fn spawn(
        self,
        context: &ConnectionContext,
        unauthenticated_guard: UnauthenticatedGuard,
        phase: &watch::Receiver<Phase>,
        tasks: &mut JoinSet<()>,
    ) -> AbortHandle {
        let context = context.clone();
        let listener_config = Arc::clone(&context.listener_config);
        let workers = Arc::clone(&context.workers);
        let from = self.remote();
        let accepted = match self {
            Self::Tcp(stream, remote) if listener_config.proxy_protocol() => {
                let admitting = async move {
                    match proxy::read(&stream, PROXY_HEADER).await {
                        Ok(source) => Some(listener_config.admit(stream, source.unwrap_or(remote))),
                        Err(error) => {
                            tracing::warn!(
                                "Error reading PROXY protocol header from {remote}: {error}"
                            );
                            None
                        }
                    }
                };
                let serving =
                    serve_if_admitted(admitting, context, unauthenticated_guard, phase.clone());
                return tasks.spawn(workers.watch(from, serving));
            }
            #[cfg(feature = "websocket")]
            Self::Websocket(stream, remote, websocket_acceptor) => {
                let serving = serve_websocket(
                    stream,
                    remote,
                    websocket_acceptor,
                    context,
                    unauthenticated_guard,
                    phase.clone(),
                );
                return tasks.spawn(workers.watch(from, serving));
            }
            #[cfg(all(feature = "testing", feature = "websocket"))]
            Self::PipedWebsocket(stream, websocket_acceptor) => {
                let serving = serve_websocket(
                    stream,
                    PIPED,
                    websocket_acceptor,
                    context,
                    unauthenticated_guard,
                    phase.clone(),
                );
                return tasks.spawn(workers.watch(from, serving));
            }
            #[cfg(feature = "testing")]
            Self::Piped(stream) => listener_config.admit(stream, PIPED),
            Self::Tcp(stream, remote) => listener_config.admit(stream, remote),
            #[cfg(unix)]
            Self::Unix(stream) => private(Arc::new(Socket::new(stream)), TransportInfo::Unix),
            Self::Local(transport) => {
                private(Arc::new(Socket::new(transport)), TransportInfo::Memory)
            }
            Self::Own(own) => {
                let (accepted, carrying) = own.admit();
                let serving = custom_listener::serve(
                    context.serve(accepted, unauthenticated_guard),
                    carrying,
                );
                return tasks.spawn(workers.watch(from, serving));
            }
        };
        tasks.spawn(workers.watch(from, context.serve(accepted, unauthenticated_guard)))
    }

    fn remote(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, remote) => Some(*remote),
            #[cfg(feature = "websocket")]
            Self::Websocket(_, remote, _) => Some(*remote),
            Self::Own(own) => own.remote(),
            _ => None,
        }
    }
}

/// The remote address of connections within the process that are treated as if by a port.
#[cfg(feature = "testing")]
const PIPED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

#[cfg(feature = "websocket")]
fn serve_websocket(
    stream: impl Transport,
    remote: SocketAddr,
    websocket_acceptor: Arc<WebsocketAcceptor>,
    context: ConnectionContext,
    unauthenticated_guard: UnauthenticatedGuard,
    phase: watch::Receiver<Phase>,
) -> impl Future<Output = ()> + Send {
    let max_payload_bytes = context.broker.options().limits.max_payload_bytes;
    let admitting =
        async move { websocket_acceptor.admit(stream, remote, max_payload_bytes).await };
    serve_if_admitted(admitting, context, unauthenticated_guard, phase)
}

/// On one machine nothing is encrypted.
fn private(socket: Arc<Socket>, transport: TransportInfo) -> AcceptedConnection {
    let arrival = Arrival { transport, ..Arrival::default() };
    AcceptedConnection { socket, arrival, handshake: None }
}

/// Whoever has not been admitted when the server ends is not.
async fn serve_if_admitted(
    admitting: impl Future<Output = Option<AcceptedConnection>>,
    context: ConnectionContext,
    unauthenticated_guard: UnauthenticatedGuard,
    mut phase: watch::Receiver<Phase>,
) {
    let accepted = {
        // Boxed: what only the beginning needs must not be in every connection's memory all its life.
        let admitting = Box::pin(admitting);
        tokio::select! {
            biased;
            () = has_left(&mut phase, Phase::Serving) => None,
            accepted = admitting => accepted,
        }
    };
    drop(phase);
    if let Some(accepted) = accepted {
        context.serve(accepted, unauthenticated_guard).await;
    }
}

/// Returns when it is another phase, or there is nobody to say.
async fn has_left(phase: &mut watch::Receiver<Phase>, left: Phase) {
    // The value that comes with it would hold a lock across the await of whoever selects.
    let _ = phase.wait_for(|phase| *phase != left).await.is_ok();
}
