//! The API: orders rides over HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::component::Component;
use crate::manager::Found;

/// Timeout of the manager's answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// An order.
#[derive(Debug, Deserialize, Serialize)]
pub struct Ride {
    /// The kind of car.
    pub kind: String,
    /// The place.
    pub at: String,
}

/// Serves `POST /rides`.
///
/// # Errors
///
/// Fails if the listener does.
pub async fn serve(listener: TcpListener, component: Component) -> std::io::Result<()> {
    let order = async |State(component): State<Arc<Component>>, body: Bytes| {
        let (code, answer) = order(&component, &body).await;
        (code, answer.to_string())
    };
    let router = Router::new().route("/rides", post(order)).with_state(Arc::new(component));
    axum::serve(listener, router).await
}

async fn order(component: &Component, body: &[u8]) -> (StatusCode, Value) {
    component.count();
    let Ok(ride) = serde_json::from_slice::<Ride>(body) else {
        return (StatusCode::BAD_REQUEST, json!({"error": "not an order"}));
    };
    let ride = json!(ride).to_string();
    let asking = component.client().request("drivers.find", ride.into());
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
