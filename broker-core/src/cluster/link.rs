//! A route as the rest of the server sees it: its queue, and the interest that is sent over it.

use std::collections::{BTreeMap, BTreeSet};

use arc_swap::ArcSwapOption;
use smallvec::SmallVec;

use crate::account::{Account, InterestEvents};
use crate::auth::{Permissions, Subscribe};
use crate::cluster::Refusal;
use crate::endpoint::{ByteQueue, Encoder, Endpoint, Kind, Scratch, SessionUpdate};
use crate::error::CloseReason;
use crate::interest::{Changes, InterestChange, ListenerCall};
use crate::limits::INTEREST_BATCH;
use crate::proto::encode;
use crate::proto::route::{self, RouteInfo};
use crate::subject::SubjectFilter;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};

/// The queue of a connection to another server, whatever its encoder.
pub(crate) trait LineQueue: Send + Sync {
    /// Appends lines of about so many bytes.
    fn append(&self, bytes: usize, write: &mut dyn FnMut(&mut Vec<u8>));
    /// Returns the pending bytes.
    fn pending_bytes(&self) -> usize;
}

impl<E: Encoder> LineQueue for ByteQueue<E> {
    fn append(&self, bytes: usize, write: &mut dyn FnMut(&mut Vec<u8>)) {
        self.send_long(bytes, &mut Scratch::new(), |out| write(out));
    }

    fn pending_bytes(&self) -> usize {
        crate::endpoint::Destination::counts(self).pending_bytes
    }
}

/// More than most lines have, so that their memory is allocated at once.
const LINE_BYTES: usize = 512;

/// The most bytes of a line of interest beside its texts: the verb, blanks, the number of members, the line end.
const BESIDE_TEXTS_BYTES: usize = b"RS+    4294967295\r\n".len();

/// A connection to another server.
pub(crate) struct RouteLink {
    pub(super) endpoint: Arc<Endpoint>,
    queue: Arc<dyn LineQueue>,
    state: Mutex<State>,
    /// The filters that may not be sent, as the options state them now.
    permissions: ArcSwapOption<Permissions>,
    /// Those before, by which the other server may have been told of filters.
    permissions_before: ArcSwapOption<Permissions>,
    /// Lines carry no account.
    is_of_account: AtomicBool,
    /// Some of the existing interest is not sent yet.
    has_more: AtomicBool,
    /// Accounts have moved to other routes.
    has_moved: AtomicBool,
    /// The number of changes of interest that were appended, and of those that were written.
    changes: AtomicU64,
    written: AtomicU64,
}

#[derive(Default)]
struct State {
    listening: BTreeMap<Arc<str>, InterestEvents>,
    /// Readers of the existing interest of which a part is to be sent, because permissions have changed.
    differences: BTreeMap<Arc<str>, InterestEvents>,
    /// The accounts whose existing interest is not sent yet.
    pending: Vec<Arc<str>>,
    /// The accounts that other routes carry now, as the other server has asked for.
    moved: BTreeSet<Arc<str>>,
    is_closed: bool,
}

impl RouteLink {
    pub(super) fn new(endpoint: Arc<Endpoint>, queue: Arc<dyn LineQueue>) -> Self {
        Self {
            endpoint,
            queue,
            state: Mutex::default(),
            permissions: ArcSwapOption::empty(),
            permissions_before: ArcSwapOption::empty(),
            is_of_account: AtomicBool::new(false),
            has_more: AtomicBool::new(false),
            has_moved: AtomicBool::new(false),
            changes: AtomicU64::new(0),
            written: AtomicU64::new(0),
        }
    }

    /// Makes the connection a route, before any interest is sent: with its permissions, and whether it is one account's. From now on
    /// messages wait for the existing interest. Those for interest that came before INFO do not, as in nats-server.
    pub(super) fn begin(&self, permissions: Option<Arc<Permissions>>, is_of_account: bool) {
        self.endpoint.lacks_interest.store(true, Ordering::Release);
        self.is_of_account.store(is_of_account, Ordering::Relaxed);
        self.permissions.store(permissions.clone());
        self.permissions_before.store(permissions);
    }

    /// Replaces the permissions. Returns the ones before.
    pub(super) fn set_permissions(
        &self,
        permissions: Option<Arc<Permissions>>,
    ) -> Option<Arc<Permissions>> {
        let before = self.permissions.swap(permissions);
        self.permissions_before.store(before.clone());
        before
    }

    /// Sends an INFO from any thread: of this server, or about another one.
    pub(super) fn send_info(&self, info: &RouteInfo, is_about_other: bool) {
        self.append_info(info, is_about_other);
        self.wake();
    }

    /// As [`Self::send_info`]; the caller sees to it that it is written.
    pub(super) fn append_info(&self, info: &RouteInfo, is_about_other: bool) {
        self.queue.append(LINE_BYTES, &mut |out| {
            if is_about_other {
                route::encode::gossip(out, info);
            } else {
                route::encode::info(out, info);
            }
        });
    }

    /// Closes the connection with an error.
    pub(super) fn refuse(&self, fault: &Refusal) {
        let (text, reason) = fault.answer();
        if let Some(text) = text {
            self.queue.append(LINE_BYTES, &mut |out| encode::error(out, &text));
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
        let gone = (state.listening.remove(account), state.differences.remove(account));
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

    /// Sends the interest of an account, if the route `carries` it: the existing interest by [`Self::step`], changes at
    /// once. The question is asked with the state locked: an account that moves afterwards is [given up](Self::give_up)
    /// afterwards.
    pub(super) fn follow(
        self: &Arc<Self>,
        account: &Arc<Account>,
        carries: impl FnOnce() -> bool,
        endpoints: impl FnOnce() -> Vec<Arc<Endpoint>>,
    ) {
        let mut state = self.state.lock();
        if state.is_closed || state.listening.contains_key(&account.name) || !carries() {
            return;
        }
        let (link, name) = (Arc::downgrade(self), Arc::clone(&account.name));
        let call = ListenerCall::several(move |changes| {
            if let Some(link) = link.upgrade() {
                link.tell(&name, changes);
            }
        });
        let kinds = Kind::Route.is_told_of();
        let events = InterestEvents::new(Arc::clone(account), kinds, call, endpoints);
        state.listening.insert(Arc::clone(&account.name), events);
        state.pending.push(Arc::clone(&account.name));
        self.has_more.store(true, Ordering::Release);
    }

    /// Sends what a change of permissions makes of the existing interest in an account, by [`Self::step`]. Changes are
    /// sent by [`Self::follow`], as before.
    // NATS 2.14: reload.go reloadClusterPermissions, route.go updateRemoteRoutePerms.
    pub(super) fn differ(
        self: &Arc<Self>,
        account: &Arc<Account>,
        difference: &Arc<Difference>,
        endpoints: impl FnOnce() -> Vec<Arc<Endpoint>>,
    ) {
        let mut state = self.state.lock();
        if state.is_closed || !state.listening.contains_key(&account.name) {
            return;
        }
        let unfinished = state.differences.remove(&account.name);
        // The other server has then been told one part by these permissions, and another one by those.
        let is_mixed = unfinished.is_some() || state.pending.contains(&account.name);
        let difference = if is_mixed { Arc::new(Difference::All) } else { Arc::clone(difference) };
        let (link, name) = (Arc::downgrade(self), Arc::clone(&account.name));
        let call = ListenerCall::several(move |changes| {
            if let Some(link) = link.upgrade() {
                link.tell_difference(&name, changes, &difference);
            }
        });
        let kinds = Kind::Route.is_told_of();
        let events = InterestEvents::new(Arc::clone(account), kinds, call, endpoints);
        state.differences.insert(Arc::clone(&account.name), events);
        self.has_more.store(true, Ordering::Release);
        drop(state);
        drop(unfinished);
    }

    /// Sends what exists of the interest of an account that was just made: nothing.
    pub(super) fn follow_new(
        self: &Arc<Self>,
        account: &Arc<Account>,
        carries: impl FnOnce() -> bool,
    ) {
        self.follow(account, carries, Vec::new);
        let mut state = self.state.lock();
        let is_it = |name: &Arc<str>| *name == account.name;
        if let Some(events) = state.listening.get_mut(&account.name) {
            while events.catch_up() {}
            state.pending.retain(|name| !is_it(name));
        }
    }

    /// Returns true if the interest of an account is sent.
    #[cfg(test)]
    pub(super) fn follows(&self, account: &str) -> bool {
        self.state.lock().listening.contains_key(account)
    }

    /// Returns true if there is existing interest to be sent, and room for it.
    pub(crate) fn has_more(&self) -> bool {
        self.has_more.load(Ordering::Acquire)
            && self.queue.pending_bytes() < crate::limits::INTEREST_AHEAD_BYTES
    }

    /// Lets messages follow, if there is no existing interest to be sent. Call it when the accounts are known.
    pub(super) fn begin_messages(&self) {
        if self.state.lock().pending.is_empty() {
            self.endpoint.lacks_interest.store(false, Ordering::Release);
        }
    }

    /// Sends a slice of the existing interest. Messages may follow the last one.
    pub(crate) fn step(&self) {
        let mut state = self.state.lock();
        let State { listening, differences, pending, .. } = &mut *state;
        let mut read = None;
        if let Some(name) = pending.last() {
            if !listening.get_mut(name).is_some_and(InterestEvents::catch_up) {
                pending.pop();
            }
        } else if let Some(mut first) = differences.first_entry()
            && !first.get_mut().catch_up()
        {
            read = Some(first.remove());
        }
        if pending.is_empty() {
            self.endpoint.lacks_interest.store(false, Ordering::Release);
        }
        let has_more = !pending.is_empty() || !differences.is_empty();
        self.has_more.store(has_more, Ordering::Release);
        drop(state);
        drop(read);
    }

    /// Ends all of it, with the connection.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let gone = (std::mem::take(&mut state.listening), std::mem::take(&mut state.differences));
        state.pending.clear();
        drop(state);
        drop(gone);
        self.has_more.store(false, Ordering::Release);
    }

    /// Sends changes of interest.
    // NATS 2.14: route.go updateRouteSubscriptionMap, importFilter.
    fn tell(&self, account: &str, changes: &Changes<'_>) {
        let (permissions, before) = (self.permissions.load(), self.permissions_before.load());
        self.send(account, changes, |change| {
            if allows(permissions.as_deref(), change) {
                return Some(change.now > 0);
            }
            // The other server may still have interest of which it is not told now.
            (change.now == 0 && allows(before.as_deref(), change)).then_some(false)
        });
    }

    /// Sends interest that exists, if the other server is to be told of it because of this difference.
    fn tell_difference(&self, account: &str, changes: &Changes<'_>, of: &Difference) {
        let permissions = self.permissions.load();
        self.send(account, changes, |change| {
            let is_allowed = allows(permissions.as_deref(), change);
            let concerns = match of {
                Difference::Own { before } => allows(before.as_deref(), change) != is_allowed,
                Difference::Theirs { before, now } => {
                    is_allowed && takes(now.as_deref(), change) && !takes(before.as_deref(), change)
                }
                Difference::All => true,
            };
            concerns.then_some(is_allowed && change.now > 0)
        });
    }

    /// Sends the changes for which `is_there` returns a value: interest, or its end.
    fn send(
        &self,
        account: &str,
        changes: &Changes<'_>,
        is_there: impl Fn(&InterestChange<'_>) -> Option<bool>,
    ) {
        // Decided before the queue is locked.
        let lines = changes.iter().filter_map(|change| Some((is_there(&change)?, change)));
        let lines: SmallVec<[(bool, InterestChange<'_>); INTEREST_BATCH]> = lines.collect();
        if lines.is_empty() {
            return;
        }
        let account = Some(account).filter(|_| !self.is_of_account.load(Ordering::Relaxed));
        let texts = |change: &InterestChange<'_>| {
            change.filter.len() + change.queue.map_or(0, <[u8]>::len) + account.map_or(0, str::len)
        };
        let bytes = lines.iter().map(|(_, change)| texts(change) + BESIDE_TEXTS_BYTES).sum();
        self.queue.append(bytes, &mut |out| {
            for (is_there, InterestChange { filter, queue, now, .. }) in &lines {
                if *is_there {
                    route::encode::subscribe(out, account, filter, *queue, *now);
                } else {
                    route::encode::unsubscribe(out, account, filter, *queue);
                }
            }
        });
        self.changes.fetch_add(1, Ordering::Release);
        self.wake();
    }

    /// Returns the number of changes of interest, if some were appended and are not known to be written.
    pub(super) fn unwritten(&self) -> Option<u64> {
        let changes = self.changes.load(Ordering::Acquire);
        (changes != self.written.load(Ordering::Acquire)).then_some(changes)
    }

    /// Writes these changes. Other threads write them too until they are written; one that is writing is waited for: it may be
    /// writing what was appended before them.
    pub(super) fn write(&self, changes: u64, scratch: &mut Scratch) {
        self.endpoint.destination.flush_whole(scratch);
        self.written.fetch_max(changes, Ordering::AcqRel);
    }
}

/// Returns true if interest may be sent.
fn allows(permissions: Option<&Permissions>, change: &InterestChange<'_>) -> bool {
    permissions.is_none_or(|permissions| permissions.may_publish(change.filter))
}

/// Returns true if another server with these permissions takes the interest.
fn takes(permissions: Option<&Permissions>, change: &InterestChange<'_>) -> bool {
    permissions.is_none_or(|permissions| {
        let filter = SubjectFilter::parse(change.filter);
        filter.is_ok_and(|filter| permissions.may_subscribe(&filter, None) != Subscribe::Deny)
    })
}

/// The part of the existing interest that changed permissions concern.
pub(super) enum Difference {
    /// This server may send other interest than before.
    Own {
        /// The permissions before.
        before: Option<Arc<Permissions>>,
    },
    /// The other server takes other interest than before, and has dropped what it does not take.
    Theirs {
        /// The permissions before.
        before: Option<Arc<Permissions>>,
        /// The permissions now.
        now: Option<Arc<Permissions>>,
    },
    /// All of it.
    All,
}
