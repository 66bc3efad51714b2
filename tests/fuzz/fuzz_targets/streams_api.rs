//! Requests to the API of streams: any subject, headers and JSON, with messages and time between them, for an account whose
//! streams are in memory and have limits.

#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_streams::api::request::SnapshotRequest;
use broker_streams::api::{ApiRequest, Host, Identity, Origin, RequestCounts, handle};
use broker_streams::cell::{Cell, CellScope};
use broker_streams::config::limits::{AccountLimits, ServerLimits, TierLimits};
use broker_streams::config::{StorageType, StreamConfig, Time};
use broker_streams::error::ApiError;
use broker_streams::outbox::{Outbox, Outgoing};
use broker_streams::store::MemoryStorage;
use broker_streams::stream::{Incoming, Options, Room, Stream};
use libfuzzer_sys::fuzz_target;

/// The limits of the account, which the target checks.
const STREAMS: i64 = 6;
const CONSUMERS: i64 = 8;
const MEMORY: i64 = 1 << 20;

/// The most bytes of an answer: a few times what a request and the account may have.
const ANSWER_BYTES: usize = 8 << 20;

fuzz_target!(|data: &[u8]| {
    let mut account = Account::default();
    // Each line is a step; a zero byte separates its parts.
    for (number, line) in data.split(|byte| *byte == b'\n').take(64).enumerate() {
        let mut parts = line.split(|byte| *byte == 0);
        let mut part = || parts.next().unwrap_or_default();
        let (first, second, third) = (part(), part(), part());
        let now = Time(1_800_000_000_000_000_000 + number as i64 * 1_000_000);
        match first {
            b"P" => account.publish(second, third, now),
            b"T" => account.tick(now.plus(second.len() as i64 * 1_000_000_000)),
            subject => account.request(subject, second, third, now),
        }
        account.check();
    }
});

#[derive(Default)]
struct Account {
    streams: Streams,
    sent: Sent,
}

#[derive(Default)]
struct Streams {
    cells: BTreeMap<String, Cell>,
    counts: RequestCounts,
    ids: u64,
    sent: Sent,
}

/// An outbox in which all subjects have subscribers.
#[derive(Default)]
struct Sent {
    answers: usize,
}

impl Outbox for Sent {
    fn send(&mut self, message: &Outgoing<'_>) -> bool {
        let is_answer = message.to == b"_R";
        if is_answer || message.to.starts_with(b"$JS.EVENT.") {
            assert!(message.payload.len() <= ANSWER_BYTES, "{} bytes", message.payload.len());
            let json: serde_json::Value =
                serde_json::from_slice(message.payload).expect("the answer is JSON");
            let kind = json["type"].as_str().expect("the answer has a type");
            assert!(kind.starts_with("io.nats.jetstream."), "{kind}");
        }
        self.answers += usize::from(is_answer);
        true
    }

    fn has_interest(&mut self, _subject: &[u8], _group: Option<&[u8]>) -> bool {
        true
    }
}

impl Account {
    fn request(&mut self, subject: &[u8], headers: &[u8], payload: &[u8], now: Time) {
        // Short names for what most requests begin with.
        let subject = String::from_utf8_lossy(subject);
        let subject = if subject.starts_with('$') {
            subject.into_owned()
        } else {
            format!("$JS.API.{subject}")
        };
        let request = ApiRequest {
            subject: &subject,
            reply: b"_R",
            headers,
            payload,
            client: headers,
            account: "A",
        };
        self.sent.answers = 0;
        self.streams.sent.answers = 0;
        handle(&mut self.streams, &request, now, &mut self.sent);
        let answers = self.sent.answers + self.streams.sent.answers;
        assert!(answers <= 1, "{answers} answers to {subject}");
    }

    fn publish(&mut self, subject: &[u8], payload: &[u8], now: Time) {
        let text = str::from_utf8(subject).unwrap_or_default();
        if broker_core::Subject::parse(text).is_err() {
            return;
        }
        let Streams { cells, sent, .. } = &mut self.streams;
        let message = Incoming { subject, payload, ..Incoming::default() };
        for cell in cells.values_mut() {
            cell.publish(&message, now, Room::default(), sent);
        }
    }

    fn tick(&mut self, now: Time) {
        let Streams { cells, sent, .. } = &mut self.streams;
        for cell in cells.values_mut() {
            cell.tick(now, sent);
            cell.run(now, sent);
        }
    }

    fn check(&self) {
        assert!(self.streams.cells.len() as i64 <= STREAMS, "streams");
        for cell in self.streams.cells.values() {
            assert!(cell.consumers().count() as i64 <= CONSUMERS, "consumers");
        }
    }
}

impl Origin for Streams {
    fn identity(&self) -> Arc<Identity> {
        let limits = ServerLimits::default();
        Arc::new(Identity { server: "S".into(), strict: false, limits, ..Identity::default() })
    }

    fn unique_id(&mut self) -> String {
        self.ids += 1;
        format!("{:022}", self.ids)
    }
}

impl Host for Streams {
    fn limits(&self) -> Option<Arc<AccountLimits>> {
        Some(Arc::new(AccountLimits::flat(TierLimits {
            max_memory: MEMORY,
            max_storage: MEMORY,
            max_streams: STREAMS,
            max_consumers: CONSUMERS,
            ..TierLimits::default()
        })))
    }

    fn reserved_on_server(&self, _: StorageType) -> (i64, i64) {
        (0, MEMORY)
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

    // A backup answers on its own.
    fn start_snapshot(
        &mut self,
        _: &str,
        _: &SnapshotRequest,
        _: &ApiRequest<'_>,
    ) -> Result<(), ApiError> {
        Ok(())
    }

    fn start_restore(
        &mut self,
        config: StreamConfig,
        _: &ApiRequest<'_>,
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
