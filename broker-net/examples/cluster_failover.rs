//! A test of a service and its client in a cluster of three servers: each server ends and comes back in turn, then one is
//! partitioned from the others. Takes well under a second, and no port but those for clients.
//!
//! `cargo run -p broker-net --example cluster_failover`

use std::error::Error;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, RequestErrorKind};
use broker_net::testing::TestCluster;
use futures_util::StreamExt;

/// Connects to one server, which tells the client the others.
async fn connect(cluster: &TestCluster, number: usize) -> Result<Client, Box<dyn Error>> {
    let options = ConnectOptions::new()
        .request_timeout(Some(Duration::from_millis(200)))
        .reconnect_delay_callback(|_| Duration::from_millis(5));
    Ok(options.connect(cluster.url(number)).await?)
}

/// The code under test: a service with a worker at each server, any of which answers a request.
async fn work(client: Client) -> Result<(), async_nats::Error> {
    let mut orders = client.queue_subscribe("orders", "workers".into()).await?;
    while let Some(order) = orders.next().await {
        let Some(reply) = order.reply else { continue };
        client.publish(reply, order.payload).await?;
    }
    Ok(())
}

/// The code under test: a client that repeats a request that was not answered.
async fn order(client: &Client, what: String) -> Result<(), Box<dyn Error>> {
    loop {
        let error = match client.request("orders", what.clone().into()).await {
            Ok(answer) if answer.payload == what.as_bytes() => return Ok(()),
            Ok(answer) => return Err(format!("{:?}", answer.payload).into()),
            Err(error) => error,
        };
        if !matches!(error.kind(), RequestErrorKind::NoResponders | RequestErrorKind::TimedOut) {
            return Err(error.into());
        }
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let mut cluster = TestCluster::start(3).await;
    for number in 0..3 {
        tokio::spawn(work(connect(&cluster, number).await?));
    }
    let client = connect(&cluster, 0).await?;
    cluster.wait_for_interest("orders").await;

    for number in 0..3 {
        cluster.stop(number);
        order(&client, format!("while {number} is down")).await?;
        cluster.restart(number).await?;
        cluster.wait_connected().await;
        order(&client, format!("after {number} has come back")).await?;
    }

    // A partition that the servers have noticed, and the client has not: it stays connected to a server that is alone,
    // which answers that there are no responders unless a worker is there too.
    cluster.isolate(0);
    cluster.advance(Duration::from_secs(10)).await;
    cluster.wait_connected().await;
    let healing = async {
        cluster.heal();
        cluster.advance(Duration::from_secs(2)).await;
        cluster.wait_connected().await;
    };
    let (ordered, ()) = tokio::join!(order(&client, "in a partition".to_owned()), healing);
    ordered?;
    println!("all orders were answered");
    Ok(())
}
