//! A driver's agent: answers requests for its kind of ride after a random delay.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use futures_util::StreamExt;

use super::Result;
use super::api::Ride;
use super::component::Component;

/// A driver of one kind of car.
pub(super) struct Agent {
    component: Component,
    kind: &'static str,
}

impl Agent {
    pub(super) fn new(component: Component, kind: &'static str) -> Self {
        Self { component, kind }
    }

    pub(super) fn id(&self) -> &str {
        self.component.id()
    }

    pub(super) async fn run(self) -> Result<()> {
        let client = &self.component.client;
        let mut rides = client.subscribe("drivers.rides").await?;
        while let Some(request) = rides.next().await {
            self.component.count();
            let (Ok(ride), Some(reply)) =
                (serde_json::from_slice::<Ride>(&request.payload), request.reply)
            else {
                continue;
            };
            if ride.kind != self.kind {
                continue;
            }
            let moment = RandomState::new().hash_one(self.id()) % 10;
            tokio::time::sleep(Duration::from_millis(moment)).await;
            client.publish(reply, self.id().to_owned().into()).await?;
        }
        Ok(())
    }
}
