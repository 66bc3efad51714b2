//! A cluster of three servers, and a service that knows the address of one: the cluster tells it the others, so that it
//! continues at one of them when its own server ends.
//!
//! `cargo run -p broker-net --example cluster`

use std::error::Error;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, RequestErrorKind};
use broker_core::cluster::{ClusterOptions, RouteAddress};
use broker_net::{ClusterListenerOptions, Server};
use futures_util::StreamExt;

/// Starts a server that finds the others by the first one.
async fn start(first: Option<&Server>) -> Result<Server, Box<dyn Error>> {
    let mut cluster = ClusterOptions::default();
    cluster.name = Some("shop".to_owned());
    if let Some(address) = first.and_then(Server::cluster_addr) {
        let (host, port) = (address.ip().to_string(), address.port());
        cluster.routes.push(RouteAddress { host, port, credentials: None });
    }
    Ok(Server::builder().cluster(ClusterListenerOptions::default(), cluster).bind().await?)
}

/// Waits until a server is connected to two others.
async fn complete(server: &Server) {
    while server.broker().cluster().is_none_or(|cluster| cluster.server_count() < 2) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Connects to a server; to another one of its cluster when it is lost.
async fn connect(server: &Server) -> Result<Client, Box<dyn Error>> {
    let options = ConnectOptions::new()
        .request_timeout(Some(Duration::from_secs(1)))
        .reconnect_delay_callback(|_| Duration::from_millis(5));
    Ok(options.connect(server.url()).await?)
}

/// Repeats the request until it is answered.
async fn ask(client: &Client) -> Result<(), Box<dyn Error>> {
    loop {
        match client.request("price", "apple".into()).await {
            Ok(answer) if answer.payload == "2 per kg" => return Ok(()),
            Ok(answer) => return Err(format!("{:?}", answer.payload).into()),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) if error.kind() == RequestErrorKind::TimedOut => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let first = start(None).await?;
    let second = start(Some(&first)).await?;
    let third = start(Some(&first)).await?;
    for server in [&first, &second, &third] {
        complete(server).await;
    }

    let service = connect(&first).await?;
    let mut questions = service.subscribe("price").await?;
    tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            if let Some(reply) = question.reply {
                let _ = service.publish(reply, "2 per kg".into()).await;
            }
        }
    });
    let asker = connect(&third).await?;
    ask(&asker).await?;

    drop(first);
    ask(&asker).await?;
    println!("the service has continued at another server");
    second.shutdown().await;
    third.shutdown().await;
    Ok(())
}
