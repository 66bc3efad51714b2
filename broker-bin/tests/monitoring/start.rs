use broker_bin::{Daemon, Options, StartError};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{get, json, options, start};

#[tokio::test]
async fn without_a_port_nothing_listens_but_data_is_available() {
    let daemon = Daemon::start(Options { http_port: 0, ..options() }).await.unwrap();
    assert_eq!(daemon.monitoring_addr(), None);
    assert_eq!(daemon.varz().http_port, 0);
    assert_eq!(daemon.connz(&Default::default()).unwrap().total, 0);
    assert_eq!(daemon.subsz(&Default::default()).unwrap().stats.num_subscriptions, 0);
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = Daemon::start(Options { http_port: port.into(), ..options() }).await.unwrap_err();
    let text = error.to_string();
    let expected =
        format!("Can't start monitoring: can't listen to the monitor port 127.0.0.1:{port}: ");
    assert!(text.starts_with(&expected), "{text}");
}

/// A program that can connect as a client can query the server's health.
#[tokio::test]
async fn monitoring_listens_first_then_websocket_and_the_port_of_clients_last() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut options = Options { port, http_port: port.into(), ..options() };
    options.websocket.host = Some("127.0.0.1".to_owned());
    options.websocket.port = port.into();
    options.websocket.no_tls = true;
    let mut failed = Vec::new();
    for _ in 0..3 {
        let error = Daemon::start(options.clone()).await.unwrap_err();
        match error {
            StartError::Monitor { .. } => options.http_port = -1,
            StartError::Websocket { .. } => options.websocket.port = -1,
            StartError::Listen { .. } => options.port = 0,
            _ => panic!("{error}"),
        }
        failed.push(error.to_string());
    }
    assert!(failed[0].starts_with("Can't start monitoring: "), "{failed:?}");
    assert!(failed[1].starts_with("Unable to listen for websocket connections: "), "{failed:?}");
    assert!(failed[2].starts_with("Error listening on port: "), "{failed:?}");
    assert_eq!(get(&Daemon::start(options).await.unwrap(), "/healthz").await.status, 200);
}

#[tokio::test]
async fn monitoring_stops_with_its_server() {
    let daemon = start().await;
    let address = daemon.monitoring_addr().unwrap();
    assert_eq!(get(&daemon, "/varz").await.status, 200);
    daemon.stop().await;
    let waiting = async { while TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(crate::common::DEADLINE, waiting).await.unwrap();
}

#[tokio::test]
async fn the_ports_file_lists_the_monitoring_port() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { ports_file_dir: Some(dir.path().to_owned()), ..options() };
    let daemon = Daemon::start(options).await.unwrap();
    let file = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap();
    let ports: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(file.path()).unwrap()).unwrap();
    let expected = format!("http://{}", daemon.monitoring_addr().unwrap());
    assert_eq!(ports["monitoring"], serde_json::json!([expected]));
}

#[tokio::test]
async fn two_servers_in_one_process_are_monitored_separately() {
    let (a, b) = (start().await, start().await);
    let (one, other) = (json(&a, "/varz").await, json(&b, "/varz").await);
    assert_ne!(one["server_id"], other["server_id"]);
    let (one, other) = (get(&a, "/metrics").await.body, get(&b, "/metrics").await.body);
    let (port_a, port_b) = (a.monitoring_addr().unwrap(), b.monitoring_addr().unwrap());
    assert!(one.contains(&port_a.to_string()) && !one.contains(&port_b.to_string()));
    assert!(other.contains(&port_b.to_string()) && !other.contains(&port_a.to_string()));
    assert!(one.contains("gnatsd_varz_http_req_stats_varz{"), "requested once");
}
