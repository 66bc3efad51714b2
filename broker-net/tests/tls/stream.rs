//! Data arrives completely and in order, regardless of the records it is split into.

use std::time::Duration;

use broker_core::Limits;
use broker_net::Server;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

use crate::authority::Authority;
use crate::client::{SOON, Tls, in_time, start};

/// Returns payload `number` of that size: its number and a pattern derived from it.
fn payload(number: usize, size: usize) -> Vec<u8> {
    let mut payload = format!("{number};").into_bytes();
    let pattern = (number..).map(|at| (at.wrapping_mul(31) % 251) as u8);
    payload.extend(pattern.take(size.saturating_sub(payload.len())));
    payload
}

async fn publish(publisher: &mut Tls, subject: &str, payload: &[u8]) {
    let stream = publisher.stream.get_mut();
    let head = format!("PUB {subject} {}\r\n", payload.len());
    let all = [head.as_bytes(), payload, b"\r\n"].concat();
    tokio::time::timeout(SOON, stream.write_all(&all)).await.expect("in time").unwrap();
}

async fn receive(subscriber: &mut Tls) -> Vec<u8> {
    let line = subscriber.line().await;
    let size: usize = line.trim_end().rsplit(' ').next().unwrap().parse().expect(&line);
    let mut payload = vec![0; size + 2];
    in_time(subscriber.stream.read_exact(&mut payload)).await.unwrap();
    payload.truncate(size);
    payload
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_all_sizes_arrive_in_order() {
    let authority = Authority::new("ca");
    let server = start(&authority).await;
    let mut subscriber = Tls::join(&server, authority.client_config(None)).await;
    subscriber.say("SUB a 1\r\n").await;
    subscriber.ping().await;
    let mut publisher = Tls::join(&server, authority.client_config(None)).await;
    let sizes = [0, 1, 100, 4095, 16_383, 16_384, 16_385, 40_000, 65_536, 300_000, 1 << 20];
    let sizes: Vec<usize> = sizes.iter().copied().cycle().take(200).collect();
    let expected = sizes.clone();
    let publishing = tokio::spawn(async move {
        for (number, size) in sizes.into_iter().enumerate() {
            publish(&mut publisher, "a", &payload(number, size)).await;
        }
        publisher.stream.get_mut().flush().await.unwrap();
        publisher
    });
    for (number, size) in expected.into_iter().enumerate() {
        assert!(receive(&mut subscriber).await == payload(number, size), "message {number}");
    }
    in_time(publishing).await.unwrap();
}

/// Its socket is full most of the time, so that records are written in parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_gets_all_in_order_from_two_publishers() {
    const EACH: usize = 30_000;
    let authority = Authority::new("ca");
    let server = start(&authority).await;
    let mut subscriber = Tls::join(&server, authority.client_config(None)).await;
    subscriber.say("SUB p.* 1\r\n").await;
    subscriber.ping().await;
    let mut publishing = Vec::new();
    for at in 0..2 {
        let mut publisher = Tls::join(&server, authority.client_config(None)).await;
        publishing.push(tokio::spawn(async move {
            for number in 0..EACH {
                publish(&mut publisher, &format!("p.{at}"), &payload(number, 50 + number % 700))
                    .await;
            }
            publisher.ping().await;
        }));
    }
    // Nothing is read before everything is published.
    for publishing in publishing {
        in_time(publishing).await.unwrap();
    }
    let mut next = [0, 0];
    for at in 0..2 * EACH {
        if at % 5000 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let line = subscriber.line().await;
        let from: usize = line[6..7].parse().unwrap();
        let number = next[from];
        let mut bytes = vec![0; 2 + payload(number, 50 + number % 700).len()];
        in_time(subscriber.stream.read_exact(&mut bytes)).await.unwrap();
        assert!(bytes.starts_with(&payload(number, 50 + number % 700)), "{line} {number}");
        next[from] += 1;
    }
    assert_eq!(next, [EACH, EACH]);
    subscriber.ping().await;
}

#[tokio::test]
async fn a_tls_client_that_does_not_read_is_closed_without_affecting_others() {
    let authority = Authority::new("ca");
    let limits = Limits { max_pending_bytes: 1 << 20, ..Limits::default() };
    let server = Server::builder().tls(authority.options()).limits(limits).bind().await.unwrap();
    let mut stalled = Tls::join(&server, authority.client_config(None)).await;
    let mut reading = Tls::join(&server, authority.client_config(None)).await;
    for subscriber in [&mut stalled, &mut reading] {
        subscriber.say("SUB a 1\r\n").await;
        subscriber.ping().await;
    }
    let mut publisher = Tls::join(&server, authority.client_config(None)).await;
    let mut number = 0;
    while server.broker().stats().slow_consumers == 0 {
        publish(&mut publisher, "a", &payload(number, 100_000)).await;
        publisher.stream.get_mut().flush().await.unwrap();
        assert!(receive(&mut reading).await == payload(number, 100_000));
        number += 1;
        assert!(number < 1000, "it was not cut");
    }
    reading.ping().await;
    assert_eq!(server.broker().stats().connections, 2);
}

#[tokio::test]
async fn messages_published_before_the_end_arrive() {
    let authority = Authority::new("ca");
    let server = start(&authority).await;
    let mut subscriber = Tls::join(&server, authority.client_config(None)).await;
    subscriber.say("SUB a 1\r\n").await;
    subscriber.ping().await;
    let client = server.client();
    for number in 0..20 {
        client.publish("a", payload(number, 200_000).into()).await.unwrap();
    }
    let draining = tokio::spawn(async move { server.drain().await });
    for number in 0..20 {
        assert!(receive(&mut subscriber).await == payload(number, 200_000), "message {number}");
    }
    let mut end = Vec::new();
    // close_notify is sent, so that truncation would be detected.
    in_time(subscriber.stream.read_to_end(&mut end)).await.unwrap();
    assert!(end.is_empty());
    in_time(draining).await.unwrap();
}

#[tokio::test]
async fn a_client_that_sends_close_notify_is_closed() {
    let authority = Authority::new("ca");
    let server = start(&authority).await;
    let mut tls = Tls::join(&server, authority.client_config(None)).await;
    tls.say("SUB a 1\r\nPUB a 2\r\nhi\r\n").await;
    in_time(tls.stream.get_mut().shutdown()).await.unwrap();
    let mut rest = String::new();
    while !rest.ends_with("hi\r\n") {
        assert!(in_time(tls.stream.read_line(&mut rest)).await.unwrap() > 0, "{rest}");
    }
    let waiting = async {
        while server.broker().stats().connections > 0 {
            tokio::task::yield_now().await;
        }
    };
    in_time(waiting).await;
}

/// The session sees nothing of an incomplete record.
#[tokio::test]
async fn a_record_may_come_byte_by_byte() {
    let authority = Authority::new("ca");
    let server = start(&authority).await;
    let tls = Tls::join(&server, authority.client_config(None)).await;
    let (mut socket, mut keys) = tls.stream.into_inner().into_inner();
    std::io::Write::write_all(&mut keys.writer(), b"SUB a 1\r\nPUB a 2\r\nhi\r\nPING\r\n").unwrap();
    let mut sealed = Vec::new();
    while keys.wants_write() {
        keys.write_tls(&mut sealed).unwrap();
    }
    for byte in sealed {
        socket.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = Vec::new();
    while !answer.ends_with(b"PONG\r\n") {
        let mut chunk = [0; 1024];
        let len = in_time(socket.read(&mut chunk)).await.unwrap();
        assert!(len > 0);
        keys.read_tls(&mut &chunk[..len]).unwrap();
        let state = keys.process_new_packets().unwrap();
        let before = answer.len();
        answer.resize(before + state.plaintext_bytes_to_read(), 0);
        std::io::Read::read_exact(&mut keys.reader(), &mut answer[before..]).unwrap();
    }
    assert_eq!(String::from_utf8_lossy(&answer), "MSG a 1 2\r\nhi\r\nPONG\r\n");
}

#[tokio::test]
async fn clients_may_update_their_keys() {
    let authority = Authority::new("ca");
    let server = start(&authority).await;
    let mut tls = Tls::join(&server, authority.client_config(None)).await;
    for _ in 0..20 {
        tls.stream.get_mut().get_mut().1.refresh_traffic_keys().unwrap();
        tls.ping().await;
    }
}

#[tokio::test]
async fn unencrypted_bytes_end_the_connection() {
    let authority = Authority::new("ca");
    let server = start(&authority).await;
    for junk in [
        &b"PING\r\n"[..],
        b"\x17\x03\x03\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        b"\x16\x03\x03\x00\x04\x01\x00\x00\x00",
        b"\x17\x03\x03\xff\xff",
        b"\x15\x03\x03\x00\x02\x02\x28",
    ] {
        let mut tls = Tls::join(&server, authority.client_config(None)).await;
        tls.stream.get_mut().get_mut().0.write_all(junk).await.unwrap();
        assert_eq!(tls.rest().await, "", "{junk:?}");
    }
}
