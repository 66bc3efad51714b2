//! Responses that the services of an account owe to requesters in other accounts.
//!
//! A request reaches the exporting account with a reply subject of this account's own, `_R_.` and two random tokens. A
//! message to it is passed on to the requester, as long as the type of the service and its threshold allow.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use super::latency::{Measured, Outcome};
use super::service::ServiceExport;
use crate::account::Account;
use crate::limits::{SERVICE_RESPONSE_BYTES, SERVICE_RESPONSES_BYTES};
use crate::options::ResponseType;
use crate::random::Random;
use crate::sync::{Arc, Mutex, Weak};

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The prefix of all reply subjects of services.
// NATS 2.14: accounts.go replyPrefix.
pub(crate) const PREFIX: &[u8] = b"_R_.";
/// The end of a reply subject of a request that other servers measure too.
pub(super) const MARK: &[u8] = b".T";
/// The length of `_R_.`, the token of the account, and a dot.
const ACCOUNT_PREFIX_LEN: usize = 11;
const TOKEN_LEN: usize = 6;
/// The number of different tokens.
const TOKENS: u64 = 62u64.pow(TOKEN_LEN as u32);
/// The number of older entries that are checked when one is added.
const SWEPT: usize = 2;

/// Returns true if the reply subject of a request is marked.
// NATS 2.14: client.go isTrackedReply.
#[inline]
pub(crate) fn is_marked(reply: &[u8]) -> bool {
    reply.ends_with(MARK) && reply.starts_with(PREFIX)
}

/// A reply subject of an account: its prefix and a token.
pub(crate) type ReplySubject = [u8; ACCOUNT_PREFIX_LEN + TOKEN_LEN];

/// The common part of requests that were passed on together.
pub(crate) struct Asked {
    pub(crate) requester: Weak<Account>,
    pub(crate) requester_name: Arc<str>,
    pub(crate) export: Arc<ServiceExport>,
    pub(crate) share: bool,
}

impl Asked {
    /// Describes requests of an account.
    pub(crate) fn by(requester: &Arc<Account>, export: &Arc<ServiceExport>, share: bool) -> Self {
        Self {
            requester: Arc::downgrade(requester),
            requester_name: Arc::clone(&requester.name),
            export: Arc::clone(export),
            share,
        }
    }
}

/// The reply subject that a service receives with a request.
pub(crate) struct Given {
    pub(crate) reply: ReplySubject,
    /// The response time is measured.
    pub(crate) is_measured: bool,
}

/// The reply subjects of several requests, as far as they are to be answered.
pub(crate) type ReplySubjects = SmallVec<[Option<Given>; 4]>;

/// A response that is awaited.
#[derive(Clone)]
pub(crate) struct Response {
    /// The reply subject of the request, in the account of the requester.
    pub(crate) to: Box<[u8]>,
    pub(crate) asked: Arc<Asked>,
    pub(crate) measured: Option<Arc<Measured>>,
}

impl Response {
    fn bytes(&self) -> usize {
        SERVICE_RESPONSE_BYTES + self.to.len()
    }

    fn response_type(&self) -> ResponseType {
        self.asked.export.response_type
    }

    fn is_watched(&self) -> bool {
        self.measured.is_some() || self.response_type() != ResponseType::Singleton
    }

    fn is_over(&self, last: Instant, now: Instant) -> bool {
        now.saturating_duration_since(last) > self.asked.export.threshold
    }
}

/// The responses that one account owes.
pub(crate) struct Responses {
    prefix: [u8; ACCOUNT_PREFIX_LEN],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<u64, (Response, Instant), FixedState>,
    /// About in the order of their age. Some have gone.
    order: VecDeque<u64>,
    /// The open requests that end when their requesters do not wait any more: those that are measured, or may get
    /// several.
    watched: HashSet<u64, FixedState>,
    /// Measured requests that have failed, until that is published.
    failed: Vec<Failed>,
    bytes: usize,
    lost: u64,
}

/// A measured request that was not answered.
pub(crate) struct Failed {
    pub(crate) response: Response,
    pub(crate) outcome: Outcome,
}

/// The number of failed requests that wait until they are published, and of open ones that are checked when a
/// subscription ends: as many as a tenth of a millisecond allows.
const FEW: usize = 1024;

impl Responses {
    pub(super) fn new(seed: u64) -> Self {
        let mut prefix = [b'.'; ACCOUNT_PREFIX_LEN];
        prefix[..PREFIX.len()].copy_from_slice(PREFIX);
        write_token(Random::new(seed).next_u64() % TOKENS, &mut prefix[PREFIX.len()..]);
        Self { prefix, state: Mutex::default() }
    }

    /// Returns the filter of all reply subjects.
    pub(super) fn filter(&self) -> Vec<u8> {
        [&self.prefix[..], b">"].concat()
    }

    /// Adds a request. Returns its reply subject.
    pub(crate) fn add(
        &self,
        response: Response,
        random: &mut Random,
        now: Instant,
    ) -> ReplySubject {
        let id = self.state.lock().add(response, random, now);
        self.subject_of(id)
    }

    /// Adds the requests that are to be answered. Returns their reply subjects.
    pub(crate) fn add_all(
        &self,
        responses: impl Iterator<Item = Option<Response>>,
        random: &mut Random,
        now: Instant,
    ) -> ReplySubjects {
        let mut state = self.state.lock();
        let mut add = |response: Response| {
            let is_measured = response.measured.is_some();
            Given { reply: self.subject_of(state.add(response, random, now)), is_measured }
        };
        responses.map(|response| response.map(&mut add)).collect()
    }

    /// Returns a reply subject that no request has.
    pub(crate) fn unused(&self, random: &mut Random) -> ReplySubject {
        let state = self.state.lock();
        loop {
            let id = random.next_u64() % TOKENS;
            if !state.open.contains_key(&id) {
                return self.subject_of(id);
            }
        }
    }

    fn subject_of(&self, id: u64) -> ReplySubject {
        let mut subject = [0; ACCOUNT_PREFIX_LEN + TOKEN_LEN];
        subject[..ACCOUNT_PREFIX_LEN].copy_from_slice(&self.prefix);
        write_token(id, &mut subject[ACCOUNT_PREFIX_LEN..]);
        subject
    }

    /// Returns the request that a message answers, unless it has timed out. One that has a single response is removed.
    pub(crate) fn answer(&self, subject: &[u8], now: Instant) -> Option<Response> {
        let id = self.id(subject)?;
        let mut state = self.state.lock();
        let Entry::Occupied(entry) = state.open.entry(id) else { return None };
        let (response, last) = entry.get();
        if response.is_over(*last, now) {
            return None;
        }
        match response.response_type() {
            ResponseType::Singleton => {
                let (response, _) = entry.remove();
                state.note_removed(id, &response);
                Some(response)
            }
            ResponseType::Streamed | ResponseType::Chunked => Some(response.clone()),
        }
    }

    /// Records that a response has reached the requester, who may get more.
    pub(crate) fn keep(&self, subject: &[u8], now: Instant) {
        let Some(id) = self.id(subject) else { return };
        if let Some((_, last)) = self.state.lock().open.get_mut(&id) {
            *last = now;
        }
    }

    /// Returns true if the response to a request is awaited.
    pub(crate) fn is_open(&self, subject: &[u8]) -> bool {
        self.id(subject).is_some_and(|id| self.state.lock().open.contains_key(&id))
    }

    /// Returns true for the reply subject of a request, whether a response to it is awaited or not.
    pub(super) fn is_reply(&self, subject: &[u8]) -> bool {
        self.id(subject).is_some()
    }

    /// Returns the request with this reply subject, if a response to it is awaited.
    pub(super) fn find(&self, subject: &[u8]) -> Option<Response> {
        let id = self.id(subject)?;
        self.state.lock().open.get(&id).map(|(response, _)| response.clone())
    }

    /// Removes a request that gets no further response.
    pub(crate) fn remove(&self, subject: &[u8]) -> Option<Response> {
        let id = self.id(subject)?;
        self.state.lock().remove(id)
    }

    /// Removes requests that have timed out, among the oldest. Returns measured ones that have failed.
    pub(crate) fn expire(&self, now: Instant) -> Vec<Failed> {
        let mut state = self.state.lock();
        let some = state.order.len().min(16 * FEW);
        state.sweep(some, now);
        std::mem::take(&mut state.failed)
    }

    /// Removes the requests of an account whose requesters do not wait any more.
    // NATS 2.14: accounts.go checkForReverseEntry.
    pub(super) fn forget(&self, requester: &Account, is_gone: impl Fn(&[u8]) -> bool) {
        let mut state = self.state.lock();
        let is_one = |id: &&u64| {
            state.open.get(*id).is_some_and(|(response, _)| {
                std::ptr::eq(response.asked.requester.as_ptr(), requester) && is_gone(&response.to)
            })
        };
        let mut ids: Vec<u64> = state.watched.iter().take(FEW).filter(is_one).copied().collect();
        ids.sort_unstable();
        for id in ids {
            let gone = state.remove(id);
            gone.into_iter().for_each(|response| state.fail(response, Outcome::RequestTimeout));
        }
    }

    /// Returns true if a request would end with the interest in its responses.
    pub(super) fn is_watching(&self) -> bool {
        !self.state.lock().watched.is_empty()
    }

    /// Returns at most `limit` open requests with their reply subjects, ordered by these.
    pub(crate) fn list(&self, limit: usize) -> Vec<(String, Response)> {
        let state = self.state.lock();
        let open = state.open.iter().take(limit);
        let mut list: Vec<(u64, Response)> =
            open.map(|(id, (response, _))| (*id, response.clone())).collect();
        drop(state);
        list.sort_unstable_by_key(|(id, _)| *id);
        let prefix = String::from_utf8_lossy(&self.prefix);
        let subject = |id: u64| {
            let mut token = [0; TOKEN_LEN];
            write_token(id, &mut token);
            format!("{prefix}{}", String::from_utf8_lossy(&token))
        };
        list.into_iter().map(|(id, response)| (subject(id), response)).collect()
    }

    fn id(&self, subject: &[u8]) -> Option<u64> {
        let (token, rest) = subject.strip_prefix(&self.prefix)?.split_at_checked(TOKEN_LEN)?;
        // Measurements by other servers have a mark.
        let is_mark = rest.starts_with(b".") && is_marked(subject);
        if !rest.is_empty() && !is_mark {
            return None;
        }
        token.iter().rev().try_fold(0u64, |id, byte| {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'A'..=b'Z' => byte - b'A' + 10,
                b'a'..=b'z' => byte - b'a' + 36,
                _ => return None,
            };
            Some(id * 62 + u64::from(digit))
        })
    }
}

impl State {
    /// Adds a request. Returns its token.
    fn add(&mut self, response: Response, random: &mut Random, now: Instant) -> u64 {
        self.sweep(SWEPT, now);
        self.bytes += response.bytes();
        while self.bytes > SERVICE_RESPONSES_BYTES
            && let Some(oldest) = self.order.pop_front()
        {
            self.lost += u64::from(self.remove(oldest).is_some());
        }
        loop {
            let id = random.next_u64() % TOKENS;
            let Entry::Vacant(place) = self.open.entry(id) else { continue };
            if response.is_watched() {
                self.watched.insert(id);
            }
            place.insert((response, now));
            self.order.push_back(id);
            return id;
        }
    }

    fn remove(&mut self, id: u64) -> Option<Response> {
        let (response, _) = self.open.remove(&id)?;
        self.note_removed(id, &response);
        Some(response)
    }

    fn note_removed(&mut self, id: u64, response: &Response) {
        if response.is_watched() {
            self.watched.remove(&id);
        }
        self.bytes -= response.bytes();
        // Most are answered soon: the list would otherwise grow with all that were ever made.
        if self.order.len() > 2 * self.open.len() + 64 {
            let open = &self.open;
            self.order.retain(|id| open.contains_key(id));
        }
    }

    fn fail(&mut self, response: Response, outcome: Outcome) {
        if response.measured.is_some() && self.failed.len() < FEW {
            self.failed.push(Failed { response, outcome });
        }
    }

    /// Checks the oldest `count` entries, and removes those that have timed out.
    fn sweep(&mut self, count: usize, now: Instant) {
        for _ in 0..count {
            let Some(id) = self.order.pop_front() else { break };
            match self.open.get(&id) {
                None => {}
                Some((response, last)) if response.is_over(*last, now) => {
                    if let Some(response) = self.remove(id) {
                        self.fail(response, Outcome::ServiceTimeout);
                    }
                }
                Some(_) => self.order.push_back(id),
            }
        }
    }
}

fn write_token(mut id: u64, token: &mut [u8]) {
    for digit in token.iter_mut().take(TOKEN_LEN) {
        *digit = BASE62[(id % 62) as usize];
        id /= 62;
    }
}
