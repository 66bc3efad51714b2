//! The official Rust client works against the server.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the helpers of a test may panic as the test itself may"
)]

use std::time::Duration;

use broker_net::Server;
use futures_util::StreamExt;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

async fn start() -> (Server, async_nats::Client) {
    let server = Server::builder().bind().await.unwrap();
    let client = async_nats::connect(server.url()).await.unwrap();
    (server, client)
}

async fn next(subscriber: &mut async_nats::Subscriber) -> async_nats::Message {
    timeout(SOON, subscriber.next()).await.expect("a message in time").expect("a message")
}

#[tokio::test]
async fn publish_and_subscribe() {
    let (_server, client) = start().await;
    let mut orders = client.subscribe("orders.*").await.unwrap();
    client.publish("orders.eu", "one".into()).await.unwrap();
    client.publish_with_reply("orders.us", "answers", "two".into()).await.unwrap();
    let first = next(&mut orders).await;
    assert_eq!((first.subject.as_str(), &first.payload[..]), ("orders.eu", &b"one"[..]));
    let second = next(&mut orders).await;
    assert_eq!(second.reply.as_deref(), Some("answers"));
}

#[tokio::test]
async fn headers_arrive_as_they_were_sent() {
    let (_server, client) = start().await;
    let mut inbox = client.subscribe("x").await.unwrap();
    let mut headers = async_nats::HeaderMap::new();
    headers.append("Trace", "1");
    headers.append("Trace", "2");
    client.publish_with_headers("x", headers.clone(), "body".into()).await.unwrap();
    let message = next(&mut inbox).await;
    assert_eq!(message.headers, Some(headers));
    assert_eq!(message.payload, "body");
}

#[tokio::test]
async fn requests_are_answered_by_one_of_a_queue_group() {
    let (server, client) = start().await;
    for _ in 0..3 {
        let worker = async_nats::connect(server.url()).await.unwrap();
        let mut requests = worker.queue_subscribe("sum", "workers".into()).await.unwrap();
        worker.flush().await.unwrap();
        tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                let answer =
                    request.payload.iter().map(|digit| u32::from(digit - b'0')).sum::<u32>();
                let reply = request.reply.unwrap();
                worker.publish(reply, answer.to_string().into()).await.unwrap();
            }
        });
    }
    for _ in 0..100 {
        let answer = timeout(SOON, client.request("sum", "123".into())).await.unwrap().unwrap();
        assert_eq!(answer.payload, "6");
    }
}

#[tokio::test]
async fn requests_without_responders_fail_at_once() {
    let (_server, client) = start().await;
    let error = timeout(SOON, client.request("nobody", "".into())).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), async_nats::RequestErrorKind::NoResponders);
}

#[tokio::test]
async fn payloads_of_every_size_up_to_the_limit_arrive_whole() {
    let (server, client) = start().await;
    let mut inbox = client.subscribe("big").await.unwrap();
    let mut in_process = server.client().subscribe("big").await.unwrap();
    client.flush().await.unwrap();
    for size in [0, 1, 4095, 16_384, 32_000, 40_000, 65_536, 100_000, 1 << 20] {
        let payload: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        client.publish("big", payload.clone().into()).await.unwrap();
        assert_eq!(next(&mut inbox).await.payload, payload, "{size}");
        let other = timeout(SOON, in_process.next()).await.unwrap().unwrap();
        assert_eq!(other.payload, payload, "{size} in process");
    }
    let too_large = client.publish("big", vec![0; (1 << 20) + 1].into()).await;
    assert_eq!(
        too_large.unwrap_err().kind(),
        async_nats::PublishErrorKind::MaxPayloadExceeded,
        "the client learns it from INFO"
    );
}

#[tokio::test]
async fn wire_and_in_process_clients_share_subjects() {
    let (server, client) = start().await;
    let local = server.client();
    let mut services = local.subscribe("service").await.unwrap();
    let answering = tokio::spawn(async move {
        let request = services.next().await.unwrap();
        local.publish(request.reply.unwrap(), "from within".into()).await.unwrap();
    });
    let answer = timeout(SOON, client.request("service", "".into())).await.unwrap().unwrap();
    assert_eq!(answer.payload, "from within");
    answering.await.unwrap();

    let mut wire = client.subscribe("wire").await.unwrap();
    client.flush().await.unwrap();
    let local = server.client();
    let asking = tokio::spawn(async move { local.request("wire", "ping".into()).await });
    let request = next(&mut wire).await;
    client.publish(request.reply.unwrap(), "pong".into()).await.unwrap();
    assert_eq!(asking.await.unwrap().unwrap().payload, "pong");
}

#[tokio::test]
async fn a_client_comes_back_after_a_restart_on_the_same_port() {
    let server = Server::builder().bind().await.unwrap();
    let port = server.local_addr().port();
    let client = async_nats::ConnectOptions::new()
        .reconnect_delay_callback(|_| Duration::from_millis(10))
        .connect(server.url())
        .await
        .unwrap();
    let mut inbox = client.subscribe("x").await.unwrap();
    client.flush().await.unwrap();
    server.shutdown().await;
    drop(server);

    let server = Server::builder().port(port).bind().await.unwrap();
    let local = server.client();
    // The client resubscribes by itself: until then there are no responders.
    let answered = timeout(SOON, async {
        loop {
            local.publish("x", "again".into()).await.unwrap();
            let accepted = timeout(Duration::from_millis(20), inbox.next()).await;
            if let Ok(message) = accepted {
                break message;
            }
        }
    });
    assert_eq!(answered.await.expect("it is back in time").unwrap().payload, "again");
}

#[tokio::test]
async fn a_client_notices_the_end_of_the_server() {
    let (server, _client) = start().await;
    let mut raw = tokio::net::TcpStream::connect(server.local_addr()).await.unwrap();
    drop(server);
    let mut bytes = Vec::new();
    let closing = tokio::io::AsyncReadExt::read_to_end(&mut raw, &mut bytes);
    timeout(SOON, closing).await.expect("dropping the server closes its connections").ok();
}
