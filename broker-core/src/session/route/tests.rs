//! A session whose updates come one by one.

use std::io::{self, IoSlice, Write};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use futures_executor::block_on;

use super::*;
use crate::auth::{Grant, NoAuth, Permissions, Subscribe};
use crate::cluster::{
    ClusterOptions, RouteAddress, RouteDial, RouteDialer, RoutePermissions, SubjectPermission,
};
use crate::interest::Matches;
use crate::options::Options;
use crate::session::Session as _;
use crate::session::local::Client;
use crate::sync::{AtomicBool, Mutex, Ordering};

/// A link that takes everything.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl WriteHandle for Sink {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.lock().write_vectored(pieces)
    }

    fn wake(&self) {}
}

/// The first lines of another server without a pool.
const GREETING: &str = "CONNECT {\"name\":\"B\",\"cluster\":\"C\"}\r\n\
    INFO {\"server_id\":\"B\",\"server_name\":\"b\",\"cluster\":\"C\",\"host\":\"b\",\"port\":6222}\r\n";

fn server(own: ClusterOptions) -> (Arc<Shared>, Arc<Cluster>) {
    let options = Options { cluster: Some(own), ..Options::default() };
    let clock = Arc::new((Instant::now, SystemTime::now));
    let shared = Arc::new(Shared::new(options, clock, Box::new(NoAuth)));
    let cluster = Arc::clone(shared.cluster.as_ref().unwrap());
    (shared, cluster)
}

/// Accepts a connection.
fn open(own: ClusterOptions) -> (Arc<Shared>, RouteSession, Sink) {
    let sink = Sink::default();
    let (shared, session) = open_to(own, Box::new(sink.clone()));
    (shared, session, sink)
}

fn open_to(own: ClusterOptions, handle: Box<dyn WriteHandle>) -> (Arc<Shared>, RouteSession) {
    let (shared, cluster) = server(own);
    let (broker, arrival, now) =
        (Arc::clone(&shared), RouteArrival::accepted(None), Instant::now());
    let session = RouteSession::open(broker, cluster, arrival, handle, now, &mut Scratch::new());
    (shared, session)
}

fn receive(session: &mut RouteSession, text: &str) {
    let received = session.receive(Instant::now(), text.as_bytes(), None, &mut Scratch::new());
    assert_eq!((received.used, session.closing()), (text.len(), None));
}

/// The other server takes what exists while the rest is counted, and is not woken for each slice.
#[test]
fn existing_interest_is_sent_while_it_is_counted_and_in_few_writes() {
    let own = ClusterOptions { name: Some("C".into()), ..ClusterOptions::default() };
    let (shared, mut session, sink) = open(own);
    let client = Client::new(Arc::clone(&shared), Grant::anonymous());
    let subscribe = |filter: String| block_on(client.subscribe(filter)).unwrap();
    let _many: Vec<_> = (0..20_000).map(|number| subscribe(format!("many.{number}"))).collect();
    let sent = || String::from_utf8(sink.0.lock().clone()).unwrap().matches("RS+ ").count();
    receive(&mut session, GREETING);
    assert!((1_000..10_000).contains(&sent()), "{}", sent());
    let (now, mut scratch, mut writes) = (Instant::now(), Scratch::new(), 0);
    while session.has_chores() || session.has_update() {
        let before = sent();
        if session.has_update() {
            session.handle_update(now, &mut scratch);
        } else {
            session.do_chores(now, &mut scratch);
        }
        writes += usize::from(sent() > before);
    }
    assert_eq!(sent(), 20_000);
    assert!(writes <= 30, "{writes}");
}

/// A service at the other server would answer to an inbox of which that server knows nothing.
#[test]
fn messages_follow_the_existing_interest() {
    let own = ClusterOptions { name: Some("C".into()), ..ClusterOptions::default() };
    let (shared, mut session, sink) = open(own);
    let client = Client::new(Arc::clone(&shared), Grant::anonymous());
    let subscribe = |filter: String| block_on(client.subscribe(filter)).unwrap();
    let _many: Vec<_> = (0..20_000).map(|number| subscribe(format!("many.{number}"))).collect();
    let _inbox = subscribe("_INBOX.1.*".to_owned());
    let ask = || block_on(client.publish_with_reply("work", "_INBOX.1.1", "x".into())).unwrap();
    let sent = || String::from_utf8(sink.0.lock().clone()).unwrap();
    // Its interest comes in the same piece.
    receive(&mut session, &format!("{GREETING}RS+ $G work workers 1\r\n"));
    assert!(session.has_chores());
    ask();
    assert!(!sent().contains("RMSG"));
    while session.has_chores() {
        session.do_chores(Instant::now(), &mut Scratch::new());
    }
    ask();
    let sent = sent();
    let at = |text: &str| sent.find(text).unwrap();
    assert!(at("RS+ $G _INBOX.1.*") < at("RMSG $G work"));
    assert_eq!((sent.matches("RS+ ").count(), sent.matches("RMSG").count()), (20_001, 1));
}

/// As by nats-server: such a server waits for no interest of this one.
#[test]
fn messages_for_interest_before_info_pass() {
    let own = ClusterOptions { name: Some("C".into()), ..ClusterOptions::default() };
    let (shared, mut session, sink) = open(own);
    let client = Client::new(Arc::clone(&shared), Grant::anonymous());
    receive(&mut session, "CONNECT {\"name\":\"B\",\"cluster\":\"C\"}\r\nRS+ $G work\r\n");
    block_on(client.publish("work", "x".into())).unwrap();
    let sent = String::from_utf8(sink.0.lock().clone()).unwrap();
    assert!(sent.contains("RMSG $G work"), "{sent}");
}

#[test]
fn a_little_interest_is_sent_before_the_first_of_the_other_server_is_read() {
    let own = ClusterOptions { name: Some("C".into()), ..ClusterOptions::default() };
    let (shared, mut session, sink) = open(own);
    let client = Client::new(Arc::clone(&shared), Grant::anonymous());
    let _inbox = block_on(client.subscribe("_INBOX.1.*")).unwrap();
    receive(&mut session, &format!("{GREETING}RS+ $G work workers 1\r\n"));
    block_on(client.publish_with_reply("work", "_INBOX.1.1", "x".into())).unwrap();
    let sent = String::from_utf8(sink.0.lock().clone()).unwrap();
    let at = |text: &str| sent.find(text).unwrap();
    assert!(at("RS+ $G _INBOX.1.*") < at("RMSG $G work"), "{sent}");
}

/// A reload first has the cluster apply its options, and then tells each session.
#[test]
fn no_interest_is_taken_by_old_permissions_while_a_reload_is_under_way() {
    let own = ClusterOptions { name: Some("C".into()), ..ClusterOptions::default() };
    let (shared, mut session, _) = open(own.clone());
    let (cluster, now) = (Arc::clone(shared.cluster.as_ref().unwrap()), Instant::now());
    receive(&mut session, GREETING);
    receive(&mut session, "RS+ $G secret.1\r\nRS+ $G open\r\n");
    let account = shared.known_account("$G").unwrap();
    let has = |subject: &str| {
        let mut matches = Matches::default();
        account.interest.collect(subject.as_bytes(), &mut matches);
        !matches.peers().is_empty()
    };
    assert!(has("secret.1") && has("open"));
    let denied =
        SubjectPermission { deny: vec!["secret.*".into()], ..SubjectPermission::default() };
    let permissions = RoutePermissions { import: None, export: Some(denied) };
    cluster.apply(&ClusterOptions { permissions: Some(permissions), ..own }, &*shared);
    session.handle_update(now, &mut Scratch::new());
    receive(&mut session, "RS+ $G secret.2\r\n");
    session.endpoint.control.leave(None, |control| control.options = true);
    session.handle_update(now, &mut Scratch::new());
    assert_eq!(["secret.1", "secret.2", "open"].map(has), [false, false, true]);
}

/// Denies other servers to send interest in `secret.*`.
fn denying() -> Option<RoutePermissions> {
    let deny = SubjectPermission { deny: vec!["secret.*".into()], ..SubjectPermission::default() };
    Some(RoutePermissions { import: None, export: Some(deny) })
}

fn change(shared: &Shared, change: impl FnOnce(&mut ClusterOptions)) {
    shared.apply(|options, _| change(options.cluster.as_mut().unwrap()));
}

/// A reload finds the sessions that are registered.
#[test]
fn a_session_that_is_made_during_a_reload_has_the_new_options() {
    let own = ClusterOptions { name: Some("C".into()), ..ClusterOptions::default() };
    let (shared, cluster) = server(own);
    let (arrival, now) = (RouteArrival::accepted(None), Instant::now());
    let (broker, handle) = (Arc::clone(&shared), Box::new(Sink::default()));
    let mut session = RouteSession::make(broker, cluster, arrival, handle, now);
    let slow = session.deadline();
    change(&shared, |own| {
        own.permissions = denying();
        own.ping_interval = Some(Duration::from_millis(1));
    });
    assert!(!session.has_update(), "it is not registered");
    session.enter(HandshakeOrder::BeforeInfo, now, &mut Scratch::new());
    assert!(session.deadline() < slow);
    let permissions = session.endpoint.permissions.load();
    let secret = crate::subject::SubjectFilter::parse(b"secret.1").unwrap();
    let is_denied = |it: &Permissions| it.may_subscribe(&secret, None) == Subscribe::Deny;
    assert!(permissions.as_deref().is_some_and(is_denied));
}

/// Registers an endpoint at the first order to dial.
struct Registering {
    shared: Arc<Shared>,
    endpoint: Arc<Endpoint>,
}

impl RouteDialer for Registering {
    fn dial(&self, _: RouteDial) {
        self.shared.register_local(&self.endpoint);
    }
}

/// It may have read the options of before.
#[test]
fn a_session_that_is_registered_while_the_cluster_changes_is_told_of_the_change() {
    let own = ClusterOptions { name: Some("C".into()), ..ClusterOptions::default() };
    let (shared, cluster) = server(own);
    let (arrival, now) = (RouteArrival::accepted(None), Instant::now());
    let (broker, handle) = (Arc::clone(&shared), Box::new(Sink::default()));
    let session = RouteSession::make(broker, Arc::clone(&cluster), arrival, handle, now);
    let endpoint = Arc::clone(&session.endpoint);
    let dialer = Registering { shared: Arc::clone(&shared), endpoint };
    cluster.start(Box::new(dialer), &*shared);
    assert!(shared.endpoint(session.id()).is_none(), "there is no server to dial yet");
    change(&shared, |own| {
        own.routes = vec![RouteAddress { host: "b".into(), port: 6222, credentials: None }];
    });
    assert!(shared.endpoint(session.id()).is_some());
    assert!(session.has_update());
}

/// A link whose first write behind `begin` takes until the test lets it go on.
struct Slow {
    sink: Sink,
    /// Set by the test, when the greeting is through.
    begin: Arc<AtomicBool>,
    has_begun: mpsc::Sender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl WriteHandle for Slow {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.begin.swap(false, Ordering::SeqCst) {
            self.has_begun.send(()).unwrap();
            self.go_on.lock().recv().unwrap();
        }
        self.sink.try_write(pieces)
    }

    fn wake(&self) {}
}

/// The client has its PONG when they are: it may end its subscription at another server.
#[test]
fn changes_of_interest_are_written_when_another_thread_writes_what_was_before_them() {
    let (begin, sink) = (Arc::new(AtomicBool::new(false)), Sink::default());
    let (has_begun, begun) = mpsc::channel();
    let (lets_go_on, go_on) = mpsc::channel();
    let slow =
        Slow { sink: sink.clone(), begin: Arc::clone(&begin), has_begun, go_on: Mutex::new(go_on) };
    let own = ClusterOptions { name: Some("C".into()), ..ClusterOptions::default() };
    let (shared, mut session) = open_to(own, Box::new(slow));
    receive(&mut session, &format!("{GREETING}RS+ $G to.b\r\n"));
    while session.has_chores() {
        session.do_chores(Instant::now(), &mut Scratch::new());
    }
    let client = Client::new(Arc::clone(&shared), Grant::anonymous());
    let sent = || String::from_utf8(sink.0.lock().clone()).unwrap();
    std::thread::scope(|threads| {
        begin.store(true, Ordering::SeqCst);
        threads.spawn(|| block_on(client.publish("to.b", "x".into())).unwrap());
        begun.recv().unwrap();
        let _subscriber = block_on(client.subscribe("work")).unwrap();
        let (tell, told) = mpsc::channel();
        let cluster = shared.cluster.as_ref().unwrap();
        threads.spawn(move || {
            let mut scratch = Scratch::new();
            scratch.start(Instant::now());
            cluster.write_changed(&mut scratch);
            tell.send(()).unwrap();
        });
        let early = told.recv_timeout(Duration::from_millis(100));
        lets_go_on.send(()).unwrap();
        assert_eq!(early, Err(mpsc::RecvTimeoutError::Timeout), "the other thread still writes");
        told.recv().unwrap();
        assert!(sent().contains("RS+ $G work"), "{}", sent());
    });
}

/// The default is short, so that a silent server is noticed soon. A configured interval is kept, up to 30 s.
#[test]
fn routes_are_pinged_at_the_configured_interval() {
    let of = |of_clients, of_routes: Option<u64>| {
        let clients = Duration::from_secs(of_clients);
        let limits = Limits { ping_interval: clients, ..Limits::default() };
        let ping_interval = of_routes.map(Duration::from_secs);
        let own = ClusterOptions { ping_interval, ..ClusterOptions::default() };
        super::limits_of(&limits, &own).ping_interval.as_secs()
    };
    assert_eq!((of(120, None), of(1, None)), (2, 1));
    assert_eq!((of(120, Some(5)), of(1, Some(5)), of(1, Some(31))), (5, 5, 30));
}
