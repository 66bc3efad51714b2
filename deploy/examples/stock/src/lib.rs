//! Counts stock: a service over NATS.
//!
//! A request to `stock.take` with the name of an item is answered with the number that is left, or with `none`. An item that
//! runs out is announced on `stock.empty.<item>`. Several instances share the requests.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;

use async_nats::{Client, Error, Message, Subscriber};
use futures_util::StreamExt;

/// The number of each item, by name.
pub type Items = HashMap<String, u32>;

/// One instance of the service.
pub struct Stock {
    client: Client,
    requests: Subscriber,
    items: Items,
}

impl Stock {
    /// Subscribes to requests.
    ///
    /// # Errors
    ///
    /// Fails if the client is closed.
    pub async fn open(client: Client, items: Items) -> Result<Self, Error> {
        let requests = client.queue_subscribe("stock.take", "stock".into()).await?;
        Ok(Self { client, requests, items })
    }

    /// Answers requests until `stop` is ready, and then those that have already been sent to this instance.
    ///
    /// # Errors
    ///
    /// Fails if the client is closed.
    pub async fn serve(mut self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let mut stop = pin!(stop);
        let mut is_stopping = false;
        loop {
            tokio::select! {
                () = &mut stop, if !is_stopping => {
                    is_stopping = true;
                    // No further requests; the subscription ends with the last one.
                    self.requests.drain().await?;
                }
                request = self.requests.next() => match request {
                    Some(request) => self.answer(&request).await?,
                    None => break,
                },
            }
        }
        // The last answers leave before the connection is closed.
        Ok(self.client.flush().await?)
    }

    async fn answer(&mut self, request: &Message) -> Result<(), Error> {
        let item = String::from_utf8_lossy(&request.payload);
        let left = self.take(&item);
        if let Some(reply) = &request.reply {
            let answer = left.map_or_else(|| "none".to_owned(), |left| left.to_string());
            self.client.publish(reply.clone(), answer.into()).await?;
        }
        if left == Some(0) {
            self.client.publish(format!("stock.empty.{item}"), "".into()).await?;
        }
        Ok(())
    }

    /// Takes one; returns how many are left.
    fn take(&mut self, item: &str) -> Option<u32> {
        let count = self.items.get_mut(item)?;
        *count = count.checked_sub(1)?;
        Some(*count)
    }
}
