//! The common part of all components: discovery and status.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use super::Result;

/// A component of the system.
pub(super) struct Component {
    pub(super) client: Client,
    id: String,
    requests: Arc<AtomicU64>,
}

/// The status of a component.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Status {
    pub(super) role: String,
    /// The number of requests handled.
    pub(super) requests: u64,
}

impl Component {
    /// Connects, and from then on answers requests for discovery and status.
    pub(super) async fn connect(url: &str, role: &str) -> Result<Self> {
        let soon = |_| Duration::from_millis(5);
        let client =
            ConnectOptions::new().name(role).reconnect_delay_callback(soon).connect(url).await?;
        let id = client.new_inbox().replace("_INBOX.", "");
        let requests = Arc::new(AtomicU64::new(0));
        let mut who = client.subscribe("_NATS_RIDER.discovery").await?;
        let mut how = client.subscribe(format!("_NATS_RIDER.{id}.status")).await?;
        let this = Self { client, id, requests };
        let (client, id, requests) =
            (this.client.clone(), this.id.clone(), Arc::clone(&this.requests));
        let role = role.to_owned();
        tokio::spawn(async move {
            loop {
                let (request, answer) = tokio::select! {
                    Some(request) = who.next() => (request, id.clone().into_bytes()),
                    Some(request) = how.next() => {
                        let requests = requests.load(Ordering::Relaxed);
                        let status = Status { role: role.clone(), requests };
                        (request, serde_json::to_vec(&status)?)
                    }
                    else => return Ok::<(), async_nats::Error>(()),
                };
                if let Some(reply) = request.reply {
                    client.publish(reply, answer.into()).await?;
                }
            }
        });
        Ok(this)
    }

    /// The component's name.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Counts a handled request.
    pub(super) fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}
