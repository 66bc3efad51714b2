//! The API: orders rides over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post as on_post;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Result;
use super::component::Component;
use super::manager::Found;

/// Timeout of the manager's answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// An order.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Ride {
    /// The kind of car.
    pub(super) kind: String,
    /// The place.
    pub(super) at: String,
}

pub(super) async fn serve(listener: TcpListener, component: Component) -> std::io::Result<()> {
    let order = async |State(component): State<Arc<Component>>, body: Bytes| {
        let (code, answer) = order(&component, &body).await;
        (code, answer.to_string())
    };
    let router = Router::new().route("/rides", on_post(order)).with_state(Arc::new(component));
    axum::serve(listener, router).await
}

async fn order(component: &Component, body: &[u8]) -> (StatusCode, Value) {
    component.count();
    let Ok(ride) = serde_json::from_slice::<Ride>(body) else {
        return (StatusCode::BAD_REQUEST, json!({"error": "what ride?"}));
    };
    let ride = json!(ride).to_string();
    let asking = component.client.request("drivers.find", ride.into());
    let answer = match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return failed(&error.to_string()),
        Err(_) => return failed("the managers are busy"),
    };
    match serde_json::from_slice(&answer.payload) {
        Ok(Found::Driver(driver)) => (StatusCode::OK, json!({"driver": driver})),
        Ok(Found::Error(error)) => failed(&error),
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(why: &str) -> (StatusCode, Value) {
    (StatusCode::SERVICE_UNAVAILABLE, json!({"error": why}))
}

/// Posts an order like a browser; returns the status code and the body.
pub(super) async fn post(web: SocketAddr, path: &str, body: &str) -> Result<(u16, Value)> {
    let mut stream = TcpStream::connect(web).await?;
    let len = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let code = answer.split(' ').nth(1).ok_or("a status line")?.parse()?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("a body")?;
    Ok((code, serde_json::from_str(body)?))
}
