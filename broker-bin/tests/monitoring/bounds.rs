use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::common::{Client, DEADLINE, get, start};

#[tokio::test]
async fn a_thousand_requests_at_once_are_all_answered_and_disturb_no_client() {
    let daemon = start().await;
    let mut client = Client::connect(&daemon, "").await;
    let address = daemon.monitoring_addr().unwrap();
    let mut asking = JoinSet::new();
    for _ in 0..1000 {
        asking.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = b"GET /connz?subs=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            stream.write_all(request).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            text.starts_with("HTTP/1.1 200 OK")
        });
    }
    let begun = Instant::now();
    client.say("SUB a 1\r\nPUB a 1\r\nx\r\n").await;
    assert!(begun.elapsed() < DEADLINE / 4, "{:?}", begun.elapsed());
    let answered = tokio::time::timeout(DEADLINE, asking.join_all()).await.unwrap();
    assert_eq!(answered.iter().filter(|is_well| **is_well).count(), 1000);
}

#[tokio::test]
async fn who_does_not_finish_a_request_is_cut() {
    let daemon = start().await;
    let mut stream = TcpStream::connect(daemon.monitoring_addr().unwrap()).await.unwrap();
    stream.write_all(b"GET /varz HTTP/1.1\r\nHost").await.unwrap();
    let begun = Instant::now();
    let mut text = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut text)).await.unwrap().unwrap();
    assert!((4..15).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let daemon = start().await;
    let mut stream = TcpStream::connect(daemon.monitoring_addr().unwrap()).await.unwrap();
    let endless = "X-Long: ".to_owned() + &"x".repeat(64 << 10);
    // The server may have closed before all is written.
    let _ = stream.write_all(format!("GET /varz HTTP/1.1\r\n{endless}").as_bytes()).await;
    let mut text = Vec::new();
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut text)).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 431 "), "{text}");
    assert_eq!(get(&daemon, "/varz").await.status, 200);
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let daemon = start().await;
    let mut stream = TcpStream::connect(daemon.monitoring_addr().unwrap()).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut text = String::new();
        let reading = async {
            while !text.ends_with("{\"status\":\"ok\"}") {
                text.push(char::from(stream.read_u8().await.unwrap()));
            }
        };
        tokio::time::timeout(DEADLINE, reading).await.unwrap();
    }
}

#[tokio::test]
async fn who_waits_with_open_connections_keeps_nobody_else_out() {
    let daemon = start().await;
    let address = daemon.monitoring_addr().unwrap();
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let begun = Instant::now();
    assert_eq!(get(&daemon, "/healthz").await.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    drop(silent);
}
