//! The order of the lines that are sent over a connection.

use std::time::{Instant, SystemTime};

use super::link::LineQueue;
use super::*;
use crate::auth::NoAuth;
use crate::endpoint::{Kind, LocalQueues};
use crate::options::Options;
use crate::shared::Shared;
use crate::transport::TransportInfo;

/// Keeps the lines that are sent.
#[derive(Default)]
struct Lines(Mutex<Vec<u8>>);

impl LineQueue for Lines {
    fn append(&self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        write(&mut self.0.lock());
    }

    fn pending_bytes(&self) -> usize {
        self.0.lock().len()
    }
}

/// Keeps the orders to dial.
#[derive(Clone, Default)]
struct Orders(Arc<Mutex<Vec<RouteDial>>>);

impl RouteDialer for Orders {
    fn dial(&self, dial: RouteDial) {
        self.0.lock().push(dial);
    }
}

/// Opens the connection of an order.
fn dialed(shared: &Arc<Shared>, order: &RouteDial) -> (RouteId, Arc<Lines>) {
    let (id, seed) = shared.next_session();
    let (memory, now, queues) = (TransportInfo::Memory, Instant::now(), LocalQueues::default());
    let endpoint = Endpoint::new(id, seed, None, memory, now, Arc::new(queues), Kind::Route);
    let lines = Arc::new(Lines::default());
    let queue = Arc::clone(&lines) as Arc<_>;
    shared.cluster.as_ref().unwrap().open(&Arc::new(endpoint), queue, Some(order));
    (id, lines)
}

fn address(host: &str) -> RouteAddress {
    RouteAddress { host: host.to_owned(), port: 6222, credentials: None }
}

/// Another thread may report a server between the decision about a connection and the next step of its session.
#[test]
fn the_first_info_of_a_route_is_the_server_s_own() {
    let mut cluster = ClusterOptions { name: Some("C".into()), ..ClusterOptions::default() };
    cluster.routes = vec![address("b"), address("c")];
    let options = Options { cluster: Some(cluster), ..Options::default() };
    let clock = Arc::new((Instant::now, SystemTime::now));
    let shared = Arc::new(Shared::new(options, clock, Box::new(NoAuth)));
    let cluster = shared.cluster.as_ref().unwrap();
    let told = |id: &str| RouteInfo {
        server_id: id.into(),
        server_name: id.into(),
        host: id.to_lowercase(),
        port: 6222,
        cluster: "C".into(),
        route_pool_size: 3,
        ..RouteInfo::default()
    };
    let orders = Orders::default();
    cluster.start(Box::new(orders.clone()), &*shared);
    let pooled: Vec<_> = orders.0.lock().drain(..).filter(|it| it.account.is_none()).collect();
    let [(b, to_b), (c, _)] = [0, 1].map(|number| dialed(&shared, &pooled[number]));
    for (id, info) in [(b, told("B")), (c, told("C"))] {
        assert!(matches!(cluster.handle_info(id, info, &*shared), Joined::Registered(_)));
    }
    let sent = String::from_utf8(to_b.0.lock().clone()).unwrap();
    let ids: Vec<String> = sent
        .lines()
        .map(|line| RouteInfo::from_json(line.strip_prefix("INFO ").unwrap().as_bytes()).unwrap())
        .map(|info| info.server_id)
        .collect();
    assert_eq!(ids, [cluster.server_id.as_str(), "C"]);
}
