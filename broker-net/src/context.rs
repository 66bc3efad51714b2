//! The shared state of connections, and the task that serves each.

use std::sync::Arc;
use std::time::Duration;

use broker_core::Broker;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::auth_checks::AuthChecks;
use crate::conn;
use crate::handshake::{AcceptedConnection, BoxFuture};
use crate::listen::{Accepted, Admission};
use crate::phase::{Phase, has_left};
use crate::stall::StallGates;
use crate::unauthenticated::{UnauthenticatedConnections, UnauthenticatedGuard};
use crate::workers::Workers;

/// Maximum time for the client of a custom listener to read the rest of its stream.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The state that all connections of a server share.
#[derive(Clone)]
pub(crate) struct ConnectionContext {
    pub(crate) broker: Broker,
    pub(crate) auth_checks: Arc<AuthChecks>,
    pub(crate) unauthenticated: Arc<UnauthenticatedConnections>,
    pub(crate) workers: Arc<Workers>,
    /// Gates that the test kit puts before connections.
    pub(crate) gates: Arc<StallGates>,
}

impl ConnectionContext {
    /// Spawns a task that admits and serves a connection.
    pub(crate) fn serve(
        &self,
        accepted: Accepted,
        phase: &watch::Receiver<Phase>,
        tasks: &mut JoinSet<()>,
    ) {
        let unauthenticated_guard = self.unauthenticated.enter();
        let id = unauthenticated_guard.id();
        let task = self.spawn(accepted, unauthenticated_guard, phase, tasks);
        self.unauthenticated.is_served_by(id, task);
    }

    fn spawn(
        &self,
        accepted: Accepted,
        guard: UnauthenticatedGuard,
        phase: &watch::Receiver<Phase>,
        tasks: &mut JoinSet<()>,
    ) -> AbortHandle {
        let (context, workers) = (self.clone(), Arc::clone(&self.workers));
        let remote = accepted.remote;
        match (accepted.admit)() {
            Admission::Ready(connection) => {
                tasks.spawn(workers.watch(remote, context.serve_admitted(connection, guard)))
            }
            Admission::Pending(admitting) => {
                let serving = serve_if_admitted(admitting, context, guard, phase.clone());
                tasks.spawn(workers.watch(remote, serving))
            }
            Admission::Carried(connection, carrying) => {
                let serving = serve_carried(context.serve_admitted(connection, guard), carrying);
                tasks.spawn(workers.watch(remote, serving))
            }
        }
    }

    fn serve_admitted(
        self,
        accepted: AcceptedConnection,
        unauthenticated_guard: UnauthenticatedGuard,
    ) -> impl Future<Output = ()> {
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

/// Serves a connection once it is admitted. Admits none once the server ends.
async fn serve_if_admitted(
    // Boxed, because memory that only the beginning needs must not be held for the whole life of every connection.
    admitting: BoxFuture<'static, Option<AcceptedConnection>>,
    context: ConnectionContext,
    unauthenticated_guard: UnauthenticatedGuard,
    mut phase: watch::Receiver<Phase>,
) {
    let accepted = {
        tokio::select! {
            biased;
            () = has_left(&mut phase, Phase::Serving) => None,
            accepted = admitting => accepted,
        }
    };
    drop(phase);
    if let Some(accepted) = accepted {
        context.serve_admitted(accepted, unauthenticated_guard).await;
    }
}

/// Serves a connection and copies its bytes.
async fn serve_carried(serving: impl Future<Output = ()>, mut carrying: BoxFuture<'static, ()>) {
    // Boxed, so that only connections that need it pay for its memory.
    let mut serving = Box::pin(serving);
    tokio::select! {
        biased;
        () = &mut serving => {
            let _ = tokio::time::timeout(LAST_WORDS, carrying).await;
        }
        () = &mut carrying => serving.await,
    }
}
