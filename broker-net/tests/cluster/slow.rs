//! A server that does not read.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::log::Lines;
use crate::nodes::{address, has_peers, in_time, options, peers, port, start, start_with, until};

/// The first lines of a server of the same cluster, with interest in a subject of the account of all clients.
const GREETING: &str = concat!(
    r#"CONNECT {"echo":true,"verbose":false,"pedantic":false,"tls_required":false,"#,
    r#""name":"SLOW","cluster":"test","headers":true,"lnoc":true}"#,
    "\r\n",
    r#"INFO {"server_id":"SLOW","server_name":"SLOW","version":"2.9.10","proto":1,"#,
    r#""host":"127.0.0.1","port":1,"headers":true,"max_payload":1048576,"cluster":"test","lnoc":true}"#,
    "\r\nRS+ $G slow\r\nPING\r\n"
);

#[tokio::test]
async fn a_server_that_does_not_read_is_closed_as_a_slow_consumer_and_delays_no_other() {
    let (lines, _guard) = Lines::capture();
    let mut options = options(&[]);
    options.broker.limits.max_pending_bytes = 1 << 20;
    options.broker.cluster.as_mut().unwrap().write_deadline = Some(Duration::from_millis(100));
    let server = start_with(options).await;
    let other = start(&[port(&server)]).await;
    has_peers(&server, 1).await;
    let mut slow = TcpStream::connect(address(&server)).await.unwrap();
    slow.write_all(GREETING.as_bytes()).await.unwrap();
    has_peers(&server, 2).await;

    // The other server's client gets everything.
    let mut all = other.client().subscribe("slow").await.unwrap();
    let client = server.client();
    let payload = bytes::Bytes::from(vec![b'x'; 64 << 10]);
    let (mut sent, mut received) = (0, 0);
    until("interest of the other", || {
        let routes = server.broker().cluster().unwrap().routes();
        routes.iter().any(|route| route.subscriptions > 0 && route.remote_id != "SLOW")
    })
    .await;
    while peers(&server) == 2 {
        client.publish("slow", payload.clone()).await.unwrap();
        sent += 1;
        let message = in_time(all.next()).await.unwrap();
        assert_eq!(message.payload.len(), payload.len());
        received += 1;
    }
    assert_eq!(received, sent);
    assert_eq!(lines.with("Router connection closed: Slow Consumer").len(), 1);
    assert_eq!(peers(&server), 1);
}
