//! Servers with JetStream, whose streams are not replicated: no request may reach two of them.

use std::time::Duration;

use broker_core::Subscriber;
use futures_executor::block_on;

use super::mesh::{Mesh, options, with_jetstream};

const TEXT: &str = r#"JetStream is enabled on "#;

fn conflicts(mesh: &Mesh, node: usize) -> Vec<String> {
    mesh.nodes[node].broker.jetstream_conflicts()
}

/// Makes a server answer requests to the API.
fn serve(mesh: &Mesh, node: usize) -> Subscriber {
    block_on(mesh.nodes[node].broker.client().subscribe("$JS.API.INFO")).unwrap()
}

#[test]
fn two_servers_with_jetstream_are_not_connected_until_one_of_them_has_none() {
    for pool_size in [Some(3), Some(1), None] {
        let with_pool = |mut options: broker_core::Options| {
            options.cluster.as_mut().unwrap().pool_size = pool_size;
            options
        };
        let all = vec![
            with_pool(with_jetstream(options(0, &[]))),
            with_pool(with_jetstream(options(1, &[0]))),
        ];
        let mut mesh = Mesh::start(all);
        for _ in 0..100 {
            assert_eq!([mesh.peers(0), mesh.peers(1)], [0, 0], "{pool_size:?}");
            assert_eq!([mesh.routes(0), mesh.routes(1)], [0, 0], "{pool_size:?}");
            for node in 0..2 {
                let texts = conflicts(&mesh, node);
                assert_eq!(texts.len(), 1, "{pool_size:?} {node} {texts:?}");
                assert!(texts[0].starts_with(TEXT), "{texts:?}");
                assert!(texts[0].contains("\"n0\"") && texts[0].contains("\"n1\""), "{texts:?}");
            }
            mesh.pass(Duration::from_secs(1));
        }
        // Attempts are not made each second: one for each of the two routes that are dialled.
        assert!(mesh.connects <= 2 * 12, "{} connections", mesh.connects);

        mesh.kill(1);
        mesh.restart(1, with_pool(options(1, &[0])));
        mesh.pass(Duration::from_secs(5));
        assert_eq!([mesh.peers(0), mesh.peers(1)], [1, 1], "{pool_size:?}");
        assert_eq!([conflicts(&mesh, 0), conflicts(&mesh, 1)], [Vec::<String>::new(), vec![]]);
    }
}

#[test]
fn servers_that_dial_each_other_find_the_conflict_too() {
    let all = vec![with_jetstream(options(0, &[1])), with_jetstream(options(1, &[0]))];
    let mut mesh = Mesh::start(all);
    mesh.pass(Duration::from_secs(60));
    assert_eq!([mesh.routes(0), mesh.routes(1)], [0, 0]);
    assert!((0..2).all(|node| !conflicts(&mesh, node).is_empty()));
}

#[test]
fn a_server_without_jetstream_is_connected_to_one_that_has_it() {
    // The third server dials the second one with JetStream, or is dialled by it.
    for (of_second, of_third) in [(vec![2], vec![0]), (vec![], vec![0, 1])] {
        let mut mesh = Mesh::start(vec![
            with_jetstream(options(0, &[])),
            with_jetstream(options(1, &of_second)),
            options(2, &of_third),
        ]);
        let mut served = [serve(&mesh, 0), serve(&mesh, 1)];
        mesh.pass(Duration::from_secs(60));
        let client = mesh.nodes[2].broker.client();
        for _ in 0..30 {
            block_on(client.publish("$JS.API.INFO", "".into())).unwrap();
            mesh.pass(Duration::from_secs(1));
        }
        let counts = served.each_mut().map(|one| std::iter::from_fn(|| one.try_next()).count());
        assert!(counts == [30, 0] || counts == [0, 30], "{counts:?}");
        let refused = usize::from(counts[0] > 0);
        for node in [refused, 2] {
            assert_eq!(conflicts(&mesh, node).len(), 1, "{node}: {:?}", conflicts(&mesh, node));
        }
        // The other one takes its place.
        let leaves = 1 - refused;
        mesh.kill(leaves);
        mesh.pass(Duration::from_secs(60));
        assert_eq!(mesh.peers(2), 1);
        assert!(conflicts(&mesh, 2).is_empty(), "{:?}", conflicts(&mesh, 2));
    }
}

#[test]
fn one_server_with_jetstream_serves_all() {
    let mut mesh =
        Mesh::start(vec![options(0, &[]), with_jetstream(options(1, &[0])), options(2, &[0])]);
    mesh.pass(Duration::from_secs(5));
    assert_eq!([0, 1, 2].map(|node| mesh.peers(node)), [2, 2, 2]);
    assert!((0..3).all(|node| conflicts(&mesh, node).is_empty()));
}
