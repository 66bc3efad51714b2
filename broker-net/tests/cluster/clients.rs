//! Clients of different servers of a cluster.

use broker_core::Client;
use broker_net::{LameDuck, Server, ServerOptions};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::nodes::{has_peers, in_time, options, port, start, start_with, until};

/// Waits until a server knows that another one's client has subscribed.
async fn knows(client: &Client, subject: &str) {
    in_time(async {
        while client.request(subject, "".into()).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_of_one_server_reaches_those_of_others() {
    let a = start(&[]).await;
    let b = start(&[port(&a)]).await;
    // Not configured with b, of which a reports.
    let c = start(&[port(&a)]).await;
    for server in [&a, &b, &c] {
        has_peers(server, 2).await;
    }
    let mut service = b.client().subscribe("ask").await.unwrap();
    let responding = async {
        while let Some(message) = service.next().await {
            if let Some(reply) = message.reply {
                b.client().publish(reply, message.payload).await.unwrap();
            }
        }
    };
    let asking = async {
        for server in [&a, &c] {
            knows(&server.client(), "ask").await;
            let answer = in_time(server.client().request("ask", "hello".into())).await.unwrap();
            assert_eq!(answer.payload, "hello");
        }
    };
    tokio::select! {
        () = responding => panic!("the service has ended"),
        () = asking => {}
    }
}

/// A client that follows INFO.
struct Raw(BufReader<TcpStream>);

impl Raw {
    async fn connect(server: &Server) -> Self {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.write_all(b"CONNECT {\"protocol\":1,\"verbose\":false}\r\nPING\r\n").await.unwrap();
        Self(BufReader::new(stream))
    }

    /// Reads until an INFO has these addresses, in any order.
    async fn is_told(&mut self, expected: &[&Server]) {
        let mut expected: Vec<_> =
            expected.iter().map(|server| server.local_addr().to_string()).collect();
        expected.sort();
        in_time(async {
            loop {
                let mut line = String::new();
                assert!(self.0.read_line(&mut line).await.unwrap() > 0, "closed");
                let Some(json) = line.strip_prefix("INFO ") else { continue };
                let info: serde_json::Value = serde_json::from_str(json).unwrap();
                let urls = info["connect_urls"].as_array().cloned().unwrap_or_default();
                let mut urls: Vec<_> =
                    urls.iter().map(|url| url.as_str().unwrap().to_owned()).collect();
                urls.sort();
                if urls == expected {
                    return;
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn clients_are_told_of_servers_that_come_and_go() {
    let a = start(&[]).await;
    let mut client = Raw::connect(&a).await;
    assert_eq!(a.broker().info().connect_urls, [""; 0], "alone it tells nothing");
    let b = start(&[port(&a)]).await;
    client.is_told(&[&a, &b]).await;
    let c = start(&[port(&a)]).await;
    client.is_told(&[&a, &b, &c]).await;
    let mut other = Raw::connect(&c).await;
    other.is_told(&[&a, &b, &c]).await;
    b.shutdown().await;
    client.is_told(&[&a, &c]).await;
    other.is_told(&[&a, &c]).await;
}

#[tokio::test]
async fn clients_of_others_are_told_of_lame_duck_mode() {
    let a = start(&[]).await;
    let b = start(&[port(&a)]).await;
    let mut client = Raw::connect(&b).await;
    client.is_told(&[&a, &b]).await;
    let _stays = Raw::connect(&a).await;
    until("a client", || a.broker().connections().len() == 1).await;
    let plan = LameDuck::new(Duration::from_hours(1), Duration::from_hours(1));
    let left = [&b];
    tokio::select! {
        () = a.lame_duck(plan) => panic!("a client is connected"),
        () = client.is_told(&left) => {}
    }
    has_peers(&b, 1).await;
}

#[tokio::test]
async fn the_advertised_address_is_told_and_can_change() {
    let a = start(&[]).await;
    let advertising = |options: &mut ServerOptions, advertise: &str| {
        options.client_advertise = Some(advertise.parse().unwrap());
    };
    let mut options = options(&[port(&a)]);
    advertising(&mut options, "one.example:99");
    let b = start_with(options).await;
    has_peers(&a, 1).await;
    let told = |urls: Vec<String>| a.broker().info().connect_urls == urls;
    let own = a.local_addr().to_string();
    until("one.example", || told(vec![own.clone(), "one.example:99".to_owned()])).await;
    let mut options = b.options();
    advertising(&mut options, "two.example:98");
    b.apply(options, None).await.unwrap();
    assert_eq!(b.broker().info().connect_urls[0], "two.example:98");
}

#[cfg(feature = "websocket")]
#[tokio::test]
async fn websocket_clients_are_told_the_advertised_address() {
    let advertising = |routes: &[u16], address: &str| {
        let mut options = options(routes);
        let mut websocket = broker_net::WebsocketOptions::default();
        websocket.advertise = Some(address.parse().unwrap());
        options.websocket = Some(websocket);
        options
    };
    let server = start_with(advertising(&[], "ws.example:99")).await;
    let _other = start_with(advertising(&[port(&server)], "other.example:98")).await;
    let expected = r#""connect_urls":["ws.example:99","other.example:98"]"#;
    in_time(async {
        while !first_websocket_info(&server).await.contains(expected) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Returns the first INFO of a new WebSocket client.
#[cfg(feature = "websocket")]
async fn first_websocket_info(server: &Server) -> String {
    let mut stream = TcpStream::connect(server.websocket_addr().unwrap()).await.unwrap();
    let upgrade = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream);
    let mut line = Vec::new();
    while !line.windows(5).any(|part| part == b"INFO ") {
        line.clear();
        assert!(in_time(lines.read_until(b'\n', &mut line)).await.unwrap() > 0, "closed");
    }
    String::from_utf8_lossy(&line).into_owned()
}
