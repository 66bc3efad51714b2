use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::common::{Client, DEADLINE, ask, get, start};

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
async fn a_connection_with_an_incomplete_request_is_closed() {
    let daemon = start().await;
    let mut stream = TcpStream::connect(daemon.monitoring_addr().unwrap()).await.unwrap();
    stream.write_all(b"GET /varz HTTP/1.1\r\nHost").await.unwrap();
    let begun = Instant::now();
    let mut text = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut text)).await.unwrap().unwrap();
    assert!((4..15).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn endless_headers_are_refused() {
    let daemon = start().await;
    let mut stream = TcpStream::connect(daemon.monitoring_addr().unwrap()).await.unwrap();
    let endless = "X-Long: ".to_owned() + &"x".repeat(64 << 10);
    // The server may close the connection before all is written.
    let _ = stream.write_all(format!("GET /varz HTTP/1.1\r\n{endless}").as_bytes()).await;
    let mut text = Vec::new();
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut text)).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 431 "), "{text}");
    assert_eq!(get(&daemon, "/varz").await.status, 200);
}

#[tokio::test]
async fn headers_are_bounded_by_their_bytes_and_not_by_their_number() {
    let daemon = start().await;
    let request = |lines: usize| {
        let lines = "a:\r\n".repeat(lines);
        format!("GET /varz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n")
    };
    let rest = request(0).len();
    let fits = request(((16 << 10) - rest) / 4);
    assert!(fits.len() > (16 << 10) - 4);
    assert_eq!(ask(&daemon, &fits).await.status, 200);
    assert_eq!(ask(&daemon, &request(1000)).await.status, 200);
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
async fn idle_connections_do_not_exclude_others() {
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

#[tokio::test]
async fn unread_large_responses_do_not_delay_others() {
    let daemon = start().await;
    let mut client = Client::connect(&daemon, "").await;
    let subscriptions: String =
        (0..20_000).map(|one| format!("SUB a.long.enough.subject.{one} {one}\r\n")).collect();
    client.say(&subscriptions).await;
    let address = daemon.monitoring_addr().unwrap();
    let mut asking = Vec::new();
    // Each response takes megabytes; the limit for all of them is 64 MiB.
    for _ in 0..100 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /connz?subs=detail HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        asking.push(stream);
    }
    assert_eq!(get(&daemon, "/healthz").await.status, 200);
    client.say("PUB a 1\r\nx\r\n").await;
    drop(asking);
    // The connections' permits are available again.
    let answer = get(&daemon, "/varz").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn invalid_parameters_are_refused_whatever_their_length() {
    let daemon = start().await;
    let long = "9".repeat(8000);
    for name in ["limit", "offset", "cid", "subs", "auth", "state", "sort"] {
        let answer = get(&daemon, &format!("/connz?{name}={long}")).await;
        assert_eq!(answer.status, 400, "{name}");
        assert!(answer.body.len() < 9000, "{name}");
    }
    for path in ["subsz?limit", "subsz?offset", "accstatz?unused", "healthz?details", "jsz?limit"] {
        assert_eq!(get(&daemon, &format!("/{path}={long}")).await.status, 400, "{path}");
    }
    // A thousand unknown parameters.
    let many: String = (0..1000).map(|one| format!("n{one}=1&")).collect();
    assert_eq!(get(&daemon, &format!("/connz?{many}")).await.status, 200);
    for strange in ["%", "%zz", "&&&=", "=;=", "\u{1F980}", "%00"] {
        let answer = get(&daemon, &format!("/connz?user={strange}")).await;
        assert!([200, 400].contains(&answer.status), "{strange}: {answer:?}");
    }
}
