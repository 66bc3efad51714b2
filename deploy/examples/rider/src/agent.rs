//! A driver's agent: answers requests for its kind of ride after a random delay.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::StreamExt;

use crate::Result;
use crate::api::Ride;
use crate::component::Component;

/// A driver of one kind of car.
pub struct Agent {
    component: Component,
    rides: Subscriber,
    kind: String,
}

impl Agent {
    /// Subscribes to requests for rides.
    ///
    /// # Errors
    ///
    /// Fails if the client is closed.
    pub async fn open(component: Component, kind: &str) -> Result<Self> {
        let rides = component.client().subscribe("drivers.rides").await?;
        component.client().flush().await?;
        Ok(Self { component, rides, kind: kind.to_owned() })
    }

    /// Answers until the client is closed.
    ///
    /// # Errors
    ///
    /// Fails if the client is closed.
    pub async fn run(mut self) -> Result<()> {
        while let Some(request) = self.rides.next().await {
            self.component.count();
            let (Ok(ride), Some(reply)) =
                (serde_json::from_slice::<Ride>(&request.payload), request.reply)
            else {
                continue;
            };
            if ride.kind != self.kind {
                continue;
            }
            let moment = RandomState::new().hash_one(self.component.id()) % 10;
            tokio::time::sleep(Duration::from_millis(moment)).await;
            self.component.client().publish(reply, self.component.id().to_owned().into()).await?;
        }
        Ok(())
    }
}
