//! A broker without a port that anybody could find: its clients come by streams within the process, which stand for
//! whatever your program has: a simulated network, a tunnel, streams of another protocol.
//!
//! `cargo run -p broker-net --example own_listener`

use std::io;
use std::net::SocketAddr;

use broker_net::{Listener, Server};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::sync::mpsc;

/// Whoever holds it can connect.
#[derive(Clone)]
struct Dialler(mpsc::Sender<DuplexStream>);

/// The other end.
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
            // Nobody can dial any more; the server goes on for those who are here.
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
