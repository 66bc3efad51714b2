//! A program under network faults: a client that repeats a request when the answer is lost, and
//! continues after a disconnect and after a restart of the server.
//!
//! `cargo run -p broker-net --example faults`

use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use broker_net::testing::{Fault, TestBroker};
use futures_util::StreamExt;

/// Timeout of an answer.
const PATIENCE: Duration = Duration::from_millis(50);

async fn connect(url: String) -> Result<Client, async_nats::Error> {
    let soon = |_| Duration::from_millis(5);
    Ok(ConnectOptions::new().reconnect_delay_callback(soon).connect(url).await?)
}

/// The code under test: repeats a request until it is answered. Returns the number of attempts.
async fn ask(client: &Client, question: &'static str) -> Result<u32, async_nats::Error> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let asking = client.request("questions", question.into());
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(_answer)) => return Ok(attempts),
            // Lost, or no responders at the moment.
            Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

async fn answer(client: Client) -> Result<(), async_nats::Error> {
    let mut questions = client.subscribe("questions").await?;
    while let Some(question) = questions.next().await {
        if let Some(reply) = question.reply {
            client.publish(reply, "42".into()).await?;
        }
    }
    Ok(())
}

// Time is paused: every timeout fires immediately, in a deterministic order.
#[tokio::main(flavor = "current_thread", start_paused = true)]
pub(crate) async fn main() -> Result<(), async_nats::Error> {
    let broker = TestBroker::builder().seed(1).start().await?;
    tokio::spawn(answer(connect(broker.url()).await?));
    broker.wait_for_subscription("questions").await;
    let client = connect(broker.url()).await?;
    assert_eq!(ask(&client, "without harm").await?, 1);

    // The request is lost, then the answer.
    let questions = broker.disturb("questions", Fault::lose().once());
    let answers = broker.disturb("_INBOX.>", Fault::lose().once());
    assert_eq!(ask(&client, "twice lost").await?, 3);
    assert_eq!((questions.count(), answers.count()), (1, 1));

    // An answer that arrives too late counts as lost.
    broker.disturb("_INBOX.>", Fault::delay(4 * PATIENCE).once());
    assert_eq!(ask(&client, "late").await?, 2);
    broker.clear_faults();

    // All clients are disconnected. They reconnect and resubscribe by themselves.
    broker.cut_all();
    ask(&client, "after a cut").await?;

    // The server restarts at the same port.
    broker.restart().await?;
    broker.wait_for_clients(2).await;
    ask(&client, "after a restart").await?;

    // A single client is told that the server enters lame duck mode.
    broker.send_info(client.server_info().client_id, |info| info.ldm = true);
    ask(&client, "after a warning").await?;
    println!("every question was answered in the end");
    Ok(())
}
