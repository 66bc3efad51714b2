//! The state that the streams of all accounts share.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use broker_core::{Broker, RawMessage, Subject};

use super::counters::Counters;
use super::directory::Directory;
use super::lock::lock;
use super::options::Options;
use super::requests_queue::Requests;
use super::scrubber::Scrubber;
use super::signal::Wake;
use super::syncer::Syncer;
use super::threads::Threads;
use super::usage::Usages;
use super::worker::Worker;
use crate::api::{self, Identity};
use crate::cell::CellScope;
use crate::config::{StorageType, Time};
use crate::error::ApiError;
use crate::random::{Random, Seeds};
use crate::store::Storage;
use crate::stream::{self, OpenBatches};

/// The subject by which operators learn that requests to the API were dropped.
const LIMIT_REACHED: &str = "$JS.EVENT.ADVISORY.API.LIMIT_REACHED";

/// The way in which the work of a server is done.
#[derive(Default)]
pub(super) struct Setup {
    /// The directory; otherwise that of the options.
    pub(super) directory: Option<Directory>,
    /// Called when there is work, by a program that does it by itself; otherwise threads do.
    pub(super) wake: Option<Wake>,
}

/// The state that the streams of all accounts share: the broker, the threads, the directory.
pub(super) struct Server {
    pub(super) broker: Broker,
    pub(super) options: Options,
    pub(super) worker: Worker,
    pub(super) syncer: Syncer,
    pub(super) requests: Requests,
    pub(super) scrubber: Scrubber,
    pub(super) usages: Arc<Usages>,
    open_batches: Arc<OpenBatches>,
    pub(super) counters: Counters,
    pub(super) backups: Threads,
    /// The accounts known at the start are open, with their streams: one that takes messages from another finds it.
    pub(super) has_started: AtomicBool,
    directory: Option<Directory>,
    identity: Arc<Identity>,
    handles: Mutex<Vec<JoinHandle<()>>>,
    seeds: Seeds,
}

impl Server {
    /// Creates it, and starts the threads.
    ///
    /// # Errors
    ///
    /// The error of the system if the directory cannot be used or a thread cannot be started.
    pub(super) fn start(
        broker: &Broker,
        options: Options,
        setup: Setup,
    ) -> std::io::Result<Arc<Self>> {
        let Setup { directory, wake } = setup;
        let take = |path| Directory::take(path, options.encryption.clone());
        let directory = match directory {
            Some(directory) => Some(directory),
            None => options.directory.as_deref().map(take).transpose()?,
        };
        let identity = Identity {
            server: broker.info().server_name,
            version: options.version.clone(),
            domain: options.domain.clone(),
            strict: options.strict,
            limits: options.limits,
        };
        let most = [options.max_memory, options.max_storage].map(|most| most.unwrap_or(u64::MAX));
        let server = Arc::new(Self {
            broker: broker.clone(),
            worker: Worker::new(wake.clone()),
            syncer: Syncer::new(wake.clone()),
            requests: Requests::new(wake.clone()),
            scrubber: Scrubber::default(),
            usages: Arc::new(Usages::of_server(most[0], most[1])),
            open_batches: Arc::default(),
            counters: Counters::default(),
            backups: Threads::default(),
            has_started: AtomicBool::new(false),
            directory,
            identity: Arc::new(identity),
            handles: Mutex::default(),
            seeds: Seeds::new(options.seed),
            options,
        });
        if wake.is_some() {
            return Ok(server);
        }
        server.spawn("streams", |server| server.worker.serve(&server.broker))?;
        server.spawn("streams-sync", |server| server.syncer.serve(&server.counters))?;
        server.spawn("streams-api", |server| {
            server.requests.serve(&server.broker, |dropped| {
                server.report_dropped(dropped);
            });
        })?;
        if server.directory.is_some() {
            server.spawn("streams-scrub", |server| server.scrubber.serve())?;
        }
        Ok(server)
    }

    fn spawn(
        self: &Arc<Self>,
        name: &str,
        serve: impl FnOnce(&Self) + Send + 'static,
    ) -> std::io::Result<()> {
        let server = Arc::clone(self);
        let thread = std::thread::Builder::new().name(name.to_owned());
        let handle = thread.spawn(move || serve(&server))?;
        lock(&self.handles).push(handle);
        Ok(())
    }

    pub(super) fn has_threads(&self) -> bool {
        !lock(&self.handles).is_empty()
    }

    /// Ends the threads, and waits for them: changes that wait for a sync are synced.
    pub(super) fn stop(&self) {
        self.backups.end();
        self.requests.end();
        self.worker.end();
        self.syncer.end();
        self.scrubber.end();
        let handles = std::mem::take(&mut *lock(&self.handles));
        for handle in handles {
            // A thread that has panicked has been reported by the panic.
            let _ = handle.join();
        }
        #[cfg(feature = "testing")]
        while self.syncer.step(&self.counters, &mut broker_core::endpoint::Scratch::new()) {}
    }

    /// Returns the time.
    pub(super) fn now(&self) -> Time {
        self.broker.wall().into()
    }

    pub(super) fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity)
    }

    /// Tells operators that requests to the API were dropped, because too many waited.
    // NATS 2.14: jetstream_api.go apiDispatch, JSAPILimitReachedAdvisory. The reference drops all that wait.
    pub(super) fn report_dropped(&self, dropped: u64) {
        self.counters.note_dropped(dropped);
        let Ok(subject) = Subject::parse(LIMIT_REACHED) else { return };
        let Identity { server, domain, .. } = &*self.identity;
        let json = api::limit_reached((server, domain), self.unique_id(), dropped, self.now());
        let system = self.broker.system_account();
        self.broker.publish_from_server(&system, &RawMessage::new(&subject, &json));
    }

    /// Returns the bytes that limits of streams reserve, and the most that they may.
    pub(super) fn reserved(&self, storage: StorageType) -> (i64, i64) {
        let usage = self.usages.of(storage);
        (usage.reserved(), i64::try_from(usage.most()).unwrap_or(i64::MAX))
    }

    /// Returns the values that a stream needs.
    pub(super) fn stream_options(&self, account: &str) -> stream::Options {
        stream::Options {
            account: account.to_owned(),
            domain: self.options.domain.clone(),
            max_payload: self.options.max_payload,
            batches: self.options.batches,
            open_batches: Arc::clone(&self.open_batches),
            seed: self.seeds.next(),
        }
    }

    /// Returns the scope of a cell of an account.
    pub(super) fn scope(&self, account: &str) -> CellScope {
        CellScope {
            account: account.to_owned(),
            domain: self.options.domain.clone(),
            ack_form: self.options.ack_form,
            burst_bytes: self.options.max_payload as u64,
            seed: self.seeds.next(),
        }
    }

    /// Returns a random text of 22 letters and digits.
    pub(super) fn unique_id(&self) -> String {
        Random::new(self.seeds.next()).id()
    }

    /// Returns the directory of streams in files.
    pub(super) fn directory(&self) -> Option<&Directory> {
        self.directory.as_ref()
    }

    /// Creates the store of a stream in files.
    ///
    /// # Errors
    ///
    /// The error of the answer.
    pub(super) fn create_store(
        &self,
        account: &str,
        stream: &str,
    ) -> Result<Box<dyn Storage>, ApiError> {
        let Some(directory) = &self.directory else {
            return Err(ApiError::INSUFFICIENT_RESOURCES);
        };
        let opened = directory.open(account, stream).map_err(ApiError::stream_create)?;
        Ok(Box::new(opened.storage))
    }

    /// Removes the store of a stream in files.
    ///
    /// # Errors
    ///
    /// The error of the answer.
    pub(super) fn remove_store(&self, account: &str, stream: &str) -> Result<(), ApiError> {
        let Some(directory) = &self.directory else { return Ok(()) };
        directory.remove(account, stream).map_err(ApiError::stream_delete)
    }
}
