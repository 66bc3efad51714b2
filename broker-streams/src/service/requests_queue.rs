//! Requests to the API that wait for the thread that answers them: it may wait for a disk, and clients' threads must not.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex};

use broker_core::endpoint::Scratch;
use broker_core::{Broker, RawMessage, header_block};

use super::lock::{lock, wait};
use super::task::Responder;
use crate::api::ApiRequest;
use crate::limits::WAITING_REQUESTS;

/// Work for an account.
enum Work {
    Request(QueuedRequest),
    /// Its limits have changed.
    Follow(Arc<dyn Responder>),
}

/// A request with its account.
pub(super) struct QueuedRequest {
    account: Arc<dyn Responder>,
    subject: String,
    reply: Box<[u8]>,
    headers: Box<[u8]>,
    payload: Box<[u8]>,
}

impl QueuedRequest {
    pub(super) fn of(account: Arc<dyn Responder>, message: &RawMessage<'_>) -> Self {
        Self {
            account,
            subject: String::from_utf8_lossy(message.subject()).into_owned(),
            reply: message.reply().unwrap_or_default().into(),
            headers: message.headers().into(),
            payload: message.payload().into(),
        }
    }
}

/// The waiting requests: in turn one of each account that has some.
#[derive(Default)]
pub(super) struct Requests {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The accounts with requests, in the order of their turns.
    turns: VecDeque<Arc<str>>,
    waiting: BTreeMap<Arc<str>, VecDeque<Work>>,
    count: usize,
    is_ended: bool,
}

impl State {
    fn add(&mut self, name: &str, work: Work) {
        self.count += 1;
        if let Some(others) = self.waiting.get_mut(name) {
            others.push_back(work);
        } else {
            let name: Arc<str> = name.into();
            self.turns.push_back(Arc::clone(&name));
            self.waiting.insert(name, VecDeque::from([work]));
        }
    }
}

impl Requests {
    /// Adds a request; drops it if too many wait.
    pub(super) fn push(&self, request: QueuedRequest) {
        let mut state = lock(&self.state);
        if state.count >= WAITING_REQUESTS {
            drop(state);
            // NATS 2.14: jetstream_api.go apiDispatch, which drops all that wait.
            return tracing::warn!("JetStream API queue limit reached, dropping 1 requests");
        }
        let account = Arc::clone(&request.account);
        state.add(account.name(), Work::Request(request));
        drop(state);
        self.changed.notify_one();
    }

    /// Has the streams of an account follow its limits, before the requests that come later are answered.
    pub(super) fn follow(&self, account: Arc<dyn Responder>) {
        // The number of such work is that of changes of accounts, which no client can make.
        let name = account.name().to_owned();
        lock(&self.state).add(&name, Work::Follow(account));
        self.changed.notify_one();
    }

    /// Ends the thread.
    pub(super) fn end(&self) {
        lock(&self.state).is_ended = true;
        self.changed.notify_all();
    }

    /// The thread.
    pub(super) fn serve(&self, broker: &Broker) {
        let mut scratch = Scratch::new();
        while let Some(request) = self.next() {
            let QueuedRequest { account, subject, reply, headers, payload } = match request {
                Work::Request(request) => request,
                Work::Follow(account) => {
                    account.follow();
                    continue;
                }
            };
            let request = ApiRequest {
                subject: &subject,
                reply: &reply,
                headers: &headers,
                payload: &payload,
                client: header_block::value(&headers, b"Nats-Request-Info").unwrap_or_default(),
            };
            broker.begin(&mut scratch);
            account.serve(&request, &mut scratch);
            broker.flush(&mut scratch);
        }
    }

    fn next(&self) -> Option<Work> {
        let mut state = lock(&self.state);
        loop {
            if state.is_ended {
                return None;
            }
            if let Some(name) = state.turns.pop_front() {
                let (request, has_more) = match state.waiting.get_mut(&name) {
                    Some(waiting) => (waiting.pop_front(), !waiting.is_empty()),
                    None => (None, false),
                };
                if has_more {
                    state.turns.push_back(name);
                } else {
                    state.waiting.remove(&name);
                }
                if request.is_some() {
                    state.count -= 1;
                    return request;
                }
                continue;
            }
            state = wait(&self.changed, state, None);
        }
    }
}
