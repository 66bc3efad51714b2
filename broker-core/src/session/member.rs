//! The membership of a session in an account: the rules that all kinds of sessions share.
//!
//! Permissions are stored only in the [`Endpoint`], where publishers need them too.

use super::expiry::Expiry;
use crate::account::{Account, AccountFull, Ending};
use crate::auth::{Grant, GrantLimits, Subscribe};
use crate::endpoint::{Endpoint, SubscriberQueue, Subscription};
use crate::error::ClientFault;
use crate::interest::Matches;
use crate::routing::end;
use crate::shared::Shared;
use crate::subject::{SubjectError, SubjectFilter};
use crate::sync::{Arc, Ordering};

/// The queue group that is reserved for servers.
// NATS 2.14: sysGroup.
const SYSTEM_QUEUE: &[u8] = b"_sys_";

/// An endpoint in an account.
pub(super) struct Member {
    shared: Arc<Shared>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) account: Arc<Account>,
    /// Boxed, because most have none.
    terms: Option<Box<Terms>>,
}

/// The limits and the end of the grant.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Terms {
    pub(super) limits: GrantLimits,
    pub(super) expiry: Option<Expiry>,
}

/// The reason why a subscription was not made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SubscribeRefusal {
    /// The permissions do not allow it, or the queue group is reserved.
    Denied,
    TooManyTokens,
    MaxSubscriptions,
    InvalidFilter,
}

impl Member {
    /// Adds an endpoint inside the process to the account of the grant, with its permissions.
    pub(super) fn join(shared: &Arc<Shared>, endpoint: &Arc<Endpoint>, grant: Grant) -> Self {
        let account = shared.account(&grant.account);
        endpoint.set_permissions(grant.permissions);
        account.admit_internal(endpoint);
        Self::within(shared, endpoint, account, grant.limits)
    }

    fn within(
        shared: &Arc<Shared>,
        endpoint: &Arc<Endpoint>,
        account: Arc<Account>,
        limits: GrantLimits,
    ) -> Self {
        let (shared, endpoint) = (Arc::clone(shared), Arc::clone(endpoint));
        let mut member = Self { shared, endpoint, account, terms: None };
        member.set_terms(Terms { limits, expiry: None });
        member
    }

    /// Returns the state of the broker.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Replaces the limits and the end of the grant.
    pub(super) fn set_terms(&mut self, terms: Terms) {
        self.terms = Some(terms).filter(|some| *some != Terms::default()).map(Box::new);
    }

    /// Returns the limits of the grant.
    pub(super) fn limits(&self) -> GrantLimits {
        self.terms.as_ref().map(|terms| terms.limits).unwrap_or_default()
    }

    /// Returns the end of the grant.
    pub(super) fn expiry(&self) -> Option<Expiry> {
        self.terms.as_ref()?.expiry
    }

    /// Adds a connection to the account of the grant, with its permissions, unless the account is full.
    pub(super) fn join_within_limits(
        shared: &Arc<Shared>,
        endpoint: &Arc<Endpoint>,
        grant: Grant,
    ) -> Result<Self, ClientFault> {
        let account = shared.account(&grant.account);
        endpoint.set_permissions(grant.permissions);
        account.admit(endpoint).map_err(|AccountFull| ClientFault::MaxAccountConnections)?;
        Ok(Self::within(shared, endpoint, account, grant.limits))
    }

    /// Subscribes. If the sid is in use, returns its subscription.
    pub(super) fn subscribe(
        &self,
        filter: &[u8],
        queue: Option<&[u8]>,
        sid: &[u8],
    ) -> Result<Arc<Subscription>, SubscribeRefusal> {
        self.subscribe_as(filter, queue, sid, |endpoint, is_filtered| {
            Subscription::new(endpoint, filter, queue, sid, is_filtered)
        })
    }

    /// Subscribes inside the process. The messages go to a new queue.
    pub(super) fn subscribe_to_queue(
        &self,
        filter: &[u8],
        queue: Option<&[u8]>,
        messages: &Arc<SubscriberQueue>,
    ) -> Result<Arc<Subscription>, SubscribeRefusal> {
        self.subscribe_as(filter, queue, &messages.sid().to_le_bytes(), |endpoint, is_filtered| {
            Subscription::with_queue(endpoint, filter, queue, messages, is_filtered)
        })
    }

    /// As [`Self::subscribe`]. Calls `subscription` to create it, with the endpoint and whether each message must be checked.
    // NATS 2.14: client.go processSubEx. Permissions are checked before everything else, also before the
    // filter's form, which does not matter if the sid is in use.
    #[inline]
    fn subscribe_as(
        &self,
        filter: &[u8],
        queue: Option<&[u8]>,
        sid: &[u8],
        subscription: impl FnOnce(Arc<Endpoint>, bool) -> Subscription,
    ) -> Result<Arc<Subscription>, SubscribeRefusal> {
        let parsed = SubjectFilter::parse(filter);
        let verdict = self.verdict(filter, &parsed, queue);
        if verdict == Subscribe::Deny {
            return Err(SubscribeRefusal::Denied);
        }
        let options = self.shared.options.load();
        let tokens = 1 + memchr::memchr_iter(b'.', filter).count();
        let is_limited = !self.endpoint.kind.may_use_reserved();
        if is_limited && options.limits.max_subscription_tokens.is_some_and(|max| tokens > max) {
            return Err(SubscribeRefusal::TooManyTokens);
        }
        let living = self.reserve(self.max_subscriptions(options.limits.max_subscriptions))?;
        if let Some(taken) = self.endpoint.sids.get(sid) {
            self.release();
            return Ok(taken);
        }
        if parsed.is_err() {
            self.release();
            return Err(SubscribeRefusal::InvalidFilter);
        }
        let is_filtered = verdict == Subscribe::AllowAndFilter;
        let subscription = Arc::new(subscription(Arc::clone(&self.endpoint), is_filtered));
        self.endpoint.sids.insert(Arc::clone(&subscription), living);
        self.account.add_subscription(&subscription);
        Ok(subscription)
    }

    /// Returns the limit on the endpoint's subscriptions: the lowest one of the broker, the account and the grant.
    // NATS 2.14: client.go applyAccountLimits.
    fn max_subscriptions(&self, of_broker: Option<usize>) -> usize {
        if self.endpoint.kind.may_use_reserved() {
            return usize::MAX;
        }
        let of_grant = self.limits().max_subscriptions;
        let max = of_broker.unwrap_or(usize::MAX).min(of_grant.unwrap_or(usize::MAX));
        if self.endpoint.kind.quota().is_none() {
            return max;
        }
        self.account.max_subscriptions().min(max)
    }

    /// Returns the largest payload of the endpoint: the lowest limit of the broker, the account and the grant.
    #[inline]
    pub(super) fn max_payload_bytes(&self, of_broker: usize) -> usize {
        let of_account = self.account.limits().max_payload_bytes;
        let of_account = of_account.filter(|_| self.endpoint.kind.quota().is_some());
        let others = [of_account, self.limits().max_payload_bytes].into_iter().flatten();
        others.fold(of_broker, usize::min)
    }

    /// Counts one more subscription in advance, because several threads may subscribe at once. Returns their number
    /// before it.
    fn reserve(&self, max: usize) -> Result<usize, SubscribeRefusal> {
        let living = self.endpoint.subscriptions.fetch_add(1, Ordering::AcqRel);
        if living >= max {
            self.release();
            return Err(SubscribeRefusal::MaxSubscriptions);
        }
        Ok(living)
    }

    fn release(&self) {
        self.endpoint.subscriptions.fetch_sub(1, Ordering::AcqRel);
    }

    /// Returns the decision of the permissions about an existing subscription.
    pub(super) fn review(&self, filter: &[u8], queue: Option<&[u8]>) -> Subscribe {
        self.verdict(filter, &SubjectFilter::parse(filter), queue)
    }

    fn verdict(
        &self,
        filter: &[u8],
        parsed: &Result<SubjectFilter, SubjectError>,
        queue: Option<&[u8]>,
    ) -> Subscribe {
        if queue == Some(SYSTEM_QUEUE) && !self.endpoint.kind.may_use_reserved() {
            return Subscribe::Deny;
        }
        let permissions = self.endpoint.permissions.load();
        match (&*permissions, parsed) {
            (Some(permissions), Ok(filter)) => permissions.may_subscribe(filter, queue),
            (Some(permissions), Err(_)) if permissions.is_subscribe_denied(filter, queue) => {
                Subscribe::Deny
            }
            (None, _) | (_, Err(_)) => Subscribe::Allow,
        }
    }

    /// Ends a subscription, or makes it end after `max` messages. Returns true if it has ended.
    pub(super) fn unsubscribe(&self, subscription: &Arc<Subscription>, max: Option<u64>) -> bool {
        if max.is_some_and(|max| self.endpoint.destination.end_after(subscription, max)) {
            return false;
        }
        self.endpoint.sids.remove(subscription.sid());
        end(&self.account, subscription);
        true
    }

    /// Takes all subscriptions from the session. They end by [`Ending::step`].
    pub(super) fn end_subscriptions(&self) -> Ending {
        Ending::new(&self.account, self.endpoint.sids.take_all())
    }

    /// Returns its plain subscription that matches `reply`, to which "no responders" is sent.
    pub(super) fn own_subscription(&self, reply: &[u8]) -> Option<Arc<Subscription>> {
        let mut matches = Matches::default();
        self.account.interest.collect(reply, &mut matches);
        matches.plain.into_iter().find(|other| other.endpoint.id == self.endpoint.id)
    }

    /// Leaves the account, once all subscriptions have ended.
    pub(super) fn leave(&self) {
        self.shared.depart(&self.endpoint);
    }
}
