//! Changes of the options of a cluster at run time.

use broker_core::cluster::RouteAddress;
use broker_net::{ApplyError, ClusterListenerOptions, ServerOptions};

use crate::nodes::{has_peers, options, port, start};

fn to(port: u16) -> RouteAddress {
    RouteAddress { host: "127.0.0.1".to_owned(), port, credentials: None }
}

#[tokio::test]
async fn routes_can_be_added() {
    let a = start(&[]).await;
    let b = start(&[]).await;
    let mut options = b.options();
    options.broker.cluster.as_mut().unwrap().routes.push(to(port(&a)));
    b.apply(options, None).await.unwrap();
    has_peers(&a, 1).await;
    has_peers(&b, 1).await;
}

#[tokio::test]
async fn the_listener_cannot_change() {
    let server = start(&[]).await;
    let refused = async |change: &dyn Fn(&mut ServerOptions)| {
        let mut options = server.options();
        change(&mut options);
        match server.apply(options, None).await {
            Err(error @ ApplyError::NotAtRunTime { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let port = port(&server);
    assert_eq!(
        refused(&|options| options.cluster.as_mut().unwrap().port = 1).await,
        format!("config reload not supported for cluster port: old={port}, new=1")
    );
    assert_eq!(
        refused(&|options| options.cluster.as_mut().unwrap().host = "::1".to_owned()).await,
        "config reload not supported for cluster host: old=127.0.0.1, new=::1"
    );
    assert_eq!(
        refused(&|options| (options.cluster, options.broker.cluster) = (None, None)).await,
        "config reload not supported for cluster host: old=127.0.0.1, new="
    );
}

#[tokio::test]
async fn a_server_by_itself_cannot_join_a_cluster_later() {
    let server = broker_net::Server::builder().bind().await.unwrap();
    let mut joining = server.options();
    joining.cluster = Some(ClusterListenerOptions::new("127.0.0.1", 6222));
    joining.broker.cluster = options(&[]).broker.cluster;
    let error = server.apply(joining, None).await.unwrap_err().to_string();
    assert_eq!(error, "config reload not supported for cluster host: old=, new=127.0.0.1");
    assert_eq!(server.cluster_addr(), None);
}
