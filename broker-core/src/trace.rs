//! Traces of clients, as log lines in NATS's form.

use std::fmt;

use crate::error::Escaped;
use crate::options::Options;
use crate::proto::Publish;
#[cfg(feature = "testing")]
use crate::{probe::Seam, sync::Arc};

/// The trace of one client; absent for a client that is not traced.
pub struct Trace {
    /// The label of the client in log lines.
    client: String,
    /// The length of a payload that is logged, in bytes; 0 for all.
    max_payload_bytes: usize,
    headers_only: bool,
    /// True if lines are logged, not only passed to a probe.
    #[cfg(feature = "testing")]
    is_logged: bool,
    #[cfg(feature = "testing")]
    reader: Option<Arc<Seam>>,
}

impl Trace {
    pub(crate) fn new(client: String, options: &Options) -> Self {
        Self {
            client,
            max_payload_bytes: options.max_traced_payload_bytes,
            headers_only: options.trace_headers,
            #[cfg(feature = "testing")]
            is_logged: options.trace,
            #[cfg(feature = "testing")]
            reader: None,
        }
    }

    /// Passes the lines to a probe that requests them.
    #[cfg(feature = "testing")]
    pub(crate) fn read_by(mut self, seam: &Arc<Seam>) -> Self {
        self.reader = seam.wants_lines().then(|| Arc::clone(seam));
        self
    }

    fn line(&self, line: fmt::Arguments<'_>) {
        #[cfg(feature = "testing")]
        {
            if let Some(probe) = self.reader.as_ref().and_then(|seam| seam.probe()) {
                probe.line(&self.client, line);
            }
            if !self.is_logged {
                return;
            }
        }
        tracing::trace!(client = %self.client, "{line}");
    }

    /// Traces an operation from the client.
    pub(crate) fn received(&self, what: &dyn fmt::Display) {
        self.line(format_args!("<<- [{what}]"));
    }

    /// Traces an operation to the client.
    pub(crate) fn sent(&self, what: &dyn fmt::Display) {
        self.line(format_args!("->> [{what}]"));
    }

    /// Traces the end of a subscription.
    pub(crate) fn ended(&self, sid: &[u8]) {
        self.line(format_args!("<-> [DELSUB {}]", String::from_utf8_lossy(sid)));
    }

    /// Traces the payload of a message from the client.
    pub(crate) fn received_payload(&self, message: &Publish<'_>) {
        self.payload("<<-", message.headers().len(), message.body);
    }

    /// Traces the payload of a message to the client, behind `header_len` bytes of headers.
    pub(crate) fn sent_payload(&self, header_len: usize, body: &[u8]) {
        self.payload("->>", header_len, body);
    }

    // NATS 2.14: client.go traceMsgInternal. Headers are logged as part of the payload; the empty line
    // behind them is not, if only headers are logged.
    fn payload(&self, way: &str, header_len: usize, body: &[u8]) {
        let shown = if self.headers_only {
            body.get(..header_len.saturating_sub(4)).unwrap_or_default()
        } else {
            body
        };
        if shown.is_empty() {
            return;
        }
        let most = if self.max_payload_bytes == 0 { shown.len() } else { self.max_payload_bytes };
        let (shown, dots) = match shown.get(..most) {
            Some(start) if start.len() < shown.len() => (start, "..."),
            _ => (shown, ""),
        };
        self.line(format_args!("{way} MSG_PAYLOAD: [\"{}{dots}\"]", Escaped(shown)));
    }
}
