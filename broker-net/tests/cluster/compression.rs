//! Compression between servers.

use std::collections::HashSet;

use broker_core::cluster::CompressionMode;
use broker_net::testing::Certificates;
use broker_net::{Server, ServerOptions};

use crate::nodes::{has_peers, in_time, options, port, start_with, until, with_tls};

fn compressing(mut options: ServerOptions, mode: CompressionMode) -> ServerOptions {
    options.broker.cluster.as_mut().unwrap().compression.mode = mode;
    options
}

/// Returns the modes of a server's routes.
fn modes(server: &Server) -> HashSet<CompressionMode> {
    let routes = server.broker().cluster().unwrap().routes();
    routes.into_iter().map(|route| route.compression).collect()
}

/// Sends messages of some sizes from a client of one server to a client of another.
async fn exchange(from: &Server, to: &Server) {
    let mut received = to.client().subscribe("sizes").await.unwrap();
    until("interest", || {
        let routes = from.broker().cluster().unwrap().routes();
        routes.iter().any(|route| route.subscriptions > 0)
    })
    .await;
    let client = from.client();
    for len in [0, 1, 100, 5_000, 70_000, 500_000] {
        let payload = bytes::Bytes::from(b"natsd ".repeat(len / 6 + 1)[..len].to_vec());
        client.publish("sizes", payload.clone()).await.unwrap();
        assert_eq!(in_time(received.next()).await.unwrap().payload, payload);
    }
}

#[tokio::test]
async fn routes_are_compressed_as_agreed() {
    use CompressionMode::{Accept, Off, S2Best, S2Better, S2Fast, S2Uncompressed};
    let authority = Certificates::new().unwrap();
    for (accepting, dialling, agreed) in [
        (Accept, Accept, Off),
        (Off, S2Fast, Off),
        (Accept, S2Fast, S2Fast),
        (S2Better, Accept, S2Better),
        (S2Best, S2Best, S2Best),
        (S2Uncompressed, S2Uncompressed, S2Uncompressed),
    ] {
        for is_tls in [false, true] {
            let build = |options: ServerOptions, mode| {
                let options = compressing(options, mode);
                let tls = is_tls.then(|| authority.route().unwrap());
                tls.map_or_else(|| options.clone(), |tls| with_tls(options.clone(), tls))
            };
            let a = start_with(build(options(&[]), accepting)).await;
            let b = start_with(build(options(&[port(&a)]), dialling)).await;
            has_peers(&a, 1).await;
            has_peers(&b, 1).await;
            exchange(&a, &b).await;
            exchange(&b, &a).await;
            assert_eq!((modes(&a), modes(&b)), ([agreed].into(), [agreed].into()));
        }
    }
}
