//! The log: `tracing` events, printed as nats-server prints its lines.
//!
//! ```text
//! [7327] 2026/11/20 23:19:15.208626 [INF] Server is ready
//! ```
//!
//! An event is its message. A field `client` names the connection it is about and comes first
//! (`127.0.0.1:52174 - cid:5 - …`); `fatal` makes an error the one the program ends with ([`fatal`]);
//! any other field is appended as `name=value`.

mod line;
mod sink;

use std::io;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::subscriber::{Interest, Subscriber};
use tracing::{Event, Level, Metadata};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use crate::options::LogOptions;
pub use line::{Label, Style};
pub use sink::Sink;

/// Logs why the program cannot go on, as `[FTL]`.
pub fn fatal(why: &dyn std::fmt::Display) {
    tracing::error!(fatal = true, "{why}");
}

/// Opens the log that `options` ask for, and makes it the process's own.
///
/// # Errors
///
/// The log file cannot be opened, or the process has a `tracing` subscriber already.
pub fn install(options: &LogOptions) -> io::Result<Arc<Sink>> {
    let sink = Arc::new(match &options.file {
        Some(path) => Sink::file(path.clone())?,
        None => Sink::stderr(),
    });
    let style = Style { time: options.time, utc: options.utc, colors: sink.is_terminal() };
    let log = Log::new(Arc::clone(&sink), style, options.debug, options.trace);
    tracing::subscriber::set_global_default(Registry::default().with(log))
        .map_err(io::Error::other)?;
    Ok(sink)
}

/// A `tracing` layer that writes one line an event.
#[derive(Debug)]
pub struct Log {
    sink: Arc<Sink>,
    style: Style,
    debug: bool,
    trace: bool,
}

impl Log {
    /// A layer that writes to `sink`; `debug` and `trace` switch these two levels apart from each other.
    pub fn new(sink: Arc<Sink>, style: Style, debug: bool, trace: bool) -> Self {
        Self { sink, style, debug, trace }
    }

    /// The libraries under us have debug and trace events of their own; `-DV` means ours, and tools
    /// that read a trace take every `[TRC]` line for a line of the NATS protocol.
    fn wants(&self, event: &Metadata<'_>) -> bool {
        let ours = event.target().starts_with("broker_");
        match *event.level() {
            Level::ERROR | Level::WARN => true,
            Level::INFO => ours,
            Level::DEBUG => ours && self.debug,
            Level::TRACE => ours && self.trace,
        }
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn register_callsite(&self, event: &'static Metadata<'static>) -> Interest {
        if self.wants(event) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, event: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.wants(event)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match (self.trace, self.debug) {
            (true, _) => LevelFilter::TRACE,
            (false, true) => LevelFilter::DEBUG,
            (false, false) => LevelFilter::INFO,
        })
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let label = match *event.metadata().level() {
            Level::ERROR if fields.fatal => Label::Fatal,
            Level::ERROR => Label::Error,
            Level::WARN => Label::Warn,
            Level::INFO => Label::Info,
            Level::DEBUG => Label::Debug,
            Level::TRACE => Label::Trace,
        };
        self.sink.write(&self.style.line(label, &fields.into_text()));
    }
}

/// What an event says.
#[derive(Default)]
struct Fields {
    client: Option<String>,
    message: String,
    others: String,
    fatal: bool,
}

impl Fields {
    fn into_text(self) -> String {
        let Self { client, message, others, .. } = self;
        match client {
            Some(client) => format!("{client} - {message}{others}"),
            None if others.is_empty() => message,
            None => message + &others,
        }
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "fatal" => self.fatal = value,
            _ => self.record_debug(field, &value),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write as _;
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "client" => self.client = Some(format!("{value:?}")),
            name => {
                let _ = write!(self.others, " {name}={value:?}");
            }
        }
    }
}

#[cfg(test)]
mod tests;
