//! Resolvers: where the JWTs of accounts come from.
//!
//! | what | where |
//! | --- | --- |
//! | a directory of JWTs: files, index, limits | `store/` |
//! | the directory as a source of accounts | `directory.rs` |
//! | a server that is asked over HTTP | `url/` |
//! | requests of the system account about JWTs | `requests/` |
//!
//! A look-up never blocks the thread of a connection, so that a slow source delays only the logins of the accounts
//! that are looked up.

mod directory;
mod requests;
pub(crate) mod store;
mod url;

use broker_core::operator::{AccountResolver, Found, MemoryResolver, OperatorMode};
use broker_core::{Broker, SubscribeError};

pub(crate) use directory::{Directory, DirectoryKind};
pub(crate) use requests::{ClaimRequests, OperatorKeys, serve_without_operators};
pub(crate) use url::{ResolverTls, UrlResolver};

/// The source of the accounts of a server.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The configuration.
    Memory(MemoryResolver),
    /// A directory.
    Directory(Directory),
    /// A server that is asked over HTTP.
    Url(UrlResolver),
}

impl Source {
    /// Answers the requests of the system account about accounts.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`], which does not happen.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub(crate) fn serve(
        &self,
        broker: &Broker,
        mode: &OperatorMode,
        operator: OperatorKeys,
    ) -> Result<ClaimRequests, SubscribeError> {
        if let Self::Directory(directory) = self {
            directory.attach(broker);
            tracing::info!(
                "Managing {} jwt in exclusive directory {}",
                directory.kind().extent(),
                directory.store().dir().display()
            );
        }
        requests::serve(self.clone(), broker, mode, operator)
    }

    /// Reads a directory again. Accounts whose JWTs have changed are updated.
    pub(crate) fn reload(&self, mode: &OperatorMode) {
        if let Self::Directory(directory) = self {
            directory.reload(mode);
        }
    }
}

impl AccountResolver for Source {
    fn lookup(&self, account: &str, found: Found) {
        match self {
            Self::Memory(memory) => memory.lookup(account, found),
            Self::Directory(directory) => directory.lookup(account, found),
            Self::Url(url) => url.lookup(account, found),
        }
    }
}
