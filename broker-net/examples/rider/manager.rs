//! Finds a driver: asks all of them and takes the first answer.

use std::time::Duration;

use async_nats::RequestErrorKind;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use super::Result;
use super::component::Component;

/// One of several managers: each request goes to one of them.
pub(super) struct Manager {
    component: Component,
    patience: Duration,
}

/// The manager's answer.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Found {
    /// The driver found.
    Driver(String),
    /// The reason why none was found.
    Error(String),
}

impl Manager {
    pub(super) fn new(component: Component, patience: Duration) -> Self {
        Self { component, patience }
    }

    pub(super) fn id(&self) -> &str {
        self.component.id()
    }

    pub(super) async fn run(self) -> Result<()> {
        let client = &self.component.client;
        let mut requests = client.queue_subscribe("drivers.find", "manager".into()).await?;
        while let Some(request) = requests.next().await {
            self.component.count();
            let asking = client.request("drivers.rides", request.payload);
            let found = match tokio::time::timeout(self.patience, asking).await {
                Ok(Ok(driver)) => {
                    Found::Driver(String::from_utf8_lossy(&driver.payload).into_owned())
                }
                Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
                    Found::Error("no driver available".to_owned())
                }
                Ok(Err(error)) => Found::Error(error.to_string()),
                Err(_) => Found::Error("no driver is free".to_owned()),
            };
            if let Some(reply) = request.reply {
                client.publish(reply, serde_json::to_vec(&found)?.into()).await?;
            }
        }
        Ok(())
    }
}
