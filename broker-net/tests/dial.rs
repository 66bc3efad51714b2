//! Outgoing connections without TLS: attempts, delays, lines.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the helpers of a test may panic as the test itself may"
)]

use std::io;
use std::time::Duration;

use broker_net::testing::{Answer, TestListener};
use broker_net::{
    Backoff, DialError, DialOptions, DialedConnection, Dialer, ReadLineError, Server,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

/// Far longer than anything here takes.
const SOON: Duration = Duration::from_secs(10);

const MIN: Duration = Duration::from_millis(100);
const MAX: Duration = Duration::from_secs(1);

/// A paused clock moves on to the end of a timeout while a connection is made, so that the timeout
/// must be short compared with a delay.
const CONNECT: Duration = Duration::from_millis(2);

fn options(change: impl FnOnce(&mut DialOptions)) -> DialOptions {
    let mut options = DialOptions::default();
    change(&mut options);
    options
}

fn dialer(listener: &TestListener, change: impl FnOnce(&mut DialOptions)) -> Dialer {
    Dialer::new(&listener.address().to_string(), options(change)).unwrap()
}

/// Creates a dialer with short delays.
fn hasty(listener: &TestListener) -> Dialer {
    dialer(listener, |options| {
        options.connect_timeout = CONNECT;
        options.backoff = Backoff::new(MIN, MAX).lasting(Duration::from_secs(3));
    })
}

#[test]
fn an_address_must_be_a_host_with_a_port() {
    for server in ["", "nats.example", "nats.example:0", ":4222", "::1", "nats.example:x"] {
        let refused = Dialer::new(server, DialOptions::default());
        assert!(matches!(refused, Err(DialError::InvalidServer(_))), "{server}");
    }
    for (server, shown) in [("[::1]:4222", "[::1]:4222"), (" a : 1 ", "a:1")] {
        assert_eq!(Dialer::new(server, DialOptions::default()).unwrap().server(), shown);
    }
}

#[tokio::test]
async fn an_unresolvable_name_is_a_distinct_error() {
    let mut dialer = Dialer::new("nats\0.example:4222", DialOptions::default()).unwrap();
    let error = dialer.dial().await.unwrap_err();
    assert!(matches!(error, DialError::Resolve { .. }), "{error:?}");
    assert!(error.to_string().contains("DNS"), "{error}");
}

#[tokio::test]
async fn a_name_of_this_machine_is_resolved() {
    let listener = TestListener::start(Answer::Say(b"INFO {}\r\n".to_vec())).unwrap();
    let server = format!("localhost:{}", listener.address().port());
    let mut connection =
        Dialer::new(&server, DialOptions::default()).unwrap().dial().await.unwrap();
    assert_eq!(connection.remote_addr(), listener.address());
    assert_eq!(connection.read_line(100).await.unwrap(), b"INFO {}");
    assert!(connection.security().is_none());
}

#[tokio::test]
async fn a_refused_connection_names_the_address_and_the_reason() {
    let listener = TestListener::refusing().unwrap();
    let error = dialer(&listener, |_| {}).dial().await.unwrap_err();
    assert!(error.to_string().contains(&listener.address().to_string()), "{error}");
    let DialError::Connect { attempts, .. } = error else { panic!("{error:?}") };
    assert_eq!(attempts[0].address, listener.address());
    assert_eq!(attempts[0].error.kind(), io::ErrorKind::ConnectionRefused);
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn an_unresponsive_address_times_out() {
    let listener = TestListener::unreachable().unwrap();
    let since = Instant::now();
    let error = dialer(&listener, |_| {}).dial().await.unwrap_err();
    assert!((1_000..1_010).contains(&since.elapsed().as_millis()), "{:?}", since.elapsed());
    let DialError::Connect { attempts, .. } = error else { panic!("{error:?}") };
    assert_eq!(attempts[0].error.kind(), io::ErrorKind::TimedOut);
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn an_attempt_has_a_total_timeout() {
    let listener = TestListener::unreachable().unwrap();
    let since = Instant::now();
    let mut dialer = dialer(&listener, |options| options.timeout = Duration::from_millis(300));
    let error = dialer.dial().await.unwrap_err();
    assert!(
        matches!(error, DialError::Timeout { after, .. } if after.as_millis() == 300),
        "{error:?}"
    );
    assert!((300..310).contains(&since.elapsed().as_millis()), "{:?}", since.elapsed());
}

/// Dials, and returns the duration.
async fn timed(dialer: &mut Dialer) -> (Result<DialedConnection, DialError>, Duration) {
    let since = Instant::now();
    (dialer.next().await, since.elapsed())
}

#[track_caller]
fn assert_paused(took: Duration, due: Duration) {
    assert!((due / 2..=due + 2 * CONNECT).contains(&took), "{took:?} of {due:?}");
}

#[tokio::test(start_paused = true)]
async fn delays_grow_with_each_failure_up_to_the_maximum_and_reset_after_a_lasting_connection() {
    let listener = TestListener::refusing().unwrap();
    let mut dialer = hasty(&listener);
    let (failed, took) = timed(&mut dialer).await;
    assert!(failed.is_err() && took <= CONNECT, "the first does not wait: {took:?}");
    let mut due = MIN;
    for _ in 0..6 {
        let (failed, took) = timed(&mut dialer).await;
        assert!(failed.is_err());
        assert_paused(took, due);
        due = (due * 2).min(MAX);
    }
    assert_eq!((due, dialer.pauses()), (MAX, 7));
    // Accepted and closed at once, which counts as a failure.
    listener.listen(Answer::Close).unwrap();
    for _ in 0..2 {
        let (connected, took) = timed(&mut dialer).await;
        assert!(connected.is_ok());
        assert_paused(took, MAX);
    }
    let (connected, _) = timed(&mut dialer).await;
    tokio::time::advance(Duration::from_secs(3)).await;
    drop(connected);
    let (connected, took) = timed(&mut dialer).await;
    assert!(connected.is_ok());
    assert_paused(took, MIN);
    assert_eq!(dialer.pauses(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_and_repeated_attempt_is_not_made_earlier() {
    let listener = TestListener::refusing().unwrap();
    let mut dialer = dialer(&listener, |options| {
        options.connect_timeout = CONNECT;
        options.backoff = Backoff::new(MAX, MAX);
    });
    assert!(dialer.next().await.is_err());
    let since = Instant::now();
    let mut dropped = 0;
    while timeout(MIN, dialer.next()).await.is_err() {
        dropped += 1;
    }
    assert_paused(since.elapsed(), MAX);
    assert!(dropped >= 4, "{dropped}");
    assert_eq!(dialer.pauses(), 2);
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn an_attempt_dropped_while_connecting_counts() {
    let listener = TestListener::unreachable().unwrap();
    let mut dialer = dialer(&listener, |options| {
        options.connect_timeout = SOON;
        options.backoff = Backoff::new(MAX, MAX);
    });
    assert!(timeout(MIN, dialer.next()).await.is_err());
    assert_eq!(dialer.pauses(), 1);
    let since = Instant::now();
    assert!(timeout(MAX + MIN, dialer.next()).await.is_err());
    assert_eq!(dialer.pauses(), 2, "it has waited, and begun another");
    assert!(since.elapsed() >= MAX);
}

#[tokio::test]
async fn a_line_is_read_without_its_end_and_no_further_bytes_are_consumed() {
    let listener = TestListener::start(Answer::Say(b"INFO {}\r\n+OK\nrest".to_vec())).unwrap();
    let mut connection = dialer(&listener, |_| {}).dial().await.unwrap();
    assert_eq!(connection.read_line(100).await.unwrap(), b"INFO {}");
    assert_eq!(connection.read_line(3).await.unwrap(), b"+OK");
    let mut rest = [0; 4];
    timeout(SOON, connection.read_exact(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest, *b"rest");
}

#[tokio::test]
async fn a_line_that_is_too_long_or_ends_too_early_is_an_error() {
    let listener = TestListener::start(Answer::Say(b"12345\n".to_vec())).unwrap();
    let mut dialer = dialer(&listener, |_| {});
    for (limit, is_read) in [(4, false), (5, true), (6, true)] {
        let read = dialer.dial().await.unwrap().read_line(limit).await;
        match read {
            Ok(line) => assert!(is_read && line == b"12345"),
            Err(ReadLineError::TooLong { limit: 4 }) => assert!(!is_read),
            Err(error) => panic!("{error:?}"),
        }
    }
    listener.answer(Answer::Close);
    let read = dialer.dial().await.unwrap().read_line(100).await;
    assert!(matches!(read, Err(ReadLineError::Closed)), "{read:?}");
    listener.answer(Answer::Reset);
    // A reset may arrive before the connection is established.
    if let Ok(mut connection) = dialer.dial().await {
        let read = connection.read_line(100).await;
        assert!(matches!(read, Err(ReadLineError::Io(_))), "{read:?}");
    }
    assert!(listener.accepted() >= 5);
}

#[tokio::test]
async fn megabytes_pass_both_ways_and_each_side_sees_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let echo = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut from, mut to) = stream.split();
        tokio::io::copy(&mut from, &mut to).await.unwrap()
    });
    let connection =
        Dialer::new(&address.to_string(), DialOptions::default()).unwrap().dial().await;
    let (mut from, mut to) = tokio::io::split(connection.unwrap());
    let sent: Vec<u8> = (0..4 << 20).map(|at: u32| (at ^ at >> 9) as u8).collect();
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    timeout(SOON, from.read_to_end(&mut received)).await.unwrap().unwrap();
    assert!(received == expected);
    writing.await.unwrap();
    assert_eq!(echo.await.unwrap(), 4 << 20);
}

#[tokio::test]
async fn a_dropped_connection_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut dialer = Dialer::new(&address.to_string(), DialOptions::default()).unwrap();
    let (connection, accepted) = tokio::join!(dialer.dial(), listener.accept());
    let (mut stream, _) = accepted.unwrap();
    drop(connection.unwrap());
    assert_eq!(timeout(SOON, stream.read(&mut [0; 8])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_dialled_connection_is_served_as_an_accepted_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().bind().await.unwrap();
    let mut orders = server.client().subscribe("orders").await.unwrap();
    let mut dialer = Dialer::new(&address.to_string(), DialOptions::default()).unwrap();
    let (connection, accepted) = tokio::join!(dialer.dial(), listener.accept());
    server.serve(connection.unwrap());
    let mut client = BufReader::new(accepted.unwrap().0);
    let mut line = String::new();
    timeout(SOON, client.read_line(&mut line)).await.unwrap().unwrap();
    assert!(line.starts_with("INFO {"), "{line}");
    client.write_all(b"CONNECT {\"verbose\":false}\r\nPUB orders 3\r\none\r\n").await.unwrap();
    assert_eq!(timeout(SOON, orders.next()).await.unwrap().unwrap().payload, "one");
    assert_eq!(server.broker().connections()[0].remote, Some(address));
    server.shutdown().await;
    line.clear();
    timeout(SOON, client.read_line(&mut line)).await.unwrap().unwrap();
    assert_eq!(line, "", "it ends with the server");
}
