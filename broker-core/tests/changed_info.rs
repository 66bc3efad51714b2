//! A change of INFO reaches all clients, and delays none: few of them are told at the same time.

mod common;

use std::time::{Instant, SystemTime};

use broker_core::cluster::ClusterOptions;
use broker_core::session::Session as _;
use broker_core::session::route::RouteArrival;
use broker_core::{Broker, Options};
use common::{Memory, Party, World};

/// The most clients that are told at the same time.
const AT_ONCE: usize = 64;

/// Another server: this one tells clients of no listener before another one has told of its own.
const PEER: &str = "CONNECT {\"echo\":true,\"verbose\":false,\"name\":\"PEER\",\"cluster\":\"C\",\"headers\":true}\r\n\
    INFO {\"server_id\":\"PEER\",\"server_name\":\"peer\",\"version\":\"2.14.5\",\"host\":\"10.0.0.9\",\"port\":6222,\
    \"headers\":true,\"max_payload\":1048576,\"cluster\":\"C\",\"connect_urls\":[\"peer:1\"]}\r\n";

fn has_update(clients: &[Party]) -> usize {
    clients.iter().filter(|client| client.session.has_update()).count()
}

#[test]
fn a_changed_info_reaches_all_clients_a_few_at_a_time() {
    let mut cluster = ClusterOptions::default();
    cluster.name = Some("C".to_owned());
    let options = Options { cluster: Some(cluster), ..Options::default() };
    let mut world = World::of(Broker::new(options, (Instant::now, SystemTime::now)));
    let handle = Box::new(Memory::default());
    let arrival = RouteArrival::default();
    let mut peer =
        world.broker.open_route(arrival, handle, world.now, &mut world.scratch).expect("a cluster");
    let mut left = PEER.as_bytes();
    for _ in 0..2 {
        left = &left[peer.receive(world.now, left, None, &mut world.scratch).used..];
    }
    assert_eq!(world.broker.info().connect_urls, ["peer:1"]);
    let connect = "CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n";
    let mut clients: Vec<_> = (0..500).map(|_| world.join_as(connect)).collect();
    world.broker.set_client_urls(vec!["one:1".into()], Vec::new());
    assert_eq!(has_update(&clients), AT_ONCE);
    let mut told = Vec::new();
    for turn in 0.. {
        let Some(at) = clients.iter().position(|client| client.session.has_update()) else { break };
        let mut client = clients.swap_remove(at);
        match turn {
            // The session ends before it has sent INFO.
            0..5 => drop(client),
            // INFO changes while most clients are not told yet.
            100 => {
                clients.push(client);
                clients.append(&mut told);
                world.broker.set_client_urls(vec!["two:2".into()], Vec::new());
            }
            _ => {
                client.session.handle_update(world.now, &mut world.scratch);
                told.push(client);
            }
        }
        assert!(has_update(&clients) <= 2 * AT_ONCE, "in turn {turn}");
    }
    assert!(clients.is_empty(), "{} clients are not told", clients.len());
    assert_eq!(told.len(), 495);
    for client in told {
        let read = client.read();
        let last = read.lines().rfind(|line| line.starts_with("INFO {"));
        assert!(last.is_some_and(|line| line.contains("\"two:2\"")), "{read}");
    }
}
