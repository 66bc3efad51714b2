//! Responses that the services of an account owe to requesters in other accounts.
//!
//! A request reaches the exporting account with a reply subject of this account's own, `_R_.` and two random tokens. A
//! message to it is passed on to the requester, as long as the type of the service and its threshold allow.

mod open;

use std::collections::HashSet;
use std::time::Instant;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use super::latency::{Measured, Outcome};
use super::service::{ServiceExport, ServiceImport};
use crate::account::Account;
use crate::limits::{SERVICE_RESPONSE_BYTES, SERVICE_RESPONSES_BYTES};
use crate::options::ResponseType;
use crate::random::Random;
use crate::reserved::SERVICE_REPLY as PREFIX;
use crate::sort::sort_by_key;
use crate::sync::{Arc, Mutex, Weak};
use open::Open;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The end of a reply subject of a request that other servers measure too.
pub(super) const MARK: &[u8] = b".T";
/// The length of `_R_.`, the token of the account, and a dot.
const ACCOUNT_PREFIX_LEN: usize = 11;
const TOKEN_LEN: usize = 6;
/// The number of older requests that are checked when one is added.
const SWEPT: usize = 2;

/// The last token of a reply subject: the number that its characters are the bytes of, so that tokens have the order of
/// their subjects.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Token(u64);

impl Token {
    fn random(random: &mut Random) -> Self {
        let mut rest = random.next_u64();
        let mut token = 0;
        for _ in 0..TOKEN_LEN {
            // The digits of a fraction: each has almost equal probability.
            let wide = u128::from(rest) * BASE62.len() as u128;
            token = token << 8 | u64::from(BASE62[(wide >> 64) as usize]);
            rest = wide as u64;
        }
        Self(token)
    }

    /// Reads the characters of a token, whatever they are.
    fn read([a, b, c, d, e, f]: [u8; TOKEN_LEN]) -> Self {
        Self(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    fn characters(self) -> [u8; TOKEN_LEN] {
        let [_, _, a, b, c, d, e, f] = self.0.to_be_bytes();
        [a, b, c, d, e, f]
    }
}

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

    /// Returns true if it describes the requests of that account by that import.
    pub(crate) fn is_by(&self, requester: &Arc<Account>, import: &ServiceImport) -> bool {
        std::ptr::eq(self.requester.as_ptr(), Arc::as_ptr(requester))
            && Arc::ptr_eq(&self.export, &import.export)
            && self.share == import.share
    }
}

/// The reply subject that a service receives with a request.
pub(crate) struct Given {
    pub(crate) reply: ReplySubject,
    /// The response time is measured.
    pub(crate) is_measured: bool,
}

/// A request that is to be answered.
pub(crate) struct Awaited<'m> {
    /// Its reply subject, in the account of the requester.
    pub(crate) to: &'m [u8],
    pub(crate) measured: Option<Arc<Measured>>,
}

/// The reply subject of a requester, inline unless it is longer than those of clients.
type To = SmallVec<[u8; 64]>;

/// A response that is awaited.
#[derive(Clone)]
pub(crate) struct Response {
    /// The reply subject of the request, in the account of the requester.
    pub(crate) to: To,
    pub(crate) asked: Arc<Asked>,
    pub(crate) measured: Option<Arc<Measured>>,
}

impl Response {
    fn bytes(&self) -> usize {
        SERVICE_RESPONSE_BYTES + self.to.len()
    }

    /// Returns true if there is one response at most.
    pub(crate) fn is_single(&self) -> bool {
        self.asked.export.response_type == ResponseType::Singleton
    }

    fn is_watched(&self) -> bool {
        self.measured.is_some() || !self.is_single()
    }

    /// Returns when the request times out; `None` if never.
    fn due(&self, now: Instant) -> Option<Instant> {
        now.checked_add(self.asked.export.threshold)
    }
}

/// The responses that one account owes.
pub(crate) struct Responses {
    prefix: [u8; ACCOUNT_PREFIX_LEN],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Open,
    /// The open requests that end when their requesters do not wait any more: those that are measured, or may get
    /// several.
    watched: HashSet<Token, FixedState>,
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

/// The number of open requests that are checked for having timed out under one lock, by a timer.
const MANY: usize = 16 * FEW;

impl Responses {
    pub(super) fn new(seed: u64) -> Self {
        let mut prefix = [b'.'; ACCOUNT_PREFIX_LEN];
        prefix[..PREFIX.len()].copy_from_slice(PREFIX);
        let token = Token::random(&mut Random::new(seed)).characters();
        prefix[PREFIX.len()..][..TOKEN_LEN].copy_from_slice(&token);
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
        let due = response.due(now);
        let token = self.state.lock().add(response, due, random, now);
        self.subject_of(token)
    }

    /// Adds the requests of an account that are to be answered, and their reply subjects to `given`.
    pub(crate) fn add_all<'m>(
        &self,
        asked: &Arc<Asked>,
        requests: impl Iterator<Item = Option<Awaited<'m>>>,
        random: &mut Random,
        now: Instant,
        given: &mut Vec<Option<Given>>,
    ) {
        let due = now.checked_add(asked.export.threshold);
        let mut state = self.state.lock();
        given.extend(requests.map(|request| {
            let Awaited { to, measured } = request?;
            let is_measured = measured.is_some();
            let response = Response { to: To::from_slice(to), asked: Arc::clone(asked), measured };
            let token = state.add(response, due, random, now);
            Some(Given { reply: self.subject_of(token), is_measured })
        }));
    }

    /// Returns a reply subject that no request has.
    pub(crate) fn unused(&self, random: &mut Random) -> ReplySubject {
        let token = self.state.lock().unused(random);
        self.subject_of(token)
    }

    fn subject_of(&self, token: Token) -> ReplySubject {
        let mut subject = [0; ACCOUNT_PREFIX_LEN + TOKEN_LEN];
        subject[..ACCOUNT_PREFIX_LEN].copy_from_slice(&self.prefix);
        subject[ACCOUNT_PREFIX_LEN..].copy_from_slice(&token.characters());
        subject
    }

    /// Returns the request that a message answers, unless it has timed out. One that has a single response is removed.
    pub(crate) fn answer(&self, subject: &[u8], now: Instant) -> Option<Response> {
        let token = self.token(subject)?;
        let mut state = self.state.lock();
        let response = state.open.answer(token, now)?;
        if response.is_single() {
            state.note_removed(token, &response);
        }
        Some(response)
    }

    /// Records that a response has reached the requester, who may get more.
    pub(crate) fn keep(&self, subject: &[u8], now: Instant) {
        let Some(token) = self.token(subject) else { return };
        self.state.lock().open.set_due(token, |response| response.due(now));
    }

    /// Returns true if the response to a request is awaited.
    pub(crate) fn is_open(&self, subject: &[u8]) -> bool {
        self.token(subject).is_some_and(|token| self.state.lock().open.contains(token))
    }

    /// Returns true for the reply subject of a request, whether a response to it is awaited or not.
    pub(super) fn is_reply(&self, subject: &[u8]) -> bool {
        let is_character = |byte: &u8| byte.is_ascii_alphanumeric();
        self.token(subject).is_some_and(|token| token.characters().iter().all(is_character))
    }

    /// Returns the request with this reply subject, if a response to it is awaited.
    pub(super) fn find(&self, subject: &[u8]) -> Option<Response> {
        let token = self.token(subject)?;
        self.state.lock().open.get(token).cloned()
    }

    /// Removes a request that gets no further response.
    pub(crate) fn remove(&self, subject: &[u8]) -> Option<Response> {
        let token = self.token(subject)?;
        self.state.lock().remove(token)
    }

    /// Removes requests that have timed out, among the oldest. Returns measured ones that have failed.
    pub(crate) fn expire(&self, now: Instant) -> Vec<Failed> {
        let mut state = self.state.lock();
        if state.open.len() <= MANY {
            state.open.check_from_oldest();
        }
        let some = state.open.len().min(MANY);
        state.sweep(some, now);
        std::mem::take(&mut state.failed)
    }

    /// Removes the requests of an account whose requesters do not wait any more.
    // NATS 2.14: accounts.go checkForReverseEntry.
    pub(super) fn forget(&self, requester: &Account, is_gone: impl Fn(&[u8]) -> bool) {
        let mut state = self.state.lock();
        let is_one = |token: &&Token| {
            state.open.get(**token).is_some_and(|response| {
                std::ptr::eq(response.asked.requester.as_ptr(), requester) && is_gone(&response.to)
            })
        };
        let mut tokens: Vec<Token> =
            state.watched.iter().take(FEW).filter(is_one).copied().collect();
        tokens.sort_unstable();
        for token in tokens {
            let gone = state.remove(token);
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
        let mut list: Vec<(Token, Response)> =
            open.map(|(token, response)| (token, response.clone())).collect();
        drop(state);
        sort_by_key(&mut list, |(token, _)| *token);
        let subject = |token| String::from_utf8_lossy(&self.subject_of(token)).into_owned();
        list.into_iter().map(|(token, response)| (subject(token), response)).collect()
    }

    fn token(&self, subject: &[u8]) -> Option<Token> {
        let (token, rest) = subject.strip_prefix(&self.prefix)?.split_first_chunk()?;
        // Measurements by other servers have a mark.
        let is_whole = rest.is_empty() || (rest.starts_with(b".") && is_marked(subject));
        is_whole.then(|| Token::read(*token))
    }
}

impl State {
    /// Adds a request. Returns its token.
    fn add(
        &mut self,
        response: Response,
        due: Option<Instant>,
        random: &mut Random,
        now: Instant,
    ) -> Token {
        self.sweep(SWEPT, now);
        self.bytes += response.bytes();
        while self.bytes > SERVICE_RESPONSES_BYTES
            && let Some((oldest, response)) = self.open.remove_oldest()
        {
            self.note_removed(oldest, &response);
            self.lost += 1;
        }
        let token = self.unused(random);
        if response.is_watched() {
            self.watched.insert(token);
        }
        self.open.insert(token, response, due);
        token
    }

    fn unused(&self, random: &mut Random) -> Token {
        loop {
            let token = Token::random(random);
            if !self.open.contains(token) {
                return token;
            }
        }
    }

    fn remove(&mut self, token: Token) -> Option<Response> {
        let response = self.open.remove(token)?;
        self.note_removed(token, &response);
        Some(response)
    }

    fn note_removed(&mut self, token: Token, response: &Response) {
        if response.is_watched() {
            self.watched.remove(&token);
        }
        self.bytes -= response.bytes();
    }

    fn fail(&mut self, response: Response, outcome: Outcome) {
        if response.measured.is_some() && self.failed.len() < FEW {
            self.failed.push(Failed { response, outcome });
        }
    }

    /// Checks some requests, and removes those that have timed out.
    fn sweep(&mut self, count: usize, now: Instant) {
        for _ in 0..count {
            if let Some((token, response)) = self.open.check_next(now) {
                self.note_removed(token, &response);
                self.fail(response, Outcome::ServiceTimeout);
            }
        }
    }
}
