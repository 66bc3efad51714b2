//! Measures the time from the start of a broker, or of a cluster of three, to the first message,
//! which each test pays: the median of 200.
//!
//! `cargo run --release -p broker-net --example start_time`

use std::error::Error;
use std::time::{Duration, Instant};

use broker_net::testing::{TestBroker, TestCluster};
use futures_util::StreamExt;

const ROUNDS: usize = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    measure("through async-nats", through_async_nats).await?;
    measure("through the in-process client", in_process).await?;
    measure("the same, on a thread of its own", on_its_own_thread).await?;
    measure("from one server of a cluster to another", in_a_cluster).await
}

async fn measure(
    name: &str,
    once: impl AsyncFn() -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        once().await?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let [median, worst]: [Duration; 2] = [times[ROUNDS / 2], times[ROUNDS - 1]];
    println!("start to first message {name}: median {median:?}, worst {worst:?}");
    Ok(())
}

async fn through_async_nats() -> Result<(), Box<dyn Error>> {
    let broker = TestBroker::start().await;
    let client = async_nats::connect(broker.url()).await?;
    let mut inbox = client.subscribe("x").await?;
    client.publish("x", "hello".into()).await?;
    inbox.next().await.ok_or("no message")?;
    Ok(())
}

async fn in_process() -> Result<(), Box<dyn Error>> {
    one_message(TestBroker::start().await).await
}

async fn on_its_own_thread() -> Result<(), Box<dyn Error>> {
    one_message(TestBroker::builder().own_thread().start().await?).await
}

async fn one_message(broker: TestBroker) -> Result<(), Box<dyn Error>> {
    let client = broker.client();
    let mut inbox = client.subscribe("x").await?;
    client.publish("x", "hello".into()).await?;
    inbox.next().await.ok_or("no message")?;
    Ok(())
}

async fn in_a_cluster() -> Result<(), Box<dyn Error>> {
    let cluster = TestCluster::start(3).await;
    let mut inbox = cluster.client(2).subscribe("x").await?;
    cluster.wait_for_interest("x").await;
    cluster.client(0).publish("x", "hello".into()).await?;
    inbox.next().await.ok_or("no message")?;
    Ok(())
}
