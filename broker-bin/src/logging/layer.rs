//! Connects `tracing` to the log.

use tracing::subscriber::{Interest, Subscriber};
use tracing::{Event, Level, Metadata};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer};

use super::Logging;
use super::record::Record;

/// A `tracing` layer that writes one line per event.
#[derive(Debug)]
pub struct Log(Logging);

impl Log {
    pub(super) fn new(logging: Logging) -> Self {
        Self(logging)
    }

    /// Dependencies have debug and trace events of their own; `-DV` enables natsd's only, because
    /// tools that read a trace take every `[TRC]` line for protocol.
    fn wants(&self, event: &Metadata<'_>) -> bool {
        let ours = event.target().starts_with("broker_");
        let now = self.0.0.now.load();
        match *event.level() {
            Level::ERROR | Level::WARN => true,
            Level::INFO => ours,
            Level::DEBUG => ours && now.debug,
            Level::TRACE => ours && now.trace,
        }
    }
}

/// A disabled event costs its caller one comparison: `tracing` caches the decisions until
/// [`Logging::reconfigure`] invalidates them.
impl<S: Subscriber> Layer<S> for Log {
    fn register_callsite(&self, event: &'static Metadata<'static>) -> Interest {
        if self.wants(event) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, event: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.wants(event)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let now = self.0.0.now.load();
        Some(match (now.trace, now.debug) {
            (true, _) => LevelFilter::TRACE,
            (false, true) => LevelFilter::DEBUG,
            (false, false) => LevelFilter::INFO,
        })
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.log(event.metadata().callsite(), &Record::of(event));
    }
}
