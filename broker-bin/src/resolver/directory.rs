//! A directory as a source of accounts, which asks others for those that it lacks.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use broker_core::auth::Grant;
use broker_core::operator::{AccountError, AccountResolver, Found, OperatorMode};
use broker_core::{Broker, RequestError, WeakBroker};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::store::{Store, StoreError};

/// The number of look-ups at once. Further ones wait: each takes a thread while it reads a file.
const LOOKUPS: usize = 32;

/// The contents of a directory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum DirectoryKind {
    /// All accounts.
    Full,
    /// The accounts that were needed lately.
    Cache,
}

impl DirectoryKind {
    /// Returns how many of the accounts it holds, for the log.
    pub(super) fn extent(self) -> &'static str {
        match self {
            Self::Full => "all",
            Self::Cache => "some",
        }
    }
}

/// A directory of JWTs. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Directory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    kind: DirectoryKind,
    /// The time for an answer of another server.
    timeout: Duration,
    /// The time between two comparisons with other servers.
    interval: Duration,
    broker: OnceLock<WeakBroker>,
    turns: Arc<Semaphore>,
    /// Held from reading a changed JWT until the account has it: a thread that has read an older one does not replace it.
    updating: Mutex<()>,
}

impl Directory {
    /// Creates a source from a directory.
    pub(crate) fn new(
        store: Store,
        kind: DirectoryKind,
        timeout: Duration,
        interval: Duration,
    ) -> Self {
        let turns = Arc::new(Semaphore::new(LOOKUPS));
        let (broker, updating) = Default::default();
        Self(Arc::new(Inner { store, kind, timeout, interval, broker, turns, updating }))
    }

    pub(super) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(super) fn kind(&self) -> DirectoryKind {
        self.0.kind
    }

    pub(super) fn interval(&self) -> Duration {
        self.0.interval
    }

    /// Asks others over this broker from now on.
    pub(super) fn attach(&self, broker: &Broker) {
        // A server has one broker.
        let _ = self.0.broker.set(broker.downgrade());
    }

    /// Reads the directory again. Blocks.
    pub(super) fn reload(&self, mode: &OperatorMode) {
        match self.store().reload(SystemTime::now()) {
            Ok(changed) => changed.iter().for_each(|key| self.changed(key, mode)),
            Err(error) => tracing::error!("DirResolver - Reload resulted in error {error}"),
        }
    }

    /// Updates an account whose JWT has changed, if it is in use. Blocks.
    // NATS 2.14: accounts.go DirAccResolver.Start, the function for changes.
    pub(super) fn changed(&self, key: &str, mode: &OperatorMode) {
        if !mode.uses_account(key) {
            return;
        }
        let _updating = self.0.updating.lock().unwrap_or_else(PoisonError::into_inner);
        match self.store().load(key, SystemTime::now()) {
            Ok(Some(jwt)) => {
                if let Err(error) = mode.update_account(&jwt) {
                    tracing::error!(
                        "DirResolver - Update for account {key:?} resulted in error {error}"
                    );
                }
            }
            Ok(None) => {}
            Err(error) => tracing::error!("DirResolver - Update got error on load: {error}"),
        }
    }

    fn load(&self, account: &str) -> Result<Option<String>, AccountError> {
        match self.store().load(account, SystemTime::now()) {
            Ok(jwt) => Ok(jwt),
            Err(StoreError::Key) => Ok(None),
            Err(error) => {
                tracing::error!("DirResolver - Error looking up account {account:?}: {error}");
                Err(AccountError::Unavailable)
            }
        }
    }

    async fn find(self, account: String) -> Result<Arc<str>, AccountError> {
        {
            // Closed never.
            let _turn = self.0.turns.acquire().await;
            let (directory, key) = (self.clone(), account.clone());
            let loading = tokio::task::spawn_blocking(move || directory.load(&key));
            if let Some(jwt) = loading.await.unwrap_or(Err(AccountError::Unavailable))? {
                return Ok(jwt.into());
            }
        }
        self.ask(account).await
    }

    /// Asks other servers, and stores the answer.
    // NATS 2.14: accounts.go fetch. The own server answers too, and of the answers without a JWT the last one counts.
    async fn ask(&self, account: String) -> Result<Arc<str>, AccountError> {
        let broker = self.0.broker.get().and_then(WeakBroker::upgrade);
        let broker = broker.ok_or(AccountError::Missing)?;
        let client = broker.client_as(Grant::anonymous().with_account(broker.system_account()));
        let subject = format!("$SYS.REQ.ACCOUNT.{account}.CLAIMS.LOOKUP");
        let asking = client.request(subject, bytes::Bytes::new());
        let answer = match timeout(self.0.timeout, asking).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(RequestError::NoResponders)) => return Err(AccountError::Missing),
            Ok(Err(_)) | Err(_) => return Err(AccountError::Unavailable),
        };
        if answer.payload.is_empty() {
            return Err(AccountError::Missing);
        }
        let jwt = String::from_utf8(answer.payload.to_vec()).map_err(|_| AccountError::Missing)?;
        let directory = self.clone();
        let storing = tokio::task::spawn_blocking(move || {
            let stored = directory.store().save_if_newer(&account, &jwt, SystemTime::now());
            stored.map(|_| jwt)
        });
        match storing.await {
            Ok(Ok(jwt)) => Ok(jwt.into()),
            _ => Err(AccountError::Unavailable),
        }
    }
}

impl AccountResolver for Directory {
    fn lookup(&self, account: &str, found: Found) {
        // Without a runtime there is no connection that could wait.
        let Ok(runtime) = Handle::try_current() else {
            let jwt = self.load(account);
            return found(jwt.and_then(|jwt| jwt.map(Into::into).ok_or(AccountError::Missing)));
        };
        let finding = self.clone().find(account.to_owned());
        runtime.spawn(async move { found(finding.await) });
    }
}

#[cfg(test)]
mod tests;
