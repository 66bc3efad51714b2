//! Exactly once, from the sender to the result: message ids remove what a sender repeats, and a receiver stores the place in the
//! stream together with its result, so that a message that comes again has no effect.
//!
//! `cargo run -p broker-net --features streams,testing --example exactly_once`

use std::time::Duration;

use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::Config;
use async_nats::jetstream::{self, Context};
use broker_net::testing::TestBroker;
use futures_util::TryStreamExt;

type Result<T> = std::result::Result<T, async_nats::Error>;

/// Pays an amount in. The sender gives each payment an id, and repeats it with the same one until it is acknowledged. Returns whether
/// the server had it already.
async fn pay(context: &Context, id: &str, amount: u64) -> Result<bool> {
    let message = PublishMessage::build().payload(amount.to_string().into()).message_id(id);
    Ok(context.send_publish("payments", message).await?.await?.duplicate)
}

/// The result of a receiver, which is stored in one step.
#[derive(Debug, Default, Eq, PartialEq)]
struct Balance {
    amount: u64,
    /// The sequence of the last payment that is in it.
    last: u64,
}

/// Takes what waits into the balance. A receiver that crashes before the acknowledgement gets the message again.
async fn collect(payments: &PullConsumer, balance: &mut Balance, crashes: bool) -> Result<()> {
    let mut batch = payments.fetch().max_messages(10).messages().await?;
    while let Some(payment) = batch.try_next().await? {
        let sequence = payment.info()?.stream_sequence;
        if sequence > balance.last {
            let amount: u64 = String::from_utf8_lossy(&payment.payload).parse()?;
            *balance = Balance { amount: balance.amount + amount, last: sequence };
        }
        if !crashes {
            payment.double_ack().await?;
        }
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<()> {
    let broker = TestBroker::builder().streams().start().await?;
    let context = jetstream::new(async_nats::connect(broker.url()).await?);
    let stream = context
        .create_stream(Config {
            name: "PAYMENTS".into(),
            subjects: vec!["payments".into()],
            duplicate_window: Duration::from_secs(600), // for as long as a sender may repeat
            ..Config::default()
        })
        .await?;
    let receiver = pull::Config {
        durable_name: Some("balance".into()),
        ack_wait: Duration::from_secs(30),
        ..pull::Config::default()
    };
    let payments: PullConsumer = stream.create_consumer(receiver).await?;

    assert!(!pay(&context, "payment-1", 7).await?);
    assert!(!pay(&context, "payment-2", 8).await?);
    // The sender has not seen the acknowledgement, and repeats the payment; the server has crashed in between.
    broker.crash().await;
    broker.restart().await?;
    assert!(pay(&context, "payment-2", 8).await?);

    let mut balance = Balance::default();
    collect(&payments, &mut balance, true).await?;
    assert_eq!(balance, Balance { amount: 15, last: 2 });
    // The server waits for the acknowledgement, and delivers again. The test does not wait for it.
    broker.advance(Duration::from_secs(31)).await;
    collect(&payments, &mut balance, false).await?;
    assert_eq!(balance, Balance { amount: 15, last: 2 });
    println!("each payment counts once: {balance:?}");
    Ok(())
}
