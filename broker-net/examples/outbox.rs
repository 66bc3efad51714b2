//! A test of a transactional outbox: a service stores an order and the event about it in one transaction of its database, and a relay
//! publishes the events afterwards. The server crashes meanwhile, and its disk fails; each event arrives once.
//!
//! `cargo run -p broker-net --features streams,testing --example outbox`

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, Stream};
use async_nats::jetstream::{self, Context};
use broker_net::testing::TestBroker;

type Result<T> = std::result::Result<T, async_nats::Error>;

/// The code under test: the database, with its two tables.
#[derive(Default)]
struct Database {
    orders: Vec<String>,
    /// By number: subjects and texts of events that were not published yet.
    outbox: BTreeMap<usize, (&'static str, String)>,
}

impl Database {
    /// One transaction: both rows, or none.
    fn place_order(&mut self, order: &str) {
        self.orders.push(order.to_owned());
        self.outbox.insert(self.orders.len(), ("orders.placed", order.to_owned()));
    }
}

/// The code under test: publishes the events in order. An event whose acknowledgement is lost is published again; the server knows
/// it by its id.
async fn relay(database: &mut Database, context: &Context) {
    while let Some((number, (subject, event))) = database.outbox.first_key_value() {
        let message = PublishMessage::build()
            .payload(event.clone().into())
            .message_id(format!("event-{number}"));
        let sent = match context.send_publish(*subject, message).await {
            Ok(sent) => sent.await,
            Err(error) => Err(error),
        };
        let number = *number;
        if sent.is_ok() {
            database.outbox.remove(&number);
        }
    }
}

async fn connect(broker: &TestBroker) -> Result<Context> {
    let options = ConnectOptions::new()
        .reconnect_delay_callback(|_| Duration::from_millis(5))
        .request_timeout(Some(Duration::from_millis(200)));
    let mut context = jetstream::new(options.connect(broker.url()).await?);
    context.set_timeout(Duration::from_millis(200));
    Ok(context)
}

async fn events(stream: &Stream) -> Result<Vec<String>> {
    let mut events = Vec::new();
    for sequence in 1..=stream.get_info().await?.state.last_sequence {
        let message = stream.get_raw_message(sequence).await?;
        events.push(String::from_utf8(message.payload.to_vec())?);
    }
    Ok(events)
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<()> {
    let broker = TestBroker::builder().streams().seed(7).start().await?;
    let context = connect(&broker).await?;
    let stream = context
        .create_stream(Config {
            name: "EVENTS".into(),
            subjects: vec!["orders.*".into()],
            duplicate_window: Duration::from_secs(120), // longer than any crash takes
            ..Config::default()
        })
        .await?;
    let mut database = Database::default();
    for (number, order) in ["apples", "pears", "plums", "melons"].into_iter().enumerate() {
        database.place_order(order);
        // The disk stops at a later write each time: before the event is stored, within it, or after it.
        broker.disk().stop(number as u64);
        let crash = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            broker.crash().await;
            broker.restart().await
        };
        let ((), restarted) = tokio::join!(relay(&mut database, &context), crash);
        restarted?;
    }
    let events = events(&stream).await?;
    println!("{events:?}");
    assert_eq!(events, database.orders);
    Ok(())
}
