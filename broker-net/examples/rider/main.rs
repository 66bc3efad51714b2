//! Rides in a city: a web service takes orders, a manager finds a driver by asking all of them, and
//! any client can ask all components for their status. The components know subjects, not each
//! other.
//!
//! ```text
//!  POST /rides     drivers.find                drivers.rides
//!  ───────────▶ api ───────────▶ manager (any) ─────────────▶ agent, agent, agent …
//!                                   of a queue group            the first answer wins
//!
//!  _NATS_RIDER.discovery, _NATS_RIDER.<id>.status: answered by each of them
//! ```
//!
//! `cargo run -p broker-net --example rider`

mod agent;
mod api;
mod component;
mod manager;

use std::collections::BTreeSet;
use std::time::Duration;

use broker_net::testing::TestBroker;
use futures_util::StreamExt;
use tokio::net::TcpListener;

use agent::Agent;
use component::{Component, Status};
use manager::Manager;

type Result<T> = std::result::Result<T, async_nats::Error>;

/// Timeout of the drivers' answers. (Two seconds in production.)
const PATIENCE: Duration = Duration::from_millis(200);

// Time is paused: every timeout fires immediately, in a deterministic order.
#[tokio::main(flavor = "current_thread", start_paused = true)]
pub(crate) async fn main() -> Result<()> {
    let broker = TestBroker::start().await;
    let url = broker.url();

    // Six components, each with its own connection: in production six programs.
    let mut ids = BTreeSet::new();
    let api = Component::connect(&url, "api").await?;
    ids.insert(api.id().to_owned());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let web = listener.local_addr()?;
    tokio::spawn(api::serve(listener, api));
    for _ in 0..2 {
        let manager = Manager::new(Component::connect(&url, "manager").await?, PATIENCE);
        ids.insert(manager.id().to_owned());
        tokio::spawn(manager.run());
    }
    let mut regulars = BTreeSet::new();
    for kind in ["regular", "regular", "van"] {
        let agent = Agent::new(Component::connect(&url, "agent").await?, kind);
        ids.insert(agent.id().to_owned());
        if kind == "regular" {
            regulars.insert(agent.id().to_owned());
        }
        tokio::spawn(agent.run());
    }
    broker.wait_for_clients(6).await;
    broker.wait_for_subscription("drivers.find").await;
    broker.wait_idle().await;

    // A ride, for any driver of that kind.
    let found = broker.tap("drivers.find");
    let (code, answer) =
        api::post(web, "/rides", r#"{"kind":"regular","at":"Main Street"}"#).await?;
    let driver = answer["driver"].as_str().ok_or("a driver")?.to_owned();
    assert_eq!(code, 200);
    assert!(regulars.contains(&driver), "{driver}");
    assert_eq!(found.expect(1).await.len(), 1);

    // A kind without drivers.
    let (code, answer) = api::post(web, "/rides", r#"{"kind":"helicopter","at":"Roof"}"#).await?;
    assert_eq!((code, answer["error"].as_str()), (503, Some("no driver is free")));
    let (code, _) = api::post(web, "/rides", "nonsense").await?;
    assert_eq!(code, 400);

    // Discovery and status of all components.
    let client = async_nats::connect(&url).await?;
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await?.take(ids.len());
    client.publish_with_reply("_NATS_RIDER.discovery", inbox, "".into()).await?;
    let mut present = BTreeSet::new();
    while let Some(answer) = answers.next().await {
        present.insert(String::from_utf8_lossy(&answer.payload).into_owned());
    }
    assert_eq!(present, ids);
    let mut answered = 0;
    for id in &present {
        let answer = client.request(format!("_NATS_RIDER.{id}.status"), "".into()).await?;
        let status: Status = serde_json::from_slice(&answer.payload)?;
        println!("{id}: {status:?}");
        if status.role == "manager" {
            answered += status.requests;
        }
    }
    assert_eq!(answered, 2, "both questions went to one manager each");

    // All connections are lost. All components reconnect and answer again.
    broker.cut_all();
    broker.wait_for_clients(7).await;
    broker.wait_for_subscription("drivers.find").await;
    broker.wait_idle().await;
    let (code, _) = api::post(web, "/rides", r#"{"kind":"van","at":"Main Street"}"#).await?;
    assert_eq!(code, 200);
    Ok(())
}
