//! The queue of requests to the API. A thread of its own answers them, because it may wait for a disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use broker_core::endpoint::Scratch;
use broker_core::{Broker, HandlerContext, RawMessage, header_block};

use super::lock::lock;
use super::signal::{Signal, Wake};
use super::task::Responder;
use crate::api::ApiRequest;
use crate::limits::{WAITING_REQUEST_BYTES, WAITING_REQUESTS};

/// Work for an account.
enum Work {
    Request(QueuedRequest),
    /// Its limits have changed.
    Follow(Arc<dyn Responder>),
}

impl Work {
    /// Returns the memory of a request, in bytes; 0 for other work, which has no limit: no client can cause it.
    fn bytes(&self) -> usize {
        match self {
            Self::Request(request) => request.size(),
            Self::Follow(_) => 0,
        }
    }

    fn run(self, broker: &Broker, scratch: &mut Scratch) {
        let QueuedRequest { account, subject, reply, headers, payload, client } = match self {
            Self::Request(request) => request,
            Self::Follow(account) => return account.follow(),
        };
        let request = ApiRequest {
            subject: &subject,
            reply: &reply,
            headers: &headers,
            payload: &payload,
            client: client
                .as_deref()
                .or_else(|| header_block::value(&headers, b"Nats-Request-Info"))
                .unwrap_or_default(),
            account: account.name(),
        };
        broker.begin(scratch);
        account.serve(&request, scratch);
        broker.flush(scratch);
    }
}

/// A request with its account.
pub(super) struct QueuedRequest {
    account: Arc<dyn Responder>,
    subject: String,
    reply: Box<[u8]>,
    headers: Box<[u8]>,
    payload: Box<[u8]>,
    /// The description of a client of this server and this account. The headers describe others.
    client: Option<Vec<u8>>,
}

impl QueuedRequest {
    pub(super) fn of(
        account: Arc<dyn Responder>,
        message: &RawMessage<'_>,
        context: &HandlerContext<'_>,
    ) -> Self {
        Self {
            client: context.describe_sender(message),
            account,
            subject: String::from_utf8_lossy(message.subject()).into_owned(),
            reply: message.reply().unwrap_or_default().into(),
            headers: message.headers().into(),
            payload: message.payload().into(),
        }
    }

    /// Returns the memory that the request takes, in bytes.
    fn size(&self) -> usize {
        let client = self.client.as_ref().map_or(0, Vec::len);
        let parts = self.reply.len() + self.headers.len() + self.payload.len() + client;
        size_of::<Self>() + self.subject.len() + parts
    }
}

/// The work that waits for one account.
#[derive(Default)]
struct Waiting {
    work: VecDeque<Work>,
    /// The bytes of the requests.
    bytes: usize,
}

/// The waiting requests: in turn one of each account that has some.
#[derive(Default)]
pub(super) struct Requests {
    state: Mutex<State>,
    changed: Signal,
}

#[derive(Default)]
struct State {
    /// The accounts with requests, in the order of their turns.
    turns: VecDeque<Arc<str>>,
    waiting: BTreeMap<Arc<str>, Waiting>,
    /// The requests that wait, and their bytes.
    count: usize,
    bytes: usize,
    /// The requests that were dropped since the queue was last half empty.
    dropped: usize,
    /// Those that operators were not told of yet.
    untold: u64,
    is_ended: bool,
}

impl State {
    fn add(&mut self, name: &str, work: Work) {
        let bytes = work.bytes();
        self.count += usize::from(bytes > 0);
        self.bytes += bytes;
        let waiting = match self.waiting.get_mut(name) {
            Some(waiting) => waiting,
            None => {
                let name: Arc<str> = name.into();
                self.turns.push_back(Arc::clone(&name));
                self.waiting.entry(name).or_default()
            }
        };
        waiting.bytes += bytes;
        waiting.work.push_back(work);
    }

    fn is_over_limit(&self) -> bool {
        self.count > WAITING_REQUESTS || self.bytes > WAITING_REQUEST_BYTES
    }

    /// Drops the last request of the account whose requests take the most memory: an account that floods the API loses its
    /// own requests.
    fn drop_one(&mut self) -> Option<Work> {
        let largest = self.waiting.values_mut().max_by_key(|waiting| waiting.bytes)?;
        let at = largest.work.iter().rposition(|work| work.bytes() > 0)?;
        let dropped = largest.work.remove(at)?;
        largest.bytes -= dropped.bytes();
        self.count -= 1;
        self.bytes -= dropped.bytes();
        self.dropped += 1;
        self.untold += 1;
        Some(dropped)
    }

    /// Takes the next work of the account whose turn it is.
    fn take(&mut self) -> Option<Work> {
        while let Some(name) = self.turns.pop_front() {
            let Some(waiting) = self.waiting.get_mut(&name) else { continue };
            let work = waiting.work.pop_front();
            let bytes = work.as_ref().map_or(0, Work::bytes);
            waiting.bytes -= bytes;
            if waiting.work.is_empty() {
                self.waiting.remove(&name);
            } else {
                self.turns.push_back(name);
            }
            self.count -= usize::from(bytes > 0);
            self.bytes -= bytes;
            if self.count < WAITING_REQUESTS / 2 && self.bytes < WAITING_REQUEST_BYTES / 2 {
                self.dropped = 0;
            }
            if work.is_some() {
                return work;
            }
        }
        None
    }
}

impl Requests {
    /// Creates the queue: for a thread without `wake`.
    pub(super) fn new(wake: Option<Wake>) -> Self {
        Self { changed: Signal::new(wake), ..Self::default() }
    }

    /// Adds a request; drops requests of the account that has most if too many wait.
    // NATS 2.14: jetstream_api.go apiDispatch, which drops all that wait.
    pub(super) fn push(&self, request: QueuedRequest) {
        let mut state = lock(&self.state);
        if state.is_ended {
            return;
        }
        let account = Arc::clone(&request.account);
        state.add(account.name(), Work::Request(request));
        let mut dropped = Vec::new();
        while state.is_over_limit() {
            dropped.extend(state.drop_one());
        }
        let count = state.dropped;
        drop(state);
        self.changed.notify();
        // A flood of requests is no flood of the log.
        if !dropped.is_empty() && count.is_power_of_two() {
            tracing::warn!("JetStream API queue limit reached, dropping {count} requests");
        }
    }

    /// Has the streams of an account follow its limits, before the requests that come later are answered.
    pub(super) fn follow(&self, account: Arc<dyn Responder>) {
        let name = account.name().to_owned();
        let mut state = lock(&self.state);
        if state.is_ended {
            return;
        }
        state.add(&name, Work::Follow(account));
        drop(state);
        self.changed.notify();
    }

    /// Ends the thread. Requests that wait are dropped: each owns its account and so the server, which owns this.
    pub(super) fn end(&self) {
        let ended = State { is_ended: true, ..State::default() };
        let waiting = std::mem::replace(&mut *lock(&self.state), ended);
        self.changed.notify();
        drop(waiting);
    }

    /// Returns the number of requests that wait.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.state).count
    }

    /// The thread. `tell_dropped` is called with the number of requests that were dropped meanwhile.
    pub(super) fn serve(&self, broker: &Broker, tell_dropped: impl Fn(u64)) {
        let mut scratch = Scratch::new();
        while let Some(work) = self.wait() {
            self.tell_dropped(&tell_dropped);
            work.run(broker, &mut scratch);
        }
    }

    fn tell_dropped(&self, tell: &impl Fn(u64)) {
        let dropped = std::mem::take(&mut lock(&self.state).untold);
        if dropped > 0 {
            tell(dropped);
        }
    }

    /// Does one thing, without waiting for it. Returns false if there is nothing.
    #[cfg(feature = "testing")]
    pub(super) fn step(
        &self,
        broker: &Broker,
        scratch: &mut Scratch,
        tell_dropped: impl Fn(u64),
    ) -> bool {
        let work = lock(&self.state).take();
        let has_work = work.is_some();
        if let Some(work) = work {
            self.tell_dropped(&tell_dropped);
            work.run(broker, scratch);
        }
        has_work
    }

    /// Returns the next work, and waits for it; `None` at the end.
    fn wait(&self) -> Option<Work> {
        let mut state = lock(&self.state);
        loop {
            if state.is_ended {
                return None;
            }
            if let Some(work) = state.take() {
                return Some(work);
            }
            state = self.changed.wait(state, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named(&'static str);

    impl Responder for Named {
        fn name(&self) -> &str {
            self.0
        }

        fn follow(&self) {}

        fn serve(&self, _request: &ApiRequest<'_>, _scratch: &mut Scratch) {}
    }

    fn request(account: &'static str, payload: usize) -> QueuedRequest {
        QueuedRequest {
            account: Arc::new(Named(account)),
            subject: "$JS.API.INFO".to_owned(),
            reply: Box::default(),
            headers: Box::default(),
            payload: vec![0; payload].into(),
            client: None,
        }
    }

    /// Returns the accounts of all that wait, in the order in which they are served.
    fn served(requests: &Requests) -> Vec<String> {
        let mut state = lock(&requests.state);
        let account = |work| match work {
            Work::Request(request) => request.account.name().to_owned(),
            Work::Follow(account) => format!("{} follows", account.name()),
        };
        std::iter::from_fn(|| state.take()).map(account).collect()
    }

    #[test]
    fn no_request_is_kept_after_the_end() {
        let requests = Requests::default();
        let account: Arc<dyn Responder> = Arc::new(Named("A"));
        let add = || {
            requests.push(QueuedRequest { account: Arc::clone(&account), ..request("A", 0) });
            requests.follow(Arc::clone(&account));
        };
        add();
        assert_eq!(Arc::strong_count(&account), 3);
        requests.end();
        add();
        assert_eq!(Arc::strong_count(&account), 1);
    }

    #[test]
    fn accounts_take_turns() {
        let requests = Requests::default();
        for account in ["A", "A", "A", "B"] {
            requests.push(request(account, 0));
        }
        requests.follow(Arc::new(Named("B")));
        assert_eq!(served(&requests), ["A", "B", "A", "B follows", "A"]);
    }

    #[test]
    fn an_account_that_floods_the_api_loses_its_own_requests() {
        let requests = Requests::default();
        requests.push(request("B", 100));
        for _ in 0..WAITING_REQUESTS + 10 {
            requests.push(request("A", 0));
        }
        requests.push(request("C", 0));
        assert_eq!(lock(&requests.state).dropped, 12);
        let served = served(&requests);
        assert_eq!(served.len(), WAITING_REQUESTS);
        assert_eq!(served.iter().filter(|account| **account != "A").count(), 2);
    }

    #[test]
    fn long_requests_take_limited_memory() {
        let requests = Requests::default();
        for _ in 0..100 {
            requests.push(request("A", 1 << 20));
        }
        assert!(lock(&requests.state).bytes <= WAITING_REQUEST_BYTES);
        assert_eq!(served(&requests).len(), 63);
        let state = lock(&requests.state);
        assert_eq!((state.count, state.bytes, state.dropped), (0, 0, 0));
    }

    /// Ends the queue when a request is answered.
    struct Last(Arc<Requests>);

    impl Responder for Last {
        fn name(&self) -> &str {
            "A"
        }

        fn follow(&self) {}

        fn serve(&self, _request: &ApiRequest<'_>, _scratch: &mut Scratch) {
            self.0.end();
        }
    }

    #[test]
    fn operators_are_told_what_was_dropped_before_the_next_answer() {
        let requests = Arc::new(Requests::default());
        for _ in 0..WAITING_REQUESTS + 3 {
            let account: Arc<dyn Responder> = Arc::new(Last(Arc::clone(&requests)));
            requests.push(QueuedRequest { account, ..request("A", 0) });
        }
        assert_eq!(requests.waiting(), WAITING_REQUESTS);
        let clock = (std::time::Instant::now, std::time::SystemTime::now);
        let broker = Broker::new(broker_core::Options::default(), clock);
        let told = std::cell::RefCell::new(Vec::new());
        requests.serve(&broker, |count| told.borrow_mut().push(count));
        assert_eq!(told.into_inner(), [3]);
        assert_eq!(requests.waiting(), 0, "nothing is kept after the end");
    }
}
