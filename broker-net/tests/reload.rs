//! Options, users and permissions change under connected clients.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the helpers of a test may panic as the test itself may"
)]

use std::sync::Arc;
use std::time::Duration;

use broker_core::auth::{Authenticator, Permissions, User, Users};
use broker_net::{Advertise, ApplyError, Server};
use futures_util::StreamExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

/// A connection without a client library.
struct Raw {
    stream: BufReader<TcpStream>,
    info: String,
}

impl Raw {
    async fn connect(server: &Server, user: &str) -> Self {
        let stream = BufReader::new(TcpStream::connect(server.local_addr()).await.unwrap());
        let mut raw = Self { stream, info: String::new() };
        raw.info = raw.line().await;
        raw.say(&format!("CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"pw\"}}\r\n"))
            .await;
        raw.say("PING\r\n").await;
        assert_eq!(raw.line().await, "PONG\r\n");
        raw
    }

    async fn say(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(SOON, self.stream.read_line(&mut line)).await.expect("in time").unwrap();
        line
    }

    async fn rest(mut self) -> String {
        let mut rest = String::new();
        timeout(SOON, self.stream.read_to_string(&mut rest)).await.expect("an end").unwrap();
        rest
    }
}

fn users(list: impl IntoIterator<Item = User>) -> Arc<dyn Authenticator> {
    Arc::new(Users::builder().users(list).build().unwrap())
}

fn pw(names: &[&str]) -> Vec<User> {
    names.iter().map(|name| User::new(*name, "pw")).collect()
}

async fn start(names: &[&str]) -> Server {
    Server::builder().authenticator(users(pw(names))).bind().await.unwrap()
}

#[tokio::test]
async fn idle_clients_of_a_removed_user_are_closed_at_once() {
    let server = start(&["stays", "gone"]).await;
    let mut stays = Raw::connect(&server, "stays").await;
    let gone = Raw::connect(&server, "gone").await;
    server.apply(server.options(), Some(users(pw(&["stays"])))).await.unwrap();
    assert_eq!(gone.rest().await, "");
    stays.say("PING\r\n").await;
    assert_eq!(stays.line().await, "PONG\r\n");
}

#[tokio::test]
async fn once_a_change_is_applied_no_denied_message_arrives() {
    let server = start(&["a", "b"]).await;
    let (mut a, mut b) = (Raw::connect(&server, "a").await, Raw::connect(&server, "b").await);
    a.say("SUB x 1\r\nPING\r\n").await;
    assert_eq!(a.line().await, "PONG\r\n");
    let no = Permissions::builder().subscribe_deny(["x"]).build().unwrap();
    let list = users([User::new("a", "pw").permissions(no), User::new("b", "pw")]);
    server.apply(server.options(), Some(list)).await.unwrap();
    b.say("PUB x 0\r\n\r\nPING\r\n").await;
    assert_eq!(b.line().await, "PONG\r\n");
    a.say("PING\r\n").await;
    let violation = "-ERR 'Permissions Violation for Subscription to \"x\" (sid \"1\")'\r\n";
    assert_eq!([a.line().await, a.line().await], [violation, "PONG\r\n"]);
}

#[tokio::test]
async fn a_lowered_maximum_closes_the_newest_connections_of_a_server() {
    let server = start(&["a"]).await;
    let mut first = Raw::connect(&server, "a").await;
    let second = Raw::connect(&server, "a").await;
    let mut options = server.options();
    options.broker.limits.max_connections = Some(1);
    let report = server.apply(options, None).await.unwrap();
    assert_eq!(report.excess, 1);
    assert_eq!(second.rest().await, "-ERR 'maximum connections exceeded'\r\n");
    first.say("PING\r\n").await;
    assert_eq!(first.line().await, "PONG\r\n");
}

#[tokio::test]
async fn a_shorter_ping_interval_reaches_the_timers_of_idle_clients() {
    let server = start(&["a"]).await;
    let mut a = Raw::connect(&server, "a").await;
    let mut options = server.options();
    options.broker.limits.ping_interval = Duration::from_millis(20);
    server.apply(options, None).await.unwrap();
    assert_eq!(a.line().await, "PING\r\n");
}

#[tokio::test]
async fn nothing_changes_if_something_takes_a_restart() {
    let server = start(&["a"]).await;
    let mut a = Raw::connect(&server, "a").await;
    let before = server.options();
    let mut options = before.clone();
    options.broker.limits.max_payload_bytes = 10;
    options.host = "0.0.0.0".to_owned();
    let error = server.apply(options, Some(users([]))).await.unwrap_err();
    let ApplyError::NotAtRunTime { name, .. } = error else { panic!("{error}") };
    assert_eq!(name, "Host");
    assert_eq!(server.options().broker.limits, before.broker.limits);
    assert_eq!(server.broker().info().max_payload, 1 << 20);
    a.say("PING\r\n").await;
    assert_eq!(a.line().await, "PONG\r\n");
}

/// As nats-server 2.14.5: connected clients are not told.
#[tokio::test]
async fn clients_receive_the_advertised_address() {
    let server = start(&["a"]).await;
    let port = server.local_addr().port();
    for (advertise, host, told_port) in [
        (Some("nats.example:99"), "nats.example", 99),
        (Some("nats.example"), "nats.example", port),
        (None, "127.0.0.1", port),
    ] {
        let mut before = Raw::connect(&server, "a").await;
        let client_advertise = advertise.map(|text| text.parse::<Advertise>().unwrap());
        let mut options = server.options();
        (options.port, options.client_advertise) = (0, client_advertise);
        server.apply(options, None).await.unwrap();
        let info = Raw::connect(&server, "a").await.info;
        assert!(info.contains(&format!("\"host\":\"{host}\",\"port\":{told_port},")), "{info}");
        assert!(!info.contains("connect_urls"), "{info}");
        before.say("PING\r\n").await;
        assert_eq!(before.line().await, "PONG\r\n");
    }
}

/// Two hundred times, users are added and removed, and permissions and limits change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_changes_under_load_lose_no_message_and_close_no_client() {
    const CHANGES: usize = 200;
    let list = |at: usize| {
        let only = Permissions::builder()
            .publish_allow(["work.>", &format!("round.{at}")])
            .subscribe_allow(["work.>", "_INBOX.>", &format!("round.{at}")])
            .build()
            .unwrap();
        let mut list = pw(&["steady", &format!("guest{at}")]);
        list.push(User::new("changing", "pw").permissions(only));
        users(list)
    };
    let server = Server::builder().authenticator(list(0)).bind().await.unwrap();
    let join = async |user: &str| {
        async_nats::ConnectOptions::with_user_and_password(user.to_owned(), "pw".to_owned())
            .max_reconnects(1)
            .connect(server.url())
            .await
            .unwrap()
    };
    let (stop, stopped) = watch::channel(false);
    let mut streams = Vec::new();
    for (from, to) in [("steady", "changing"), ("changing", "steady")] {
        let (publisher, subscriber) = (join(from).await, join(to).await);
        let subject = format!("work.{from}");
        let messages = subscriber.subscribe(subject.clone()).await.unwrap();
        subscriptions(&server, streams.len() + 1).await;
        let receiving = tokio::spawn(count(messages));
        let sending = tokio::spawn(send_until(stopped.clone(), publisher, subject));
        streams.push((sending, receiving, subscriber));
    }
    for at in 1..=CHANGES {
        let mut options = server.options();
        options.broker.limits.max_payload_bytes = (1 << 20) + at;
        options.broker.limits.ping_interval = Duration::from_secs(60 + at as u64);
        let report = server.apply(options, Some(list(at))).await.unwrap();
        assert_eq!(report.excess, 0);
    }
    stop.send(true).unwrap();
    for (sending, receiving, _subscriber) in streams {
        let sent = timeout(SOON, sending).await.expect("in time").unwrap();
        let received = timeout(SOON, receiving).await.expect("in time").unwrap();
        assert!(sent > 0);
        assert_eq!(received, sent);
    }
    assert_eq!(server.broker().stats().total_connections, 4, "no client reconnected");
}

/// Waits until the server has `count` subscriptions: `flush` does not wait for the server.
async fn subscriptions(server: &Server, count: usize) {
    let waiting = async {
        while server.broker().stats().subscriptions < count {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, waiting).await.expect("subscriptions in time");
}

/// Publishes numbers, then `end`. Returns their count.
async fn send_until(
    stopped: watch::Receiver<bool>,
    publisher: async_nats::Client,
    subject: String,
) -> u64 {
    let mut sent = 0u64;
    while !*stopped.borrow() {
        for _ in 0..100 {
            publisher.publish(subject.clone(), sent.to_string().into()).await.unwrap();
            sent += 1;
        }
        publisher.flush().await.unwrap();
    }
    publisher.publish(subject, "end".into()).await.unwrap();
    publisher.flush().await.unwrap();
    sent
}

/// Counts the numbers received in order and without a gap before `end`.
async fn count(mut messages: async_nats::Subscriber) -> u64 {
    let mut received = 0u64;
    loop {
        let message = messages.next().await.expect("more messages");
        if message.payload == "end" {
            return received;
        }
        assert_eq!(message.payload, received.to_string());
        received += 1;
    }
}
