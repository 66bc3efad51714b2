//! Two independent servers, and clients that know both: when one stops, its clients continue at the
//! other.
//!
//! `cargo run -p broker-net --example failover`

use std::time::Duration;

use async_nats::{Client, ConnectOptions, ServerAddr};
use broker_net::LameDuck;
use broker_net::testing::TestBroker;
use futures_util::StreamExt;

/// Connects to the first server, or to the second if the first is down.
async fn connect(brokers: [&TestBroker; 2]) -> Result<Client, async_nats::Error> {
    let urls: Result<Vec<ServerAddr>, _> =
        brokers.iter().map(|broker| broker.url().parse()).collect();
    let options = ConnectOptions::new()
        .retain_servers_order()
        .reconnect_delay_callback(|_| Duration::from_millis(5));
    Ok(options.connect(urls?).await?)
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), async_nats::Error> {
    let (first, second) = (TestBroker::start().await, TestBroker::start().await);
    let subscriber = connect([&first, &second]).await?;
    let publisher = connect([&first, &second]).await?;
    let mut orders = subscriber.subscribe("orders").await?;
    first.wait_for_subscription("orders").await;

    publisher.publish("orders", "one".into()).await?;
    assert_eq!(orders.next().await.ok_or("closed")?.payload, "one");

    // Stops with an announcement: clients that react to it have left before it ends.
    first.lame_duck(LameDuck::new(Duration::from_millis(100), Duration::from_millis(10))).await;
    drop(first);

    // The subscription has moved too.
    second.wait_for_clients(2).await;
    second.wait_for_subscription("orders").await;
    publisher.publish("orders", "two".into()).await?;
    assert_eq!(orders.next().await.ok_or("closed")?.payload, "two");
    println!("the clients have continued at the second server");
    Ok(())
}
