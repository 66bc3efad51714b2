//! Receives a backup from a client in chunks, and restores it.
// NATS 2.14: jetstream_api.go processStreamRestore, stream.go RestoreStream.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

use broker_core::HandlerSubscription;

use super::super::usage::Share;
use super::inbox::{Chunk, Inbox, Next};
use super::{Home, LOOK, OwnedRequest, PATIENCE, Store};
use crate::api::{ApiRequest, BackupEvent, Host, Restoration};
use crate::backup::{BackupError, Restored, Target, restore};
use crate::config::limits::TierLimits;
use crate::config::{StorageType, StreamConfig, Time};
use crate::error::ApiError;
use crate::go;
use crate::outbox::{Outbox, Outgoing};
use crate::store::{MemoryStorage, Storage};

/// The changes of a store that wait for the disk before they are written.
const UNWRITTEN_CHANGES: u64 = 8 << 20;

/// Begins to restore a stream on a thread of its own. Returns the subject of the chunks.
///
/// # Errors
///
/// The error of the answer.
pub(in super::super) fn start(
    account: &Arc<dyn Home>,
    config: StreamConfig,
    request: &ApiRequest<'_>,
) -> Result<String, ApiError> {
    let server = account.server();
    let subject = format!("$JS.SNAPSHOT.RESTORE.{}.{}", config.name, server.unique_id());
    let inbox = Arc::new(Inbox::default());
    let received = Arc::clone(&inbox);
    let handler =
        server.broker.handle_as_server(account.name(), move |message, _| received.push(message));
    let failed =
        |error: &dyn std::fmt::Display| ApiError::restore_subscribe_failed(&subject, error);
    handler.subscribe(&subject, None).map_err(|error| failed(&error))?;
    let transfer = Transfer {
        account: Arc::clone(account),
        begin: server.now(),
        request: OwnedRequest::of(request),
        input: Input::new(account, &config.name, inbox),
        config,
        _subscription: handler,
    };
    let (name, stream) = (account.name().to_owned(), transfer.config.name.clone());
    server.backups.start(move || transfer.run()).map_err(ApiError::stream_restore)?;
    tracing::info!("Starting restore for stream '{name} > {stream}'");
    Ok(subject)
}

/// A stream that is restored.
struct Transfer {
    account: Arc<dyn Home>,
    config: StreamConfig,
    request: OwnedRequest,
    begin: Time,
    input: Input,
    _subscription: HandlerSubscription,
}

/// The reason why the client is not answered, or that it sent something else than chunks.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("restore for stream '{0}' is stalled")]
    Stalled(String),
    #[error("restore for stream '{0}' {1}")]
    Invalid(String, &'static str),
    #[error("server shutting down")]
    ServerEnds,
}

impl Transfer {
    fn run(mut self) {
        self.tell(&BackupEvent::RestoreCreate);
        let restored = self.receive();
        let result = restored.and_then(|store| {
            let reply = self.input.wait_for_end()?;
            self.account.adopt(&self.config, store)?;
            Ok(reply)
        });
        self.finish(result);
    }

    /// Restores the messages as they arrive.
    fn receive(&mut self) -> Result<Store, BackupError> {
        let server = Arc::clone(self.account.server());
        match self.config.storage {
            StorageType::Memory => {
                let mut storage = MemoryStorage::new();
                let restored = self.fill(&mut storage)?;
                Ok(Store::Memory(Box::new(storage), restored.journal))
            }
            StorageType::File => {
                let Some(directory) = server.directory() else {
                    return Err(ApiError::TEMP_STORAGE_FAILED.into());
                };
                let staged = directory.stage(self.account.name(), &server.unique_id())?;
                let opened =
                    directory.open_staged(&staged, self.account.name(), &self.config.name)?;
                let mut storage = opened.storage;
                storage.set_compression(self.config.compression);
                let restored = self.fill(&mut storage)?;
                for entry in &restored.journal {
                    storage.journal(entry)?;
                }
                while storage.durable() < storage.position() {
                    sync(&mut storage)?;
                }
                Ok(Store::File(staged))
            }
        }
    }

    fn fill(&mut self, storage: &mut dyn Storage) -> Result<Restored, BackupError> {
        let Self { account, config, input, .. } = self;
        let server = account.server();
        let limits = account.limits();
        let tier = limits.as_ref().and_then(|limits| limits.select(config.replicas));
        let unlimited = TierLimits::default();
        let target = Target {
            account: account.name(),
            config,
            server: &server.options.limits,
            tier: tier.map_or(&unlimited, |(_, tier)| tier),
        };
        let mut room = Room {
            account: &**account,
            config,
            share: Share::new(
                Arc::clone(&server.usages),
                Arc::clone(account.usages()),
                config.storage,
            ),
            none: StreamConfig::default(),
            checked: 0,
        };
        let mut written = 0;
        restore(input, &target, storage, &mut |bytes, storage| {
            room.check(bytes, storage)?;
            let bytes = storage.state().bytes;
            if bytes.abs_diff(written) >= UNWRITTEN_CHANGES {
                written = bytes;
                sync(storage)?;
            }
            Ok(())
        })
    }

    /// Tells about the end, and answers whoever waits.
    fn finish(mut self, result: Result<Box<[u8]>, BackupError>) {
        let (account, stream) = (self.account.name().to_owned(), self.config.name.clone());
        let (bytes, now) = (self.input.total, self.account.server().now());
        let took = now.since(self.begin);
        let what = go::friendly_bytes(bytes);
        let reply = match result {
            Ok(reply) => {
                let took = go::duration(took / 1_000_000 * 1_000_000);
                tracing::info!(
                    "Completed restore of {what} for stream '{account} > {stream}' in {took}"
                );
                self.publish(|call| {
                    call.tell_created();
                    call.tell(&BackupEvent::RestoreComplete { start: self.begin, bytes });
                    call.succeed(&reply);
                });
                return;
            }
            Err(error) => {
                tracing::warn!(
                    "Restore failed for {what} for stream '{account} > {stream}' in {}: {error}",
                    go::duration(took)
                );
                (self.input.waiting_reply(), api_error(error))
            }
        };
        self.tell(&BackupEvent::RestoreComplete { start: self.begin, bytes });
        let (reply, error) = reply;
        self.publish(|call| call.fail(&reply, error.clone()));
    }

    fn tell(&self, event: &BackupEvent) {
        self.publish(|call| call.tell(event));
    }

    fn publish(&self, mut act: impl FnMut(&mut Restoration<'_>)) {
        self.account.publish(&mut |host, out| {
            let (now, request) = (self.account.server().now(), self.request.get());
            let stream = self.config.name.as_str();
            act(&mut Restoration { host, request: &request, stream, now, out });
        });
    }
}

/// Returns the error of the answer.
fn api_error(error: BackupError) -> ApiError {
    match error {
        BackupError::Api(error) => error,
        error => ApiError::stream_restore(error),
    }
}

/// Makes the changes of a store durable.
fn sync(storage: &mut dyn Storage) -> Result<(), BackupError> {
    if let Some(mut job) = storage.begin_sync() {
        job.run();
        storage.finish_sync(job)?;
    }
    Ok(())
}

/// The room for the messages of a backup.
struct Room<'a> {
    account: &'a dyn Home,
    config: &'a StreamConfig,
    share: Share,
    /// Reserves nothing: the stream does so once it is at work.
    none: StreamConfig,
    checked: u64,
}

impl Room<'_> {
    /// Checks the limits of the account and the server: for the files of a backup, and for the messages.
    fn check(&mut self, bytes: u64, storage: &dyn Storage) -> Result<(), BackupError> {
        if self.checked != bytes {
            self.checked = bytes;
            self.account.check_restored(self.config, bytes)?;
        }
        // Stored bytes count for other streams, too.
        self.share.count(&self.none, storage.state().bytes);
        let room = self.share.room();
        if room.server > 0 && room.account > 0 {
            return Ok(());
        }
        Err(match self.config.storage {
            StorageType::Memory => ApiError::MEMORY_RESOURCES_EXCEEDED.into(),
            StorageType::File => ApiError::STORAGE_RESOURCES_EXCEEDED.into(),
        })
    }
}

/// The bytes that a client sends. A chunk is answered when all of it was read.
struct Input {
    account: Arc<dyn Home>,
    /// The names of the account and the stream.
    label: String,
    inbox: Arc<Inbox>,
    chunk: Option<Chunk>,
    /// The bytes of the chunk that were read.
    at: usize,
    /// The reply subject of the end.
    end: Option<Box<[u8]>>,
    total: u64,
}

impl Input {
    fn new(account: &Arc<dyn Home>, stream: &str, inbox: Arc<Inbox>) -> Self {
        let label = format!("{} > {stream}", account.name());
        let account = Arc::clone(account);
        Self { account, label, inbox, chunk: None, at: 0, end: None, total: 0 }
    }

    /// Answers the chunk that was read, and takes the next one. Returns false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        if let Some(chunk) = self.chunk.take() {
            self.total += chunk.payload.len() as u64;
            let subject = &chunk.reply[..];
            self.account.publish(&mut |_: &mut dyn Host, out: &mut dyn Outbox| {
                out.send(&Outgoing { to: subject, subject, ..Outgoing::default() });
            });
        }
        if self.end.is_some() {
            return Ok(false);
        }
        let chunk = self.wait().map_err(io::Error::other)?;
        self.at = 0;
        if chunk.payload.is_empty() {
            self.end = Some(chunk.reply);
            return Ok(false);
        }
        self.chunk = Some(chunk);
        Ok(true)
    }

    fn wait(&self) -> Result<Chunk, Stop> {
        let begin = Instant::now();
        let stream = || self.label.clone();
        loop {
            match self.inbox.next(LOOK) {
                Next::Chunk(chunk) => return Ok(chunk),
                Next::Invalid(reason) => return Err(Stop::Invalid(stream(), reason)),
                Next::Nothing if self.account.server().backups.is_ended() => {
                    return Err(Stop::ServerEnds);
                }
                Next::Nothing if begin.elapsed() >= PATIENCE => {
                    return Err(Stop::Stalled(stream()));
                }
                Next::Nothing => {}
            }
        }
    }

    /// Passes over what follows the archive. Returns the reply subject of the end.
    fn wait_for_end(&mut self) -> io::Result<Box<[u8]>> {
        while self.advance()? {}
        Ok(self.end.clone().unwrap_or_default())
    }

    /// Returns the reply subject of the client, which waits for an answer or sends something soon.
    fn waiting_reply(&mut self) -> Box<[u8]> {
        if let Some(chunk) = self.chunk.take() {
            return chunk.reply;
        }
        match self.end.take() {
            Some(end) => end,
            None => match self.inbox.next(std::time::Duration::ZERO) {
                Next::Chunk(chunk) => chunk.reply,
                Next::Invalid(_) | Next::Nothing => Box::default(),
            },
        }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(chunk) = &self.chunk {
                let rest = &chunk.payload[self.at..];
                if !rest.is_empty() {
                    let length = rest.len().min(buffer.len());
                    buffer[..length].copy_from_slice(&rest[..length]);
                    self.at += length;
                    return Ok(length);
                }
            }
            if !self.advance()? {
                return Ok(0);
            }
        }
    }
}
