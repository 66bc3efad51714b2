//! A server behind a firewall that accepts no connections: it repeatedly dials a relay, and serves
//! the clients that the relay connects to it.
//!
//! `cargo run -p broker-net --example reverse`

use std::time::Duration;

use broker_net::{Backoff, DialOptions, Dialer, Server};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The relay, which passes each connection to a client; here it is the client itself.
    let relay = TcpListener::bind("127.0.0.1:0").await?;
    let address = relay.local_addr()?.to_string();

    let server = Server::builder().bind().await?;
    let mut options = DialOptions::default();
    options.backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(5));
    let mut dialer = Dialer::new(&address, options)?;
    let dialing = async {
        loop {
            match dialer.next().await {
                Ok(connection) => server.serve(connection),
                Err(error) => eprintln!("attempt {}: {error}", dialer.pauses()),
            }
        }
    };

    let served = async {
        for number in 1..=3 {
            let (stream, _) = relay.accept().await?;
            let mut client = BufReader::new(stream);
            let mut line = String::new();
            client.read_line(&mut line).await?;
            client.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").await?;
            line.clear();
            client.read_line(&mut line).await?;
            println!("client {number}: {}", line.trim_end());
        }
        Ok(())
    };
    tokio::select! {
        () = dialing => unreachable!("it dials as long as it is polled"),
        served = served => served,
    }
}
