//! The service, with a broker for each test. The tests need no server, no fixed port and no pause, and run in parallel.

use async_nats::{Client, ConnectOptions, Error};
use broker_net::testing::TestBroker;
use stock::{Items, Stock};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

async fn connect(broker: &TestBroker) -> Result<Client, Error> {
    let soon = |_| std::time::Duration::from_millis(5);
    Ok(ConnectOptions::new().reconnect_delay_callback(soon).connect(broker.url()).await?)
}

/// An instance of the service that serves until told to stop.
struct Instance {
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), Error>>,
}

async fn start(broker: &TestBroker, items: &[(&str, u32)]) -> Result<Instance, Error> {
    let items = items.iter().map(|&(item, count)| (item.to_owned(), count));
    let service = Stock::open(connect(broker).await?, items.collect::<Items>()).await?;
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(service.serve(async { stopped.await.unwrap_or_default() }));
    // Without this, the first request could come before the subscription.
    broker.wait_for_subscription("stock.take").await;
    Ok(Instance { stop, served })
}

#[tokio::test]
async fn a_request_takes_one_item() -> Result<(), Error> {
    let broker = TestBroker::start().await;
    let _service = start(&broker, &[("apples", 2), ("pears", 0)]).await?;

    let client = connect(&broker).await?;
    for (item, left) in
        [("apples", "1"), ("pears", "none"), ("apples", "0"), ("apples", "none"), ("plums", "none")]
    {
        let answer = client.request("stock.take", item.into()).await?;
        assert_eq!(answer.payload, left, "{item}");
    }
    Ok(())
}

#[tokio::test]
async fn an_item_that_runs_out_is_announced_once() -> Result<(), Error> {
    let broker = TestBroker::start().await;
    let empty = broker.tap("stock.empty.*");
    let _service = start(&broker, &[("apples", 1)]).await?;

    let client = connect(&broker).await?;
    client.request("stock.take", "apples".into()).await?;
    client.request("stock.take", "apples".into()).await?;
    assert_eq!(&*empty.next().await.subject, "stock.empty.apples");
    broker.wait_idle().await;
    empty.expect_nothing();
    Ok(())
}

#[tokio::test]
async fn instances_share_the_requests() -> Result<(), Error> {
    let broker = TestBroker::start().await;
    let _one = start(&broker, &[("apples", 10)]).await?;
    let _two = start(&broker, &[("apples", 10)]).await?;
    broker.wait_for_clients(2).await;
    broker.wait_idle().await;

    let client = connect(&broker).await?;
    let answers = broker.tap("_INBOX.>");
    let mut taken = 0;
    for _ in 0..40 {
        let answer = client.request("stock.take", "apples".into()).await?;
        taken += usize::from(answer.payload != "none");
    }
    // Each request has one answer, and the second instance has items that the first one has not.
    broker.wait_idle().await;
    assert_eq!(answers.len(), 40);
    assert!((11..=20).contains(&taken), "{taken}");
    Ok(())
}

#[tokio::test]
async fn a_server_that_restarts_is_found_again() -> Result<(), Error> {
    let broker = TestBroker::start().await;
    let _service = start(&broker, &[("apples", 2)]).await?;

    broker.restart().await?;
    broker.wait_for_subscription("stock.take").await;
    let client = connect(&broker).await?;
    assert_eq!(client.request("stock.take", "apples".into()).await?.payload, "1");
    Ok(())
}

#[tokio::test]
async fn an_instance_that_stops_answers_what_it_has_got() -> Result<(), Error> {
    let broker = TestBroker::start().await;
    let empty = broker.tap("stock.empty.*");
    let service = start(&broker, &[("apples", 100)]).await?;

    // The broker has sent all requests to the service, which may not have read one, and is told to stop.
    let requests = broker.tap("stock.take");
    let client = connect(&broker).await?;
    for _ in 0..100 {
        client.publish("stock.take", "apples".into()).await?;
    }
    requests.expect(100).await;
    service.stop.send(()).unwrap();
    service.served.await??;
    empty.next().await;

    let alone = client.request("stock.take", "apples".into()).await.unwrap_err();
    assert_eq!(alone.kind(), async_nats::RequestErrorKind::NoResponders);
    Ok(())
}
