//! The accounts that are loaded, and those that are being looked up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::account::AccountState;
use super::{AccountError, OperatorMode, account_config, activation, system_exports};
use crate::account::AccountConfig;
use crate::auth::jwt;
use crate::auth::times::seconds;
use crate::sync::{Arc, Mutex};

/// The time after which an account that has ended is looked up again.
// NATS 2.14: server.go updateAccount.
const AGAIN: i64 = 1;

/// Called with the account, or the reason why there is none.
type Waiter = Box<dyn FnOnce(Result<Arc<AccountState>, AccountError>) + Send>;

/// The accounts of an [`OperatorMode`].
#[derive(Default)]
pub(super) struct Store {
    loaded: BTreeMap<Arc<str>, Arc<AccountState>>,
    /// Those who wait for the look-up of an account.
    waiting: BTreeMap<Arc<str>, Vec<Waiter>>,
    /// The accounts among them whose claims have changed since: the look-up may find those before.
    changed: BTreeSet<Arc<str>>,
    /// Look-ups that have yet to begin. One thread begins them, in a loop: an account may import from another one, and
    /// that from a third.
    queue: VecDeque<Arc<str>>,
    is_draining: bool,
    /// The accounts that hold activations, by the account that has issued them.
    activated: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// The first end of the activations of each account, in seconds since 1970.
    first_ends: BTreeMap<Arc<str>, i64>,
    /// The same, ordered by time.
    ends: BTreeSet<(i64, Arc<str>)>,
}

impl Store {
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.loaded.keys().cloned().collect()
    }

    /// Returns true if an account is loaded or being looked up.
    pub(super) fn uses(&self, key: &str) -> bool {
        self.loaded.contains_key(key) || self.waiting.contains_key(key)
    }

    /// Returns an account that is loaded, because its claims have changed. One that is being looked up is looked up again.
    pub(super) fn take_change(&mut self, key: &str) -> Option<Arc<AccountState>> {
        let loaded = self.loaded.get(key).cloned();
        if loaded.is_none() && self.waiting.contains_key(key) {
            self.changed.insert(key.into());
        }
        loaded
    }

    /// Adds or replaces an account. Returns those that hold activations of it.
    fn put(&mut self, key: &Arc<str>, state: &Arc<AccountState>) -> Vec<Arc<str>> {
        let before = self.loaded.insert(Arc::clone(key), Arc::clone(state));
        self.forget_activations(key, before.as_deref());
        for exporter in state.activating_accounts() {
            let holders = self.activated.entry(exporter.into()).or_default();
            holders.insert(Arc::clone(key));
        }
        self.activated.get(key).into_iter().flatten().cloned().collect()
    }

    /// Returns true if an account is the same as `before`.
    fn is_still(&self, key: &str, before: Option<&Arc<AccountState>>) -> bool {
        self.loaded.get(key).map(Arc::as_ptr) == before.map(Arc::as_ptr)
    }

    fn remove(&mut self, key: &str) {
        let before = self.loaded.remove(key);
        self.forget_activations(key, before.as_deref());
        self.set_end(key, None);
    }

    fn forget_activations(&mut self, key: &str, before: Option<&AccountState>) {
        for exporter in before.into_iter().flat_map(AccountState::activating_accounts) {
            let Some(holders) = self.activated.get_mut(exporter) else { continue };
            holders.remove(key);
            if holders.is_empty() {
                self.activated.remove(exporter);
            }
        }
    }

    /// Sets the first end of the activations of an account.
    fn set_end(&mut self, key: &str, end: Option<i64>) {
        let name: Arc<str> = key.into();
        let before = match end {
            Some(end) => {
                self.ends.insert((end, Arc::clone(&name)));
                self.first_ends.insert(Arc::clone(&name), end)
            }
            None => self.first_ends.remove(key),
        };
        if let Some(before) = before.filter(|before| Some(*before) != end) {
            self.ends.remove(&(before, name));
        }
    }
}

impl OperatorMode {
    /// Returns an account that is loaded.
    pub(super) fn loaded(&self, key: &str) -> Option<Arc<AccountState>> {
        self.0.store.lock().loaded.get(key).cloned()
    }

    /// Calls `done` with the account, which is looked up unless it is loaded. Accounts from which it imports are
    /// loaded too; `done` does not wait for those that are not at hand.
    // NATS 2.14: server.go lookupOrFetchAccount.
    pub(super) fn load(
        &self,
        key: &str,
        done: impl FnOnce(Result<Arc<AccountState>, AccountError>) + Send + 'static,
    ) {
        let now = self.now();
        let mut store = self.0.store.lock();
        if let Some(account) = store.loaded.get(key).cloned()
            && (!account.is_expired(now) || now < account.loaded_at.saturating_add(AGAIN))
        {
            drop(store);
            return done(Ok(account));
        }
        let key: Arc<str> = key.into();
        if let Some(waiters) = store.waiting.get_mut(&key) {
            waiters.push(Box::new(done));
            return;
        }
        store.waiting.entry(Arc::clone(&key)).or_default().push(Box::new(done));
        store.queue.push_back(key);
        if std::mem::replace(&mut store.is_draining, true) {
            return;
        }
        drop(store);
        self.drain();
    }

    /// Looks up the accounts in the queue. One thread does it at a time, however deep look-ups call each other.
    fn drain(&self) {
        while let Some(key) = self.next_look_up() {
            self.look_up(&key);
        }
    }

    /// Looks up a loaded account again. It is gone if its source has none, or one that is not valid.
    pub(super) fn look_up_again(&self, key: &Arc<str>) {
        let (mode, name, before) = (self.clone(), Arc::clone(key), self.loaded(key));
        let again = move |found: Result<Arc<str>, AccountError>| match found
            .and_then(|token| mode.renew(&name, &token, before.as_ref()))
        {
            Ok(()) | Err(AccountError::Unavailable) => {}
            // It has had no claims so far.
            Err(_) if mode.loaded(&name).is_some_and(|account| account.has_no_claims()) => {}
            Err(error) => {
                let is_missing = matches!(error, AccountError::Missing);
                let why = if is_missing { "removed" } else { "bad claims" };
                if !mode.unload(&name, why, before.as_ref()) {
                    mode.look_up_again(&name);
                }
            }
        };
        self.0.resolver.lookup(key, Box::new(again));
    }

    fn renew(
        &self,
        key: &Arc<str>,
        token: &str,
        before: Option<&Arc<AccountState>>,
    ) -> Result<(), AccountError> {
        if self.loaded(key).is_some_and(|loaded| loaded.has_token(token)) {
            return Ok(());
        }
        let state = self.verify(token)?;
        if state.claims.subject != **key {
            return Err(AccountError::Validation);
        }
        if self.install_found(state, before).is_none() {
            self.look_up_again(key);
        }
        Ok(())
    }

    /// Serves an account no longer. Returns false if it is not the same as `before` any more.
    pub(super) fn unload(&self, key: &str, why: &str, before: Option<&Arc<AccountState>>) -> bool {
        if before.is_none() {
            return true;
        }
        let broker = self.broker();
        {
            // It may be loaded again by then, and is configured afterwards.
            let _configuring = self.0.configuring.lock();
            {
                let mut store = self.0.store.lock();
                if !store.is_still(key, before) {
                    return false;
                }
                store.remove(key);
            }
            tracing::info!("Reloaded: deleting account [{why}]: {key:?}");
            if let Some(broker) = &broker {
                // It shares nothing any more.
                broker.configure_account(&AccountConfig::new(key));
            }
            self.tell(key, None);
        }
        if let Some(broker) = &broker {
            broker.review_account(key);
        }
        true
    }

    fn next_look_up(&self) -> Option<Arc<str>> {
        let mut store = self.0.store.lock();
        let next = store.queue.pop_front();
        store.is_draining = next.is_some();
        next
    }

    fn look_up(&self, key: &Arc<str>) {
        let (mode, before) = (self.clone(), self.loaded(key));
        let lookup = Lookup { mode, key: Mutex::new(Some(Arc::clone(key))), before };
        self.0.resolver.lookup(key, Box::new(move |found| lookup.end(found)));
    }

    /// Continues with the result of a look-up that began when the account was `before`.
    fn found(
        &self,
        key: &Arc<str>,
        found: Result<Arc<str>, AccountError>,
        before: Option<&Arc<AccountState>>,
    ) {
        let loaded = self.loaded(key);
        let result = match (found, loaded) {
            (Ok(token), Some(loaded)) if loaded.has_token(&token) => Ok(loaded),
            (Ok(token), _) => self.verify(&token).and_then(|state| {
                if state.claims.subject != **key {
                    return Err(AccountError::Validation);
                }
                // Claims that came meanwhile stay.
                let installed = self.install_found(state, before);
                installed.or_else(|| self.loaded(key)).ok_or(AccountError::Unavailable)
            }),
            (Err(error), _) => Err(error),
        };
        if let Err(error) = &result {
            tracing::debug!("Account [{key}] is not served: {error}");
        }
        if self.answer(key, &result) {
            self.look_up_again(key);
        }
    }

    /// Calls all who wait for an account. Returns true if its claims have changed during the look-up.
    ///
    /// One of them may serve an account that was not found, as the server does with its system account: the others
    /// get it then. For those who begin to wait meanwhile, the account is looked up once more.
    fn answer(&self, key: &Arc<str>, result: &Result<Arc<AccountState>, AccountError>) -> bool {
        let waiters = self.0.store.lock().waiting.get_mut(key).map(std::mem::take);
        for waiter in waiters.unwrap_or_default() {
            let result = result.clone().or_else(|error| self.loaded(key).ok_or(error));
            waiter(result);
        }
        let mut store = self.0.store.lock();
        let has_changed = store.changed.remove(key);
        if store.waiting.get(key).is_none_or(Vec::is_empty) {
            store.waiting.remove(key);
            return has_changed;
        }
        store.queue.push_back(Arc::clone(key));
        let is_draining = std::mem::replace(&mut store.is_draining, true);
        drop(store);
        if !is_draining {
            self.drain();
        }
        has_changed
    }

    /// Serves an account with these claims from now on, and reviews its clients.
    pub(super) fn install(&self, state: AccountState) -> Arc<AccountState> {
        let before = self.loaded(&state.claims.subject);
        let (key, state) = succeeding(state, before.as_deref());
        let holders = self.0.store.lock().put(&key, &state);
        self.serve(&key, &state, &holders, before.is_some());
        state
    }

    /// As [`Self::install`], with claims that were looked up when the account was `before`. Returns `None` if it has changed
    /// meanwhile: the claims may be older.
    fn install_found(
        &self,
        state: AccountState,
        before: Option<&Arc<AccountState>>,
    ) -> Option<Arc<AccountState>> {
        let (key, state) = succeeding(state, before.map(|before| &**before));
        let holders = {
            let mut store = self.0.store.lock();
            if !store.is_still(&key, before) {
                return None;
            }
            store.put(&key, &state)
        };
        self.serve(&key, &state, &holders, before.is_some());
        Some(state)
    }

    fn serve(&self, key: &Arc<str>, state: &AccountState, holders: &[Arc<str>], was_loaded: bool) {
        tracing::debug!("Updating account claims: {key}/{}", state.claims.name);
        self.configure(key);
        // Their activations may be valid now, or no longer.
        holders.iter().for_each(|holder| self.configure(holder));
        self.load_exporters(state);
        if let (true, Some(broker)) = (was_loaded, self.broker()) {
            broker.review_account(key);
        }
    }

    /// Looks up the accounts from which `account` imports.
    fn load_exporters(&self, account: &AccountState) {
        for key in account.claims.nats.imports.iter().map(|import| &import.account) {
            if self.loaded(key).is_some() {
                continue;
            }
            let (importer, exporter) = (account.claims.subject.clone(), key.clone());
            self.load(key, move |result| {
                if let Err(error) = result {
                    tracing::error!(
                        "Can't locate account [{exporter}] for import of account [{importer}] (err={error})"
                    );
                }
            });
        }
    }

    /// Gives the broker the configuration of an account.
    fn configure(&self, key: &str) {
        // The state is read under the lock, so that an older one does not replace a newer.
        let _configuring = self.0.configuring.lock();
        let (Some(account), Some(broker)) = (self.loaded(key), self.broker()) else { return };
        let (config, end) = self.config(&account, seconds(broker.wall()));
        broker.configure_account(&config);
        self.tell(key, Some(&account.claims));
        self.0.store.lock().set_end(key, end);
    }

    /// Returns the configuration of an account, and the first end of its activations.
    fn config(&self, account: &AccountState, now: i64) -> (AccountConfig, Option<i64>) {
        let first_end = Mutex::new(None::<i64>);
        let is_activated = |import: &jwt::Import| {
            if import.token.is_empty() {
                return false;
            }
            let exporter = self.loaded(&import.account);
            let end = exporter.and_then(|exporter| activation::check(import, &exporter, now));
            if let Some(end) = end.filter(|end| *end != 0) {
                let mut first = first_end.lock();
                *first = Some(first.map_or(end, |first| first.min(end)));
            }
            end.is_some()
        };
        let mut config = account_config(&account.claims, is_activated);
        if self.broker().is_some_and(|broker| *broker.system_account() == *account.claims.subject) {
            system_exports::add(&mut config);
        }
        let first_end = *first_end.lock();
        (config, first_end)
    }

    /// Ends imports whose activation has ended.
    // NATS 2.14: accounts.go activationExpired.
    pub(super) fn expire(&self) {
        let now = self.now();
        let due: Vec<Arc<str>> = {
            let mut store = self.0.store.lock();
            let later = store.ends.split_off(&(now.saturating_add(1), "".into()));
            std::mem::replace(&mut store.ends, later).into_iter().map(|(_, key)| key).collect()
        };
        due.iter().for_each(|key| self.configure(key));
    }

    /// Returns the time until the next activation ends.
    pub fn until_next_end(&self) -> Option<Duration> {
        let end = self.0.store.lock().ends.first()?.0;
        let left = u64::try_from(end.saturating_sub(self.now())).unwrap_or_default();
        Some(Duration::from_secs(left))
    }
}

/// Returns the key of an account with its state.
fn succeeding(
    mut state: AccountState,
    before: Option<&AccountState>,
) -> (Arc<str>, Arc<AccountState>) {
    if let Some(before) = before {
        state.succeed(before);
    }
    (state.claims.subject.as_str().into(), Arc::new(state))
}

/// A look-up. If the resolver drops it, the account is not available.
struct Lookup {
    mode: OperatorMode,
    key: Mutex<Option<Arc<str>>>,
    /// The account when it began.
    before: Option<Arc<AccountState>>,
}

impl Lookup {
    fn end(&self, found: Result<Arc<str>, AccountError>) {
        let key = self.key.lock().take();
        if let Some(key) = key {
            self.mode.found(&key, found, self.before.as_ref());
        }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.end(Err(AccountError::Unavailable));
    }
}
