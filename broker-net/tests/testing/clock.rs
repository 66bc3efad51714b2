//! The movable clock.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use broker_net::testing::{Fault, TestBroker, block_on};

use crate::SOON;

/// Reads lines until one begins with `start`, or the end.
fn read_until(reader: &mut impl BufRead, start: &str) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).unwrap() == 0 || line.starts_with(start) {
            return line;
        }
    }
}

#[test]
fn a_silent_client_is_pinged_and_closed_without_real_waiting() {
    let broker = TestBroker::start_blocking();
    let began = Instant::now();
    let stream = TcpStream::connect(broker.address()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    (&stream).write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").unwrap();
    let mut reader = BufReader::new(&stream);
    assert_eq!(read_until(&mut reader, "PONG"), "PONG\r\n");
    for _ in 0..2 {
        block_on(broker.advance(Duration::from_mins(2)));
        assert_eq!(read_until(&mut reader, "PING"), "PING\r\n");
    }
    block_on(broker.advance(Duration::from_mins(2)));
    assert_eq!(read_until(&mut reader, "-ERR"), "-ERR 'Stale Connection'\r\n");
    assert!(began.elapsed() < Duration::from_mins(1));
}

#[tokio::test]
async fn a_client_that_does_not_authenticate_in_time_is_closed() {
    let broker = TestBroker::builder().user("a", "pw").start().await.unwrap();
    let mut stream = tokio::net::TcpStream::connect(broker.address()).await.unwrap();
    broker.wait_for_clients(1).await;
    broker.advance(Duration::from_secs(3)).await;
    let mut said = Vec::new();
    let reading = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut said);
    tokio::time::timeout(SOON, reading).await.unwrap().unwrap();
    let said = String::from_utf8(said).unwrap();
    assert!(said.ends_with("-ERR 'Authentication Timeout'\r\n"), "{said}");
}

#[tokio::test]
async fn advancing_the_clock_delivers_delayed_messages() {
    let broker = TestBroker::builder().own_thread().start().await.unwrap();
    let client = broker.client();
    let mut inbox = client.subscribe("x").await.unwrap();
    let tap = broker.tap("y");
    let waiting = tokio::spawn(tap.next().within(SOON).into_future());
    broker.disturb("x", Fault::delay(Duration::from_hours(1)));
    client.publish("x", "1".into()).await.unwrap();
    broker.advance(Duration::from_hours(2)).await;
    assert_eq!(inbox.next().await.unwrap().payload, "1");
    client.publish("y", "2".into()).await.unwrap();
    assert_eq!(waiting.await.unwrap().payload, "2");
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "start the broker with `own_thread()`")]
async fn the_clock_of_several_threads_cannot_be_moved() {
    TestBroker::start().await.advance(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "use `tokio::time::advance`")]
async fn a_paused_clock_is_moved_by_its_owner() {
    TestBroker::start().await.advance(Duration::from_secs(1)).await;
}
