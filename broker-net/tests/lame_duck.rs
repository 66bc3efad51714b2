//! Lame duck mode loses no request, whether or not clients react to the announcement.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the helpers of a test may panic as the test itself may"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::RequestErrorKind;
use broker_net::{LameDuck, Server};
use futures_util::StreamExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

fn plan(duration: u64, grace: u64) -> LameDuck {
    LameDuck::new(Duration::from_millis(duration), Duration::from_millis(grace))
}

/// A connection without a client library.
struct Raw(BufReader<TcpStream>);

impl Raw {
    async fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.local_addr()).await.unwrap();
        let mut raw = Self(BufReader::new(stream));
        assert!(raw.line().await.starts_with("INFO {"));
        raw.say("CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n").await;
        assert_eq!(raw.line().await, "PONG\r\n");
        assert!(raw.line().await.starts_with("INFO {"));
        raw
    }

    async fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(SOON, self.0.read_line(&mut line)).await.expect("in time").unwrap();
        line
    }

    async fn rest(mut self) -> String {
        let mut rest = String::new();
        timeout(SOON, self.0.read_to_string(&mut rest)).await.expect("an end").unwrap();
        rest
    }
}

#[tokio::test]
async fn without_clients_lame_duck_mode_ends_at_once() {
    let server = Server::builder().bind().await.unwrap();
    timeout(SOON, server.lame_duck(LameDuck::default()))
        .await
        .expect("no grace period without clients");
    assert!(TcpStream::connect(server.local_addr()).await.is_err());
}

/// As nats-server 2.14.5: no `-ERR`.
#[tokio::test]
async fn clients_are_notified_and_then_closed() {
    let server = Server::builder().bind().await.unwrap();
    let mut clients = [Raw::connect(&server).await, Raw::connect(&server).await];
    let ending = server.lame_duck(plan(600, 300));
    let telling = async {
        for client in &mut clients {
            assert!(client.line().await.contains("\"ldm\":true"));
            client.say("PING\r\n").await;
            assert_eq!(client.line().await, "PONG\r\n", "clients are served in the grace period");
        }
        assert!(TcpStream::connect(server.local_addr()).await.is_err(), "existing clients stay");
        for client in clients {
            assert_eq!(client.rest().await, "");
        }
    };
    timeout(SOON, async { tokio::join!(ending, telling) }).await.expect("it ends");
    assert_eq!(server.broker().stats().connections, 0);
}

#[tokio::test]
async fn lame_duck_mode_ends_when_the_last_client_has_left() {
    let server = Server::builder().bind().await.unwrap();
    let mut client = Raw::connect(&server).await;
    let ending = server.lame_duck(LameDuck::default());
    let leaving = async {
        assert!(client.line().await.contains("\"ldm\":true"));
        drop(client);
    };
    timeout(SOON, async { tokio::join!(ending, leaving) })
        .await
        .expect("long before the grace is over");
}

#[tokio::test]
async fn a_shutdown_ends_lame_duck_mode_at_once() {
    let server = Server::builder().bind().await.unwrap();
    let mut client = Raw::connect(&server).await;
    let ending = server.lame_duck(LameDuck::default());
    let hurrying = async {
        assert!(client.line().await.contains("\"ldm\":true"));
        server.shutdown().await;
        assert_eq!(client.rest().await, "");
    };
    timeout(SOON, async { tokio::join!(ending, hurrying) }).await.expect("it ends");
}

#[tokio::test]
async fn messages_sent_before_the_close_is_noticed_are_published() {
    let server = Server::builder().bind().await.unwrap();
    let mut context = server.client().subscribe("late").await.unwrap();
    let mut client = Raw::connect(&server).await;
    let ending = server.lame_duck(plan(1, 0));
    let sending = async {
        assert!(client.line().await.contains("\"ldm\":true"));
        assert_eq!(client.line().await, "", "the end of the stream");
        client.say("PUB late 2\r\nhi\r\n").await;
        assert_eq!(timeout(SOON, context.next()).await.unwrap().unwrap().payload, "hi");
        drop(client);
    };
    timeout(SOON, async { tokio::join!(ending, sending) }).await.expect("it ends");
}

/// One hundred requests are open at any time; requesters and responders ignore the announcement and
/// only reconnect to another server when disconnected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_ignore_the_announcement_lose_no_request() {
    const OPEN: usize = 100;
    let (old, new) = tokio::join!(Server::builder().bind(), Server::builder().bind());
    let (old, new) = (old.unwrap(), new.unwrap());
    let join = async || {
        async_nats::ConnectOptions::new()
            .retain_servers_order()
            .request_timeout(Some(Duration::from_secs(8)))
            .connect(format!("{},{}", old.url(), new.url()).split(',').collect::<Vec<_>>())
            .await
            .unwrap()
    };
    let (requester, service) = (join().await, join().await);
    let mut requests = service.queue_subscribe("work", "workers".to_owned()).await.unwrap();
    let answering = tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let _ = service.publish(request.reply.unwrap(), request.payload).await;
        }
    });
    let [answered, no_responders, lost] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
    let stop = Arc::new(AtomicBool::new(false));
    let mut asking = JoinSet::new();
    for at in 0..OPEN {
        let (requester, stop) = (requester.clone(), Arc::clone(&stop));
        let counts = [&answered, &no_responders, &lost].map(Arc::clone);
        asking.spawn(async move {
            let [answered, no_responders, lost] = counts;
            while !stop.load(Ordering::Relaxed) {
                match requester.request("work", at.to_string().into()).await {
                    Ok(answer) => {
                        assert_eq!(answer.payload, at.to_string());
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                        no_responders.fetch_add(1, Ordering::Relaxed);
                        tokio::task::yield_now().await;
                    }
                    Err(error) => {
                        eprintln!("{error}");
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
    }
    until(|| answered.load(Ordering::Relaxed) > 1000).await;
    timeout(SOON, old.lame_duck(plan(1000, 500))).await.expect("it ends");
    let before = answered.load(Ordering::Relaxed);
    until(|| answered.load(Ordering::Relaxed) > before + 1000).await;
    stop.store(true, Ordering::Relaxed);
    timeout(SOON, asking.join_all()).await.expect("all requests end");
    assert_eq!(lost.load(Ordering::Relaxed), 0, "of {}", answered.load(Ordering::Relaxed));
    answering.abort();
}

async fn until(is_true: impl Fn() -> bool) {
    let waiting = async {
        while !is_true() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, waiting).await.expect("in time");
}
