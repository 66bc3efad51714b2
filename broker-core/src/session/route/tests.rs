//! A session whose updates come one by one.

use std::io::{self, IoSlice};
use std::time::SystemTime;

use super::*;
use crate::auth::NoAuth;
use crate::cluster::{ClusterOptions, RoutePermissions, SubjectPermission};
use crate::interest::Matches;
use crate::options::Options;
use crate::session::Session as _;

/// A link that takes everything.
struct Sink;

impl WriteHandle for Sink {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn wake(&self) {}
}

/// A reload first has the cluster apply its options, and then tells each session.
#[test]
fn no_interest_is_taken_by_old_permissions_while_a_reload_is_under_way() {
    let own = ClusterOptions { name: Some("C".into()), ..ClusterOptions::default() };
    let options = Options { cluster: Some(own.clone()), ..Options::default() };
    let clock = Arc::new((Instant::now, SystemTime::now));
    let shared = Arc::new(Shared::new(options, clock, Box::new(NoAuth)));
    let cluster = Arc::clone(shared.cluster.as_ref().unwrap());
    let (now, mut scratch) = (Instant::now(), Scratch::new());
    let (arrival, sink) = (RouteArrival::accepted(None), Box::new(Sink));
    let (broker, part) = (Arc::clone(&shared), Arc::clone(&cluster));
    let mut session = RouteSession::open(broker, part, arrival, sink, now, &mut scratch);
    let greeting = "CONNECT {\"name\":\"B\",\"cluster\":\"C\"}\r\n\
                    INFO {\"server_id\":\"B\",\"server_name\":\"b\",\"cluster\":\"C\",\"host\":\"b\",\"port\":6222}\r\n";
    let mut receive = |session: &mut RouteSession, text: &str| {
        let received = session.receive(now, text.as_bytes(), None, &mut scratch);
        assert_eq!((received.used, session.closing()), (text.len(), None));
    };
    receive(&mut session, greeting);
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
