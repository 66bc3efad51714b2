//! Operator mode: accounts and users as signed claims.
//!
//! An operator signs accounts, an account signs its users, and a user signs the nonce of its connection. The server
//! trusts the keys of operators ([`Trust`]), looks up accounts where they are needed ([`AccountResolver`]), and is
//! given everything else by the client. [`OperatorMode`] is the [`Authenticator`] for it:
//!
//! ```
//! use std::time::{Instant, SystemTime};
//! use broker_core::auth::jwt::{Account, Claims, encode};
//! use broker_core::auth::nkey::{KeyKind, KeyPair};
//! use broker_core::operator::{MemoryResolver, OperatorMode, Trust};
//! use broker_core::{Broker, Options};
//!
//! let operator = KeyPair::from_random(KeyKind::Operator, [1; 32]);
//! let account = KeyPair::from_random(KeyKind::Account, [2; 32]);
//! let token = encode(&Claims::<Account>::new(account.public()), &operator)?;
//!
//! let accounts = MemoryResolver::new([(account.public().to_string(), token)]);
//! let mode = OperatorMode::builder(Trust::keys([operator.public()]), accounts).build();
//! let clock = (Instant::now, SystemTime::now);
//! let broker = Broker::with_authenticator(Options::default(), clock, mode.clone());
//! mode.attach(&broker);
//! # Ok::<(), broker_core::auth::jwt::JwtError>(())
//! ```
//!
//! Changes of an account ([`OperatorMode::update_account`]) act on connected clients at once: those whose token is
//! revoked, whose signing key is gone, or who are too many, are closed. The ends of accounts and users are ends of
//! their grants.

mod account;
mod activation;
mod config;
mod delegate;
mod login;
mod permissions;
mod resolver;
mod store;
mod system_exports;
mod template;
mod trust;

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, SystemTime};

pub use crate::auth::{TimeZones, Utc};
pub use config::account_config;
pub use resolver::{AccountResolver, Found, MemoryResolver};
pub use trust::{Trust, TrustError};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::auth::callout::CalloutServer;
use crate::auth::jwt::{AccountClaims, Issue, JwtError, decode_user};
use crate::auth::nkey::PublicKey;
use crate::auth::times::{seconds, time};
use crate::auth::{Authenticator, Credentials, Decision, Denied, Grant, Secret};
use crate::broker::{Broker, WeakBroker};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};
use account::AccountState;
use delegate::{Delegation, PlacedUser};
use login::{Login, UserProof};
use store::Store;

/// The time to wait for an account.
// NATS 2.14: accounts.go DEFAULT_ACCOUNT_FETCH_TIMEOUT.
const LOOKUP: Duration = Duration::from_millis(1900);

/// Authenticates users by their tokens. Cheap to clone; all clones share their accounts.
#[derive(Clone)]
pub struct OperatorMode(Arc<Inner>);

struct Inner {
    trust: Trust,
    resolver: Box<dyn AccountResolver>,
    rules: ArcSwap<Rules>,
    /// The number of log-ins that were refused because of [`Rules::pinned_accounts`].
    pinned_account_fails: AtomicU64,
    /// The server as services see it that decide about clients.
    delegation: ArcSwapOption<Delegation>,
    zones: Box<dyn TimeZones>,
    /// The broker that serves the accounts.
    broker: Mutex<Option<WeakBroker>>,
    store: Mutex<Store>,
    /// Held while the broker gets the configuration of an account.
    configuring: Mutex<()>,
    /// Told of accounts while `configuring` is held.
    listener: ArcSwapOption<Listener>,
}

/// Called with the key of an account and its claims.
type Listener = Box<dyn Fn(&str, Option<&AccountClaims>) + Send + Sync>;

/// An account that is loaded.
#[derive(Clone)]
#[non_exhaustive]
pub struct LoadedAccount {
    /// Its claims.
    pub claims: Arc<AccountClaims>,
    /// The token that holds them.
    pub token: Arc<str>,
    /// The time at which they were loaded.
    pub loaded_at: SystemTime,
    /// True if they have ended.
    pub is_expired: bool,
    /// The faults of the claims.
    pub issues: Vec<Issue>,
}

impl fmt::Debug for LoadedAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedAccount")
            .field("key", &self.claims.subject)
            .field("is_expired", &self.is_expired)
            .finish_non_exhaustive()
    }
}

/// The rules that may change while a server runs.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Rules {
    /// The only accounts that users may have; `None` for any. `resolver_pinned_accounts`.
    pub pinned_accounts: Option<BTreeSet<String>>,
    /// The token of clients that send none. `default_sentinel`.
    pub default_sentinel: Secret,
}

/// Builds an [`OperatorMode`].
#[must_use]
pub struct OperatorModeBuilder {
    trust: Trust,
    resolver: Box<dyn AccountResolver>,
    rules: Rules,
    zones: Box<dyn TimeZones>,
}

impl OperatorModeBuilder {
    /// Accepts only users of these accounts. `resolver_pinned_accounts`.
    pub fn pinned_accounts(
        mut self,
        accounts: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.rules.pinned_accounts = Some(accounts.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the token of clients that send none. `default_sentinel`.
    pub fn default_sentinel(mut self, token: impl Into<Secret>) -> Self {
        self.rules.default_sentinel = token.into();
        self
    }

    /// Replaces the rules.
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// Sets the time zones by which times of day are read; UTC is the only one by default.
    pub fn time_zones(mut self, zones: impl TimeZones) -> Self {
        self.zones = Box::new(zones);
        self
    }

    /// Builds it.
    pub fn build(self) -> OperatorMode {
        let Self { trust, resolver, rules, zones } = self;
        let rules = ArcSwap::from_pointee(rules);
        let (broker, store) = (Mutex::default(), Mutex::default());
        let (delegation, configuring) = (ArcSwapOption::empty(), Mutex::default());
        let (listener, pinned_account_fails) = (ArcSwapOption::empty(), AtomicU64::new(0));
        OperatorMode(Arc::new(Inner {
            trust,
            resolver,
            rules,
            pinned_account_fails,
            delegation,
            zones,
            broker,
            store,
            configuring,
            listener,
        }))
    }
}

impl OperatorMode {
    /// Begins with the trusted keys and the source of accounts.
    pub fn builder(trust: Trust, resolver: impl AccountResolver) -> OperatorModeBuilder {
        OperatorModeBuilder {
            trust,
            resolver: Box::new(resolver),
            rules: Rules::default(),
            zones: Box::new(Utc),
        }
    }

    /// Serves the accounts in `broker`, whose authenticator it is or becomes. Without a broker no client is accepted.
    pub fn attach(&self, broker: &Broker) {
        *self.0.broker.lock() = Some(broker.downgrade());
        let mode = Arc::downgrade(&self.0);
        broker.set_periodic(move || {
            if let Some(inner) = mode.upgrade() {
                OperatorMode(inner).expire();
            }
        });
    }

    /// Sets the function that is told of each account that is loaded or changes, before its clients act by the claims,
    /// and with `None` of each that is served no longer. It is told at once of those that are loaded already, replaces
    /// the previous function, and is called for one account at a time.
    ///
    /// It is called by threads that serve connections, and must not block. It must not call this `OperatorMode`.
    ///
    /// For claims that the broker does not enforce, such as the limits of streams.
    pub fn set_listener(
        &self,
        listener: impl Fn(&str, Option<&AccountClaims>) + Send + Sync + 'static,
    ) {
        let _configuring = self.0.configuring.lock();
        let names = self.0.store.lock().names();
        for name in names {
            if let Some(account) = self.loaded(&name) {
                listener(&name, Some(&account.claims));
            }
        }
        self.0.listener.store(Some(Arc::new(Box::new(listener))));
    }

    /// Tells the listener of an account. `configuring` is held.
    fn tell(&self, key: &str, claims: Option<&AccountClaims>) {
        if let Some(listener) = &*self.0.listener.load() {
            listener(key, claims);
        }
    }

    /// Returns the number of log-ins that were refused because of [`Rules::pinned_accounts`].
    pub fn pinned_account_fails(&self) -> u64 {
        self.0.pinned_account_fails.load(Ordering::Relaxed)
    }

    /// Replaces the rules for log-ins from now on.
    pub fn set_rules(&self, rules: Rules) {
        self.0.rules.store(Arc::new(rules));
    }

    /// Introduces the server to the services to which accounts delegate log-ins, and limits the wait for their answers.
    /// Without it users of such accounts are denied, except for the services themselves.
    pub fn set_callout(&self, server: Arc<CalloutServer>, timeout: Duration) {
        self.0.delegation.store(Some(Arc::new(Delegation { server, timeout })));
    }

    /// Looks up all loaded accounts again, for example after a reload. The clients of an account that is gone are closed
    /// with an authorization error.
    // NATS 2.14: reload.go reloadAuthorization, for the memory resolver.
    pub fn refresh(&self) {
        let names = self.0.store.lock().names();
        names.iter().for_each(|name| self.look_up_again(name));
    }

    /// Serves an account no longer, because its source has removed it: its clients are closed with an authorization
    /// error. It is looked up again if a user of it logs in.
    pub fn remove_account(&self, key: &str) {
        while let Some(before) = self.loaded(key)
            && !self.unload(key, "removed", Some(&before))
        {}
    }

    /// Replaces the claims of an account that is loaded. Returns false if it is not, or has these claims already.
    ///
    /// The resolvers call it when they learn of other claims. An account that is being looked up meanwhile is looked up again.
    ///
    /// # Errors
    ///
    /// [`AccountError`] if the claims are not valid. Nothing has changed then.
    // NATS 2.14: server.go updateAccountWithClaimJWT.
    pub fn update_account(&self, token: &str) -> Result<bool, AccountError> {
        let state = self.verify(token)?;
        let loaded = self.0.store.lock().take_change(&state.claims.subject);
        let Some(before) = loaded else { return Ok(false) };
        if before.has_token(token) {
            return Ok(false);
        }
        self.install(state);
        Ok(true)
    }

    /// Loads an account, unless it is loaded. Calls `done` with false if there is none or its claims are not valid: at
    /// once if the resolver knows the account, or else when it does.
    pub fn load_account(&self, key: &str, done: impl FnOnce(bool) + Send + 'static) {
        self.load(key, move |result| done(result.is_ok()));
    }

    /// Serves an account whose claims its source does not have yet, such as the system account by which the claims of all
    /// accounts are sent to a new server: users that its own key has signed may log in, if `operator` is trusted. The claims
    /// replace it once [`Self::update_account`] or [`Self::look_up_claims`] finds them. Does nothing if the account is loaded.
    // NATS 2.14: server.go NewServer.
    pub fn serve_without_claims(&self, key: PublicKey, operator: &str) {
        if self.loaded(&key.to_string()).is_none() {
            self.install(AccountState::without_claims(key, operator, self.now()));
        }
    }

    /// Looks up an account again that is [served without claims](Self::serve_without_claims). Returns true if it has claims.
    pub fn look_up_claims(&self, key: &str) -> bool {
        let is_without = self.loaded(key).is_some_and(|account| account.has_no_claims());
        if is_without {
            self.look_up_again(&key.into());
        }
        !is_without
    }

    /// Returns true if an account is loaded or being looked up: a change of its claims is one for [`Self::update_account`].
    pub fn uses_account(&self, key: &str) -> bool {
        self.0.store.lock().uses(key)
    }

    /// Returns the claims of an account that is loaded.
    pub fn account_claims(&self, key: &str) -> Option<Arc<AccountClaims>> {
        self.loaded(key).map(|state| Arc::clone(&state.claims))
    }

    /// Returns an account that is loaded, for monitoring.
    pub fn loaded_account(&self, key: &str) -> Option<LoadedAccount> {
        let now = self.now();
        self.loaded(key).map(|state| LoadedAccount {
            claims: Arc::clone(&state.claims),
            token: state.token(),
            loaded_at: time(state.loaded_at),
            is_expired: state.is_expired(now),
            issues: state.claims.issues(now),
        })
    }

    /// Returns the source of accounts.
    pub fn resolver(&self) -> &dyn AccountResolver {
        &*self.0.resolver
    }

    /// Returns the trusted keys.
    pub fn trust(&self) -> &Trust {
        &self.0.trust
    }

    /// Decodes and checks the claims of an account at the time of the broker's clock.
    ///
    /// # Errors
    ///
    /// [`AccountError`] if they are not valid.
    // NATS 2.14: server.go verifyAccountClaims.
    pub fn check_account(&self, token: &str) -> Result<Arc<AccountClaims>, AccountError> {
        self.verify(token).map(|state| state.claims)
    }

    fn verify(&self, token: &str) -> Result<AccountState, AccountError> {
        AccountState::verify(token, &self.0.trust, self.now())
    }

    fn broker(&self) -> Option<Broker> {
        self.0.broker.lock().as_ref()?.upgrade()
    }

    /// Returns the time in seconds since 1970.
    fn now(&self) -> i64 {
        self.broker().map_or(i64::MAX, |broker| seconds(broker.wall()))
    }
}

impl Authenticator for OperatorMode {
    fn is_required(&self) -> bool {
        true
    }

    fn nonce_required(&self) -> bool {
        true
    }

    fn configures_accounts(&self) -> bool {
        true
    }

    // NATS 2.14: auth.go processClientOrLeafAuthentication, the part for trusted keys.
    fn authenticate(&self, credentials: &Credentials) -> Decision {
        let login = match self.begin(credentials) {
            Ok(login) => login,
            Err(denied) => return denied.into(),
        };
        let pinned = &self.0.rules.load().pinned_accounts;
        if pinned.as_ref().is_some_and(|pinned| !pinned.contains(login.account())) {
            self.0.pinned_account_fails.fetch_add(1, Ordering::Relaxed);
            return Denied::Refused("Account not listed as operator pinned account").into();
        }
        let (account, mode) = (login.account().to_owned(), self.clone());
        let first = self.with_account(&account, move |result| match result {
            Ok(account) => mode.finish(&login, &account),
            Err(AccountError::Unavailable) => Err(Denied::Unavailable),
            Err(_) => Err(Denied::Refused("Account JWT lookup error")),
        });
        match first {
            Decision::Grant(grant) => self.delegate(Ok(grant), credentials),
            Decision::Deny(denied) => denied.into(),
            later => {
                let (mode, credentials) = (self.clone(), credentials.clone());
                later.and_then(move |result| mode.delegate(result, &credentials))
            }
        }
    }

    // NATS 2.14: accounts.go updateAccountClaimsWithRefresh, and what a reload checks again.
    fn review(&self, held: &Grant, credentials: &Credentials) -> Decision {
        if let Some(placed) = held.proof.share::<PlacedUser>() {
            return self.review_placed(placed, held, credentials).into();
        }
        let Some(proof) = held.proof.get::<UserProof>() else {
            return self.authenticate(credentials);
        };
        let Some(account) = self.loaded(&held.account) else { return Denied::Credentials.into() };
        if let Err(denied) = proof.check(&account) {
            return denied.into();
        }
        let login = Login::again(proof, credentials);
        self.finish(&login, &account).into()
    }
}

impl OperatorMode {
    /// Decodes the token of a client, or the sentinel in its place.
    fn begin(&self, credentials: &Credentials) -> Result<Login, Denied> {
        let claims = decode_user(credentials.jwt.expose());
        let (claims, is_sentinel) = match (claims, &self.0.rules.load().default_sentinel) {
            (Ok(claims), _) => (claims, false),
            (Err(_), sentinel) if !sentinel.is_empty() => {
                let claims = decode_user(sentinel.expose());
                (claims.map_err(|_| Denied::Refused("User JWT not valid"))?, true)
            }
            (Err(_), _) => return Err(Denied::Refused("Authentication requires a user JWT")),
        };
        Login::begin(claims, is_sentinel, credentials, self.now())
    }

    fn finish(&self, login: &Login, account: &Arc<AccountState>) -> Result<Grant, Denied> {
        let wall = self.broker().ok_or(Denied::Unavailable)?.wall();
        login.finish(account, &self.0.trust, &*self.0.zones, wall)
    }
}

/// The reason why an account is not served.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The source of accounts has none with this key.
    // NATS 2.14: errors.go ErrMissingAccount.
    #[error("account missing")]
    Missing,
    /// The source of accounts did not answer.
    #[error("account fetch failed")]
    Unavailable,
    /// The token is none.
    #[error(transparent)]
    Token(#[from] JwtError),
    /// The claims are not valid, are those of another account, or are not signed by a trusted operator.
    // NATS 2.14: errors.go ErrAccountValidation.
    #[error("account validation failed")]
    Validation,
}

impl fmt::Debug for OperatorMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorMode").field("trust", &self.0.trust).finish_non_exhaustive()
    }
}

impl fmt::Debug for OperatorModeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorModeBuilder").field("trust", &self.trust).finish_non_exhaustive()
    }
}
