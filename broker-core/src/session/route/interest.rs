//! The interest of another server.

use std::borrow::Cow;
use std::time::Instant;

use super::RouteSession;
use crate::auth::{Permissions, Subscribe};
use crate::endpoint::Scratch;
use crate::proto::route::RouteSubscription;
use crate::subject::SubjectFilter;
use crate::sync::Ordering;

/// The slices of the existing interest that are written at once: some 30 KiB, and a millisecond for what waits behind them.
const SLICES_A_WRITE: u8 = 8;

impl RouteSession {
    /// Adds interest of the other server, or changes the number of members of a queue group.
    // NATS 2.14: route.go processRemoteSub.
    pub(super) fn subscribe(&mut self, one: &RouteSubscription<'_>, scratch: &mut Scratch) {
        let shown = || String::from_utf8_lossy(one.filter);
        let Ok(account) = std::str::from_utf8(one.account) else { return };
        // NATS 2.14: route.go processRemoteSub: an account that is on its way to a route of its own.
        if self.link.has_moved(account) {
            return;
        }
        if SubjectFilter::check(one.filter).is_err() {
            self.byte_queue.send(scratch, |out| {
                crate::proto::encode::error(out, "Invalid Subscription");
            });
            return;
        }
        if !self.accounts.has(account) && !self.shared.may_have_account(account) {
            tracing::error!(
                client = %self.endpoint,
                "Unknown account {account:?} for remote subject {:?}",
                shown()
            );
            return;
        }
        let permissions = self.endpoint.permissions.load();
        let verdict = verdict(permissions.as_deref(), one);
        if verdict == Subscribe::Deny {
            tracing::debug!(
                client = %self.endpoint,
                "Can not export {:?}, ignoring remote subscription request",
                shown()
            );
            return;
        }
        if self.endpoint.subscriptions.load(Ordering::Relaxed) >= crate::limits::ROUTE_SUBSCRIPTIONS
        {
            return self.fault(&crate::cluster::Refusal::TooManySubscriptions, scratch);
        }
        let is_filtered = verdict == Subscribe::AllowAndFilter;
        let texts = (one.filter, one.queue, &*origin(one));
        // A server in more accounts than a session can have loses the interest in the others.
        if self.accounts.subscribe(account, texts, one.weight, is_filtered).is_err() {
            tracing::error!(
                client = %self.endpoint,
                "Interest in account {account:?} is ignored: the server has too many accounts"
            );
        }
    }

    /// Writes what is pending, unless a slice of the existing interest was appended and more will follow it: each
    /// write wakes the other server.
    pub(super) fn write_slices(&mut self, now: Instant, scratch: &mut Scratch) {
        let is_begun = (1..SLICES_A_WRITE).contains(&self.unwritten_slices);
        if !(is_begun && self.link.has_more()) {
            self.unwritten_slices = 0;
            self.byte_queue.drain_own(None, now, scratch);
        }
    }

    /// Ends the interest of the other server that these permissions deny.
    pub(super) fn end_denied(&mut self, permissions: &Permissions) {
        self.accounts.retain(|filter| {
            let filter = SubjectFilter::parse(filter);
            let decision = |filter| permissions.may_subscribe(&filter, None);
            filter.map_or(true, |filter| decision(filter) != Subscribe::Deny)
        });
    }

    /// Removes interest of the other server.
    // NATS 2.14: route.go processRemoteUnsub.
    pub(super) fn unsubscribe(&mut self, one: &RouteSubscription<'_>) {
        if let Ok(account) = std::str::from_utf8(one.account) {
            self.accounts.unsubscribe(account, (one.filter, one.queue, &origin(one)));
        }
    }
}

/// Returns the verdict on interest in a filter that is valid.
fn verdict(permissions: Option<&Permissions>, one: &RouteSubscription<'_>) -> Subscribe {
    let Some(permissions) = permissions else { return Subscribe::Allow };
    let filter = SubjectFilter::parse(one.filter);
    filter.map_or(Subscribe::Deny, |filter| permissions.may_subscribe(&filter, one.queue))
}

/// Returns what tells interest from other interest in the same: where it comes from.
fn origin<'a>(one: &RouteSubscription<'a>) -> Cow<'a, [u8]> {
    match one.origin {
        None => Cow::Borrowed(b"R"),
        Some(origin) => Cow::Owned([origin, b"L"].concat()),
    }
}
