//! A service, and how it is tested: with the client that it uses anyway, against a broker that is only
//! there for the test.
//!
//! `cargo run -p broker-net --example service`

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{Client, Message};
use broker_net::testing::TestBroker;
use futures_util::StreamExt;

/// Counts what is in stock. Asked `stock.take` for an item, it answers how many are left, or `none`;
/// whoever wants to know hears of it on `stock.empty.<item>`.
struct Stock {
    client: Client,
    items: Arc<Mutex<HashMap<String, u32>>>,
}

impl Stock {
    fn new(client: Client, items: impl IntoIterator<Item = (&'static str, u32)>) -> Self {
        let items = items.into_iter().map(|(item, count)| (item.to_owned(), count)).collect();
        Self { client, items: Arc::new(Mutex::new(items)) }
    }

    /// Serves as long as there are requests.
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

/// What a test of it looks like. In a test it would say `#[tokio::test]` here.
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

    // And that nothing else was said.
    broker.wait_idle().await;
    empty.expect_nothing();
    println!("the service does what it should");
    Ok(())
}
