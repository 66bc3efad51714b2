//! The running streams of a server: threads, subscriptions, directories.
//!
//! - A unit is a cell with its lock. The handlers of its subscriptions call it on the threads that deliver to them.
//! - One thread makes the changes of all streams durable, one serves timers, one answers requests to the API.
//! - A backup is made or restored by a thread of its own.
//! - In tests, a program does the work of the threads by itself, except for backups; stored streams are not checked then.

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
mod overlap;
mod report;
mod requests;
mod requests_queue;
mod scrubber;
mod server;
mod signal;
mod subscriptions;
mod syncer;
mod system;
mod task;
#[cfg(test)]
mod tests;
mod threads;
mod unit;
mod usage;
mod viewer;
#[cfg(feature = "testing")]
mod work;
mod worker;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use broker_core::endpoint::Scratch;
use broker_core::{Broker, HandlerSubscription};

pub use accounts::AccountSetter;
pub use browse::{MessagePreview, MessageRange, StreamRow};
pub use disk_space::disk_space;
pub use options::Options;
pub use report::{
    AccountReport, AccountSelection, ConsumerReport, ReportRoom, ServiceCounts, StreamHealth,
    StreamReport, Totals, UsageReport,
};
pub use viewer::Viewer;
#[cfg(feature = "testing")]
pub use work::{Due, Work};

use accounts::Accounts;
use lock::lock;
use server::{Server, Setup};

use crate::config::StorageType;
use crate::config::limits::AccountLimits;

/// The streams of a server. They end when this is dropped.
pub struct Streams {
    server: Arc<Server>,
    accounts: Arc<Accounts>,
    took: Duration,
    /// Answers in the system account, until they end.
    system: Mutex<Option<HandlerSubscription>>,
    /// Held while they end.
    ending: Mutex<()>,
    /// The work, if there are no threads.
    #[cfg(feature = "testing")]
    shift: Option<Arc<Mutex<Option<work::Shift>>>>,
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
        Self::start_as(broker, options, Setup::default())
    }

    /// Recovers the streams, and serves them without threads: whenever `wake` was called, the caller has [`Work::turn`] called, on a
    /// thread of its choice. So everything happens there, and by the clock of the broker, except for backups: each has a thread of its own,
    /// and waits for its client by the clock of the machine. With a disk, streams in files are there, and not in the directory of the
    /// options.
    ///
    /// # Errors
    ///
    /// As for [`Self::start`].
    #[cfg(feature = "testing")]
    pub fn start_without_threads(
        broker: &Broker,
        options: Options,
        disk: Option<&crate::testing::TestDisk>,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> std::io::Result<(Self, Work)> {
        let simulated = |disk| directory::Directory::simulated(disk, options.encryption.clone());
        let directory = disk.map(simulated).transpose()?;
        let setup = Setup { directory, wake: Some(Arc::new(wake)) };
        let mut streams = Self::start_as(broker, options, setup)?;
        let (work, shift) = Work::new(&streams.server);
        streams.shift = Some(shift);
        Ok((streams, work))
    }

    fn start_as(broker: &Broker, mut options: Options, setup: Setup) -> std::io::Result<Self> {
        options.complete(broker);
        let began = Instant::now();
        let accounts = options.accounts.clone();
        let server = Server::start(broker, options, setup)?;
        let mut streams = Self {
            server,
            accounts: Arc::default(),
            took: Duration::ZERO,
            system: Mutex::default(),
            ending: Mutex::default(),
            #[cfg(feature = "testing")]
            shift: None,
        };
        for (name, limits) in accounts {
            streams.set_account(&name, limits)?;
        }
        streams.system = Mutex::new(Some(system::open(&streams.server, &streams.accounts)));
        streams.request_feeds();
        broker.update_info(|info| {
            info.jetstream = true;
            info.domain.clone_from(&streams.server.options.domain);
        });
        streams.took = began.elapsed();
        Ok(streams)
    }

    /// Lets mirrors and sources ask for their messages: before, the accounts that they take them from may not have been open.
    fn request_feeds(&self) {
        self.server.has_started.store(true, Ordering::Release);
        let mut scratch = Scratch::new();
        for unit in self.units() {
            // Each call asks for what is to be asked for.
            unit.with(&mut scratch, |_, _, _| ());
        }
    }

    fn units(&self) -> Vec<Arc<unit::Unit>> {
        let accounts: Vec<_> = lock(&self.accounts).values().cloned().collect();
        accounts.iter().flat_map(|account| account.units()).collect()
    }

    /// Tells clients that wait for messages of pull consumers that the server ends.
    pub fn announce_end(&self) {
        let mut scratch = Scratch::new();
        for unit in self.units() {
            unit.with(&mut scratch, |cell, _, out| cell.announce_end(out));
        }
    }

    /// Has nothing more made durable, as if the process were killed.
    #[cfg(feature = "testing")]
    pub fn abandon(&self) {
        self.server.syncer.abandon();
    }

    /// Returns true if it has threads of its own, which may wait for the disk.
    pub fn has_threads(&self) -> bool {
        self.server.has_threads()
    }

    /// Replaces the bytes that streams in memory and in files may use and reserve; `None` for no limit. What is stored stays.
    // NATS 2.14: reload.go jetStreamLimitsOption.
    pub fn set_max_bytes(&self, memory: Option<u64>, storage: Option<u64>) {
        let usages = &self.server.usages;
        usages.of(StorageType::Memory).set_most(memory.unwrap_or(u64::MAX));
        usages.of(StorageType::File).set_most(storage.unwrap_or(u64::MAX));
    }

    /// Returns the options with which they were started.
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

impl Streams {
    /// Ends the streams: what waits to become durable does, also the progress of consumers, and nothing is served any more. Blocks
    /// meanwhile. Does nothing if they have ended, and waits if they are ending.
    pub fn end(&self) {
        let _ending = lock(&self.ending);
        #[cfg(feature = "testing")]
        if let Some(shift) = &self.shift {
            work::end(shift);
        }
        drop(lock(&self.system).take());
        let accounts = std::mem::take(&mut *lock(&self.accounts));
        let streams: Vec<_> = accounts.values().flat_map(|account| account.stop()).collect();
        self.server.stop();
        // Without accounts they have ended before.
        let is_durable = !accounts.is_empty()
            && accounts.values().all(|account| account.is_durable())
            && streams.iter().all(|stream| stream.is_durable());
        if let Some(directory) = self.server.directory().filter(|_| is_durable)
            && let Err(error) = directory.leave_durable()
        {
            tracing::warn!("The next start waits for the disk once for each stream: {error}");
        }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.end();
    }
}
