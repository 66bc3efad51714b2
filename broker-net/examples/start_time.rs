//! How long it takes from nothing to the first PONG of an embedded server: the median of 200.
//!
//! `cargo run --release -p broker-net --example start_time`

use std::time::{Duration, Instant};

use broker_net::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ROUNDS: usize = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        times.push(once().await?);
    }
    times.sort_unstable();
    println!("start to first PONG: median {:?}, worst {:?}", times[ROUNDS / 2], times[ROUNDS - 1]);
    Ok(())
}

async fn once() -> Result<Duration, Box<dyn std::error::Error>> {
    let began = Instant::now();
    let server = Server::builder().bind().await?;
    let mut stream = TcpStream::connect(server.local_addr()).await?;
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").await?;
    let mut seen = Vec::new();
    while !seen.ends_with(b"PONG\r\n") {
        stream.read_buf(&mut seen).await?;
    }
    Ok(began.elapsed())
}
