//! The streams of one account.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, Weak, mpsc};
use std::time::Duration;

use broker_core::endpoint::Scratch;
use broker_core::{HandlerSubscription, ServerPublisher, Subject};

use super::backups;
use super::claims::Claims;
use super::directory::Directory;
use super::interest::PushInterest;
use super::lock::{lock, read, write};
use super::outbox::BrokerOutbox;
use super::overlap::overlap;
use super::requests_queue::QueuedRequest;
use super::server::Server;
use super::task::Responder;
use super::unit::{Alive, Unit};
use super::usage::Usages;
use crate::api::request::SnapshotRequest;
use crate::api::{self, ApiRequest, Host, Identity, Origin, RequestCounts};
use crate::cell::{Cell, RecoveryError};
use crate::config::limits::AccountLimits;
use crate::config::{StorageType, StreamConfig, Time};
use crate::error::ApiError;
use crate::outbox::Outbox;
use crate::store::{MemoryStorage, Opened, Storage, StorageError, UNREADABLE};
use crate::stream::{Room, Stream};

/// The request for the usage of the account.
const INFO: &[u8] = b"$JS.API.INFO";

/// The prefix of the API.
const API: &str = "$JS.API";

/// The subjects of requests that the API answers. Not among them are those that only a stream or a consumer itself answers,
/// so that a requester learns from the broker that there is none: `DIRECT.GET` and `CONSUMER.MSG.NEXT`.
// NATS 2.14: jetstream_api.go; client.go processServiceImport.
const SUBJECTS: [&str; 18] = [
    "*",
    "STREAM.>",
    "META.>",
    "SERVER.>",
    "ACCOUNT.>",
    "CONSUMER.*",
    "CONSUMER.*.*",
    "CONSUMER.*.*.*",
    "CONSUMER.CREATE.*.*.>",
    "CONSUMER.DURABLE.*.*.>",
    "CONSUMER.INFO.*.*.>",
    "CONSUMER.LIST.*.*.>",
    "CONSUMER.NAMES.*.*.>",
    "CONSUMER.DELETE.*.*.>",
    "CONSUMER.PAUSE.*.*.>",
    "CONSUMER.RESET.*.*.>",
    "CONSUMER.UNPIN.*.*.>",
    "CONSUMER.LEADER.*.*.>",
];

/// The time for which streams that are started again wait until their stores are closed.
const PATIENCE: Duration = Duration::from_secs(2);

/// The state of the streams of an account.
#[derive(Debug, Default)]
enum Activity {
    /// They were never started.
    #[default]
    Idle,
    /// They run.
    AtWork(mpsc::Receiver<std::convert::Infallible>),
    /// They have ended. The receiver is closed when all stores are.
    Resting(mpsc::Receiver<std::convert::Infallible>),
    /// The service has ended.
    Ended,
}

/// An account with the API of streams.
pub(super) struct Account {
    name: Arc<str>,
    server: Arc<Server>,
    /// `None` if it may have no streams.
    limits: RwLock<Option<Arc<AccountLimits>>>,
    units: RwLock<BTreeMap<String, Arc<Unit>>>,
    usages: Arc<Usages>,
    interest: Arc<PushInterest>,
    requests: Mutex<Option<HandlerSubscription>>,
    /// The account is no longer served.
    has_gone: AtomicBool,
    /// Publishes answers and advisories.
    publisher: Mutex<ServerPublisher>,
    total: AtomicU64,
    errors: AtomicU64,
    /// The streams whose stores could not be read.
    unrecovered: Mutex<BTreeSet<String>>,
    /// Streams have ended before the server does.
    may_be_undurable: AtomicBool,
    /// Held while streams begin or end.
    activity: Mutex<Activity>,
    /// While streams run, each has a clone.
    alive: Mutex<Option<Alive>>,
    /// The streams that are being created or restored, and those of which a backup is made.
    claims: Claims,
    /// Held while it is decided whether requests are answered, and until the decision is carried out.
    following: Mutex<()>,
    me: Weak<Self>,
}

impl Account {
    /// Opens the API in an account.
    pub(super) fn open(
        server: &Arc<Server>,
        name: &str,
        limits: Option<AccountLimits>,
    ) -> Arc<Self> {
        let account = Arc::new_cyclic(|me| Self {
            name: name.into(),
            server: Arc::clone(server),
            usages: Arc::new(Usages::of_account(limits.as_ref())),
            interest: Arc::new(PushInterest::new(&server.broker, name)),
            limits: RwLock::new(limits.map(Arc::new)),
            units: RwLock::default(),
            requests: Mutex::new(None),
            has_gone: AtomicBool::new(false),
            publisher: Mutex::new(server.broker.server_publisher(name)),
            total: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            unrecovered: Mutex::default(),
            may_be_undurable: AtomicBool::new(false),
            activity: Mutex::default(),
            alive: Mutex::default(),
            claims: Claims::default(),
            following: Mutex::default(),
            me: Weak::clone(me),
        });
        account.follow_imports();
        account
    }

    /// Notes that it is there again, or has gone: then it answers no requests.
    pub(super) fn set_gone(self: &Arc<Self>, has_gone: bool) {
        self.has_gone.store(has_gone, Ordering::Release);
        self.follow_imports();
    }

    /// Answers requests, unless it has gone, or has no streams and imports the API of another account.
    pub(super) fn follow_imports(self: &Arc<Self>) {
        let _following = lock(&self.following);
        let answers = !self.has_gone.load(Ordering::Acquire) && !self.leaves_to_another(INFO);
        let is_open = lock(&self.requests).is_some();
        if answers && !is_open {
            self.subscribe();
        } else if is_open && !answers {
            self.close();
        }
    }

    fn close(&self) {
        drop(lock(&self.requests).take());
    }

    /// Returns true if it has gone, and its streams have closed their files.
    pub(super) fn is_over(&self) -> bool {
        let has_ended = match &*lock(&self.activity) {
            Activity::Idle | Activity::Ended => true,
            Activity::AtWork(_) => false,
            Activity::Resting(ended) => ended.try_recv() == Err(mpsc::TryRecvError::Disconnected),
        };
        has_ended && self.has_gone.load(Ordering::Acquire)
    }

    fn subscribe(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        let handler = self.server.broker.handle_as_server(&self.name, move |message, context| {
            if let Some(account) = weak.upgrade()
                && !account.leaves_to_another(message.subject())
            {
                let request = QueuedRequest::of(Arc::clone(&account) as _, message, context);
                account.server.requests.push(request);
            }
        });
        for subject in SUBJECTS {
            let subject = format!("{API}.{subject}");
            if let Err(error) = handler.subscribe(&subject, None) {
                tracing::error!("The API of streams cannot subscribe to {subject:?}: {error}");
            }
        }
        *lock(&self.requests) = Some(handler);
    }

    /// Returns true for a request that this account does not answer, because it has no streams and imports those of another one: one
    /// that is imported, and all if [`INFO`] is.
    // NATS 2.14: jetstream.go enableJetStreamInfoServiceImportOnly.
    fn leaves_to_another(&self, subject: &[u8]) -> bool {
        let imports = |subject| self.server.broker.imports_service(&self.name, &subject);
        let is_imported = |subject: &[u8]| {
            std::str::from_utf8(subject)
                .is_ok_and(|subject| Subject::parse(subject).is_ok_and(imports))
        };
        read(&self.limits).is_none() && (is_imported(INFO) || is_imported(subject))
    }

    /// Replaces the limits. Returns true if the streams are to [follow](Self::follow_limits).
    pub(super) fn set_limits(&self, limits: Option<AccountLimits>) -> bool {
        self.usages.set_limits(limits.as_ref());
        let had_streams = read(&self.limits).is_some();
        let has_streams = limits.is_some();
        *write(&self.limits) = limits.map(Arc::new);
        had_streams != has_streams
    }

    /// Starts or stops the streams of the account, as its limits allow.
    ///
    /// # Errors
    ///
    /// Those of the operating system, if the streams cannot be listed.
    // NATS 2.14: jetstream.go configJetStream. A stream in memory is gone when it has ended.
    pub(super) fn follow_limits(&self) -> std::io::Result<()> {
        let mut activity = lock(&self.activity);
        let may_have = read(&self.limits).is_some();
        match (std::mem::take(&mut *activity), may_have) {
            (Activity::AtWork(ended), false) => {
                drop(lock(&self.alive).take());
                // Nothing tells whether their last changes become durable.
                self.may_be_undurable.store(true, Ordering::Release);
                self.end_streams();
                *activity = Activity::Resting(ended);
            }
            (Activity::Resting(ended), true)
                if ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) =>
            {
                *activity = Activity::Resting(ended);
                let text = "what was written before has not ended";
                return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, text));
            }
            (Activity::Idle | Activity::Resting(_), true) => {
                let (alive, ended) = mpsc::channel();
                *lock(&self.alive) = Some(alive);
                *activity = Activity::AtWork(ended);
                lock(&self.unrecovered).clear();
                self.recover()?;
            }
            (same, _) => *activity = same,
        }
        Ok(())
    }

    fn end_streams(&self) -> Vec<Arc<Unit>> {
        let mut ended = self.server.counters.ended();
        let units = std::mem::take(&mut *write(&self.units));
        units.values().for_each(|unit| ended.add(&unit.take_latencies()));
        drop(ended);
        for unit in units.values() {
            unit.stop();
            // Progress of consumers that is not synced yet.
            unit.sync_soon();
        }
        units.into_values().collect()
    }

    /// Returns the name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the limits; `None` if it may have no streams.
    pub(super) fn limits(&self) -> Option<Arc<AccountLimits>> {
        read(&self.limits).clone()
    }

    /// Returns the usage.
    pub(super) fn usages(&self) -> &Arc<Usages> {
        &self.usages
    }

    /// Returns what all accounts share.
    pub(super) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Returns the streams that are being created, or of which a backup is made.
    pub(super) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Returns the number of requests to the API, and of those answered with errors.
    pub(super) fn request_counts(&self) -> (u64, u64) {
        (self.total.load(Ordering::Relaxed), self.errors.load(Ordering::Relaxed))
    }

    /// Returns the names of the streams whose stores could not be read.
    pub(super) fn unrecovered(&self) -> BTreeSet<String> {
        lock(&self.unrecovered).clone()
    }

    /// Returns the streams in the order of their names.
    pub(super) fn units(&self) -> Vec<Arc<Unit>> {
        read(&self.units).values().cloned().collect()
    }

    /// Refuses a request to a stream whose files could not be read at the start. A new stream of its name would take their place.
    // NATS 2.14: jetstream.go offlineReason.
    fn check_files(&self, name: &str) -> Result<(), ApiError> {
        match lock(&self.unrecovered).contains(name) {
            true => Err(ApiError::stream_offline_reason("its files cannot be read")),
            false => Ok(()),
        }
    }

    pub(super) fn unit(&self, name: &str) -> Option<Arc<Unit>> {
        read(&self.units).get(name).cloned()
    }

    /// Starts cells. Requests to the API see all of them or none, so that a stream that asks for another one finds it. Returns
    /// false if the account may have no streams.
    pub(super) fn start(&self, cells: Vec<Cell>) -> bool {
        let Some(alive) = lock(&self.alive).clone() else { return false };
        let mut units = write(&self.units);
        for cell in cells {
            let name = cell.name().to_owned();
            let surroundings = (&*self.name, &self.usages, &self.interest);
            units.insert(name, Unit::start(&self.server, surroundings, cell, alive.clone()));
        }
        true
    }

    /// Recovers the streams of the account from the directory. One that cannot be recovered stays there, and is named in the
    /// log.
    ///
    /// # Errors
    ///
    /// Those of the operating system, if the directory cannot be read.
    fn recover(&self) -> std::io::Result<()> {
        let Some(directory) = self.server.directory() else { return Ok(()) };
        let mut cells = Vec::new();
        let is_durable = directory.begin_account(&self.name);
        let names = directory.streams_of(&self.name)?;
        let open = |name: &String| directory.open_of(&self.name, name, is_durable);
        overlap(&names, directory.openers(), open, |name, opened| -> std::io::Result<()> {
            match self.recover_stream(name, opened) {
                Ok(Recovered::Stream(cell)) => cells.push(*cell),
                Ok(Recovered::Nothing { has_unreadable }) => {
                    self.note_nothing(directory, name, has_unreadable)?;
                }
                Err(error) => {
                    lock(&self.unrecovered).insert(name.clone());
                    let account = &self.name;
                    tracing::error!(
                        "Stream {name:?} of account {account:?} is not served: {error}"
                    );
                }
            }
            Ok(())
        })?;
        self.start(cells);
        Ok(())
    }

    /// Removes the directory of a stream of which there is nothing to serve, unless a file in it cannot be read.
    fn note_nothing(
        &self,
        directory: &Directory,
        name: &str,
        has_unreadable: bool,
    ) -> std::io::Result<()> {
        let account = &self.name;
        if has_unreadable {
            tracing::error!(
                "Stream {name:?} of account {account:?} does not exist any more: nothing in its file can be read, which stays as {UNREADABLE:?}"
            );
            return Ok(());
        }
        tracing::warn!(
            "Stream {name:?} of account {account:?} is removed: the server ended while it was created"
        );
        directory.remove(account, name)
    }

    /// Recovers a stream from what was opened.
    pub(super) fn recover_stream(
        &self,
        name: &str,
        opened: Result<Opened, StorageError>,
    ) -> Result<Recovered, Box<dyn std::error::Error>> {
        let Opened { storage, journal, damage, has_unreadable, .. } = opened?;
        self.server.scrubber.report(&self.name, name, &damage);
        if journal.is_empty() && damage.is_empty() && storage.state().last_sequence == 0 {
            return Ok(Recovered::Nothing { has_unreadable });
        }
        let cell = self.recover_from(Box::new(storage), &journal)?;
        if has_unreadable {
            tracing::warn!(
                "Stream {name:?} of account {:?} has a file {UNREADABLE:?}: it was the last one of its messages, and nothing in it can be read",
                self.name
            );
        }
        Ok(Recovered::Stream(Box::new(cell)))
    }

    /// Recovers a stream from its store and its journal.
    pub(super) fn recover_from(
        &self,
        storage: Box<dyn Storage>,
        journal: &[Vec<u8>],
    ) -> Result<Cell, RecoveryError> {
        let server = &self.server;
        let (scope, options) = (server.scope(&self.name), server.stream_options(&self.name));
        let mut publisher = server.broker.server_publisher(&self.name);
        let mut scratch = Scratch::new();
        server.broker.begin(&mut scratch);
        let mut out = BrokerOutbox { publisher: &mut publisher, scratch: &mut scratch };
        let cell = Cell::recover(storage, journal, scope, options, server.now(), &mut out)?;
        server.broker.flush(&mut scratch);
        Ok(cell)
    }

    /// Deletes all streams, also those whose files cannot be read.
    ///
    /// # Errors
    ///
    /// The error of the answer to the request for it.
    pub(super) fn purge(&self, now: Time, scratch: &mut Scratch) -> Result<(), ApiError> {
        let mut host = AccountHost { account: self };
        let publisher = &mut *lock(&self.publisher);
        api::delete_all(&mut host, now, &mut BrokerOutbox { publisher, scratch })?;
        lock(&self.unrecovered).clear();
        Ok(())
    }

    /// Returns true if all files of the account are durable once its last streams are.
    pub(super) fn is_durable(&self) -> bool {
        !self.may_be_undurable.load(Ordering::Acquire) && lock(&self.unrecovered).is_empty()
    }

    /// Ends the API and the streams, which stay on disk. Returns the streams, whose last changes are being written.
    pub(super) fn stop(&self) -> Vec<Arc<Unit>> {
        self.close();
        *lock(&self.activity) = Activity::Ended;
        self.end_streams()
    }
}

/// The result of opening the directory of a stream.
pub(super) enum Recovered {
    Stream(Box<Cell>),
    /// The server ended while the stream was created, or nothing of it can be read.
    Nothing {
        /// There is a file that cannot be read.
        has_unreadable: bool,
    },
}

impl Responder for Account {
    fn name(&self) -> &str {
        &self.name
    }

    fn follow(&self) {
        if let Err(error) = self.follow_limits() {
            // NATS 2.14: accounts.go updateAccountClaimsWithRefresh.
            tracing::error!("Error configuring jetstream for account [{}]: {error}", self.name);
        }
    }

    fn serve(&self, request: &ApiRequest<'_>, scratch: &mut Scratch) {
        let now = self.server.now();
        let mut host = AccountHost { account: self };
        let publisher = &mut *lock(&self.publisher);
        api::handle(&mut host, request, now, &mut BrokerOutbox { publisher, scratch });
    }
}

/// An account during one request.
pub(super) struct AccountHost<'a> {
    pub(super) account: &'a Account,
}

impl Origin for AccountHost<'_> {
    fn identity(&self) -> Arc<Identity> {
        self.account.server.identity()
    }

    fn unique_id(&mut self) -> String {
        self.account.server.unique_id()
    }
}

impl Host for AccountHost<'_> {
    fn limits(&self) -> Option<Arc<AccountLimits>> {
        // Until its streams run, the account has none.
        lock(&self.account.alive).as_ref()?;
        read(&self.account.limits).clone()
    }

    fn reserved_on_server(&self, storage: StorageType) -> (i64, i64) {
        self.account.server.reserved(storage)
    }

    fn stream_names(&self) -> Vec<String> {
        read(&self.account.units).keys().cloned().collect()
    }

    fn stream_config(&self, name: &str) -> Option<Arc<StreamConfig>> {
        self.account.unit(name).map(|unit| unit.config())
    }

    fn not_served(&self, name: &str) -> ApiError {
        self.account.check_files(name).err().unwrap_or(ApiError::STREAM_NOT_FOUND)
    }

    fn with_stream(
        &mut self,
        name: &str,
        act: &mut dyn FnMut(&mut Cell, Room, &mut dyn Outbox),
    ) -> bool {
        let Some(unit) = self.account.unit(name) else { return false };
        let mut scratch = Scratch::new();
        unit.with(&mut scratch, |cell, now, out| {
            act(cell, now.room, out);
        });
        true
    }

    fn create_stream(&mut self, config: StreamConfig, now: Time) -> Result<(), ApiError> {
        let account = self.account;
        account.check_files(&config.name)?;
        let _claim = account.claims.stream(&config, ApiError::STREAM_NAME_EXIST)?;
        let storage: Box<dyn Storage> = match config.storage {
            StorageType::Memory => Box::new(MemoryStorage::new()),
            StorageType::File => account.server.create_store(&account.name, &config.name)?,
        };
        let options = account.server.stream_options(&account.name);
        let stream = Stream::open(config, now, storage, options, now)?;
        let cell = Cell::create(stream, account.server.scope(&account.name))
            .map_err(ApiError::stream_create)?;
        account.start(vec![cell]);
        Ok(())
    }

    fn delete_stream(&mut self, name: &str, now: Time) -> Result<bool, ApiError> {
        let account = self.account;
        let mut ended = account.server.counters.ended();
        let Some(unit) = write(&account.units).remove(name) else { return Ok(false) };
        ended.add(&unit.take_latencies());
        drop(ended);
        unit.stop();
        let mut scratch = Scratch::new();
        let storage = unit.with(&mut scratch, |cell, _, out| {
            cell.close(now, out);
            cell.stream().config().storage
        });
        if storage == StorageType::File {
            account.server.remove_store(&account.name, name)?;
        }
        Ok(true)
    }

    fn start_snapshot(
        &mut self,
        name: &str,
        snapshot: &SnapshotRequest,
        request: &ApiRequest<'_>,
    ) -> Result<(), ApiError> {
        let unit = self.account.unit(name).ok_or_else(|| self.not_served(name))?;
        let account = self.account.me.upgrade().ok_or(ApiError::NOT_ENABLED_FOR_ACCOUNT)?;
        let account: Arc<dyn backups::Home> = account;
        backups::start_snapshot(&account, &unit, snapshot, request)
    }

    fn start_restore(
        &mut self,
        config: StreamConfig,
        request: &ApiRequest<'_>,
    ) -> Result<String, ApiError> {
        self.account.check_files(&config.name)?;
        let account = self.account.me.upgrade().ok_or(ApiError::NOT_ENABLED_FOR_ACCOUNT)?;
        let account: Arc<dyn backups::Home> = account;
        backups::start_restore(&account, config, request)
    }

    fn count(&mut self, is_error: bool) {
        self.account.total.fetch_add(1, Ordering::Relaxed);
        self.account.errors.fetch_add(u64::from(is_error), Ordering::Relaxed);
    }

    fn counts(&self) -> RequestCounts {
        RequestCounts {
            total: self.account.total.load(Ordering::Relaxed),
            errors: self.account.errors.load(Ordering::Relaxed),
        }
    }

    fn warn(&mut self, text: &str) {
        tracing::warn!("{text}");
    }
}
