//! Events that are published from time to time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::feed::{accounts, publish_all};
use super::sender::{Sender, connections_subjects};
use super::statsz;

/// STATSZ is published after this time, and then after twice the time each, up to the maximum.
// NATS 2.14: events.go startStatszTimer, heartbeatStatsz.
const FIRST_STATSZ: Duration = Duration::from_millis(250);
const MAX_STATSZ: Duration = Duration::from_secs(10);

/// The interval in which the numbers of connections are repeated.
// NATS 2.14: eventsHBInterval.
const CONNECTIONS: Duration = Duration::from_secs(30);

/// Publishes periodic events that have a subscriber.
pub(super) fn run(sender: &Arc<Sender>) -> impl Future<Output = ()> + Send + 'static {
    let sender = Arc::clone(sender);
    async move {
        let began = Instant::now();
        let mut interval = FIRST_STATSZ;
        let (mut next_statsz, mut next_connections) = (began + interval, began + CONNECTIONS);
        loop {
            sleep_until(next_statsz.min(next_connections)).await;
            if Instant::now() >= next_statsz {
                interval = (interval * 2).min(MAX_STATSZ);
                next_statsz = Instant::now() + interval;
                publish_statsz(&sender).await;
            } else {
                next_connections = Instant::now() + CONNECTIONS;
                repeat_connections(&sender).await;
            }
        }
    }
}

async fn publish_statsz(sender: &Arc<Sender>) {
    if !sender.is_wanted(&statsz::subject(sender)) {
        return;
    }
    let sender = Arc::clone(sender);
    // It has failed only if the runtime ends.
    let _ = tokio::task::spawn_blocking(move || statsz::publish(&sender)).await;
}

async fn repeat_connections(sender: &Arc<Sender>) {
    let names = sender.observer().broker().account_names();
    let mut subjects = names.iter().flat_map(|name| connections_subjects(name));
    if subjects.any(|subject| sender.is_wanted(&subject)) {
        let (accounts, _) = accounts(sender.observer().broker()).await;
        publish_all(sender, &accounts);
    }
}
