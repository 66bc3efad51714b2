//! One thing that the log is told, before it is known how it is written and where to.

use std::fmt;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// How grave a line is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Label {
    /// The program ends for this.
    Fatal,
    /// Something failed.
    Error,
    /// Something looks wrong.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What helps to find a fault.
    Debug,
    /// The raw protocol.
    Trace,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) label: Label,
    /// The connection it is about.
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

/// As text, without the quotes that JSON needs.
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
