//! Connections to other servers.

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::log::Lines;
use crate::nodes::{
    dead_port, has_peers, in_time, options, options_to, port, start, start_with, until,
};

#[tokio::test]
async fn servers_connect_to_those_that_they_are_configured_with() {
    let a = start(&[]).await;
    let b = start(&[port(&a)]).await;
    let c = start(&[port(&a), port(&b)]).await;
    for server in [&a, &b, &c] {
        has_peers(server, 2).await;
    }
}

#[tokio::test]
async fn a_name_is_resolved_and_its_own_addresses_are_left_out() {
    let a = start(&[]).await;
    let b = start_with(options_to(&[("localhost", port(&a))])).await;
    has_peers(&a, 1).await;
    has_peers(&b, 1).await;

    let (lines, _guard) = Lines::capture();
    let port = dead_port().await;
    let mut options = options_to(&[("localhost", port)]);
    options.cluster.as_mut().unwrap().port = port;
    options
        .broker
        .cluster
        .as_mut()
        .unwrap()
        .routes
        .extend(b.options().broker.cluster.unwrap().routes);
    let c = start_with(options).await;
    has_peers(&a, 2).await;
    // IPv4 and IPv6 addresses of this machine are among its interfaces.
    assert_eq!(lines.with(&format!("route on localhost:{port}")), Vec::<String>::new());
    drop(c);
}

#[tokio::test]
async fn a_server_that_starts_later_is_connected_then_and_failures_are_logged() {
    let (lines, _guard) = Lines::capture();
    let later = dead_port().await;
    let a = start(&[later]).await;
    let first = format!(
        "ERROR Error trying to connect to route (attempt 1): dial tcp 127.0.0.1:{later}: \
         connect: connection refused"
    );
    // Each connection of a server is dialled by itself.
    until("a failure", || lines.with("(attempt 1)").contains(&first)).await;
    assert!(lines.with("(attempt 1)").iter().all(|line| *line == first));
    let trying =
        format!("DEBUG Trying to connect to route on 127.0.0.1:{later} (127.0.0.1:{later})");
    assert_eq!(lines.with("Trying")[0], trying);
    // The second failure is logged for debugging only.
    until("a second failure", || !lines.with("(attempt 2)").is_empty()).await;
    assert!(lines.with("(attempt 2)")[0].starts_with("DEBUG "));

    let mut options = options(&[]);
    options.cluster.as_mut().unwrap().port = later;
    let b = start_with(options).await;
    has_peers(&a, 1).await;
    has_peers(&b, 1).await;
}

#[tokio::test]
async fn a_server_that_comes_back_is_connected_again() {
    let a = start(&[]).await;
    let at = port(&a);
    let b = start(&[at]).await;
    has_peers(&b, 1).await;
    drop(a);
    has_peers(&b, 0).await;
    let mut options = options(&[]);
    options.cluster.as_mut().unwrap().port = at;
    let a = start_with(options).await;
    has_peers(&a, 1).await;
    has_peers(&b, 1).await;
}

#[tokio::test]
async fn a_server_does_not_stay_connected_to_itself() {
    let itself = dead_port().await;
    let other = start(&[]).await;
    let mut options = options(&[itself, port(&other)]);
    options.cluster.as_mut().unwrap().port = itself;
    let server = start_with(options).await;
    has_peers(&server, 1).await;
    has_peers(&other, 1).await;
    let ids: Vec<_> = server.broker().cluster().unwrap().routes();
    let own = server.broker().info().server_id;
    assert!(ids.iter().all(|route| route.remote_id != own));
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_delays_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = start(&[]).await;
    let server = start(&[silent.local_addr().unwrap().port(), port(&other)]).await;
    let (mut stream, _) = in_time(silent.accept()).await.unwrap();
    has_peers(&server, 1).await;
    has_peers(&other, 1).await;
    in_time(server.shutdown()).await;
    // All that the server has sent, and its end.
    in_time(stream.read_to_end(&mut Vec::new())).await.unwrap();
}
