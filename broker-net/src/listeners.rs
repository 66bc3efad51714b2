//! All listeners of a server, and their accept loop.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use broker_core::CloseReason;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::clock::now;
use crate::cluster::Routes;
use crate::context::ConnectionContext;
use crate::lame_duck;
use crate::listen::{Accepted, Acceptor, BACK_OFF_MAX, BACK_OFF_MIN};
use crate::phase::{Phase, has_left};
use crate::reserve::{RawConnection, Refused, Reserve, is_exhausted};

/// The interval at which memory is freed that no queue has needed since.
const FREE_UNUSED: Duration = Duration::from_secs(10);

/// The pause between two calls of [`Broker::do_periodic`](broker_core::Broker::do_periodic): ends must take effect within a
/// second.
const PERIODIC: Duration = Duration::from_millis(500);

/// Maximum time for other servers to read what is queued for them when this one ends.
const ROUTES_GRACE: Duration = Duration::from_secs(1);

/// The listeners of a server. Dropping them closes them.
pub(crate) struct Listeners {
    acceptors: Vec<Box<dyn Acceptor>>,
    /// The acceptor that is polled first next time.
    next: usize,
}

/// Serves until instructed to finish and all connections have ended. Dropping the future closes them all.
///
/// Routes are served by a task of their own, until the clients are gone: what those have published must still leave.
pub(crate) async fn serve(
    mut listeners: Listeners,
    routes: Option<Routes>,
    context: ConnectionContext,
    mut phase: watch::Receiver<Phase>,
    finished: watch::Sender<bool>,
) {
    let (mut connections, mut others) = (JoinSet::new(), JoinSet::new());
    let (stop_routes, routes_stopped) = oneshot::channel();
    if let Some(routes) = routes {
        others.spawn(routes.serve(routes_stopped));
    }
    listeners.accept_all(&context, &mut phase, &mut connections).await;
    // The ports are free from here on.
    drop(listeners);
    let broker = context.broker;
    let begun = *phase.borrow_and_update();
    if let Phase::LameDuck(plan) = begun {
        lame_duck::run(plan, &broker, &mut phase, &mut connections).await;
    }
    // Closes connections accepted while lame duck mode closed the others.
    broker.finish_all(CloseReason::ServerShutdown);
    wait_for_all(&mut connections, &mut phase).await;
    connections.shutdown().await;
    let deadline = match *phase.borrow() {
        Phase::Finishing(deadline) => deadline,
        Phase::Serving | Phase::LameDuck(_) => now() + ROUTES_GRACE,
    };
    let _ = stop_routes.send(deadline);
    while others.join_next().await.is_some() {}
    // An error means that no task waits for it.
    let _ = finished.send(true);
}

/// Waits until all connections have ended, or until the time at which the server finishes.
async fn wait_for_all(connections: &mut JoinSet<()>, phase: &mut watch::Receiver<Phase>) {
    loop {
        let now = *phase.borrow_and_update();
        let Phase::Finishing(deadline) = now else { return };
        tokio::select! {
            biased;
            gone = connections.join_next() => if gone.is_none() { return },
            // The deadline may have been brought forward.
            changed = phase.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(deadline.into()) => return,
        }
    }
}

impl Listeners {
    pub(crate) fn new(acceptors: Vec<Box<dyn Acceptor>>) -> Self {
        Self { acceptors, next: 0 }
    }

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
        let mut periodic = interval_at(Instant::now() + PERIODIC, PERIODIC);
        periodic.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                // Also ready when the server was dropped.
                () = has_left(phase, Phase::Serving) => return,
                _ = free_unused.tick() => context.broker.free_unused_memory(),
                _ = periodic.tick() => context.broker.do_periodic(now()),
                Some(_) = connections.join_next() => {}
                () = reserve.retire(), if reserve.holds_some() => {}
                accepted = poll_fn(|cx| self.poll_accept(cx)) => match accepted {
                    Ok(accepted) => {
                        back_off = Duration::ZERO;
                        reserve.refill();
                        if context.gates.refuse_one() {
                            continue;
                        }
                        tokio::select! {
                            biased;
                            () = has_left(phase, Phase::Serving) => return,
                            () = context.unauthenticated.room() => {}
                        }
                        context.serve(accepted, phase, connections);
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
                |cx: &mut Context<'_>| Poll::Ready(reserve.refuse_all(|| self.poll_accept_raw(cx)));
            refused = poll_fn(refusing).await;
        }
        if let Refused::All(count) = refused {
            *back_off = Duration::ZERO;
            tracing::error!("Temporary Client Accept Error ({error}), {count} refused");
            // Yields to other tasks, however many connections wait.
            return tokio::task::yield_now().await;
        }
        *back_off = (*back_off * 2).clamp(BACK_OFF_MIN, BACK_OFF_MAX);
        tracing::error!(
            "Temporary Client Accept Error ({error}), sleeping {}ms",
            back_off.as_millis()
        );
        tokio::time::sleep(*back_off).await;
    }

    /// Accepts a connection at any listener. The listener after the one that accepted last is polled first, so that a
    /// flood at one does not starve the others.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let count = self.acceptors.len();
        for at in (self.next..count).chain(0..self.next) {
            if let Poll::Ready(accepted) = self.acceptors[at].poll_accept(cx) {
                self.next = (at + 1) % count;
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }

    /// Accepts a raw connection at any listener whose connections take a descriptor, without blocking.
    fn poll_accept_raw(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<RawConnection>> {
        for acceptor in &mut self.acceptors {
            if let Poll::Ready(connection) = acceptor.poll_accept_raw(cx) {
                return Poll::Ready(connection);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::listen::Admission;

    /// An acceptor with the given number of connections left to accept.
    struct Storm(usize, Arc<AtomicUsize>);

    impl Acceptor for Storm {
        fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
            let Some(left) = self.0.checked_sub(1) else { return Poll::Pending };
            self.0 = left;
            self.1.fetch_add(1, Ordering::Relaxed);
            let admit = || Admission::Pending(Box::pin(std::future::pending()));
            Poll::Ready(Ok(Accepted::new(None, admit)))
        }
    }

    #[tokio::test]
    async fn a_flooded_listener_does_not_starve_the_others() {
        let counts = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
        let storms = [usize::MAX, 2, usize::MAX].into_iter().zip(&counts);
        let acceptors = storms
            .map(|(left, count)| -> Box<dyn Acceptor> { Box::new(Storm(left, Arc::clone(count))) });
        let mut listeners = Listeners::new(acceptors.collect());
        for _ in 0..10 {
            assert!(poll_fn(|cx| listeners.poll_accept(cx)).await.is_ok());
        }
        assert_eq!(counts.map(|count| count.load(Ordering::Relaxed)), [4, 2, 4]);
        let mut none = Listeners::new(Vec::new());
        assert!(poll_fn(|cx| Poll::Ready(none.poll_accept(cx).is_pending())).await);
    }
}
