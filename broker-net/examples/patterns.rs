//! Request patterns beyond request and reply: a conversation over two inboxes, workers that
//! decline, a timeout extended by heartbeats, and many answers to one request.
//!
//! `cargo run -p broker-net --example patterns`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::{Client, Message, Subject};
use broker_net::testing::TestBroker;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout, timeout_at};

type Result<T> = std::result::Result<T, async_nats::Error>;

// Time is paused: every timeout fires immediately, in a deterministic order.
#[tokio::main(flavor = "current_thread", start_paused = true)]
pub(crate) async fn main() -> Result<()> {
    let broker = TestBroker::start().await;
    let url = broker.url();
    let client = async_nats::connect(&url).await?;

    tokio::spawn(keep_till(async_nats::connect(&url).await?));
    broker.wait_for_subscription("till").await;
    assert_eq!(buy(&client, &["2", "3", "5"]).await?, "10");

    for is_busy in [true, true, false] {
        tokio::spawn(scratch(async_nats::connect(&url).await?, is_busy));
    }
    broker.wait_for_clients(5).await;
    broker.wait_for_subscription("jobs").await;
    assert_eq!(ask_until_accepted(&client, "paint").await?, "painted");

    tokio::spawn(work_long(async_nats::connect(&url).await?));
    broker.wait_for_subscription("long").await;
    assert_eq!(ask_patiently(&client, Duration::from_millis(60)).await?.as_deref(), Some("done"));
    assert_eq!(ask_patiently(&client, Duration::from_millis(5)).await?, None);

    for price in ["7", "5", "9"] {
        tokio::spawn(offer(async_nats::connect(&url).await?, price));
    }
    broker.wait_for_clients(9).await;
    broker.wait_idle().await;
    let mut offers = gather(&client, "offers", Duration::from_millis(100)).await?;
    offers.sort_unstable();
    assert_eq!(offers, ["5", "7", "9"]);
    println!("four ways to ask");
    Ok(())
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(&message.payload).into_owned()
}

/// A conversation: the responder names an inbox of its own, after which both sides talk to each
/// other without the rest of the queue group.
async fn keep_till(client: Client) -> Result<()> {
    let mut customers = client.queue_subscribe("till", "tills".into()).await?;
    while let Some(customer) = customers.next().await {
        let Some(theirs) = customer.reply else { continue };
        let mine = client.new_inbox();
        let mut prices = client.subscribe(mine.clone()).await?;
        client.publish_with_reply(theirs.clone(), mine, "welcome".into()).await?;
        let mut sum = 0;
        while let Some(price) = prices.next().await {
            match text(&price).parse::<u32>() {
                Ok(price) => sum += price,
                Err(_) => break,
            }
        }
        client.publish(theirs, sum.to_string().into()).await?;
    }
    Ok(())
}

async fn buy(client: &Client, prices: &[&'static str]) -> Result<String> {
    let mine = client.new_inbox();
    let mut said = client.subscribe(mine.clone()).await?;
    client.publish_with_reply("till", mine, "hello".into()).await?;
    let theirs: Subject = said.next().await.and_then(|m| m.reply).ok_or("no responder")?;
    for price in prices {
        client.publish(theirs.clone(), (*price).into()).await?;
    }
    client.publish(theirs, "that is all".into()).await?;
    Ok(text(&said.next().await.ok_or("they have gone")?))
}

/// A busy worker declines immediately with an empty answer.
async fn scratch(client: Client, is_busy: bool) -> Result<()> {
    let is_busy = Arc::new(AtomicBool::new(is_busy));
    let mut jobs = client.queue_subscribe("jobs", "workers".into()).await?;
    while let Some(job) = jobs.next().await {
        let Some(reply) = job.reply.clone() else { continue };
        let answer = match is_busy.load(Ordering::Relaxed) {
            true => String::new(),
            false => format!("{}ed", text(&job)),
        };
        client.publish(reply, answer.into()).await?;
    }
    Ok(())
}

/// Repeats the request, which the queue group sends to a randomly picked member.
async fn ask_until_accepted(client: &Client, job: &'static str) -> Result<String> {
    loop {
        let answer = client.request("jobs", job.into()).await?;
        if !answer.payload.is_empty() {
            return Ok(text(&answer));
        }
    }
}

/// A long task: heartbeats go to a separate inbox, named in a header.
async fn work_long(client: Client) -> Result<()> {
    let mut jobs = client.subscribe("long").await?;
    while let Some(job) = jobs.next().await {
        let heartbeat = job.headers.as_ref().and_then(|headers| headers.get("Heartbeat"));
        let (Some(reply), Some(heartbeat)) = (job.reply.clone(), heartbeat) else { continue };
        for _ in 0..10 {
            sleep(Duration::from_millis(10)).await;
            client.publish(heartbeat.to_string(), "".into()).await?;
        }
        client.publish(reply, "done".into()).await?;
    }
    Ok(())
}

/// Waits as long as heartbeats arrive; returns `None` if they stop for too long.
async fn ask_patiently(client: &Client, patience: Duration) -> Result<Option<String>> {
    let (reply, heartbeat) = (client.new_inbox(), client.new_inbox());
    let mut answers = client.subscribe(reply.clone()).await?;
    let mut heartbeats = client.subscribe(heartbeat.clone()).await?;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Heartbeat", heartbeat);
    client.publish_with_reply_and_headers("long", reply, headers, "".into()).await?;
    loop {
        tokio::select! {
            biased;
            answer = answers.next() => return Ok(answer.map(|answer| text(&answer))),
            alive = timeout(patience, heartbeats.next()) => if alive.is_err() { return Ok(None) },
        }
    }
}

async fn offer(client: Client, price: &'static str) -> Result<()> {
    let mut requests = client.subscribe("offers").await?;
    while let Some(request) = requests.next().await {
        if let Some(reply) = request.reply {
            client.publish(reply, price.into()).await?;
        }
    }
    Ok(())
}

/// Collects all answers until none arrives for a while, at most for ten times that.
async fn gather(client: &Client, subject: &'static str, pause: Duration) -> Result<Vec<String>> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await?;
    client.publish_with_reply(subject, inbox, "".into()).await?;
    let deadline = Instant::now() + 10 * pause;
    let mut gathered = Vec::new();
    loop {
        let end = deadline.min(Instant::now() + pause);
        match timeout_at(end, answers.next()).await {
            Ok(Some(answer)) => gathered.push(text(&answer)),
            Ok(None) | Err(_) => return Ok(gathered),
        }
    }
}
