//! A server that is asked for the JWTs of accounts over HTTP: `GET url/KEY`.

mod base;
mod fetch;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use broker_core::operator::{AccountError, AccountResolver, Found};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use base::{BadUrl, Base};
use tls::Connector;
pub(crate) use tls::ResolverTls;

/// The longest time for a look-up: to connect, to wait for the turn, and to read the JWT.
// NATS 2.14: const.go DEFAULT_ACCOUNT_FETCH_TIMEOUT.
const TIMEOUT: Duration = Duration::from_millis(1900);

/// The number of connections to the server at once. Further look-ups wait for their turn.
const CONNECTIONS: usize = 64;

/// A server that is asked for accounts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct UrlResolver {
    base: Arc<Base>,
    connector: Arc<ArcSwap<Connector>>,
    turns: Arc<Semaphore>,
}

impl UrlResolver {
    /// Creates it from the URL to which keys of accounts are appended.
    ///
    /// # Errors
    ///
    /// [`BadUrl`] if it is no URL of a web server.
    pub(crate) fn new(url: &str, tls: ResolverTls) -> Result<Self, BadUrl> {
        let base = Arc::new(Base::parse(url)?);
        let connector = Arc::new(ArcSwap::from_pointee(Connector::new(tls)));
        Ok(Self { base, connector, turns: Arc::new(Semaphore::new(CONNECTIONS)) })
    }

    /// Replaces the certificates for connections from now on. Files are read again.
    pub(crate) fn set_tls(&self, tls: ResolverTls) {
        self.connector.store(Arc::new(Connector::new(tls)));
    }

    async fn find(self, account: String) -> Result<Arc<str>, AccountError> {
        let fetching = async {
            // Closed never.
            let _turn = self.turns.acquire().await;
            fetch::fetch(&self.base, &account, &self.connector.load_full()).await
        };
        let result = timeout(TIMEOUT, fetching).await.unwrap_or(Err(fetch::FetchError::Timeout));
        result.map_err(|error| {
            // NATS 2.14: server.go fetchRawAccountClaims.
            let url = self.base.shown(&account);
            tracing::warn!("Account fetch failed: could not fetch <\"{url}\">: {error}");
            match error {
                fetch::FetchError::Status(_) => AccountError::Missing,
                _ => AccountError::Unavailable,
            }
        })
    }
}

impl AccountResolver for UrlResolver {
    fn lookup(&self, account: &str, found: Found) {
        // Without a runtime there is no connection that could wait.
        let Ok(runtime) = Handle::try_current() else {
            return found(Err(AccountError::Unavailable));
        };
        let finding = self.clone().find(account.to_owned());
        runtime.spawn(async move { found(finding.await) });
    }
}

/// Prints no password.
impl fmt::Debug for UrlResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UrlResolver").field("url", &self.base.shown("")).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
