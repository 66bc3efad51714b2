//! Queries for monitoring.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Broker;
use crate::account::{AccountShares, InterestEvents};
use crate::endpoint::{Kinds, Subscription as Held};
use crate::error::CloseReason;
use crate::interest::{InterestChange, Interested, ListenerCall};
use crate::snapshot::{Account, AuthFailure, Closed, Connection, Page, Subscription};
use crate::sort::sort_by;
use crate::stats::Stats;
use crate::subject::{Subject, SubjectFilter};
use crate::sync::{Arc, Ordering};

impl Broker {
    /// Calls `listener` with changes of the interest in one account by endpoints of these kinds, until the result is
    /// dropped. Interest that exists already is reported by [`InterestEvents::catch_up`].
    ///
    /// ```
    /// use broker_core::endpoint::Kinds;
    /// # use broker_core::{Broker, InterestChange, Options};
    /// # let broker = Broker::new(Options::default(), (std::time::Instant::now, std::time::SystemTime::now));
    ///
    /// let (tell, told) = std::sync::mpsc::channel();
    /// let mut events = broker.interest_events("$G", Kinds::ALL, move |change: &InterestChange<'_>| {
    ///     tell.send((change.filter.to_vec(), change.before, change.now)).unwrap();
    /// });
    /// while events.catch_up() {}
    /// # futures_executor::block_on(async {
    /// let orders = broker.client().subscribe("orders.*").await?;
    /// assert_eq!(told.try_recv()?, (b"orders.*".to_vec(), 0, 1));
    /// drop(orders);
    /// assert_eq!(told.try_recv()?, (b"orders.*".to_vec(), 1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn interest_events(
        &self,
        account: &str,
        kinds: Kinds,
        listener: impl Fn(&InterestChange<'_>) + Send + Sync + 'static,
    ) -> InterestEvents {
        let shared = self.shared();
        let account = shared.account(&account.into());
        let call = ListenerCall::each(listener);
        InterestEvents::new(account, kinds, call, || shared.endpoints())
    }

    /// Returns all connections, ordered by id.
    pub fn connections(&self) -> Vec<Connection> {
        let endpoints = self.shared().connections();
        endpoints.iter().map(|endpoint| endpoint.snapshot()).collect()
    }

    /// Returns the connection with this id.
    pub fn connection(&self, id: u64) -> Option<Connection> {
        let endpoint =
            self.shared().endpoint(id).filter(|endpoint| endpoint.kind.is_client_connection())?;
        Some(endpoint.snapshot())
    }

    /// Returns the connections that were closed last, the oldest first.
    pub fn closed_connections(&self) -> Vec<Arc<Closed>> {
        let max = self.shared().max_closed();
        // The records are created without the lock.
        let remembered = self.shared().history.lock().closed(max);
        remembered.list()
    }

    /// Returns at most `limit` subscriptions of one connection or in-process client.
    pub fn subscriptions_of(&self, id: u64, limit: usize) -> Vec<Subscription> {
        let Some(endpoint) = self.shared().endpoint(id) else { return Vec::new() };
        endpoint.subscriptions_now(limit)
    }

    /// Returns `limit` subscriptions from `offset` on, ordered by connection id and sid, those of imported services behind
    /// the others: all, or those of one account, or those that match one subject.
    pub fn subscriptions(
        &self,
        account: Option<&str>,
        subject: Option<&Subject>,
        offset: usize,
        limit: usize,
    ) -> Page {
        let endpoints = self.shared().endpoints();
        let mut page = Page::default();
        let end = offset.saturating_add(limit);
        for endpoint in endpoints {
            let Some(membership) = endpoint.membership.load_full() else { continue };
            let name = membership.account();
            if account.is_some_and(|account| *account != **name) {
                continue;
            }
            let first = page.total;
            let count = endpoint.subscriptions.load(Ordering::Relaxed);
            if subject.is_none() && (first + count <= offset || first >= end) {
                page.total += count;
                continue;
            }
            let mut held = endpoint.sids.list(usize::MAX);
            if let Some(subject) = subject {
                held.retain(|one| filter_matches(one, subject));
            }
            page.total += held.len();
            if page.total <= offset || first >= end {
                continue;
            }
            sort_by(&mut held, |a, b| (a.sid().len(), a.sid()).cmp(&(b.sid().len(), b.sid())));
            let from = offset.saturating_sub(first);
            let part = held.iter().skip(from).take(end - first.max(offset));
            page.subscriptions.extend(part.map(|one| Subscription::of(one, name)));
        }
        self.add_imported_services(&mut page, account, subject, offset..end);
        page
    }

    /// Adds the subscriptions of imported services that are on the page. They belong to no connection; their sids are
    /// numbers.
    fn add_imported_services(
        &self,
        page: &mut Page,
        account: Option<&str>,
        subject: Option<&Subject>,
        shown: Range<usize>,
    ) {
        let mut accounts = self.shared().all_accounts();
        accounts.retain(|one| account.is_none_or(|account| *account == *one.name));
        sort_by(&mut accounts, |a, b| a.name.cmp(&b.name));
        for account in accounts {
            for (sid, held) in (1_u32..).zip(account.imported_services()) {
                if subject.is_some_and(|subject| !filter_matches(&held, subject)) {
                    continue;
                }
                if shown.contains(&page.total) {
                    let found = Subscription::of(&held, &account.name);
                    page.subscriptions.push(Subscription { sid: sid.to_string().into(), ..found });
                }
                page.total += 1;
            }
        }
    }

    /// Returns all accounts, ordered by name.
    pub fn accounts(&self) -> Vec<Account> {
        self.shown(self.shared().account_snapshots())
    }

    /// Returns what an account shares, with at most `limit` requests that its services have yet to answer; `None` if
    /// there is no such account.
    pub fn shares(&self, account: &str, limit: usize) -> Option<AccountShares> {
        let shared = self.shared();
        let account = shared.all_accounts().into_iter().find(|one| *one.name == *account)?;
        Some(account.shares(limit))
    }

    fn shown(&self, accounts: BTreeMap<Arc<str>, Account>) -> Vec<Account> {
        accounts.into_values().filter(|account| self.shared().is_shown(&account.name)).collect()
    }

    /// Returns [`Self::stats`] and [`Self::accounts`] of the same moment, at the cost of one of them.
    pub fn stats_and_accounts(&self) -> (Stats, Vec<Account>) {
        let accounts = self.shared().account_snapshots();
        (self.shared().stats_of(&accounts), self.shown(accounts))
    }

    /// Returns the number of closed connections to other servers by reason.
    pub fn closed_routes_by_reason(&self) -> Vec<(CloseReason, u64)> {
        self.shared().history.lock().route_reasons()
    }

    /// Returns the number of closed connections by reason.
    pub fn closed_by_reason(&self) -> Vec<(CloseReason, u64)> {
        self.shared().history.lock().reasons()
    }

    /// Returns the number of failed authentications by reason.
    pub fn auth_failures(&self) -> Vec<(AuthFailure, u64)> {
        self.shared().history.lock().auth_failures()
    }
}

fn filter_matches(held: &Held, subject: &Subject) -> bool {
    SubjectFilter::parse(held.filter()).is_ok_and(|filter| filter.matches(subject))
}
