//! The connections to other servers of the cluster: accepted ones, and those that the core has ordered.
//!
//! All of them have one task, with an accept loop of its own: a flood of connections to the port for routes takes nothing
//! from clients but a bounded amount of memory.

mod attempt;
mod dial;
mod orders;
mod pauses;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_core::cluster::{Cluster, RouteDial};
use broker_core::{Broker, CloseReason};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::conn;
use crate::context::ConnectionContext;
use crate::handshake::AcceptedConnection;
use crate::listen::{BACK_OFF_MAX, BACK_OFF_MIN, RouteAcceptor};
#[cfg(not(feature = "compression"))]
use crate::transport::Socket;
#[cfg(feature = "compression")]
use crate::transport::compressible;
use crate::unauthenticated::{UnauthenticatedConnections, UnauthenticatedGuard};
pub(crate) use dial::DialConfig;
use orders::{Order, Orders};

/// All routes of a server. Dropping the future of [`Self::serve`] closes them and ends all attempts to connect.
pub(crate) struct Routes {
    acceptor: RouteAcceptor,
    cluster: Arc<Cluster>,
    context: ConnectionContext,
    dials: Arc<DialConfig>,
    /// True once the server ends: no connection is made any more.
    is_ending: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Routes {
    /// Creates the task's state. The context is that of clients, with a limit of its own for connections that are no
    /// routes yet.
    pub(crate) fn new(
        acceptor: RouteAcceptor,
        cluster: Arc<Cluster>,
        context: ConnectionContext,
        dials: Arc<DialConfig>,
        max_unauthenticated: usize,
    ) -> Self {
        let limit = UnauthenticatedConnections::new(max_unauthenticated);
        let context = ConnectionContext { unauthenticated: Arc::new(limit), ..context };
        let is_ending = watch::Sender::new(false);
        Self { acceptor, cluster, context, dials, is_ending, tasks: JoinSet::new() }
    }

    /// Solicits the configured routes, and serves until told when to end at the latest. Call it when clients can
    /// connect: the other servers tell theirs of this one.
    // NATS 2.14: route.go StartRouting, startRouteAcceptLoop.
    pub(crate) async fn serve(mut self, mut stop: oneshot::Receiver<Instant>) {
        let (sender, mut orders) = Orders::channel();
        self.context.broker.start_cluster(Box::new(sender));
        let deadline = tokio::select! {
            biased;
            deadline = &mut stop => deadline,
            never = self.accept_and_dial(&mut orders) => match never {},
        };
        let Self { acceptor, cluster, context, is_ending, mut tasks, .. } = self;
        cluster.stop();
        let _ = is_ending.send(true);
        // The port is free from here on.
        drop(acceptor);
        // Closes routes that were opened while the others were closed.
        let broker: Broker = context.broker;
        broker.finish_all(CloseReason::ServerShutdown);
        // Without a deadline the server was dropped.
        let Ok(deadline) = deadline else { return };
        let all_gone = async { while tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout_at(deadline.into(), all_gone).await;
        tasks.shutdown().await;
    }

    async fn accept_and_dial(&mut self, orders: &mut Orders) -> std::convert::Infallible {
        let mut back_off = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                Some(order) = orders.next() => self.dial(order),
                Some(_) = self.tasks.join_next() => {}
                accepted = poll_fn(|cx| self.acceptor.poll_accept(cx)) => match accepted {
                    Ok(connection) => {
                        back_off = Duration::ZERO;
                        self.accept(connection, orders).await;
                    }
                    Err(error) => self.wait_after(&error, &mut back_off, orders).await,
                },
            }
        }
    }

    /// Serves an accepted connection once there is room for it; orders do not wait for that.
    async fn accept(&mut self, connection: AcceptedConnection, orders: &mut Orders) {
        let unauthenticated = Arc::clone(&self.context.unauthenticated);
        self.dial_while(orders, unauthenticated.room()).await;
        let guard = unauthenticated.enter();
        let id = guard.id();
        let serving = serve_route(self.context.clone(), connection, None, guard);
        unauthenticated.is_served_by(id, self.tasks.spawn(serving));
    }

    // NATS 2.14: server.go acceptError.
    async fn wait_after(
        &mut self,
        error: &io::Error,
        back_off: &mut Duration,
        orders: &mut Orders,
    ) {
        *back_off = (*back_off * 2).clamp(BACK_OFF_MIN, BACK_OFF_MAX);
        let millis = back_off.as_millis();
        tracing::error!("Temporary Route Accept Error({error}), sleeping {millis}ms");
        self.dial_while(orders, tokio::time::sleep(*back_off)).await;
    }

    async fn dial_while(&mut self, orders: &mut Orders, waiting: impl Future<Output = ()>) {
        let mut waiting = std::pin::pin!(waiting);
        loop {
            tokio::select! {
                biased;
                Some(order) = orders.next() => self.dial(order),
                () = &mut waiting => return,
            }
        }
    }

    /// Spawns a task that makes a connection and serves it.
    fn dial(&mut self, order: Order) {
        let (context, dials) = (self.context.clone(), Arc::clone(&self.dials));
        let cluster = Arc::clone(&self.cluster);
        let mut is_ending = self.is_ending.subscribe();
        self.tasks.spawn(async move {
            // Boxed, because memory that only the beginning needs must not be held for the whole life of a route.
            let dialing = Box::pin(dial::dial(&order.dial, &cluster, &dials));
            let connection = tokio::select! {
                biased;
                _ = is_ending.wait_for(|is_ending| *is_ending) => None,
                connection = dialing => connection,
            };
            drop((dials, cluster, is_ending));
            let Some(connection) = connection else { return };
            let guard = context.unauthenticated.enter();
            let dial = order.dial.clone();
            drop(order);
            serve_route(context, connection, Some(dial), guard).await;
        });
    }
}

/// Without the feature the cluster is told that compression is not supported, and no session asks for it.
#[cfg(not(feature = "compression"))]
fn compressible(socket: Arc<Socket>) -> Arc<Socket> {
    socket
}

fn serve_route(
    context: ConnectionContext,
    connection: AcceptedConnection,
    dial: Option<RouteDial>,
    guard: UnauthenticatedGuard,
) -> impl Future<Output = ()> {
    let ConnectionContext { broker, auth_checks, workers, gates, .. } = context;
    let remote = connection.arrival.remote;
    let socket = gates.put_before(compressible(connection.socket));
    let connection = Box::new(AcceptedConnection { socket, ..connection });
    let watching = Arc::clone(&workers);
    watching.watch(remote, conn::serve_route(connection, dial, broker, auth_checks, guard, workers))
}
