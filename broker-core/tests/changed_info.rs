//! A change of INFO reaches all clients, and delays none: few of them are told at the same time.

mod common;

use std::time::{Instant, SystemTime};

use broker_core::cluster::ClusterOptions;
use broker_core::{Broker, Options};
use common::{Party, World};

/// The most clients that are told at the same time.
const AT_ONCE: usize = 64;

fn has_update(clients: &[Party]) -> usize {
    clients.iter().filter(|client| client.session.has_update()).count()
}

#[test]
fn a_changed_info_reaches_all_clients_a_few_at_a_time() {
    let options = Options { cluster: Some(ClusterOptions::default()), ..Options::default() };
    let mut world = World::of(Broker::new(options, (Instant::now, SystemTime::now)));
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
