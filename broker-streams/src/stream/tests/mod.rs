//! Tests of streams over a naive store.

mod batch;
mod get;
mod model;
mod naive;
mod publish;
mod retention;
mod schedule;
mod source;
mod traced;
mod transform;

use super::*;
use crate::config::StorageType;
use crate::outbox::{Outbox, Outgoing};
use crate::store::MemoryStorage;

use self::naive::NaiveStorage;

const SECOND: i64 = 1_000_000_000;
const START: Time = Time(1_700_000_000 * SECOND);

/// The messages that were sent.
#[derive(Debug, Default)]
struct Sent(Vec<(String, String, String)>);

impl Outbox for Sent {
    fn send(&mut self, message: &Outgoing<'_>) -> bool {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.0.push((text(message.to), text(message.headers), text(message.payload)));
        true
    }

    fn has_interest(&mut self, _subject: &[u8], _group: Option<&[u8]>) -> bool {
        true
    }
}

/// Consumers that record their notifications.
#[derive(Debug, Default)]
struct Told {
    wanted: Vec<&'static str>,
    removed: Vec<(u64, String)>,
    cleared: usize,
}

impl Consumers for Told {
    fn is_wanted(&self, subject: &[u8]) -> bool {
        self.wanted.iter().any(|wanted| wanted.as_bytes() == subject)
    }

    fn removed(&mut self, sequence: u64, subject: &[u8]) {
        self.removed.push((sequence, String::from_utf8_lossy(subject).into_owned()));
    }

    fn cleared(&mut self, _subject: &[u8]) {
        self.cleared += 1;
    }
}

/// A stream with a clock.
struct Bench {
    stream: Stream,
    now: Time,
    sent: Sent,
    told: Told,
    room: Room,
}

fn memory(config: StreamConfig) -> StreamConfig {
    StreamConfig {
        name: "S".into(),
        subjects: vec![">".into()],
        storage: StorageType::Memory,
        ..config
    }
}

impl Bench {
    fn new(config: StreamConfig) -> Self {
        Self::over(config, MemoryStorage::new())
    }

    fn over(config: StreamConfig, storage: impl Storage + 'static) -> Self {
        let options = Options::default();
        let stream = Stream::open(memory(config), START, Box::new(storage), options, START);
        let (sent, told) = (Sent::default(), Told::default());
        Self { stream: stream.unwrap(), now: START, sent, told, room: Room::default() }
    }

    fn with<T>(&mut self, call: impl FnOnce(&mut Stream, &mut Context<'_>) -> T) -> T {
        let (out, consumers) = (&mut self.sent, &mut self.told);
        let mut context = Context { now: self.now, out, consumers, room: self.room };
        call(&mut self.stream, &mut context)
    }

    /// Publishes a message. Returns the answer as publishers read it.
    fn publish(&mut self, subject: &str, headers: &str, payload: &str) -> String {
        let headers = match headers {
            "" => String::new(),
            fields => format!("NATS/1.0\r\n{}\r\n\r\n", fields.replace('|', "\r\n")),
        };
        let message = Incoming {
            subject: subject.as_bytes(),
            headers: headers.as_bytes(),
            payload: payload.as_bytes(),
            ..Incoming::default()
        };
        self.answer(&message)
    }

    fn answer(&mut self, message: &Incoming<'_>) -> String {
        let answer = self.with(|stream, context| stream.publish(message, context));
        let mut out = Vec::new();
        if !self.stream.encode(&answer, &mut out) {
            return "none".into();
        }
        String::from_utf8(out).unwrap()
    }

    fn tick(&mut self, seconds: i64) {
        self.now = self.now.plus(seconds * SECOND);
        self.with(|stream, context| stream.tick(context));
    }

    /// Returns the sequences and subjects that are stored.
    fn stored(&self) -> Vec<(u64, String)> {
        let mut stored = Vec::new();
        for sequence in 1..=self.stream.state().last_sequence {
            let mut buffer = Vec::new();
            if let Some(record) = self.stream.storage().load(sequence, &mut buffer).unwrap() {
                stored.push((sequence, String::from_utf8_lossy(record.subject).into_owned()));
            }
        }
        stored
    }

    fn sequences(&self) -> Vec<u64> {
        self.stored().into_iter().map(|(sequence, _)| sequence).collect()
    }

    /// Returns headers and payload of a message.
    fn message(&self, sequence: u64) -> (String, String) {
        let mut buffer = Vec::new();
        let record = self.stream.storage().load(sequence, &mut buffer).unwrap().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(record.headers), text(record.payload))
    }
}

fn ack(sequence: u64) -> String {
    format!("{{\"stream\":\"S\",\"seq\":{sequence}}}")
}

fn refused(error: ApiError) -> String {
    let ApiError { code, err_code, description } = error;
    format!(
        "{{\"error\":{{\"code\":{code},\"err_code\":{err_code},\"description\":\"{description}\"}},\
         \"stream\":\"S\",\"seq\":0}}"
    )
}
