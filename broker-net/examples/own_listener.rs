//! A broker without a port: clients connect by in-process streams, which stand for any transport of
//! the program, such as a simulated network, a tunnel, or streams of another protocol.
//!
//! `cargo run -p broker-net --example own_listener`

use std::io;
use std::net::SocketAddr;

use broker_net::{Listener, Server};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::sync::mpsc;

/// The connecting side of the tunnel.
#[derive(Clone)]
struct Dialler(mpsc::Sender<DuplexStream>);

/// The accepting side of the tunnel.
struct Tunnel(mpsc::Receiver<DuplexStream>);

fn tunnel() -> (Dialler, Tunnel) {
    let (dial, arrive) = mpsc::channel(16);
    (Dialler(dial), Tunnel(arrive))
}

impl Dialler {
    async fn dial(&self) -> io::Result<DuplexStream> {
        let (near, far) = tokio::io::duplex(64 << 10);
        self.0.send(far).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(near)
    }
}

impl Listener for Tunnel {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, Option<SocketAddr>)> {
        match self.0.recv().await {
            Some(stream) => Ok((stream, None)),
            // No further connections are possible; the server continues for existing ones.
            None => std::future::pending().await,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (dialler, tunnel) = tunnel();
    let server = Server::builder().listener(tunnel).bind().await?;
    let mut orders = server.client().subscribe("orders.*").await?;

    let mut stream = BufReader::new(dialler.dial().await?);
    let mut info = String::new();
    stream.read_line(&mut info).await?;
    assert!(info.starts_with("INFO {"), "{info}");
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nPUB orders.eu 3\r\none\r\n").await?;
    assert_eq!(orders.next().await.ok_or("closed")?.payload, "one");

    server.shutdown().await;
    assert!(dialler.dial().await.is_err());
    println!("one order, by the tunnel");
    Ok(())
}
