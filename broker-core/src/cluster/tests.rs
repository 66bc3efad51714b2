//! The order of the lines that are sent over a connection.

use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use futures_executor::block_on;

use super::link::LineQueue;
use super::*;
use crate::auth::{Grant, NoAuth};
use crate::endpoint::{Accepted, Destination, Kind, LocalQueues, OutCounts, Run, Subscription};
use crate::options::Options;
use crate::session::local::Client;
use crate::shared::Shared;
use crate::sync::AtomicUsize;
use crate::trace::Trace;
use crate::transport::TransportInfo;

/// Keeps the lines that are sent.
#[derive(Default)]
struct Lines(Mutex<Vec<u8>>);

impl LineQueue for Lines {
    fn append(&self, _: usize, write: &mut dyn FnMut(&mut Vec<u8>)) {
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
    dialed_to(shared, order, Arc::new(LocalQueues::default()))
}

fn dialed_to(
    shared: &Arc<Shared>,
    order: &RouteDial,
    destination: Arc<dyn Destination>,
) -> (RouteId, Arc<Lines>) {
    let (id, seed) = shared.next_session();
    let (memory, now) = (TransportInfo::Memory, Instant::now());
    let endpoint = Endpoint::new(id, seed, None, memory, now, destination, Kind::Route);
    let lines = Arc::new(Lines::default());
    let queue = Arc::clone(&lines) as Arc<_>;
    shared.cluster.as_ref().unwrap().open(&Arc::new(endpoint), queue, Some(order));
    (id, lines)
}

fn address(host: &str) -> RouteAddress {
    RouteAddress { host: host.to_owned(), port: 6222, credentials: None }
}

/// A server of the cluster `C` with routes to the servers `b` and `c`, and its orders to dial them.
fn server() -> (Arc<Shared>, Vec<RouteDial>) {
    let mut cluster = ClusterOptions { name: Some("C".into()), ..ClusterOptions::default() };
    cluster.routes = vec![address("b"), address("c")];
    let options = Options { cluster: Some(cluster), ..Options::default() };
    let clock = Arc::new((Instant::now, SystemTime::now));
    let shared = Arc::new(Shared::new(options, clock, Box::new(NoAuth)));
    let orders = Orders::default();
    shared.cluster.as_ref().unwrap().start(Box::new(orders.clone()), &*shared);
    let pooled = orders.0.lock().drain(..).filter(|it| it.account.is_none()).collect();
    (shared, pooled)
}

/// The first INFO of another server.
fn told(id: &str) -> RouteInfo {
    RouteInfo {
        server_id: id.into(),
        server_name: id.into(),
        host: id.to_lowercase(),
        port: 6222,
        cluster: "C".into(),
        route_pool_size: 3,
        connect_urls: vec![format!("{id}:4222")],
        ..RouteInfo::default()
    }
}

/// Another thread may report a server between the decision about a connection and the next step of its session.
#[test]
fn the_first_info_of_a_route_is_the_server_s_own() {
    let (shared, orders) = server();
    let cluster = shared.cluster.as_ref().unwrap();
    let [(b, to_b), (c, _)] = [0, 1].map(|number| dialed(&shared, &orders[number]));
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

/// A host whose first thread to tell clients is overtaken, if another one comes.
struct Slow {
    shared: Arc<Shared>,
    entered: AtomicBool,
    /// Received from when the first thread has begun to tell clients.
    has_begun: Mutex<Option<mpsc::Sender<()>>>,
    overtaken: (Mutex<mpsc::Receiver<()>>, mpsc::Sender<()>),
}

impl ClusterHost for Slow {
    fn tell_clients(&self, cluster: &str, urls: Vec<String>, websocket_urls: Vec<String>) {
        let is_first = !self.entered.swap(true, Ordering::SeqCst);
        if is_first {
            self.has_begun.lock().take().unwrap().send(()).unwrap();
            let _ = self.overtaken.0.lock().recv_timeout(Duration::from_millis(200));
        }
        self.shared.tell_clients(cluster, urls, websocket_urls);
        if !is_first {
            self.overtaken.1.send(()).unwrap();
        }
    }

    fn accounts(&self) -> Vec<Arc<Account>> {
        self.shared.accounts()
    }

    fn may_have_account(&self, name: &str) -> bool {
        self.shared.may_have_account(name)
    }

    fn now(&self) -> Instant {
        ClusterHost::now(&*self.shared)
    }

    fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.shared.endpoints()
    }
}

#[test]
fn addresses_for_clients_are_told_in_the_order_of_their_changes() {
    let (shared, orders) = server();
    let cluster = shared.cluster.as_ref().unwrap();
    let [(b, _), (c, _)] = [0, 1].map(|number| dialed(&shared, &orders[number]));
    let (has_begun, begun) = mpsc::channel();
    let (overtakes, overtaken) = mpsc::channel();
    let host = Slow {
        shared: Arc::clone(&shared),
        entered: AtomicBool::new(false),
        has_begun: Mutex::new(Some(has_begun)),
        overtaken: (Mutex::new(overtaken), overtakes),
    };
    std::thread::scope(|threads| {
        threads.spawn(|| cluster.handle_info(b, told("B"), &host));
        begun.recv().unwrap();
        cluster.handle_info(c, told("C"), &host);
    });
    assert_eq!(shared.info.load().connect_urls, ["B:4222", "C:4222"]);
}

/// A host in whose first look at the accounts another thread handles the request of a server to give one a route of its
/// own.
struct Asked {
    shared: Arc<Shared>,
    by: RouteId,
    is_asked: AtomicBool,
}

impl ClusterHost for Asked {
    fn tell_clients(&self, _: &str, _: Vec<String>, _: Vec<String>) {}

    fn accounts(&self) -> Vec<Arc<Account>> {
        if !self.is_asked.swap(true, Ordering::SeqCst) {
            let cluster = self.shared.cluster.as_ref().unwrap();
            let request = RouteInfo {
                route_account: "A".into(),
                route_acc_add_reqid: "1".into(),
                ..RouteInfo::default()
            };
            assert_eq!(cluster.handle_info(self.by, request, &*self.shared), Joined::Noted);
        }
        self.shared.accounts()
    }

    fn may_have_account(&self, name: &str) -> bool {
        self.shared.may_have_account(name)
    }

    fn now(&self) -> Instant {
        ClusterHost::now(&*self.shared)
    }

    fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.shared.endpoints()
    }
}

/// Its interest would be sent twice, and each message with it.
#[test]
fn an_account_that_has_moved_meanwhile_is_not_followed_in_the_pool() {
    let (shared, orders) = server();
    let cluster = shared.cluster.as_ref().unwrap();
    let account = shared.account(&"A".into());
    let (id, _) = dialed(&shared, &orders[0]);
    assert!(matches!(cluster.handle_info(id, told("B"), &*shared), Joined::Registered(_)));
    let link = cluster.link(id).unwrap();
    assert!(cluster.carries(&link, &account), "its place in the pool is the account's");
    let before = cluster.options();
    let own = ClusterOptions { accounts: vec!["A".into()], ..ClusterOptions::clone(&before) };
    cluster.apply(&own, &*shared);
    let host = Asked { shared: Arc::clone(&shared), by: id, is_asked: AtomicBool::new(false) };
    cluster.apply(&before, &host);
    assert!(!link.follows("A"));
}

/// A connection during whose first flush another thread writes changes of interest.
#[derive(Default)]
struct Overtaken {
    shared: OnceLock<Arc<Shared>>,
    flushes: AtomicUsize,
    queues: LocalQueues,
}

impl Destination for Overtaken {
    fn deliver(&self, _: &Subscription, _: &Run<'_>, _: bool, _: &mut Scratch) -> Accepted {
        Accepted::NOTHING
    }

    fn has_plenty_of_room(&self, _: &Subscription, _: usize, _: usize) -> bool {
        false
    }

    fn flush(&self, _: &mut Scratch) {
        if self.flushes.fetch_add(1, Ordering::SeqCst) == 0 {
            let cluster = self.shared.get().unwrap().cluster.as_ref().unwrap();
            cluster.write_changed(&mut Scratch::new());
        }
    }

    fn end_after(&self, _: &Subscription, _: u64) -> bool {
        false
    }

    fn finish(&self, reason: CloseReason) {
        self.queues.finish(reason);
    }

    fn close(&self, reason: CloseReason) {
        self.queues.close(reason);
    }

    fn wake(&self) {}

    fn set_trace(&self, _: Option<Arc<Trace>>) {}

    fn counts(&self) -> OutCounts {
        OutCounts::default()
    }
}

/// The client of each of them may have its PONG when they are.
#[test]
fn changes_of_interest_are_written_by_each_thread_until_they_are_written() {
    let (shared, orders) = server();
    let destination = Arc::<Overtaken>::default();
    assert!(destination.shared.set(Arc::clone(&shared)).is_ok());
    let cluster = shared.cluster.as_ref().unwrap();
    let (id, _) = dialed_to(&shared, &orders[0], Arc::clone(&destination) as Arc<_>);
    assert!(matches!(cluster.handle_info(id, told("B"), &*shared), Joined::Registered(_)));
    let account = shared.account(&"A".into());
    cluster.link(id).unwrap().follow_new(&account, || true);
    let client = Client::new(Arc::clone(&shared), Grant::anonymous().with_account("A"));
    let _subscriber = block_on(client.subscribe("work")).unwrap();
    let write = || cluster.write_changed(&mut Scratch::new());
    write();
    assert_eq!(destination.flushes.load(Ordering::SeqCst), 2, "one by each thread");
    write();
    assert_eq!(destination.flushes.load(Ordering::SeqCst), 2, "all is written");
}

/// A connection of another server is admitted by its credentials before its CONNECT is handled.
#[test]
fn a_server_admitted_by_credentials_of_before_a_change_is_refused() {
    let (shared, _) = server();
    let cluster = shared.cluster.as_ref().unwrap();
    let accepted = |options: &ClusterOptions| {
        let (id, seed) = shared.next_session();
        let (memory, queues) = (TransportInfo::Memory, Arc::new(LocalQueues::default()));
        let endpoint = Endpoint::new(id, seed, None, memory, Instant::now(), queues, Kind::Route);
        cluster.open(&Arc::new(endpoint), Arc::<Lines>::default(), None);
        let connect = RouteConnect { cluster: "C".into(), ..RouteConnect::default() };
        cluster.handle_connect(id, &connect, options, &*shared)
    };
    let before = cluster.options();
    assert_eq!(accepted(&before), Ok(()));
    let credentials = Some(("u".to_owned(), "p".into()));
    cluster.apply(&ClusterOptions { credentials, ..ClusterOptions::clone(&before) }, &*shared);
    assert_eq!(accepted(&before), Err(Refusal::Unauthorized));
    assert_eq!(accepted(&cluster.options()), Ok(()));
    let by_name = ClusterOptions { checks_known_urls: true, ..ClusterOptions::clone(&before) };
    cluster.apply(&by_name, &*shared);
    let mut routes = by_name.clone();
    routes.routes.pop();
    cluster.apply(&routes, &*shared);
    assert_eq!(accepted(&by_name), Err(Refusal::Unauthorized));
    assert_eq!(accepted(&routes), Ok(()));
}
