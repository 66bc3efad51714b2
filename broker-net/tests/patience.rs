//! A publisher's connection waits for a receiver that keeps reading, and for no other. The clock
//! moves only when all tasks are idle, which separates waiting tasks from others.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test itself may")]

use std::time::Duration;

use broker_core::Limits;
use broker_net::{LocalStream, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_mins(10);

const LARGE_MESSAGES: usize = 200;
const SMALL_MESSAGES: usize = 4000;

async fn server(max_pending_bytes: usize) -> Server {
    let limits = Limits { max_pending_bytes, ..Limits::default() };
    Server::builder().limits(limits).bind().await.unwrap()
}

/// Connects a client and reads everything sent to it.
async fn client(server: &Server, lines: &str) -> LocalStream {
    let mut client = server.connect();
    let lines = format!("CONNECT {{\"verbose\":false}}\r\n{lines}PING\r\n");
    client.write_all(lines.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    // The first PONG is followed by a second INFO only for clients that support it; this one does
    // not.
    while !contains_pong(&seen) {
        let len = client.read_buf(&mut seen).await.unwrap();
        assert!(len > 0, "closed: {}", String::from_utf8_lossy(&seen));
    }
    client
}

fn contains_pong(seen: &[u8]) -> bool {
    seen.windows(6).any(|window| window == b"PONG\r\n")
}

fn message(bytes: usize) -> Vec<u8> {
    format!("PUB x {bytes}\r\n{}\r\n", "x".repeat(bytes)).into_bytes()
}

/// Returns the size of that many delivered messages.
fn delivered(messages: usize, bytes: usize) -> usize {
    messages * (format!("MSG x 1 {bytes}\r\n").len() + bytes + 2)
}

/// Lets the other tasks run. The clock stands still meanwhile, since it moves only when all are
/// idle.
async fn let_others_run() {
    for _ in 0..8 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_reads_steadily_but_slower_gets_all() {
    let server = server(4 << 20).await;
    let mut slow = client(&server, "SUB x 1\r\n").await;
    let mut publisher = client(&server, "").await;
    let publishing = tokio::spawn(async move {
        let message = message(100_000);
        for _ in 0..LARGE_MESSAGES {
            publisher.write_all(&message).await.unwrap();
        }
        publisher
    });
    let reading = async {
        let (mut left, mut room) = (delivered(LARGE_MESSAGES, 100_000), vec![0; 32 << 10]);
        while left > 0 {
            let len = slow.read(&mut room).await.unwrap();
            assert!(len > 0, "it was cut with {left} bytes to come");
            left -= len;
            yield_now().await;
        }
    };
    timeout(SOON, reading).await.expect("all arrives");
    publishing.await.unwrap();
    assert_eq!(server.broker().stats().slow_consumers, 0);
}

#[tokio::test(start_paused = true)]
async fn no_client_waits_for_a_receiver_that_does_not_read() {
    let server = server(1 << 20).await;
    let _stalled = client(&server, "SUB x 1\r\n").await;
    let mut reader = client(&server, "SUB x 1\r\n").await;
    let mut publisher = client(&server, "").await;
    let start = Instant::now();
    let publishing = tokio::spawn(async move {
        let message = message(1000);
        for _ in 0..SMALL_MESSAGES {
            publisher.write_all(&message).await.unwrap();
            let_others_run().await;
        }
        publisher
    });
    let reading = async {
        let (mut left, mut room) = (delivered(SMALL_MESSAGES, 1000), vec![0; 64 << 10]);
        while left > 0 {
            let len = reader.read(&mut room).await.unwrap();
            assert!(len > 0, "it was cut with {left} bytes to come");
            left -= len;
        }
    };
    timeout(SOON, reading).await.expect("all arrives");
    assert_eq!(start.elapsed(), Duration::ZERO, "no time has passed");
    publishing.await.unwrap();
    assert_eq!(server.broker().stats().slow_consumers, 1);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_stops_reading_delays_a_publisher_briefly() {
    let server = server(8 << 20).await;
    let mut stops = client(&server, "SUB x 1\r\n").await;
    let mut publisher = client(&server, "").await;
    let start = Instant::now();
    let publishing = tokio::spawn(async move {
        let message = message(10_000);
        for _ in 0..2000 {
            publisher.write_all(&message).await.unwrap();
        }
        publisher.write_all(b"PING\r\n").await.unwrap();
        let mut seen = Vec::new();
        while !contains_pong(&seen) {
            assert!(publisher.read_buf(&mut seen).await.unwrap() > 0);
        }
    });
    // It reads just enough to be waited for.
    let (mut left, mut room) = (1_000_000, vec![0; 64 << 10]);
    while left > 0 {
        let len = stops.read(&mut room).await.unwrap();
        assert!(len > 0, "it was cut with {left} bytes to be read");
        left -= len.min(left);
        yield_now().await;
    }
    timeout(SOON, publishing).await.expect("the publisher goes on").unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(server.broker().stats().slow_consumers, 1);
}
