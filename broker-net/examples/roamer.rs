//! A client of a cluster whose servers are replaced one by one: it answers requests to `roam.NAME` with NAME, and moves
//! to another server whenever its own ends.
//!
//! `cargo run -p broker-net --example roamer NAME nats://127.0.0.1:4222,nats://127.0.0.1:4223`; ends with its standard
//! input. `tests/interop/cluster` runs it while it migrates a cluster from nats-server to natsd and back.

use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use futures_util::StreamExt;

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), async_nats::Error> {
    let mut arguments = std::env::args().skip(1);
    // Without arguments there is nothing to do.
    let (Some(name), Some(urls)) = (arguments.next(), arguments.next()) else { return Ok(()) };
    let urls: Result<Vec<ServerAddr>, _> = urls.split(',').map(str::parse).collect();
    let options = ConnectOptions::new().reconnect_delay_callback(|_| Duration::from_millis(20));
    let client = options.connect(urls?).await?;
    let mut requests = client.subscribe(format!("roam.{name}")).await?;
    client.flush().await?;
    println!("ready");
    let answers = async {
        while let Some(request) = requests.next().await {
            if let Some(reply) = request.reply {
                client.publish(reply, name.clone().into()).await?;
            }
        }
        Err::<(), async_nats::Error>("the client library gave up".into())
    };
    let end =
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    tokio::select! {
        gave_up = answers => gave_up,
        _ = end => Ok(()),
    }
}
