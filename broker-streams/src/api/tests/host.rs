//! An account whose streams are in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::request::SnapshotRequest;
use crate::api::{
    ApiRequest, Host, Identity, Origin, RequestCounts, answer_snapshot, handle, stream_state,
};
use crate::cell::{Cell, CellScope};
use crate::config::limits::{AccountLimits, ServerLimits, TierLimits};
use crate::config::{StorageType, StreamConfig, Time};
use crate::error::ApiError;
use crate::outbox::{Outbox, Outgoing};
use crate::store::MemoryStorage;
use crate::stream::{Incoming, Options, Room, Stream};

const START: i64 = 1_800_000_000_000_000_000;
const STEP: i64 = 1_000_000;

#[derive(Default)]
pub(super) struct Account {
    streams: Streams,
    sent: Sent,
    steps: i64,
}

#[derive(Default)]
struct Streams {
    cells: BTreeMap<String, Cell>,
    limits: Limits,
    counts: RequestCounts,
    ids: u64,
    /// The messages of streams.
    sent: Sent,
}

/// The limits of an account, and its part of the server.
struct Limits {
    account: Option<AccountLimits>,
    server: ServerLimits,
    max_memory: i64,
    max_storage: i64,
    /// The bytes that other accounts reserve.
    others_memory: i64,
    others_storage: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            account: Some(AccountLimits::default()),
            server: ServerLimits::default(),
            max_memory: i64::MAX,
            max_storage: i64::MAX,
            others_memory: 0,
            others_storage: 0,
        }
    }
}

impl Limits {
    /// Returns the limits of a user of the dialogue `limits`, as its configuration has them.
    fn of_user(name: &str) -> Self {
        let tier = TierLimits {
            max_memory: 1000,
            max_storage: 5000,
            max_streams: 3,
            max_consumers: 2,
            max_ack_pending: 100,
            memory_max_stream_bytes: 400,
            storage_max_stream_bytes: 3000,
            max_bytes_required: true,
        };
        let account = match name {
            "a" => Some(AccountLimits::flat(tier)),
            "b" => Some(AccountLimits::default()),
            _ => None,
        };
        let server = ServerLimits {
            max_request_batch: 50,
            max_ack_pending: 500,
            max_duplicate_window: 60_000_000_000,
        };
        Self { account, server, max_memory: 10_000, max_storage: 100_000, ..Self::default() }
    }
}

/// The sent messages. Only answers, advisories and deliver subjects have subscribers.
#[derive(Default)]
struct Sent {
    messages: Vec<(Vec<u8>, String)>,
    has_audience: bool,
}

impl Outbox for Sent {
    fn send(&mut self, message: &Outgoing<'_>) -> bool {
        let payload = String::from_utf8_lossy(message.payload).into_owned();
        self.messages.push((message.to.to_vec(), payload));
        true
    }

    fn has_interest(&mut self, subject: &[u8], _group: Option<&[u8]>) -> bool {
        self.has_audience && (subject.starts_with(b"$JS.EVENT.") || subject == b"push")
    }
}

impl Account {
    fn now(&mut self) -> Time {
        self.steps += 1;
        Time(START + self.steps * STEP)
    }

    /// Creates the account of a user of the dialogue `limits`, beside others.
    pub(super) fn of_user<'a>(name: &str, others: impl Iterator<Item = &'a Self>) -> Self {
        let mut account = Self::default();
        account.streams.limits = Limits::of_user(name);
        for other in others {
            account.streams.limits.others_memory += other.streams.reserved(StorageType::Memory);
            account.streams.limits.others_storage += other.streams.reserved(StorageType::File);
        }
        account
    }

    /// Creates an account in which all advisories have a subscriber.
    pub(super) fn with_audience() -> Self {
        let mut account = Self::default();
        account.sent.has_audience = true;
        account.streams.sent.has_audience = true;
        account
    }

    /// Returns the answer to a request.
    pub(super) fn request(
        &mut self,
        subject: &str,
        payload: &str,
        headers: &[u8],
    ) -> Option<String> {
        let sent = self.messages(subject, payload, headers);
        sent.into_iter().find(|(to, _)| to == b"_R").map(|(_, payload)| payload)
    }

    /// Returns all that is sent because of a request: what the API sends, then what streams send.
    pub(super) fn messages(
        &mut self,
        subject: &str,
        payload: &str,
        headers: &[u8],
    ) -> Vec<(Vec<u8>, String)> {
        let subject = format!("$JS.API.{subject}");
        let request = ApiRequest {
            subject: &subject,
            reply: b"_R",
            headers,
            payload: payload.as_bytes(),
            client: br#"{"acc":"A","user":"u","jwt":"secret","alts":["x"]}"#,
            account: "A",
        };
        let now = self.now();
        if let Some(names) = subject.strip_prefix("$JS.API.CONSUMER.MSG.NEXT.") {
            self.next(names, payload, now);
        }
        handle(&mut self.streams, &request, now, &mut self.sent);
        let mut sent = std::mem::take(&mut self.sent.messages);
        sent.append(&mut self.streams.sent.messages);
        sent
    }

    fn next(&mut self, names: &str, payload: &str, now: Time) {
        let (stream, consumer) = names.split_once('.').unwrap_or_default();
        let Streams { cells, sent, .. } = &mut self.streams;
        if let Some(cell) = cells.get_mut(stream) {
            // The message has another subject than the one that it is sent to: a client takes it for no answer.
            cell.request(consumer.as_bytes(), (b"_inbox", payload.as_bytes()), now, sent);
        }
    }

    pub(super) fn publish(&mut self, subject: &str, payload: &str) {
        let now = self.now();
        let message = Incoming {
            subject: subject.as_bytes(),
            payload: payload.as_bytes(),
            ..Incoming::default()
        };
        let stores = |config: &StreamConfig| {
            config.subjects.iter().any(|stored| crate::config::check::collide(stored, subject))
        };
        let Streams { cells, sent, .. } = &mut self.streams;
        for cell in cells.values_mut().filter(|cell| stores(cell.stream().config())) {
            cell.publish(&message, now, Room::default(), sent);
        }
    }
}

impl Streams {
    fn reserved(&self, storage: StorageType) -> i64 {
        let configs = self.cells.values().map(|cell| cell.stream().config());
        let same = configs.filter(|config| config.storage == storage);
        same.map(|config| config.max_bytes.max(0)).sum()
    }
}

impl Origin for Streams {
    fn identity(&self) -> Arc<Identity> {
        Arc::new(Identity {
            server: "SERVER".into(),
            version: "2.14.5".into(),
            strict: true,
            limits: self.limits.server,
            ..Identity::default()
        })
    }

    fn unique_id(&mut self) -> String {
        self.ids += 1;
        format!("{:022}", self.ids)
    }
}

impl Host for Streams {
    fn limits(&self) -> Option<Arc<AccountLimits>> {
        self.limits.account.clone().map(Arc::new)
    }

    fn reserved_on_server(&self, storage: StorageType) -> (i64, i64) {
        let (others, max) = match storage {
            StorageType::Memory => (self.limits.others_memory, self.limits.max_memory),
            StorageType::File => (self.limits.others_storage, self.limits.max_storage),
        };
        (self.reserved(storage) + others, max)
    }

    fn stream_names(&self) -> Vec<String> {
        self.cells.keys().cloned().collect()
    }

    fn stream_config(&self, name: &str) -> Option<Arc<StreamConfig>> {
        self.cells.get(name).map(|cell| Arc::new(cell.stream().config().clone()))
    }

    fn with_stream(
        &mut self,
        name: &str,
        act: &mut dyn FnMut(&mut Cell, Room, &mut dyn Outbox),
    ) -> bool {
        let Some(cell) = self.cells.get_mut(name) else { return false };
        act(cell, Room::default(), &mut self.sent);
        true
    }

    fn create_stream(&mut self, config: StreamConfig, now: Time) -> Result<(), ApiError> {
        let name = config.name.clone();
        let storage = Box::new(MemoryStorage::new());
        let stream = Stream::open(config, now, storage, Options::default(), now)?;
        let cell = Cell::create(stream, CellScope::default());
        self.cells.insert(name, cell.map_err(ApiError::stream_create)?);
        Ok(())
    }

    fn delete_stream(&mut self, name: &str, now: Time) -> Result<bool, ApiError> {
        let Some(mut cell) = self.cells.remove(name) else { return Ok(false) };
        cell.close(now, &mut self.sent);
        Ok(true)
    }

    fn start_snapshot(
        &mut self,
        name: &str,
        _snapshot: &SnapshotRequest,
        request: &ApiRequest<'_>,
    ) -> Result<(), ApiError> {
        let cell = self.cells.get(name).ok_or(ApiError::STREAM_NOT_FOUND)?;
        let started = (cell.stream().config().clone(), stream_state(cell));
        let mut out = std::mem::take(&mut self.sent);
        answer_snapshot(self, request, Ok(started), Time(START), &mut out);
        self.sent = out;
        Ok(())
    }

    fn start_restore(
        &mut self,
        config: StreamConfig,
        _request: &ApiRequest<'_>,
    ) -> Result<String, ApiError> {
        Ok(format!("$JS.SNAPSHOT.RESTORE.{}.ID", config.name))
    }

    fn count(&mut self, is_error: bool) {
        self.counts.total += 1;
        self.counts.errors += u64::from(is_error);
    }

    fn counts(&self) -> RequestCounts {
        self.counts
    }

    fn warn(&mut self, _text: &str) {}
}
