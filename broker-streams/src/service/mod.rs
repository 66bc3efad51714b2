//! The running streams of a server: threads, subscriptions, directories.
//!
//! - A unit is a cell with its lock. The handlers of its subscriptions call it on the threads that deliver to them.
//! - One thread makes the changes of all streams durable, one serves timers, one answers requests to the API.
//! - A backup is made or restored by a thread of its own.

mod account;
mod accounts;
mod adoption;
mod backups;
mod browse;
mod claims;
mod counters;
mod directory;
mod disk_space;
mod interest;
mod lock;
mod options;
mod outbox;
mod report;
mod requests;
mod requests_queue;
mod scrubber;
mod server;
mod subscriptions;
mod syncer;
mod task;
#[cfg(test)]
mod tests;
mod threads;
mod unit;
mod usage;
mod viewer;
mod worker;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use broker_core::Broker;
use broker_core::endpoint::Scratch;

pub use accounts::AccountSetter;
pub use browse::{MessagePreview, MessageRange, StreamRow};
pub use disk_space::disk_space;
pub use options::Options;
pub use report::{
    AccountReport, AccountSelection, ConsumerReport, ReportRoom, ServiceCounts, StreamHealth,
    StreamReport, Totals, UsageReport,
};
pub use viewer::Viewer;

use account::Account;
use lock::lock;
use server::Server;

use crate::config::limits::AccountLimits;

/// The streams of a server. They end when this is dropped.
pub struct Streams {
    server: Arc<Server>,
    accounts: Arc<Mutex<BTreeMap<String, Arc<Account>>>>,
    took: Duration,
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").finish_non_exhaustive()
    }
}

impl Streams {
    /// Recovers the streams of the directory, and serves them and the API.
    ///
    /// # Errors
    ///
    /// The error of the system, if the directory cannot be used or a thread cannot be started.
    pub fn start(broker: &Broker, options: Options) -> std::io::Result<Self> {
        let began = Instant::now();
        let accounts = options.accounts.clone();
        let server = Server::start(broker, options)?;
        let took = Duration::ZERO;
        let mut streams = Self { server, accounts: Arc::default(), took };
        for (name, limits) in accounts {
            streams.set_account(&name, limits)?;
        }
        broker.update_info(|info| {
            info.jetstream = true;
            info.domain.clone_from(&streams.server.options.domain);
        });
        streams.took = began.elapsed();
        Ok(streams)
    }

    /// Tells clients that wait for messages of pull consumers that the server ends.
    pub fn announce_end(&self) {
        let accounts: Vec<_> = lock(&self.accounts).values().cloned().collect();
        let mut scratch = Scratch::new();
        for unit in accounts.iter().flat_map(|account| account.units()) {
            unit.with(&mut scratch, |cell, _, out| cell.announce_end(out));
        }
    }

    /// Returns the options.
    pub fn options(&self) -> &Options {
        &self.server.options
    }

    /// Returns a reader of the state of the streams.
    pub fn viewer(&self) -> Viewer {
        Viewer::new(&self.server, &self.accounts)
    }

    /// Returns how long the start took.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Returns a handle that lets accounts have streams while the server runs.
    pub fn account_setter(&self) -> AccountSetter {
        AccountSetter::new(&self.server, &self.accounts)
    }

    /// Returns the names of the accounts that have stored streams, whether or not they may have them.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn stored_accounts(&self) -> std::io::Result<Vec<String>> {
        self.server.directory().map_or(Ok(Vec::new()), directory::Directory::accounts)
    }

    /// Lets an account have streams, or changes its limits. `None`: the account may have no streams, and is told so.
    ///
    /// Blocks while streams are recovered; [`AccountSetter::set`] does not.
    ///
    /// # Errors
    ///
    /// Those of the operating system, if the streams of the account cannot be listed.
    pub fn set_account(&self, name: &str, limits: Option<AccountLimits>) -> std::io::Result<()> {
        let (account, _) = accounts::put(&self.server, &self.accounts, name, limits);
        account.follow_limits()
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        let accounts = std::mem::take(&mut *lock(&self.accounts));
        accounts.values().for_each(|account| account.stop());
        self.server.stop();
    }
}
