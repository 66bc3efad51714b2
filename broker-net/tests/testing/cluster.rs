//! Clusters of test brokers.

use std::collections::BTreeSet;

use broker_net::testing::TestCluster;

#[tokio::test]
async fn the_servers_of_a_cluster_are_connected_and_pass_on_messages() {
    let cluster = TestCluster::start(3).await;
    assert_eq!(cluster.urls().into_iter().collect::<BTreeSet<_>>().len(), 3);
    let mut orders = cluster.client(2).subscribe("orders.*").await.unwrap();
    cluster.wait_for_interest("orders.eu").await;
    for number in 0..3 {
        cluster.client(number).publish("orders.eu", number.to_string().into()).await.unwrap();
    }
    let mut got = BTreeSet::new();
    for _ in 0..3 {
        got.insert(orders.next().await.unwrap().payload);
    }
    assert_eq!(got.len(), 3);
    let urls = cluster.node(0).broker().info().connect_urls;
    assert_eq!(urls.len(), 3, "clients are told of all servers: {urls:?}");
}

#[tokio::test]
async fn a_stopped_server_is_forgotten_and_comes_back_at_its_ports() {
    let mut cluster = TestCluster::start(3).await;
    let urls = cluster.urls();
    let held = cluster.client(1).subscribe("a").await.unwrap();
    cluster.wait_for_interest("a").await;
    cluster.stop(1);
    drop(held);
    cluster.wait_connected().await;
    assert_eq!(cluster.urls().len(), 2);
    let nobody = cluster.client(0).request("a", "x".into()).await;
    assert!(nobody.unwrap_err().to_string().contains("no responders"));
    cluster.restart(1).await.unwrap();
    cluster.wait_connected().await;
    assert_eq!(cluster.urls(), urls);
    let mut again = cluster.client(1).subscribe("a").await.unwrap();
    cluster.wait_for_interest("a").await;
    cluster.client(2).publish("a", "back".into()).await.unwrap();
    assert_eq!(again.next().await.unwrap().payload, "back");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_of_a_queue_group_reaches_one_member_wherever_it_is() {
    let cluster = TestCluster::start(3).await;
    let mut members = Vec::new();
    for number in 0..3 {
        members.push(cluster.client(number).queue_subscribe("work", "q").await.unwrap());
    }
    cluster.wait_for_interest("work").await;
    for number in 0..300 {
        cluster.client(number % 3).publish("work", number.to_string().into()).await.unwrap();
    }
    let mut seen = BTreeSet::new();
    while seen.len() < 300 {
        for member in &mut members {
            while let Some(message) = member.try_next() {
                assert!(seen.insert(message.payload), "each message once");
            }
        }
        tokio::task::yield_now().await;
    }
}
