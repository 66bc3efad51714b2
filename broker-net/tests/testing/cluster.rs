//! Clusters of test brokers.

use std::collections::BTreeSet;
use std::time::Duration;

use broker_core::cluster::CompressionMode;
use broker_net::testing::{StartError, TestCluster, block_on};
use futures_util::FutureExt;

use crate::{connect, next};

/// The time within which a silent server is noticed.
const NOTICED: Duration = Duration::from_secs(10);

/// The time within which servers connect again that can.
const CONNECTED_AGAIN: Duration = Duration::from_secs(2);

/// Returns the number of other servers that one knows.
fn peers(cluster: &TestCluster, number: usize) -> usize {
    cluster.node(number).broker().cluster().unwrap().server_count()
}

/// Returns the numbers of the routes of a server.
fn routes(cluster: &TestCluster, number: usize) -> Vec<u64> {
    let broker = cluster.node(number).broker();
    broker.cluster().unwrap().routes().iter().map(|route| route.id).collect()
}

async fn has_responders(cluster: &TestCluster, number: usize, subject: &str) -> bool {
    // A request that is passed on is never answered here.
    let client = cluster.client(number);
    let request = client.request(subject, "x".into()).now_or_never();
    request.is_none_or(|result| !result.unwrap_err().to_string().contains("no responders"))
}

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

#[tokio::test]
async fn routes_are_in_memory_and_clients_have_ports() {
    let cluster = TestCluster::start(2).await;
    for number in 0..2 {
        let routes = cluster.node(number).broker().cluster().unwrap().routes();
        let ips: BTreeSet<_> = routes.iter().map(|route| route.remote.unwrap().ip()).collect();
        // No interface of this machine.
        assert_eq!(ips, BTreeSet::from([[10, 0, 0, 2 - u8::try_from(number).unwrap()].into()]));
        assert!(cluster.node(number).address().ip().is_loopback());
    }
    let client = connect(&cluster.url(1)).await;
    let mut orders = client.subscribe("orders").await.unwrap();
    cluster.wait_for_interest("orders").await;
    let publisher = connect(&cluster.url(0)).await;
    publisher.publish("orders", "one".into()).await.unwrap();
    assert_eq!(next(&mut orders).await.payload, "one");
}

#[tokio::test]
async fn a_partition_is_silent_and_noticed_by_pings_of_the_moved_clock() {
    let cluster = TestCluster::start(3).await;
    let mut orders = cluster.client(2).subscribe("orders").await.unwrap();
    cluster.wait_for_interest("orders").await;
    let before = routes(&cluster, 0);
    cluster.partition(&[0, 1], &[2]);
    // It is not reported.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!((routes(&cluster, 0), peers(&cluster, 2)), (before, 2));
    cluster.client(0).publish("orders", "lost".into()).await.unwrap();
    cluster.advance(NOTICED).await;
    cluster.wait_connected().await;
    assert_eq!((0..3).map(|number| peers(&cluster, number)).collect::<Vec<_>>(), [1, 1, 0]);
    for number in 0..2 {
        assert!(!has_responders(&cluster, number, "orders").await);
    }
    // They try in vain.
    cluster.advance(NOTICED * 3).await;
    cluster.wait_connected().await;
    assert_eq!(orders.try_next(), None);
    cluster.heal();
    cluster.advance(CONNECTED_AGAIN).await;
    cluster.wait_connected().await;
    cluster.wait_for_interest("orders").await;
    cluster.client(1).publish("orders", "again".into()).await.unwrap();
    assert_eq!(orders.next().await.unwrap().payload, "again");
}

#[tokio::test]
async fn a_partition_that_nobody_has_noticed_loses_nothing() {
    let cluster = TestCluster::start(2).await;
    let mut numbers = cluster.client(1).subscribe("numbers").await.unwrap();
    cluster.wait_for_interest("numbers").await;
    let before = routes(&cluster, 0);
    cluster.isolate(1);
    for number in 0..100 {
        cluster.client(0).publish("numbers", number.to_string().into()).await.unwrap();
    }
    cluster.advance(Duration::from_secs(3)).await;
    assert_eq!(numbers.try_next(), None);
    cluster.heal();
    for number in 0..100 {
        assert_eq!(numbers.next().await.unwrap().payload, number.to_string());
    }
    assert_eq!(routes(&cluster, 0), before);
}

#[tokio::test]
async fn an_isolated_server_serves_its_clients_alone() {
    let cluster = TestCluster::start(3).await;
    cluster.isolate(1);
    cluster.cut(&[1], &[0, 2]);
    // Without a move of the clock.
    cluster.wait_connected().await;
    assert_eq!((0..3).map(|number| peers(&cluster, number)).collect::<Vec<_>>(), [1, 0, 1]);
    let client = connect(&cluster.url(1)).await;
    let mut orders = client.subscribe("orders").await.unwrap();
    cluster.node(1).wait_for_subscription("orders").await;
    cluster.client(0).publish("orders", "elsewhere".into()).await.unwrap();
    cluster.client(1).publish("orders", "here".into()).await.unwrap();
    assert_eq!(next(&mut orders).await.payload, "here");
    cluster.heal();
    cluster.advance(CONNECTED_AGAIN).await;
    cluster.wait_connected().await;
    cluster.wait_for_interest("orders").await;
}

#[tokio::test]
async fn cut_connections_are_made_again() {
    let cluster = TestCluster::start(3).await;
    let (before, others) = (routes(&cluster, 1), routes(&cluster, 2));
    cluster.cut(&[0], &[1]);
    let lost = cluster.node(1).wait_until("routes are lost", move |broker| {
        let left = broker.cluster().unwrap().routes();
        left.iter().filter(|route| before.contains(&route.id)).count() == before.len() / 2
    });
    lost.await;
    cluster.advance(CONNECTED_AGAIN).await;
    cluster.wait_connected().await;
    assert_eq!(routes(&cluster, 2), others, "of servers that were not concerned");
}

#[tokio::test]
async fn a_server_that_restarts_in_a_partition_stays_alone_until_it_ends() {
    let mut cluster = TestCluster::start(3).await;
    cluster.isolate(2);
    cluster.restart(2).await.unwrap();
    cluster.advance(NOTICED).await;
    cluster.wait_connected().await;
    assert_eq!((0..3).map(|number| peers(&cluster, number)).collect::<Vec<_>>(), [1, 1, 0]);
    cluster.heal();
    cluster.advance(CONNECTED_AGAIN).await;
    cluster.wait_connected().await;
    assert_eq!(peers(&cluster, 2), 2);
}

#[tokio::test]
async fn a_node_that_restarts_by_itself_is_connected_again() {
    let cluster = TestCluster::start(3).await;
    let before = cluster.node(1).broker().info().server_id;
    cluster.node(1).restart().await.unwrap();
    cluster.advance(CONNECTED_AGAIN).await;
    cluster.wait_connected().await;
    assert_ne!(cluster.node(1).broker().info().server_id, before);
}

#[tokio::test]
async fn no_route_is_lost_when_the_clocks_of_all_servers_move() {
    for own_threads in [false, true] {
        let builder = TestCluster::builder();
        let builder = match own_threads {
            true => builder.each(|_, broker| broker.own_thread()),
            false => builder,
        };
        let cluster = builder.start().await.unwrap();
        let before: Vec<_> = (0..3).map(|number| routes(&cluster, number)).collect();
        for by in [Duration::from_secs(20), Duration::from_hours(2)] {
            cluster.advance(by).await;
        }
        cluster.wait_connected().await;
        assert_eq!((0..3).map(|number| routes(&cluster, number)).collect::<Vec<_>>(), before);
    }
}

#[tokio::test]
async fn a_partition_of_servers_with_own_threads_is_noticed() {
    let builder = TestCluster::builder().each(|_, broker| broker.own_thread());
    let cluster = builder.start().await.unwrap();
    cluster.isolate(0);
    cluster.advance(NOTICED).await;
    cluster.wait_connected().await;
    assert_eq!((0..3).map(|number| peers(&cluster, number)).collect::<Vec<_>>(), [0, 1, 1]);
    cluster.heal();
    cluster.advance(CONNECTED_AGAIN).await;
    cluster.wait_connected().await;
}

#[tokio::test]
async fn the_clock_of_a_single_server_moves() {
    let cluster = TestCluster::builder().servers(2).each(|_, broker| {
        let broker = broker.own_thread().user("app", "pw");
        broker.limits(|limits| limits.auth_timeout = Duration::from_hours(1))
    });
    let cluster = cluster.start().await.unwrap();
    let silent: Vec<_> =
        (0..2).map(|number| std::net::TcpStream::connect(cluster.node(number).address())).collect();
    for number in 0..2 {
        cluster.node(number).wait_for_clients(1).await;
    }
    cluster.node(1).advance(Duration::from_hours(2)).await;
    cluster.node(1).wait_for_clients(0).await;
    assert_eq!(cluster.node(0).stats().connections, 1);
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn with_paused_time_a_partition_is_noticed_as_time_runs() {
    let cluster = TestCluster::start(3).await;
    let began = tokio::time::Instant::now();
    cluster.isolate(0);
    cluster
        .node(0)
        .wait_until("others are lost", |broker| broker.cluster().unwrap().server_count() == 0)
        .within(NOTICED)
        .await;
    assert!(began.elapsed() > Duration::from_secs(5), "{:?}", began.elapsed());
    cluster.heal();
    cluster.wait_connected().within(CONNECTED_AGAIN).await;
}

#[test]
fn a_cluster_runs_without_a_runtime() {
    let mut cluster = TestCluster::builder().servers(2).start_blocking().unwrap();
    let mut orders = block_on(cluster.client(1).subscribe("orders")).unwrap();
    block_on(cluster.wait_for_interest("orders"));
    block_on(cluster.client(0).publish("orders", "one".into())).unwrap();
    assert_eq!(block_on(orders.next()).unwrap().payload, "one");
    cluster.isolate(0);
    block_on(cluster.advance(NOTICED));
    block_on(cluster.wait_connected());
    assert_eq!(peers(&cluster, 0), 0);
    cluster.heal();
    cluster.stop(1);
    block_on(cluster.restart(1)).unwrap();
    block_on(cluster.advance(CONNECTED_AGAIN));
    block_on(cluster.wait_connected());
}

#[tokio::test]
async fn each_server_has_the_options_of_the_test_also_after_a_restart() {
    let builder = TestCluster::builder().servers(2).each(|number, broker| {
        let broker = broker.user("app", "pw").server_name(format!("shop-{number}"));
        broker.options(|options| {
            options.broker.cluster.as_mut().unwrap().pool_size = Some(1);
        })
    });
    let mut cluster = builder.start().await.unwrap();
    cluster.restart(1).await.unwrap();
    cluster.wait_connected().await;
    assert_eq!(routes(&cluster, 0).len(), 2, "one of the pool, one of the system account");
    assert!(async_nats::connect(cluster.url(1)).await.is_err());
    let options = async_nats::ConnectOptions::with_user_and_password("app".into(), "pw".into());
    let client = options.connect(cluster.url(1)).await.unwrap();
    assert_eq!(client.server_info().server_name, "shop-1");
    let no_pool = TestCluster::builder().each(|_, broker| {
        broker.options(|options| options.broker.cluster.as_mut().unwrap().pool_size = None)
    });
    assert_eq!(routes(&no_pool.start().await.unwrap(), 0).len(), 2, "one to each");
}

#[tokio::test]
async fn routes_with_credentials_and_compression_are_in_memory_too() {
    let cluster = TestCluster::builder().servers(2).each(|_, broker| {
        broker.options(|options| {
            let cluster = options.broker.cluster.as_mut().unwrap();
            cluster.credentials = Some(("route".to_owned(), "s3cr3t".into()));
            cluster.compression.mode = CompressionMode::S2Better;
        })
    });
    let cluster = cluster.start().await.unwrap();
    let modes: Vec<_> = cluster.node(0).broker().cluster().unwrap().routes();
    assert!(modes.iter().all(|route| route.compression == CompressionMode::S2Better), "{modes:?}");
    let mut texts = cluster.client(1).subscribe("texts").await.unwrap();
    cluster.wait_for_interest("texts").await;
    cluster.isolate(0);
    let text = "apples and pears, ".repeat(10_000);
    for _ in 0..5 {
        cluster.client(0).publish("texts", text.clone().into()).await.unwrap();
    }
    cluster.heal();
    for _ in 0..5 {
        assert_eq!(texts.next().await.unwrap().payload, text);
    }
    cluster.isolate(0);
    cluster.advance(NOTICED).await;
    cluster.wait_connected().await;
}

#[tokio::test]
async fn what_was_waited_for_in_vain_is_reported() {
    let cluster = TestCluster::start(2).await;
    cluster.partition(&[0], &[1]);
    let waiting = cluster.wait_connected().within(Duration::ZERO).into_future();
    let panicked = tokio::spawn(waiting).await.unwrap_err().into_panic();
    let text = panicked.downcast_ref::<String>().unwrap();
    let expected =
        "all servers were expected to be connected, but n0 has routes to n1 (4), not to none\n";
    assert!(text.starts_with(expected), "{text}");
    let waiting = cluster.wait_for_interest("orders").within(Duration::ZERO).into_future();
    let panicked = tokio::spawn(waiting).await.unwrap_err().into_panic();
    let text = panicked.downcast_ref::<String>().unwrap();
    assert!(text.starts_with("interest in orders was expected, n0 has none\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "start the broker with `own_thread()`")]
async fn the_clock_of_a_cluster_on_several_threads_cannot_be_moved() {
    TestCluster::start(2).await.advance(Duration::from_secs(1)).await;
}

#[tokio::test]
#[should_panic(expected = "there is no server 2")]
async fn a_server_that_there_is_not_cannot_be_partitioned() {
    TestCluster::start(2).await.partition(&[0], &[1, 2]);
}

#[tokio::test]
async fn a_missing_nats_server_is_a_clear_error() {
    for program in ["no-such-nats-server", "/nowhere/nats-server"] {
        let builder = TestCluster::builder().servers(1).with_nats_server(program);
        let error = builder.start().await.unwrap_err();
        assert!(matches!(&error, StartError::NoNatsServer { .. }), "{error:?}");
        let expected = format!("there is no nats-server: the program \"{program}\" is not found");
        assert_eq!(error.to_string(), expected);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_program_that_is_no_nats_server_is_a_clear_error() {
    let builder = TestCluster::builder().servers(1).with_nats_server("cat");
    let error = builder.start().await.unwrap_err();
    assert!(matches!(&error, StartError::NatsServer { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("\"cat\" did not start as a nats-server: cat: "), "{text}");
}

/// A start that is dropped ends the processes that it has started: here a program that never becomes ready.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_start_that_is_dropped_leaves_no_process() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let (program, noted) = (folder.path().join("never-ready"), folder.path().join("pid"));
    let script = format!(
        "#!/bin/sh\necho $$ >{0}.new && mv {0}.new {0}\nexec sleep 1000\n",
        noted.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut starting =
        Box::pin(TestCluster::builder().servers(1).with_nats_server(program).start());
    let pid = loop {
        assert!((&mut starting).now_or_never().is_none());
        match std::fs::read_to_string(&noted) {
            Ok(pid) => break pid.trim().to_owned(),
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert!(std::path::Path::new("/proc").join(&pid).exists());
    drop(starting);
    assert!(!std::path::Path::new("/proc").join(&pid).exists());
}
