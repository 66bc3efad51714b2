//! Requests and responses, many at a time, with a service of the requester's account or of another one.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use broker_core::account::{AccountConfig, Export, Import};
use broker_core::auth::{User, Users};
use broker_core::endpoint::{Scratch, WriteHandle};
use broker_core::session::client::{Arrival, ClientSession};
use broker_core::{Broker, Options, SubjectFilter};
use memchr::memmem;

use super::Scenario;
use super::chunk::publish;

/// Requests that are sent before the first response.
const OUTSTANDING: usize = 100;

/// Reads with reply subjects of their own.
const READS: usize = 500;

/// A socket that gives what is written to its reader.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl WriteHandle for Written {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.iter().for_each(|piece| all.extend_from_slice(piece));
        Ok(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn wake(&self) {}
}

/// A client and what it has been sent.
struct Party {
    session: ClientSession,
    written: Written,
}

/// A requester and a service, which answers each request.
pub(crate) struct Requests {
    broker: Broker,
    scratch: Scratch,
    now: Instant,
    requester: Party,
    service: Party,
    /// Reads of [`OUTSTANDING`] requests each.
    requests: Vec<Vec<u8>>,
    responses: Vec<u8>,
    next: usize,
    asked: usize,
}

impl Requests {
    /// `account` is that of the requester; the service is in `A`, from which `B` imports it.
    pub(crate) fn from_account(account: &str) -> Self {
        let filter = || SubjectFilter::parse("service").unwrap_or_else(|error| panic!("{error}"));
        let accounts = vec![
            AccountConfig::new("A").with_export(Export::service(filter())).into(),
            AccountConfig::new("B").with_import(Import::service("A", filter())).into(),
        ];
        let users = Users::builder()
            .user(User::new("A", "").account("A"))
            .user(User::new("B", "").account("B"));
        let users = users.build().unwrap_or_else(|error| panic!("{error}"));
        let options = Options { accounts, ..Options::default() };
        let broker = Broker::with_authenticator(options, (Instant::now, SystemTime::now), users);
        let (mut scratch, now) = (Scratch::new(), Instant::now());
        let mut join = |account: &str, subscribe: &[u8]| {
            let written = Written::default();
            let handle = Box::new(written.clone());
            let mut session = broker.open(Arrival::default(), handle, now, &mut scratch);
            let connect = format!(
                "CONNECT {{\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"user\":\"{account}\",\
                 \"pass\":\"\"}}\r\n"
            );
            session.receive(now, connect.as_bytes(), None, &mut scratch);
            session.receive(now, subscribe, None, &mut scratch);
            written.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
            Party { session, written }
        };
        let service = join("A", b"SUB service 1\r\n");
        let requester = join(account, b"SUB _INBOX.Tf8sk2QwYz0Lr5VbNc1mXa.* 1\r\n");
        let request = |number: usize| {
            publish("service", &format!("_INBOX.Tf8sk2QwYz0Lr5VbNc1mXa.{number:06}"), 16)
        };
        // As of clients, no reply subject recurs soon.
        let requests = (0..READS)
            .map(|read| (0..OUTSTANDING).flat_map(|at| request(OUTSTANDING * read + at)).collect())
            .collect();
        let (responses, next, asked) = (Vec::new(), 0, 0);
        Self { broker, scratch, now, requester, service, requests, responses, next, asked }
    }

    /// Writes a response to each request that the service got.
    fn respond(&mut self) {
        self.responses.clear();
        let mut written = self.service.written.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = b"MSG service 1 ";
        let mut rest = &written[..];
        while let Some(at) = memmem::find(rest, before) {
            rest = &rest[at + before.len()..];
            let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(0);
            self.responses.extend_from_slice(b"PUB ");
            self.responses.extend_from_slice(&rest[..end]);
            self.responses.extend_from_slice(b" 4\r\ndone\r\n");
        }
        written.clear();
    }
}

impl Scenario for Requests {
    fn turns_in_round(&self) -> usize {
        READS
    }

    fn turn(&mut self) -> usize {
        let Self { requester, scratch, now, requests, next, .. } = self;
        requester.session.receive(*now, &requests[*next], None, scratch);
        *next = (*next + 1) % READS;
        self.respond();
        self.service.session.receive(self.now, &self.responses, None, &mut self.scratch);
        self.requester.written.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.asked += OUTSTANDING;
        OUTSTANDING
    }

    fn account(&self) -> (u64, u64) {
        let stats = self.broker.stats();
        (4 * self.asked as u64, stats.in_messages + stats.out_messages)
    }
}
