//! A cluster of two servers of this process and a nats-server: a message from each to each, and to one member of a queue
//! group; then the nats-server restarts.
//!
//! `NATS_SERVER=/path/to/nats-server cargo run -p broker-net --example mixed_cluster`; without the variable, the one in
//! `PATH`. `tests/interop/cluster` runs it with several programs.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Subscriber};
use broker_net::testing::{StartError, TestCluster};
use futures_util::StreamExt;

/// Messages to the queue group.
const JOBS: usize = 300;

async fn connect(cluster: &TestCluster) -> Result<Vec<Client>, Box<dyn Error>> {
    let mut clients = Vec::new();
    for url in cluster.urls() {
        let options = ConnectOptions::new().reconnect_delay_callback(|_| Duration::from_millis(5));
        clients.push(options.connect(url).await?);
    }
    Ok(clients)
}

async fn next(subscriber: &mut Subscriber) -> Result<String, Box<dyn Error>> {
    let message = tokio::time::timeout(Duration::from_secs(10), subscriber.next()).await?;
    Ok(String::from_utf8(message.ok_or("closed")?.payload.to_vec())?)
}

/// Has each client publish a message that all of them get.
async fn greet(clients: &[Client], cluster: &TestCluster) -> Result<(), Box<dyn Error>> {
    let mut hears = Vec::new();
    for (number, client) in clients.iter().enumerate() {
        let subject = format!("greetings.{number}");
        hears.push(client.subscribe(subject.clone()).await?);
        cluster.wait_for_interest(&subject).await;
    }
    for (number, client) in clients.iter().enumerate() {
        for other in 0..clients.len() {
            client.publish(format!("greetings.{other}"), number.to_string().into()).await?;
        }
    }
    for subscriber in &mut hears {
        let mut from = Vec::new();
        for _ in clients {
            from.push(next(subscriber).await?);
        }
        from.sort();
        if from != ["0", "1", "2"] {
            return Err(format!("greetings of {from:?}").into());
        }
    }
    Ok(())
}

/// Has each message to a queue group reach one member.
async fn work(clients: &[Client], cluster: &TestCluster) -> Result<(), Box<dyn Error>> {
    let (mut members, mut markers) = (Vec::new(), Vec::new());
    for (number, client) in clients.iter().enumerate() {
        members.push(client.queue_subscribe("jobs.*", "workers".into()).await?);
        // Interest travels in order: where this is known, the member is.
        let marker = format!("member.{number}");
        markers.push(client.subscribe(marker.clone()).await?);
        cluster.wait_for_interest(&marker).await;
    }
    for job in 0..JOBS {
        clients[job % clients.len()].publish(format!("jobs.{job}"), job.to_string().into()).await?;
    }
    let mut done = BTreeSet::new();
    let mut all = futures_util::stream::select_all(members);
    while done.len() < JOBS {
        let job =
            tokio::time::timeout(Duration::from_secs(10), all.next()).await?.ok_or("closed")?;
        let job = job.subject.to_string();
        if !done.insert(job.clone()) {
            return Err(format!("{job} came twice").into());
        }
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let program = std::env::var_os("NATS_SERVER").unwrap_or_else(|| "nats-server".into());
    let builder = TestCluster::builder().servers(2).with_nats_server(program);
    let mut cluster = match builder.start().await {
        Err(error @ StartError::NoNatsServer { .. }) => {
            println!("{error}");
            return Ok(());
        }
        started => started?,
    };
    let clients = connect(&cluster).await?;
    greet(&clients, &cluster).await?;
    work(&clients, &cluster).await?;
    drop(clients);

    cluster.stop(2);
    cluster.wait_connected().await;
    cluster.restart(2).await?;
    cluster.wait_connected().await;
    greet(&connect(&cluster).await?, &cluster).await?;
    println!("a mixed cluster has passed on all messages");
    Ok(())
}
