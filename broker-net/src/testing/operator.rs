//! Operators, accounts and users for tests.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use broker_core::auth::Secret;
use broker_core::auth::jwt::{
    Account, AccountClaims, Claims, Operator, User, UserClaims, UserLimits, UserScope, encode,
};
use broker_core::auth::nkey::{KeyKind, KeyPair};
use broker_core::operator::{MemoryResolver, OperatorMode, Trust};

/// An operator whose accounts a [`TestBroker`](super::TestBroker) serves. Cheap to clone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use broker_net::testing::{TestBroker, TestOperator};
///
/// let operator = TestOperator::new();
/// let broker = TestBroker::builder().operator(&operator).start().await?;
/// let account = operator.account("A");
/// let joe = account.user("joe");
///
/// let options = async_nats::ConnectOptions::with_credentials(&joe.creds())?;
/// let client = options.connect(broker.url()).await?;
/// client.publish("orders", "7 apples".into()).await?;
/// client.flush().await?;
///
/// // Closes the connection: "User Authentication Revoked".
/// account.revoke(&joe);
/// broker.wait_for_clients(0).await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TestOperator(Arc<Inner>);

struct Inner {
    pair: KeyPair,
    tokens: MemoryResolver,
    mode: OperatorMode,
    accounts: Mutex<Vec<TestAccount>>,
    /// The claims of the operator, signed once: a reload of a configuration with other ones is refused.
    jwt: Secret,
}

impl TestOperator {
    /// Creates an operator with a key of its own.
    ///
    /// # Panics
    ///
    /// Panics if the operating system provides no randomness.
    #[expect(clippy::new_without_default, reason = "every operator is another one")]
    pub fn new() -> Self {
        let (pair, tokens) = (key(KeyKind::Operator), MemoryResolver::default());
        let trust = Trust::keys([pair.public()]);
        let mode = OperatorMode::builder(trust, tokens.clone()).build();
        let mut claims = Claims::<Operator>::new(pair.public());
        claims.issued_at = now();
        claims.name = "TEST".to_owned();
        let jwt = sign(&claims, &pair);
        Self(Arc::new(Inner { pair, tokens, mode, accounts: Mutex::default(), jwt }))
    }

    /// Returns the authenticator that trusts this operator.
    pub fn mode(&self) -> OperatorMode {
        self.0.mode.clone()
    }

    /// Creates an account without limits.
    ///
    /// # Panics
    ///
    /// See [`Self::new`].
    pub fn account(&self, name: impl Into<String>) -> TestAccount {
        self.account_with(name, |_| ())
    }

    /// Creates an account with other claims.
    ///
    /// # Panics
    ///
    /// See [`Self::new`].
    pub fn account_with(
        &self,
        name: impl Into<String>,
        change: impl FnOnce(&mut AccountClaims),
    ) -> TestAccount {
        let pair = key(KeyKind::Account);
        let mut claims = Claims::<Account>::new(pair.public());
        claims.name = name.into();
        let claims = Arc::new(Mutex::new(claims));
        let account = TestAccount { operator: self.clone(), pair, claims };
        account.update(change);
        lock(&self.0.accounts).push(account.clone());
        account
    }

    /// Returns the claims of the operator, signed.
    pub fn jwt(&self) -> Secret {
        self.0.jwt.clone()
    }

    /// Returns a configuration for natsd or nats-server that trusts the operator, with the accounts made so far.
    pub fn config(&self) -> String {
        let mut text = format!("operator: {}\nresolver: MEMORY\n", self.jwt().expose());
        text += "resolver_preload {\n";
        for account in &*lock(&self.0.accounts) {
            text += &format!("  {}: {}\n", account.public_key(), account.jwt().expose());
        }
        text + "}\n"
    }
}

impl fmt::Debug for TestOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestOperator({})", self.0.pair.public())
    }
}

/// An account of a [`TestOperator`]. Cheap to clone.
#[derive(Clone)]
pub struct TestAccount {
    operator: TestOperator,
    pair: KeyPair,
    claims: Arc<Mutex<AccountClaims>>,
}

impl TestAccount {
    /// Returns the public key, which is the name of the account in the broker.
    pub fn public_key(&self) -> String {
        self.pair.public().to_string()
    }

    /// Returns the claims of the account, signed by the operator.
    pub fn jwt(&self) -> Secret {
        sign(&*lock(&self.claims), &self.operator.0.pair)
    }

    /// Changes the claims. A running broker follows at once.
    pub fn update(&self, change: impl FnOnce(&mut AccountClaims)) {
        let mut claims = lock(&self.claims);
        change(&mut claims);
        claims.issued_at = now();
        let token = sign(&*claims, &self.operator.0.pair);
        drop(claims);
        self.operator.0.tokens.store(self.public_key(), &token);
        // Without a broker the account is not loaded.
        let _ = self.operator.0.mode.update_account(token.expose());
    }

    /// Revokes the tokens that the user has so far.
    pub fn revoke(&self, user: &TestUser) {
        let (key, time) = (user.public_key(), now());
        self.update(|claims| claims.nats.revocations.revoke(key, time));
    }

    /// Creates a user without limits.
    ///
    /// # Panics
    ///
    /// Panics if the operating system provides no randomness.
    pub fn user(&self, name: impl Into<String>) -> TestUser {
        self.user_with(name, |_| ())
    }

    /// Creates a user with other claims.
    ///
    /// # Panics
    ///
    /// See [`Self::user`].
    pub fn user_with(
        &self,
        name: impl Into<String>,
        change: impl FnOnce(&mut UserClaims),
    ) -> TestUser {
        TestUser::new(name.into(), &self.pair, change)
    }

    /// Creates a user whose token ends after some time.
    ///
    /// # Panics
    ///
    /// See [`Self::user`].
    pub fn user_for(&self, name: impl Into<String>, time: Duration) -> TestUser {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        self.user_with(name, |claims| claims.expires = now().saturating_add(seconds))
    }

    /// Creates a signing key with a scope, whose users get the permissions and limits of its template.
    ///
    /// # Panics
    ///
    /// See [`Self::user`].
    pub fn signing_key(
        &self,
        role: impl Into<String>,
        change: impl FnOnce(&mut UserLimits),
    ) -> TestSigningKey {
        let pair = key(KeyKind::Account);
        let mut scope = UserScope::new(pair.public().to_string(), role);
        change(&mut scope.template);
        self.update(|claims| claims.nats.signing_keys.add_scoped(scope));
        TestSigningKey { account: self.public_key(), pair }
    }
}

impl fmt::Debug for TestAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestAccount({})", self.pair.public())
    }
}

/// A scoped signing key of a [`TestAccount`].
#[derive(Clone, Debug)]
pub struct TestSigningKey {
    account: String,
    pair: KeyPair,
}

impl TestSigningKey {
    /// Creates a user with the permissions and limits of the scope.
    ///
    /// # Panics
    ///
    /// Panics if the operating system provides no randomness.
    pub fn user(&self, name: impl Into<String>) -> TestUser {
        self.user_with(name, |_| ())
    }

    /// Creates a user with other claims, for example tags.
    ///
    /// # Panics
    ///
    /// See [`Self::user`].
    pub fn user_with(
        &self,
        name: impl Into<String>,
        change: impl FnOnce(&mut UserClaims),
    ) -> TestUser {
        TestUser::new(name.into(), &self.pair, |claims| {
            claims.nats.limits = UserLimits::default();
            claims.nats.issuer_account.clone_from(&self.account);
            change(claims);
        })
    }
}

/// A user of a [`TestAccount`], with its credentials.
#[derive(Clone)]
pub struct TestUser {
    pair: KeyPair,
    token: Secret,
}

impl TestUser {
    fn new(name: String, issuer: &KeyPair, change: impl FnOnce(&mut UserClaims)) -> Self {
        let pair = key(KeyKind::User);
        let mut claims = Claims::<User>::new(pair.public());
        (claims.name, claims.issued_at) = (name, now());
        change(&mut claims);
        let token = sign(&claims, issuer);
        Self { pair, token }
    }

    /// Returns the contents of a `.creds` file: token and seed.
    pub fn creds(&self) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            self.token.expose(),
            self.pair.seed().expose()
        )
    }

    /// Returns the claims of the user, signed.
    pub fn jwt(&self) -> &Secret {
        &self.token
    }

    /// Returns the seed of the user's key.
    pub fn seed(&self) -> Secret {
        self.pair.seed()
    }

    /// Returns the public key, which monitoring shows.
    pub fn public_key(&self) -> String {
        self.pair.public().to_string()
    }
}

impl fmt::Debug for TestUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestUser({})", self.pair.public())
    }
}

fn key(kind: KeyKind) -> KeyPair {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap_or_else(|error| panic!("no randomness: {error}"));
    KeyPair::from_random(kind, seed)
}

/// Only claims about keys of their own kind are signed here.
fn sign<B: broker_core::auth::jwt::Body + Clone>(claims: &Claims<B>, issuer: &KeyPair) -> Secret {
    encode(claims, issuer).unwrap_or_else(|error| panic!("claims that cannot be signed: {error}"))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
