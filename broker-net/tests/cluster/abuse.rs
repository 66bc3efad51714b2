//! Hostile connections to the port for routes.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::nodes::{address, has_peers, in_time, options, port, start, start_with};

/// Connections that say nothing; the server keeps 4 of them.
const FLOOD: usize = 20;
const KEPT: usize = 4;

async fn ping(client: &mut BufReader<TcpStream>) {
    client.write_all(b"PING\r\n").await.unwrap();
    let mut line = String::new();
    while line != "PONG\r\n" {
        line.clear();
        assert!(in_time(client.read_line(&mut line)).await.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_flood_of_silent_connections_delays_neither_clients_nor_servers() {
    let mut options = options(&[]);
    options.cluster.as_mut().unwrap().max_unauthenticated = KEPT;
    let server = start_with(options).await;
    let mut client = BufReader::new(TcpStream::connect(server.local_addr()).await.unwrap());
    let mut flood = Vec::new();
    for _ in 0..FLOOD {
        flood.push(TcpStream::connect(address(&server)).await.unwrap());
        ping(&mut client).await;
    }
    // Clients are accepted, and another server finds its way.
    ping(&mut BufReader::new(TcpStream::connect(server.local_addr()).await.unwrap())).await;
    let other = start(&[port(&server)]).await;
    has_peers(&server, 1).await;
    has_peers(&other, 1).await;
    // The oldest were closed.
    for mut stream in flood.drain(..FLOOD - KEPT) {
        let mut bytes = Vec::new();
        let _ = in_time(stream.read_to_end(&mut bytes)).await;
    }
    ping(&mut client).await;
}
