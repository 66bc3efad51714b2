//! A service and its test, with the service's own client, against a broker that exists for the test
//! only.
//!
//! `cargo run -p broker-net --example service`

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{Client, Message};
use broker_net::testing::TestBroker;
use futures_util::StreamExt;

/// Counts stock. A request to `stock.take` for an item is answered with the number left, or `none`;
/// an item that runs out is published on `stock.empty.<item>`.
struct Stock {
    client: Client,
    items: Arc<Mutex<HashMap<String, u32>>>,
}

impl Stock {
    fn new(client: Client, items: impl IntoIterator<Item = (&'static str, u32)>) -> Self {
        let items = items.into_iter().map(|(item, count)| (item.to_owned(), count)).collect();
        Self { client, items: Arc::new(Mutex::new(items)) }
    }

    /// Serves until the subscription ends.
    async fn serve(self) -> Result<(), async_nats::Error> {
        let mut requests = self.client.queue_subscribe("stock.take", "stock".into()).await?;
        while let Some(request) = requests.next().await {
            self.answer(request).await?;
        }
        Ok(())
    }

    async fn answer(&self, request: Message) -> Result<(), async_nats::Error> {
        let item = String::from_utf8_lossy(&request.payload).into_owned();
        let left = self.take(&item);
        let answer = left.map_or_else(|| "none".to_owned(), |left| left.to_string());
        if let Some(reply) = request.reply {
            self.client.publish(reply, answer.into()).await?;
        }
        if left == Some(0) {
            self.client.publish(format!("stock.empty.{item}"), "".into()).await?;
        }
        Ok(())
    }

    fn take(&self, item: &str) -> Option<u32> {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        let count = items.get_mut(item)?;
        *count = count.checked_sub(1)?;
        Some(*count)
    }
}

/// The test; in a test file it would be marked `#[tokio::test]`.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), async_nats::Error> {
    let broker = TestBroker::start().await;
    let empty = broker.tap("stock.empty.*");
    let stock = Stock::new(async_nats::connect(broker.url()).await?, [("apples", 2), ("pears", 0)]);
    tokio::spawn(stock.serve());
    broker.wait_for_subscription("stock.take").await;

    let client = async_nats::connect(broker.url()).await?;
    for (item, left) in [("apples", "1"), ("pears", "none"), ("apples", "0"), ("apples", "none")] {
        let answer = client.request("stock.take", item.into()).await?;
        assert_eq!(answer.payload, left, "{item}");
    }
    assert_eq!(&*empty.next().await.subject, "stock.empty.apples");

    // Nothing else was published.
    broker.wait_idle().await;
    empty.expect_nothing();
    println!("the service does what it should");
    Ok(())
}
