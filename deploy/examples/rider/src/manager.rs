//! Finds a driver: asks all of them and takes the first answer.

use std::time::Duration;

use async_nats::{RequestErrorKind, Subscriber};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::component::Component;

/// One of several managers: each request goes to one of them.
pub struct Manager {
    component: Component,
    requests: Subscriber,
    patience: Duration,
}

/// The manager's answer.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Found {
    /// The driver found.
    Driver(String),
    /// The reason why none was found.
    Error(String),
}

impl Manager {
    /// Subscribes to requests; `patience` is the timeout of the drivers' answers.
    ///
    /// # Errors
    ///
    /// Fails if the client is closed.
    pub async fn open(component: Component, patience: Duration) -> Result<Self> {
        let requests = component.client().queue_subscribe("drivers.find", "manager".into()).await?;
        component.client().flush().await?;
        Ok(Self { component, requests, patience })
    }

    /// Answers until the client is closed.
    ///
    /// # Errors
    ///
    /// Fails if the client is closed.
    pub async fn run(mut self) -> Result<()> {
        while let Some(request) = self.requests.next().await {
            self.component.count();
            let asking = self.component.client().request("drivers.rides", request.payload);
            let found = match tokio::time::timeout(self.patience, asking).await {
                Ok(Ok(driver)) => {
                    Found::Driver(String::from_utf8_lossy(&driver.payload).into_owned())
                }
                Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
                    Found::Error("no driver is at work".to_owned())
                }
                Ok(Err(error)) => Found::Error(error.to_string()),
                Err(_) => Found::Error("no driver is free".to_owned()),
            };
            if let Some(reply) = request.reply {
                let answer = serde_json::to_vec(&found)?;
                self.component.client().publish(reply, answer.into()).await?;
            }
        }
        Ok(())
    }
}
