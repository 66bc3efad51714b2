//! A web service with an embedded broker, and the shutdown of both: the web service answers open
//! requests, the broker lets clients read what is queued for them, then the program ends.
//!
//! `cargo run -p broker-net --example shutdown_with_axum`

use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use broker_core::Client;
use broker_net::Server;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// `POST /orders/eu` publishes to `orders.eu` through the in-process client.
fn web(client: Client) -> Router {
    let publish = async |State(client): State<Client>, Path(region): Path<String>, body: String| {
        let published = client.publish(format!("orders.{region}"), body.into()).await;
        // A region that contains a blank is not a valid subject.
        published.map_or(StatusCode::BAD_REQUEST, |()| StatusCode::ACCEPTED)
    };
    Router::new().route("/orders/{region}", post(publish)).with_state(client)
}

/// Serves both until told to stop. A program would use a signal, whose handling is left to it: the
/// server installs no handler.
async fn serve(
    listener: TcpListener,
    server: Server,
    stop: oneshot::Receiver<()>,
) -> std::io::Result<()> {
    let told = async {
        // An error is a reason to stop too.
        let _ = stop.await;
    };
    axum::serve(listener, web(server.client())).with_graceful_shutdown(told).await?;
    // The web service publishes no more: clients may read what is queued, within a limit.
    if tokio::time::timeout(Duration::from_secs(5), server.drain()).await.is_err() {
        server.shutdown().await;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let web = listener.local_addr()?;
    let server = Server::builder().bind().await?;
    let client = async_nats::connect(server.url()).await?;
    let mut orders = client.subscribe("orders.*").await?;
    // The "no responders" answer follows everything published before.
    client.request("nobody", "".into()).await.ok();

    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(serve(listener, server, stopped));
    let answer = http_post(web, "/orders/eu", "7 apples").await?;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    let answer = http_post(web, "/orders/e%20u", "7 apples").await?;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    drop(stop);
    serving.await??;

    // The message was delivered before the server stopped.
    let order = orders.next().await.ok_or("closed")?;
    assert_eq!((order.subject.as_str(), &order.payload[..]), ("orders.eu", &b"7 apples"[..]));
    println!("nothing was lost");
    Ok(())
}

async fn http_post(
    address: std::net::SocketAddr,
    path: &str,
    body: &str,
) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let len = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
