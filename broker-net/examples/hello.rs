//! A server inside a program: clients connect over the network, and the program participates
//! without a socket.
//!
//! `cargo run -p broker-net --example hello`

use async_nats::Client;
use broker_net::Server;
use futures_util::StreamExt;

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Listens on any free port by default; ready when this returns.
    let server = Server::builder().bind().await?;

    // The program's own client, without a socket.
    let mut greetings = server.client().subscribe("greetings.*").await?;

    // A client over the network.
    let client: Client = async_nats::connect(server.url()).await?;
    let mut answers = client.subscribe("answers").await?;
    client.publish_with_reply("greetings.world", "answers", "hello".into()).await?;

    let greeting = greetings.next().await.ok_or("the server has gone")?;
    println!("{}: {}", greeting.subject, String::from_utf8_lossy(&greeting.payload));
    let reply = greeting.reply.ok_or("no reply subject")?;
    server.client().publish(reply, "hello yourself".into()).await?;

    let answer = answers.next().await.ok_or("the server has gone")?;
    assert_eq!(answer.payload, "hello yourself");

    // Clients may read what is queued for them; then they are closed.
    server.shutdown().await;
    Ok(())
}
