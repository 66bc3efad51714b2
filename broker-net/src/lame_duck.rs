//! Lame duck mode: the server goes, and its clients go elsewhere one after the other.
//!
//! Clients that heed the announcement leave by themselves. To each of the others comes a time at which
//! it is let go, by its session in the core, between two of its questions. Who goes when matters to
//! the others: one that only asks goes before those that are asked, who go once it is gone, so that
//! nobody here asks in vain. The times are spread, so that the servers that they go to are not stormed.

use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use broker_core::{Broker, LameDuckOrder};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock;
use crate::phase::{LameDuck, Phase};

/// The longest time between two.
// NATS 2.14: a second, also if there would be time for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The shortest; where that is too long, several go at once.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// How long those who are asked stay at most for the sake of those who ask: what a client may take to
/// leave, and to read what waits for it.
const ASKERS_PATIENCE: Duration = Duration::from_secs(25);

/// Runs until all connections are gone, or the server is told to finish.
pub(crate) async fn run(
    plan: LameDuck,
    broker: &Broker,
    phase: &mut watch::Receiver<Phase>,
    connections: &mut JoinSet<()>,
) {
    tracing::info!("Entering lame duck mode, stop accepting new clients");
    // A session that takes longer is told later.
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
    // Whoever came in while the order was made, or hung in the system's queue.
    let late = lame_duck_order(broker).await;
    for id in late.others.into_iter().chain(late.services) {
        broker.retire(id);
    }
    // Each has its own time limits.
    let _ = going.until(clock::now() + Duration::from_hours(1), 0).await;
}

/// Announces the end off the workers: there may be very many sessions to notify.
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
    /// Waits until a time, or there are no more than `left` connections. Breaks off if there are none
    /// or it is not about lame ducks any more.
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
            // If some of those who are asked have gone by themselves, the number alone does not tell.
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

    /// At least half of the interval, at most all of it.
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
    fn clients_are_spread_over_the_time_there_is() {
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
    fn where_there_is_only_grace_a_second_is_taken() {
        let plan = LameDuck::new(Duration::from_secs(1), Duration::from_secs(1));
        assert_eq!(Pace::new(plan, 4).interval, Duration::from_millis(250));
    }
}
