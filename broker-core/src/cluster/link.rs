//! A route as the rest of the server sees it: its queue, and the interest that is sent over it.

use std::collections::{BTreeMap, BTreeSet};

use arc_swap::ArcSwapOption;

use crate::account::{Account, InterestEvents};
use crate::auth::Permissions;
use crate::cluster::Refusal;
use crate::endpoint::{ByteQueue, Encoder, Endpoint, Kind, Scratch, SessionUpdate};
use crate::error::CloseReason;
use crate::interest::InterestChange;
use crate::proto::encode;
use crate::proto::route::{self, RouteInfo};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};

/// The queue of a connection to another server, whatever its encoder.
pub(crate) trait LineQueue: Send + Sync {
    /// Appends a line.
    fn append(&self, write: &mut dyn FnMut(&mut Vec<u8>));
    /// Returns the pending bytes.
    fn pending_bytes(&self) -> usize;
}

impl<E: Encoder> LineQueue for ByteQueue<E> {
    fn append(&self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        self.send(&mut Scratch::new(), |out| write(out));
    }

    fn pending_bytes(&self) -> usize {
        crate::endpoint::Destination::counts(self).pending_bytes
    }
}

/// A connection to another server.
pub(crate) struct RouteLink {
    pub(super) endpoint: Arc<Endpoint>,
    queue: Arc<dyn LineQueue>,
    state: Mutex<State>,
    /// The filters that may not be sent, as the options state them now.
    permissions: ArcSwapOption<Permissions>,
    /// Lines carry no account.
    is_of_account: AtomicBool,
    /// Some of the existing interest is not sent yet.
    has_more: AtomicBool,
    /// Accounts have moved to other routes.
    has_moved: AtomicBool,
}

#[derive(Default)]
struct State {
    listening: BTreeMap<Arc<str>, InterestEvents>,
    /// The accounts whose existing interest is not sent yet.
    pending: Vec<Arc<str>>,
    /// The accounts that other routes carry now, as the other server has asked for.
    moved: BTreeSet<Arc<str>>,
    /// Replaced listeners that may still be called.
    is_closed: bool,
}

impl RouteLink {
    pub(super) fn new(endpoint: Arc<Endpoint>, queue: Arc<dyn LineQueue>) -> Self {
        Self {
            endpoint,
            queue,
            state: Mutex::default(),
            permissions: ArcSwapOption::empty(),
            is_of_account: AtomicBool::new(false),
            has_more: AtomicBool::new(false),
            has_moved: AtomicBool::new(false),
        }
    }

    pub(super) fn set_of_account(&self) {
        self.is_of_account.store(true, Ordering::Relaxed);
    }

    /// Replaces the permissions. Returns the ones before.
    pub(super) fn set_permissions(
        &self,
        permissions: Option<Arc<Permissions>>,
    ) -> Option<Arc<Permissions>> {
        self.permissions.swap(permissions)
    }

    /// Sends an INFO from any thread: of this server, or about another one.
    pub(super) fn send_info(&self, info: &RouteInfo, is_about_other: bool) {
        self.queue.append(&mut |out| {
            if is_about_other {
                route::encode::gossip(out, info);
            } else {
                route::encode::info(out, info);
            }
        });
        self.wake();
    }

    /// Closes the connection with an error.
    pub(super) fn refuse(&self, fault: &Refusal) {
        let (text, reason) = fault.answer();
        if let Some(text) = text {
            self.queue.append(&mut |out| encode::error(out, &text));
        }
        match fault {
            // NATS 2.14: client.go authViolation.
            Refusal::Unauthorized => {
                tracing::error!(client = %self.endpoint, "authentication error");
            }
            _ => tracing::error!(client = %self.endpoint, "{fault}"),
        }
        self.close(reason);
    }

    /// Closes the connection.
    pub(super) fn close(&self, reason: CloseReason) {
        self.endpoint.destination.close(reason);
    }

    /// Has the session write what was appended.
    pub(super) fn wake(&self) {
        // A session that has not taken the update before writes after it has.
        if !self.endpoint.control.is_there() {
            self.tell_session(|_| ());
        }
    }

    /// Leaves an update for the session.
    pub(super) fn tell_session(&self, tell: impl FnOnce(&mut SessionUpdate)) {
        if self.endpoint.control.leave(None, tell) {
            self.endpoint.destination.wake();
        }
    }

    /// Sends no more interest of an account, and drops that of the other server in it: another route carries it. The other
    /// server does the same. `is_asked`: what is under way of its interest is ignored.
    // NATS 2.14: client.go removeRemoteSubsForAcc.
    pub(super) fn give_up(&self, account: &Arc<str>, is_asked: bool) {
        let mut state = self.state.lock();
        let gone = state.listening.remove(account);
        state.pending.retain(|name| name != account);
        if is_asked {
            state.moved.insert(Arc::clone(account));
        } else {
            state.moved.remove(account);
        }
        self.has_moved.store(!state.moved.is_empty(), Ordering::Release);
        drop(state);
        drop(gone);
        self.tell_session(|control| control.moved.push(Arc::clone(account)));
    }

    /// Takes interest in an account again.
    pub(super) fn take_back(&self, account: &str) {
        let mut state = self.state.lock();
        state.moved.remove(account);
        self.has_moved.store(!state.moved.is_empty(), Ordering::Release);
    }

    /// Returns true if interest of the other server in this account is ignored, because another route carries it.
    pub(crate) fn has_moved(&self, account: &str) -> bool {
        self.has_moved.load(Ordering::Acquire) && self.state.lock().moved.contains(account)
    }

    /// Sends the interest of an account: the existing interest by [`Self::step`], changes at once. `before`: the
    /// permissions by which it was sent before, if it was.
    pub(super) fn follow(
        self: &Arc<Self>,
        account: &Arc<Account>,
        before: Option<Option<Arc<Permissions>>>,
        endpoints: impl FnOnce() -> Vec<Arc<Endpoint>>,
    ) {
        let mut state = self.state.lock();
        let is_known = state.listening.contains_key(&account.name);
        if state.is_closed || (is_known && before.is_none()) {
            return;
        }
        let replaced = state.listening.remove(&account.name);
        let (link, name) = (Arc::downgrade(self), Arc::clone(&account.name));
        let call = move |change: &InterestChange<'_>| {
            if let Some(link) = link.upgrade() {
                link.tell(&name, change, before.as_ref().map(Option::as_deref));
            }
        };
        let kinds = Kind::Route.is_told_of();
        let events = InterestEvents::new(Arc::clone(account), kinds, call, endpoints);
        state.listening.insert(Arc::clone(&account.name), events);
        state.pending.push(Arc::clone(&account.name));
        self.has_more.store(true, Ordering::Release);
        drop(state);
        drop(replaced);
    }

    /// Sends what exists of the interest of an account that was just made: nothing.
    pub(super) fn follow_new(self: &Arc<Self>, account: &Arc<Account>) {
        self.follow(account, None, Vec::new);
        let mut state = self.state.lock();
        let is_it = |name: &Arc<str>| *name == account.name;
        if let Some(events) = state.listening.get_mut(&account.name) {
            while events.catch_up() {}
            state.pending.retain(|name| !is_it(name));
        }
    }

    /// Returns true if there is existing interest to be sent, and room for it.
    pub(crate) fn has_more(&self) -> bool {
        self.has_more.load(Ordering::Acquire)
            && self.queue.pending_bytes() < crate::limits::INTEREST_AHEAD_BYTES
    }

    /// Sends a slice of the existing interest.
    pub(crate) fn step(&self) {
        let mut state = self.state.lock();
        let State { listening, pending, .. } = &mut *state;
        let next = pending.last().and_then(|name| listening.get_mut(name));
        if !next.is_some_and(InterestEvents::catch_up) {
            pending.pop();
        }
        self.has_more.store(!pending.is_empty(), Ordering::Release);
    }

    /// Ends all of it, with the connection.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let gone = std::mem::take(&mut state.listening);
        state.pending.clear();
        drop(state);
        drop(gone);
        self.has_more.store(false, Ordering::Release);
    }

    /// Sends a change of interest.
    // NATS 2.14: route.go updateRouteSubscriptionMap, importFilter.
    fn tell(
        &self,
        account: &str,
        change: &InterestChange<'_>,
        before: Option<Option<&Permissions>>,
    ) {
        let allows = |permissions: Option<&Permissions>| {
            permissions.is_none_or(|permissions| permissions.may_publish(change.filter))
        };
        let permissions = self.permissions.load();
        let is_allowed = allows(permissions.as_deref());
        let ends = change.now == 0 || !is_allowed;
        if !is_allowed && !before.is_some_and(allows) {
            return;
        }
        let account = Some(account).filter(|_| !self.is_of_account.load(Ordering::Relaxed));
        let InterestChange { filter, queue, now, .. } = *change;
        self.queue.append(&mut |out| {
            if ends {
                route::encode::unsubscribe(out, account, filter, queue);
            } else {
                route::encode::subscribe(out, account, filter, queue, now);
            }
        });
        self.wake();
    }
}
