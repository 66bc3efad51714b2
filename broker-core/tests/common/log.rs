//! Captures the core's log.

use std::cell::RefCell;
use std::fmt::{Debug, Write};
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Returns what `act` logs on this thread: `LEVEL client - message`, followed by other fields.
pub(crate) fn lines_of(act: impl FnOnce()) -> Vec<String> {
    // One subscriber for the whole process: subscribers installed by parallel tests interfere with
    // each other.
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(Lines);
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
    LINES.take();
    act();
    LINES.take()
}

struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let Line { client, message, others } = line;
        let level = event.metadata().level();
        let line = format!("{level} {client} - {message}{others}");
        LINES.with_borrow_mut(|lines| lines.push(line));
    }
}

#[derive(Default)]
struct Line {
    client: String,
    message: String,
    others: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let into = match field.name() {
            "client" => &mut self.client,
            "message" => &mut self.message,
            name => {
                write!(self.others, " {name}=").unwrap();
                &mut self.others
            }
        };
        write!(into, "{value:?}").unwrap();
    }
}
