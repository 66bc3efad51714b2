//! All ways into a server, and what is behind them.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use broker_core::carrier::Carrier;
use broker_core::session::client::Arrival;
use broker_core::{Broker, CloseReason};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::checks::Checks;
#[cfg(feature = "websocket")]
use crate::conn::Transport;
use crate::conn::{self, Socket};
#[cfg(feature = "websocket")]
use crate::handshake::websocket::Hatch;
use crate::handshake::{Arriving, Entrance};
use crate::lame_duck;
use crate::listener::TcpDoor;
use crate::own_listener::{self, OwnDoors};
use crate::pipe::LocalTransport;
use crate::proxy;
use crate::reserve::{Newcomer, Refused, Reserve, is_exhausted};
use crate::server::Phase;
#[cfg(feature = "testing")]
use crate::server::Way;
use crate::strangers::{Stranger, Strangers};
#[cfg(unix)]
use crate::unix::UnixDoor;
use crate::workers::Workers;

/// After a failed accept: wait this long, twice as long each time.
// NATS 2.14: 10 ms to 1 s.
pub(crate) const BACK_OFF_MIN: Duration = Duration::from_millis(10);
pub(crate) const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// How long a proxy may take to say whom it connects for.
// NATS 2.14: 5 seconds.
const PROXY_HEADER: Duration = Duration::from_secs(2);

/// How often memory is freed that no queue has needed since.
const FREE_UNUSED: Duration = Duration::from_secs(10);

/// The ways in.
pub(crate) struct Doors {
    pub(crate) tcp: TcpDoor,
    #[cfg(feature = "websocket")]
    pub(crate) websocket: Option<(TcpDoor, Arc<Hatch>)>,
    #[cfg(unix)]
    pub(crate) unix: Option<UnixDoor>,
    pub(crate) local: mpsc::UnboundedReceiver<Local>,
    pub(crate) own: OwnDoors,
}

/// Somebody within the process.
pub(crate) struct Local {
    pub(crate) transport: LocalTransport,
    /// Treated as if it came by that way.
    #[cfg(feature = "testing")]
    pub(crate) way: Option<Way>,
}

/// What every connection needs.
#[derive(Clone)]
pub(crate) struct Inside {
    pub(crate) entrance: Arc<Entrance>,
    pub(crate) broker: Broker,
    pub(crate) checks: Arc<Checks>,
    pub(crate) strangers: Arc<Strangers>,
    pub(crate) workers: Arc<Workers>,
    /// What a test puts before connections.
    #[cfg(feature = "testing")]
    pub(crate) gates: Arc<crate::testing::gate::Gates>,
}

impl Inside {
    fn serve(self, arriving: Arriving, stranger: Stranger) -> impl Future<Output = ()> {
        #[cfg(feature = "testing")]
        let arriving = Arriving { socket: self.gates.put_before(arriving.socket), ..arriving };
        conn::serve(Box::new(arriving), self.broker, self.checks, stranger, self.workers)
    }
}

/// Somebody came.
enum Arrived {
    Tcp(TcpStream, SocketAddr),
    #[cfg(feature = "websocket")]
    Websocket(TcpStream, SocketAddr, Arc<Hatch>),
    #[cfg(unix)]
    Unix(UnixStream),
    Local(LocalTransport),
    /// As by the port for clients.
    #[cfg(feature = "testing")]
    Piped(LocalTransport),
    /// As by the port for WebSocket.
    #[cfg(all(feature = "testing", feature = "websocket"))]
    PipedWebsocket(LocalTransport, Arc<Hatch>),
    Own(own_listener::Arrived),
}

/// Serves until told to finish and all connections are gone. Dropped, it closes them all.
pub(crate) async fn serve(
    mut doors: Doors,
    inside: Inside,
    mut phase: watch::Receiver<Phase>,
    finished: watch::Sender<bool>,
) {
    let mut connections = JoinSet::new();
    doors.accept_all(&inside, &mut phase, &mut connections).await;
    // The ports are free from here on.
    drop(doors);
    let broker = inside.broker;
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

impl Doors {
    async fn accept_all(
        &mut self,
        inside: &Inside,
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
                _ = free_unused.tick() => inside.broker.free_unused_memory(),
                Some(_) = connections.join_next() => {}
                () = reserve.let_go(), if reserve.holds_some() => {}
                accepted = self.accept() => match accepted {
                    Ok(arrived) => {
                        back_off = Duration::ZERO;
                        reserve.refill();
                        #[cfg(feature = "testing")]
                        if inside.gates.refuse_one() {
                            continue;
                        }
                        tokio::select! {
                            biased;
                            () = has_left(phase, Phase::Serving) => return,
                            () = inside.strangers.room() => {}
                        }
                        arrived.serve(inside, phase, connections);
                    }
                    Err(error) => self.see_to(&error, &mut reserve, &mut back_off).await,
                },
            }
        }
    }

    /// Nobody could be accepted. Where that is for want of descriptors, all who wait are told; if that
    /// works there is nothing to wait for.
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

    /// Somebody who waits at any of the ways in that take a descriptor.
    fn poll_newcomer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Newcomer>> {
        if let Poll::Ready(accepted) = self.tcp.poll_accept(cx) {
            return Poll::Ready(accepted.map(Newcomer::tcp));
        }
        #[cfg(feature = "websocket")]
        if let Some((listener, hatch)) = &self.websocket
            && let Poll::Ready(accepted) = listener.poll_accept(cx)
        {
            let newcomer = |stream| Newcomer::websocket(stream, hatch.speaks_tls());
            return Poll::Ready(accepted.map(newcomer));
        }
        #[cfg(unix)]
        if let Some(door) = &self.unix
            && let Poll::Ready(accepted) = door.listener.poll_accept(cx)
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
            Some(Way::Clients) => Arrived::Piped(transport),
            #[cfg(feature = "websocket")]
            Some(Way::Websocket) => match &self.websocket {
                Some((_, hatch)) => Arrived::PipedWebsocket(transport, Arc::clone(hatch)),
                None => Arrived::Local(transport),
            },
            _ => Arrived::Local(transport),
        }
    }
}

/// By the ways in that need not be there.
async fn accept_other(
    #[cfg(feature = "websocket")] websocket: Option<&(TcpDoor, Arc<Hatch>)>,
    #[cfg(unix)] unix: Option<&UnixDoor>,
) -> io::Result<Arrived> {
    let websocket = async {
        #[cfg(feature = "websocket")]
        if let Some((listener, hatch)) = websocket {
            let (stream, remote) = listener.accept().await?;
            return Ok(Arrived::Websocket(stream, remote, Arc::clone(hatch)));
        }
        std::future::pending().await
    };
    let unix = async {
        #[cfg(unix)]
        if let Some(door) = unix {
            let (stream, _) = door.listener.accept().await?;
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
    fn serve(self, inside: &Inside, phase: &watch::Receiver<Phase>, tasks: &mut JoinSet<()>) {
        let strangers = &inside.strangers;
        let stranger = strangers.enter();
        let id = stranger.id();
        let task = self.spawn(inside, stranger, phase, tasks);
        strangers.is_served_by(id, task);
    }

    fn spawn(
        self,
        inside: &Inside,
        stranger: Stranger,
        phase: &watch::Receiver<Phase>,
        tasks: &mut JoinSet<()>,
    ) -> AbortHandle {
        let inside = inside.clone();
        let entrance = Arc::clone(&inside.entrance);
        let workers = Arc::clone(&inside.workers);
        let from = self.remote();
        let arriving = match self {
            Self::Tcp(stream, remote) if entrance.proxy_protocol() => {
                let admitting = async move {
                    match proxy::read(&stream, PROXY_HEADER).await {
                        Ok(source) => Some(entrance.admit(stream, source.unwrap_or(remote))),
                        Err(error) => {
                            tracing::warn!(
                                "Error reading PROXY protocol header from {remote}: {error}"
                            );
                            None
                        }
                    }
                };
                let serving = serve_if_admitted(admitting, inside, stranger, phase.clone());
                return tasks.spawn(workers.watch(from, serving));
            }
            #[cfg(feature = "websocket")]
            Self::Websocket(stream, remote, hatch) => {
                let serving =
                    serve_websocket(stream, remote, hatch, inside, stranger, phase.clone());
                return tasks.spawn(workers.watch(from, serving));
            }
            #[cfg(all(feature = "testing", feature = "websocket"))]
            Self::PipedWebsocket(stream, hatch) => {
                let serving =
                    serve_websocket(stream, PIPED, hatch, inside, stranger, phase.clone());
                return tasks.spawn(workers.watch(from, serving));
            }
            #[cfg(feature = "testing")]
            Self::Piped(stream) => entrance.admit(stream, PIPED),
            Self::Tcp(stream, remote) => entrance.admit(stream, remote),
            #[cfg(unix)]
            Self::Unix(stream) => private(Arc::new(Socket::new(stream)), Carrier::Unix),
            Self::Local(transport) => private(Arc::new(Socket::new(transport)), Carrier::Memory),
            Self::Own(own) => {
                let (arriving, carrying) = own.admit();
                let serving = own_listener::serve(inside.serve(arriving, stranger), carrying);
                return tasks.spawn(workers.watch(from, serving));
            }
        };
        tasks.spawn(workers.watch(from, inside.serve(arriving, stranger)))
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

/// Where connections within the process seem to come from if they are treated as if by a port.
#[cfg(feature = "testing")]
const PIPED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

#[cfg(feature = "websocket")]
fn serve_websocket(
    stream: impl Transport,
    remote: SocketAddr,
    hatch: Arc<Hatch>,
    inside: Inside,
    stranger: Stranger,
    phase: watch::Receiver<Phase>,
) -> impl Future<Output = ()> + Send {
    let max_payload_bytes = inside.broker.options().limits.max_payload_bytes;
    let admitting = async move { hatch.admit(stream, remote, max_payload_bytes).await };
    serve_if_admitted(admitting, inside, stranger, phase)
}

/// On one machine nothing is encrypted.
fn private(socket: Arc<Socket>, carrier: Carrier) -> Arriving {
    let arrival = Arrival { carrier, ..Arrival::default() };
    Arriving { socket, arrival, agreement: None }
}

/// Whoever has not been admitted when the server ends is not.
async fn serve_if_admitted(
    admitting: impl Future<Output = Option<Arriving>>,
    inside: Inside,
    stranger: Stranger,
    mut phase: watch::Receiver<Phase>,
) {
    let arriving = {
        // Boxed: what only the beginning needs must not be in every connection's memory all its life.
        let admitting = Box::pin(admitting);
        tokio::select! {
            biased;
            () = has_left(&mut phase, Phase::Serving) => None,
            arriving = admitting => arriving,
        }
    };
    drop(phase);
    if let Some(arriving) = arriving {
        inside.serve(arriving, stranger).await;
    }
}

/// Returns when it is another phase, or there is nobody to say.
async fn has_left(phase: &mut watch::Receiver<Phase>, left: Phase) {
    // The value that comes with it would hold a lock across the await of whoever selects.
    let _ = phase.wait_for(|phase| *phase != left).await.is_ok();
}
