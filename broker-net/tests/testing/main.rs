//! The promises of the test broker.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the helpers of a test may panic as the test itself may"
)]

#[cfg(feature = "testing-tls")]
mod certificates;
mod clock;
mod cluster;
mod faults;
mod leaks;
mod looking;
mod panics;
mod promises;
mod restart;
mod starting;
#[cfg(feature = "streams")]
mod streams;

use std::time::Duration;

/// Far longer than anything here takes.
const SOON: Duration = Duration::from_secs(10);

/// An event that does not arrive in this time is taken not to arrive.
const A_MOMENT: Duration = Duration::from_millis(50);

/// Connects a client that reconnects quickly.
async fn connect(url: &str) -> async_nats::Client {
    async_nats::ConnectOptions::new()
        .reconnect_delay_callback(|_| Duration::from_millis(5))
        .connect(url)
        .await
        .unwrap()
}

async fn next(subscriber: &mut async_nats::Subscriber) -> async_nats::Message {
    use futures_util::StreamExt;
    tokio::time::timeout(SOON, subscriber.next()).await.expect("in time").expect("a message")
}
