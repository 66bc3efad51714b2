//! Lame duck mode: the server shuts down, and its clients move to other servers one after the other.
//!
//! Clients that react to the announcement disconnect by themselves. Each of the others is closed at a time of its
//! own, by its session in the core, between two of its requests. The order matters to the others: clients that only
//! send requests go before the services that answer them, which go once those clients are gone, so that no request
//! here stays unanswered. The times are spread, so that the servers they connect to next are not flooded.

use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use broker_core::{Broker, LameDuckOrder};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock;
use crate::phase::{LameDuck, Phase};

/// The longest interval between two closed clients.
// NATS 2.14: a second, also if there would be time for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The shortest interval; where that is too long, several clients are closed at once.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// Maximum time for which services stay for clients that send requests: time for such a client to disconnect, and to
/// read its queued messages.
const ASKERS_PATIENCE: Duration = Duration::from_secs(25);

/// The time for which a server of a cluster stays after its last client: a message for a queue group may be under way from a
/// server that has not learned yet that the member here has left, and is passed on to another member. A round trip between
/// servers, and time for a busy machine.
const LAST_MESSAGES: Duration = Duration::from_millis(250);

/// Runs until all connections have ended, or the server is instructed to finish.
pub(crate) async fn run(
    plan: LameDuck,
    broker: &Broker,
    phase: &mut watch::Receiver<Phase>,
    connections: &mut JoinSet<()>,
) {
    close_clients(plan, broker, phase, connections).await;
    if broker.cluster().is_some() {
        let told = phase.wait_for(|phase| !matches!(phase, Phase::LameDuck(_)));
        let _ = tokio::time::timeout(LAST_MESSAGES, told).await;
    }
}

async fn close_clients(
    plan: LameDuck,
    broker: &Broker,
    phase: &mut watch::Receiver<Phase>,
    connections: &mut JoinSet<()>,
) {
    tracing::info!("Entering lame duck mode, stop accepting new clients");
    // A session that takes longer applies the announcement later.
    let _ = tokio::time::timeout(Duration::from_secs(1), announce_end(broker)).await;
    let mut going = Going { phase, connections };
    if going.until(clock::now() + plan.grace_period, 0).await.is_break() {
        return;
    }
    tracing::info!("Closing existing clients");
    let order = lame_duck_order(broker).await;
    let count = order.others.len() + order.services.len();
    let pace = Pace::new(plan, count);
    if going.retire(broker, &order.others, &pace).await.is_break() {
        return;
    }
    if going.until_askers_are_gone(broker, order.services.len()).await.is_break()
        || going.retire(broker, &order.services, &pace).await.is_break()
    {
        return;
    }
    // Connections accepted while the order was made, or waiting in the backlog.
    let late = lame_duck_order(broker).await;
    for id in late.others.into_iter().chain(late.services) {
        broker.retire(id);
    }
    // Each session has time limits of its own.
    let _ = going.until(clock::now() + Duration::from_hours(1), 0).await;
}

/// Announces lame duck mode off the workers: there may be very many sessions to notify.
async fn announce_end(broker: &Broker) {
    let broker = broker.clone();
    if let Ok(applied) = tokio::task::spawn_blocking(move || broker.announce_end()).await {
        applied.await;
    }
}

async fn lame_duck_order(broker: &Broker) -> LameDuckOrder {
    let broker = broker.clone();
    let order = tokio::task::spawn_blocking(move || broker.lame_duck_order());
    order.await.unwrap_or_default()
}

struct Going<'a> {
    phase: &'a mut watch::Receiver<Phase>,
    connections: &'a mut JoinSet<()>,
}

impl Going<'_> {
    /// Waits until a time, or until at most `left` connections remain. Breaks if there are none, or lame duck mode
    /// has ended.
    async fn until(&mut self, time: Instant, left: usize) -> ControlFlow<()> {
        let pause = tokio::time::sleep_until(time.into());
        tokio::pin!(pause);
        loop {
            if self.connections.is_empty() {
                return ControlFlow::Break(());
            }
            if self.connections.len() <= left {
                return ControlFlow::Continue(());
            }
            tokio::select! {
                biased;
                _ = self.phase.wait_for(|phase| !matches!(phase, Phase::LameDuck(_))) => {
                    return ControlFlow::Break(());
                }
                _ = self.connections.join_next() => {}
                () = &mut pause => return ControlFlow::Continue(()),
            }
        }
    }

    async fn until_askers_are_gone(&mut self, broker: &Broker, mut left: usize) -> ControlFlow<()> {
        let end = clock::now() + ASKERS_PATIENCE;
        loop {
            self.until(end, left).await?;
            // The count alone is not enough: services may have disconnected by themselves.
            if clock::now() >= end || lame_duck_order(broker).await.others.is_empty() {
                return ControlFlow::Continue(());
            }
            left = self.connections.len().saturating_sub(1);
        }
    }

    async fn retire(&mut self, broker: &Broker, ids: &[u64], pace: &Pace) -> ControlFlow<()> {
        let mut batches = ids.chunks(pace.batch).peekable();
        while let Some(batch) = batches.next() {
            for id in batch {
                broker.retire(*id);
            }
            if batches.peek().is_some() {
                self.until(clock::now() + pace.pause(), 0).await?;
            }
        }
        ControlFlow::Continue(())
    }
}

/// The size of a batch, and the interval between two.
struct Pace {
    batch: usize,
    interval: Duration,
    random: RandomState,
}

impl Pace {
    // NATS 2.14: server.go lameDuckMode.
    fn new(plan: LameDuck, count: usize) -> Self {
        let time = plan.duration.saturating_sub(plan.grace_period);
        let time = if time.is_zero() { Duration::from_secs(1) } else { time };
        let share = |count: usize| time / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        let batch = (SHORTEST_PAUSE.as_nanos() / share(count).as_nanos().max(1)).max(1);
        let batch = usize::try_from(batch).unwrap_or(usize::MAX);
        let interval = share(count.div_ceil(batch)).min(LONGEST_PAUSE);
        Self { batch, interval, random: RandomState::new() }
    }

    /// Returns a random pause between half of the interval and all of it.
    fn pause(&self) -> Duration {
        let nanos = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX).max(2);
        let random = self.random.hash_one(clock::now());
        Duration::from_nanos((random % nanos).max(nanos / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(count: usize) -> Pace {
        Pace::new(LameDuck::new(Duration::from_secs(30), Duration::from_secs(10)), count)
    }

    #[test]
    fn clients_are_spread_over_the_available_time() {
        for (count, batch, interval) in [
            (0, 1, Duration::from_secs(1)),
            (1, 1, Duration::from_secs(1)),
            (10, 1, Duration::from_secs(1)),
            (40, 1, Duration::from_millis(500)),
            (20_000, 1, Duration::from_millis(1)),
            (100_000, 5, Duration::from_millis(1)),
        ] {
            let pace = pace(count);
            assert_eq!((pace.batch, pace.interval), (batch, interval), "{count}");
        }
    }

    #[test]
    fn a_pause_is_between_half_of_the_interval_and_all_of_it() {
        let pace = pace(40);
        for _ in 0..1000 {
            let pause = pace.pause();
            assert!((pace.interval / 2..=pace.interval).contains(&pause), "{pause:?}");
        }
    }

    #[test]
    fn a_duration_without_time_after_the_grace_period_takes_a_second() {
        let plan = LameDuck::new(Duration::from_secs(1), Duration::from_secs(1));
        assert_eq!(Pace::new(plan, 4).interval, Duration::from_millis(250));
    }
}
