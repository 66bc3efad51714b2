//! A log record, independent of format and destination.

use std::fmt;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// The severity of a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Label {
    /// An error that ends the program.
    Fatal,
    /// A failure.
    Error,
    /// A suspicious condition.
    Warn,
    /// Information for operators.
    Info,
    /// Information for finding faults.
    Debug,
    /// The raw protocol.
    Trace,
}

/// The contents of an event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) label: Label,
    /// The connection concerned.
    pub(super) client: Option<String>,
    pub(super) message: String,
    pub(super) fields: Vec<(&'static str, Value)>,
}

impl Record {
    pub(super) fn new(label: Label, message: String) -> Self {
        Self { label, client: None, message, fields: Vec::new() }
    }

    pub(super) fn of(event: &Event<'_>) -> Self {
        let label = match *event.metadata().level() {
            Level::ERROR => Label::Error,
            Level::WARN => Label::Warn,
            Level::INFO => Label::Info,
            Level::DEBUG => Label::Debug,
            Level::TRACE => Label::Trace,
        };
        let mut record = Self::new(label, String::new());
        event.record(&mut record);
        record
    }

    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", value) => self.message = plain(value),
            ("client", value) => self.client = Some(plain(value)),
            ("fatal", Value::Bool(true)) if self.label == Label::Error => self.label = Label::Fatal,
            ("fatal", Value::Bool(_)) => {}
            (name, value) => self.fields.push((name, value)),
        }
    }
}

/// Formats a value as text, without JSON's quotes.
fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

impl Visit for Record {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }
}
