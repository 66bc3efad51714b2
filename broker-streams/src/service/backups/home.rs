//! The account of a backup.

use std::sync::Arc;

use super::super::claims::Claim;
use super::super::directory::Staged;
use super::super::server::Server;
use super::super::usage::Usages;
use crate::api::Host;
use crate::backup::BackupError;
use crate::config::StreamConfig;
use crate::config::limits::AccountLimits;
use crate::error::ApiError;
use crate::outbox::Outbox;
use crate::store::MemoryStorage;

/// The store of a restored backup.
pub(in super::super) enum Store {
    /// Messages in memory, and the journal.
    Memory(Box<MemoryStorage>, Vec<Vec<u8>>),
    /// A directory.
    File(Staged),
}

/// The account of a backup, as the backup uses it.
pub(in super::super) trait Home: Send + Sync {
    /// Returns the name.
    fn name(&self) -> &str;

    /// Returns what all accounts share.
    fn server(&self) -> &Arc<Server>;

    /// Returns the limits; `None` if it may have no streams.
    fn limits(&self) -> Option<Arc<AccountLimits>>;

    /// Returns the usage.
    fn usages(&self) -> &Arc<Usages>;

    /// Claims a stream of which a backup is to be made; `None` if one is made already.
    fn claim_snapshot(&self, stream: &str) -> Option<Claim>;

    /// Calls a function once on a thread of a backup, and sends what it has published.
    fn publish(&self, call: &mut dyn FnMut(&mut dyn Host, &mut dyn Outbox));

    /// Checks whether there is room for a stream that is restored; see [`check_restored`](crate::api::check_restored).
    ///
    /// # Errors
    ///
    /// An error of the API.
    fn check_restored(&self, config: &StreamConfig, bytes: u64) -> Result<(), ApiError>;

    /// Starts a restored stream.
    ///
    /// # Errors
    ///
    /// [`BackupError`]: the name or the subjects are in use, there is no more room, or the stream cannot be opened. It is gone then.
    fn adopt(&self, config: &StreamConfig, store: Store) -> Result<(), BackupError>;
}
