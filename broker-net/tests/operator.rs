//! Users with tokens over real connections, under a clock that the test moves.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test itself may")]

use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use broker_net::testing::{TestBroker, TestOperator, TestUser};

async fn connect(broker: &TestBroker, user: &TestUser) -> Result<Client, async_nats::ConnectError> {
    let options = ConnectOptions::with_credentials(&user.creds()).unwrap().max_reconnects(1);
    options.connect(broker.url()).await
}

/// Returns the reasons of the closed connections, the oldest first.
fn reasons(broker: &TestBroker) -> Vec<String> {
    let closed = broker.broker().closed_connections();
    closed.iter().map(|closed| closed.reason.to_string()).collect()
}

#[tokio::test]
async fn users_log_in_by_their_creds_and_accounts_are_separate() {
    let operator = TestOperator::new();
    let broker = TestBroker::builder().operator(&operator).start().await.unwrap();
    let (a, b) = (operator.account("A"), operator.account("B"));
    let _first = connect(&broker, &a.user("joe")).await.unwrap();
    let _second = connect(&broker, &b.user("joe")).await.unwrap();
    let accounts: Vec<_> =
        broker.connections().into_iter().map(|one| one.account.unwrap().to_string()).collect();
    assert_eq!(accounts, [a.public_key(), b.public_key()]);
    assert!(async_nats::connect(broker.url()).await.is_err());
}

#[tokio::test]
async fn a_revoked_user_is_closed_and_stays_out() {
    let operator = TestOperator::new();
    let broker = TestBroker::builder().operator(&operator).start().await.unwrap();
    let account = operator.account("A");
    let (joe, jim) = (account.user("joe"), account.user("jim"));
    let _joe = connect(&broker, &joe).await.unwrap();
    let _jim = connect(&broker, &jim).await.unwrap();
    broker.wait_for_clients(2).await;
    account.revoke(&joe);
    broker.wait_for_clients(1).await;
    assert!(reasons(&broker).contains(&"Credentials Revoked".to_owned()));
    assert!(connect(&broker, &joe).await.is_err());
    let left = broker.connections();
    assert_eq!(left[0].client_info.user.as_deref(), Some(&*jim.public_key()));
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_by_the_clock_of_the_test() {
    let operator = TestOperator::new();
    let broker = TestBroker::builder().operator(&operator).start().await.unwrap();
    let user = operator.account("A").user_for("joe", Duration::from_secs(60));
    let _client = connect(&broker, &user).await.unwrap();
    broker.wait_for_clients(1).await;
    tokio::time::advance(Duration::from_secs(58)).await;
    assert_eq!(broker.connections().len(), 1);
    tokio::time::advance(Duration::from_secs(3)).await;
    broker.wait_until("the user is gone", |broker| broker.connections().is_empty()).await;
    assert!(reasons(&broker).contains(&"Authentication Expired".to_owned()));
}

#[tokio::test]
async fn users_of_a_scoped_key_have_its_permissions() {
    let operator = TestOperator::new();
    let broker = TestBroker::builder().operator(&operator).start().await.unwrap();
    let key = operator.account("A").signing_key("reader", |template| {
        template.permissions.publish.allow = vec!["{{name()}}.>".into()];
    });
    let client = connect(&broker, &key.user("joe")).await.unwrap();
    client.publish("joe.x", "".into()).await.unwrap();
    client.publish("x", "".into()).await.unwrap();
    client.flush().await.unwrap();
    broker.wait_until("one message has arrived", |broker| broker.stats().in_messages >= 1).await;
    let lines = broker.lines();
    assert!(
        lines.iter().any(|line| line.contains("Permissions Violation for Publish to \"x\"")),
        "{lines:#?}"
    );
    assert!(!lines.iter().any(|line| line.contains("Publish to \"joe.x\"")), "{lines:#?}");
}
