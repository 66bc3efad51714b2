//! TLS between the servers of a test cluster, whose routes are in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use broker_net::RouteTls;
use broker_net::testing::{Certificates, TestCluster, TestClusterBuilder};

use crate::log::Lines;
use crate::nodes::until;

/// Returns a cluster of two servers with TLS of routes, by the number of each.
fn with_tls(tls: impl Fn(usize) -> RouteTls + Send + Sync + 'static) -> TestClusterBuilder {
    TestCluster::builder().servers(2).each(move |number, broker| {
        broker.options(|options| {
            options.cluster.get_or_insert_default().tls = Some(tls(number));
        })
    })
}

fn peers(cluster: &TestCluster, number: usize) -> usize {
    cluster.node(number).broker().cluster().unwrap().server_count()
}

/// Returns the number of routes that have one of these lines.
fn secured(lines: &Lines) -> usize {
    lines.with("TLS handshake complete").len()
}

#[tokio::test]
async fn servers_with_certificates_of_one_authority_connect() {
    let (lines, _guard) = Lines::capture();
    let authority = Certificates::new().unwrap();
    let cluster = with_tls(move |_| authority.route().unwrap()).start().await.unwrap();
    let routes = |number: usize| cluster.node(number).broker().cluster().unwrap().routes().len();
    // Both sides of each route log it.
    assert!(secured(&lines) >= routes(0) + routes(1), "{} of {}", secured(&lines), routes(0));
    let mut orders = cluster.client(1).subscribe("orders").await.unwrap();
    cluster.wait_for_interest("orders").await;
    cluster.client(0).publish("orders", "7 apples".into()).await.unwrap();
    assert_eq!(orders.next().await.unwrap().payload, "7 apples");
}

/// Starts a cluster, and then its second server again with these options, which the first one's do not fit.
async fn fail(authority: Certificates, misfit: RouteTls, text: &str) {
    let (lines, _guard) = Lines::capture();
    let is_misfit = Arc::new(AtomicBool::new(false));
    let misfits = Arc::clone(&is_misfit);
    let builder = with_tls(move |number| match number {
        1 if misfits.load(Ordering::Relaxed) => misfit.clone(),
        _ => authority.route().unwrap(),
    });
    let mut cluster = builder.start().await.unwrap();
    assert_eq!((peers(&cluster, 0), peers(&cluster, 1)), (1, 1));
    is_misfit.store(true, Ordering::Relaxed);
    cluster.restart(1).await.unwrap();
    until(text, || !lines.with(text).is_empty()).await;
    until("the first server has none", || peers(&cluster, 0) == 0).await;
    assert_eq!(peers(&cluster, 1), 0);
    is_misfit.store(false, Ordering::Relaxed);
    cluster.restart(1).await.unwrap();
    cluster.wait_connected().await;
}

#[tokio::test]
async fn each_side_refuses_certificates_of_another_authority() {
    let [one, other] = [(); 2].map(|()| Certificates::new().unwrap());
    let foreign = other.route().unwrap();
    fail(one, foreign.clone(), "the certificate of the server").await;
    // The dialling side accepts any, and the other side does not.
    let mut insecure = foreign;
    insecure.insecure_skip_verify = true;
    fail(Certificates::new().unwrap(), insecure, "TLS route handshake error").await;
}

#[tokio::test]
async fn a_server_without_tls_has_no_route_to_one_with_it() {
    let authority = Certificates::new().unwrap();
    let is_plain = Arc::new(AtomicBool::new(false));
    let plains = Arc::clone(&is_plain);
    let builder = TestCluster::builder().servers(2).each(move |number, broker| {
        let is_plain = number == 1 && plains.load(Ordering::Relaxed);
        broker.options(|options| {
            let tls = (!is_plain).then(|| authority.route().unwrap());
            options.cluster.get_or_insert_default().tls = tls;
        })
    });
    let mut cluster = builder.start().await.unwrap();
    let (lines, _guard) = Lines::capture();
    is_plain.store(true, Ordering::Relaxed);
    cluster.restart(1).await.unwrap();
    let text = "first record does not look like a TLS handshake";
    until(text, || !lines.with(text).is_empty()).await;
    until("the first server has none", || peers(&cluster, 0) == 0).await;
    assert_eq!(peers(&cluster, 1), 0);
}
