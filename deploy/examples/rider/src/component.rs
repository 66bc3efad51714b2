//! The common part of all components: discovery and status.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Subscriber};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use crate::Result;

/// A component of the system.
pub struct Component {
    client: Client,
    id: String,
    requests: Arc<AtomicU64>,
}

/// The status of a component.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Status {
    /// The kind of component: `api`, `manager` or `agent`.
    pub role: String,
    /// The number of requests handled.
    pub requests: u64,
}

/// Answers for a component.
struct Desk {
    client: Client,
    id: String,
    role: String,
    requests: Arc<AtomicU64>,
}

/// Components by their ids.
pub type Report = BTreeMap<String, Status>;

impl Component {
    /// Connects to one of the servers, of which it learns the others, and from then on answers requests for discovery and status.
    ///
    /// # Errors
    ///
    /// Fails if no server can be reached.
    pub async fn connect(servers: &[String], role: &str) -> Result<Self> {
        // Soon at another server; later less often.
        let wait = |attempts: usize| Duration::from_millis(5 << attempts.min(8));
        let options = ConnectOptions::new().name(role).retain_servers_order();
        let client = options.reconnect_delay_callback(wait).connect(servers).await?;
        let id = client.new_inbox().replace("_INBOX.", "");
        let requests = Arc::new(AtomicU64::new(0));
        let who = client.subscribe("_NATS_RIDER.discovery").await?;
        let how = client.subscribe(format!("_NATS_RIDER.{id}.status")).await?;
        let desk = Desk {
            client: client.clone(),
            id: id.clone(),
            role: role.to_owned(),
            requests: Arc::clone(&requests),
        };
        tokio::spawn(desk.answer(who, how));
        Ok(Self { client, id, requests })
    }

    /// The component's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its connection.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Counts a handled request.
    pub(crate) fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}

impl Desk {
    async fn answer(self, mut who: Subscriber, mut how: Subscriber) -> Result<()> {
        loop {
            let (request, answer) = tokio::select! {
                Some(request) = who.next() => (request, self.id.clone().into_bytes()),
                Some(request) = how.next() => {
                    let requests = self.requests.load(Ordering::Relaxed);
                    let status = Status { role: self.role.clone(), requests };
                    (request, serde_json::to_vec(&status)?)
                }
                else => return Ok(()),
            };
            if let Some(reply) = request.reply {
                self.client.publish(reply, answer.into()).await?;
            }
        }
    }
}

/// Asks all components for their names, and each for its status. Those that take longer than `pause` after the one before are missing.
///
/// # Errors
///
/// Fails if the client is closed, or a component ends meanwhile.
pub async fn components(client: &Client, pause: Duration) -> Result<Report> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await?;
    client.publish_with_reply("_NATS_RIDER.discovery", inbox, "".into()).await?;
    let mut report = Report::new();
    while let Ok(Some(answer)) = tokio::time::timeout(pause, answers.next()).await {
        if answer.status.is_some() {
            // There is no component.
            break;
        }
        let id = String::from_utf8_lossy(&answer.payload).into_owned();
        let status = client.request(format!("_NATS_RIDER.{id}.status"), "".into()).await?;
        report.insert(id, serde_json::from_slice(&status.payload)?);
    }
    Ok(report)
}
