//! The log: `tracing` events, printed as nats-server prints its lines.
//!
//! ```text
//! [7327] 2026/11/20 23:19:15.208626 [INF] Server is ready
//! ```
//!
//! The message of an event is its text. A field `client` names the connection and is printed first
//! (`127.0.0.1:52174 - cid:5 - …`); `fatal` marks the error that ends the program ([`fatal`]);
//! other fields are appended as `name=value`.
//!
//! # JSON
//!
//! With [`LogFormat::Json`](crate::options::LogFormat::Json) a line is one object:
//!
//! ```json
//! {"time":"2026-11-20T23:19:15.208626Z","level":"info","pid":7327,"message":"Server is ready"}
//! {"time":"2026-11-20T23:19:16.104001Z","level":"error","pid":7327,"client":"127.0.0.1:52174 - cid:5","message":"authentication error"}
//! ```
//!
//! | key | value |
//! | --- | --- |
//! | `time` | RFC 3339, microseconds, always UTC; missing if `logtime` is off |
//! | `level` | `trace`, `debug`, `info`, `warn`, `error` or `fatal` |
//! | `pid` | the process |
//! | `client` | the connection, if the event concerns one |
//! | `message` | the text after the label |
//! | any other | a field of the event, as text, number or boolean |
//!
//! # Destinations
//!
//! Standard error, a file that is rotated when it reaches its size limit
//! (`natsd.log.2026.11.20.23.19.15.208626123`), or a syslog, whose lines omit process, date and
//! label because a syslog records its own. A file or syslog that cannot be opened at the start ends
//! the program; later failures do not. See [`LogOptions`].
//!
//! # Repeated lines
//!
//! Lines that remote parties can cause (`[ERR]`, `[WRN]`, and `[INF]` about a client) are written
//! ten times a minute if they differ from each other only in numbers and concern the same host, and
//! a hundred times a minute per place in the code. The others are counted, and the count is logged
//! at the end of the minute.

mod file;
mod layer;
mod line;
mod record;
mod repeats;
mod sink;
mod syslog;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tracing::callsite::Identifier;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

use crate::options::LogOptions;
use file::Limits;
pub use layer::Log;
use line::Style;
use record::Record;
use repeats::{Repeats, Verdict};
use sink::{Place, Sink};

/// Time for a syslog to take the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The log cannot be opened. The texts are those of nats-server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The log file cannot be opened.
    #[error("error opening log file {}: {source}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The syslog cannot be reached.
    #[error("error connecting to syslog: \"{0}\"")]
    Syslog(#[source] io::Error),
    /// Its address names neither `udp`, `tcp` nor `unix`.
    #[error("error invalid network type: {0:?}")]
    SyslogNetwork(String),
    /// Another log is already installed in this process.
    #[error("the process has a log already")]
    Installed,
}

/// Logs the reason why the program ends, as `[FTL]`.
pub fn fatal(why: &dyn std::fmt::Display) {
    tracing::error!(fatal = true, "{why}");
}

/// Opens the log described by `options` and installs it for the process. `program` is its name in a
/// syslog.
///
/// # Errors
///
/// As [`Logging::open`]; also if the process already has a `tracing` subscriber.
pub fn install(options: &LogOptions, program: &str) -> Result<Logging, LogError> {
    let logging = Logging::open(options, program)?;
    tracing::subscriber::set_global_default(Registry::default().with(logging.layer()))
        .map_err(|_| LogError::Installed)?;
    Ok(logging)
}

/// An open log. Clones share it.
#[derive(Clone, Debug)]
pub struct Logging(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    program: String,
    now: ArcSwap<Current>,
    repeats: Mutex<Repeats<Identifier>>,
}

/// The settings that may change while the program runs.
#[derive(Debug)]
struct Current {
    debug: bool,
    trace: bool,
    style: Style,
    place: Place,
    sink: Arc<Sink>,
}

impl Logging {
    /// Opens the log described by `options`. Connecting to a syslog may take seconds.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, the syslog cannot be reached, or its address is invalid.
    pub fn open(options: &LogOptions, program: &str) -> Result<Self, LogError> {
        let current = Current::open(options, program, None)?;
        current.sink.set_limits(Limits::of(options), &current.style);
        Ok(Self(Arc::new(Shared {
            program: program.to_owned(),
            now: ArcSwap::from_pointee(current),
            repeats: Mutex::default(),
        })))
    }

    /// Returns a layer for the caller's own `tracing` subscriber.
    pub fn layer(&self) -> Log {
        Log::new(self.clone())
    }

    /// Applies the log options: level, destination, limits and format. An unchanged file or syslog
    /// stays open. Connecting to another syslog may take seconds.
    ///
    /// # Errors
    ///
    /// See [`open`](Self::open); nothing has changed then.
    pub fn reconfigure(&self, options: &LogOptions) -> Result<(), LogError> {
        self.prepare(options).map(Next::switch)
    }

    /// Opens the destination described by `options` without switching to it until [`Next::switch`]
    /// is called, for callers that change other settings at the same time.
    ///
    /// # Errors
    ///
    /// See [`open`](Self::open).
    pub fn prepare(&self, options: &LogOptions) -> Result<Next, LogError> {
        let current = Current::open(options, &self.0.program, Some(&self.0.now.load()))?;
        let limits = Limits::of(options);
        Ok(Next { log: self.clone(), current, limits })
    }

    /// Reopens the log file at its path after it was moved; returns false if the log is not a file.
    ///
    /// # Errors
    ///
    /// The file cannot be opened; logging continues in the previous one.
    pub fn reopen(&self) -> io::Result<bool> {
        self.0.now.load().sink.reopen()
    }

    /// Writes held-back lines, and waits up to a second for a syslog to take them. Call it when the
    /// program ends.
    pub fn flush(&self) {
        let sums = self.0.repeats().take();
        self.0.write_all(&sums);
        self.0.now.load().sink.flush(LAST_LINES);
    }

    fn log(&self, place: Identifier, record: &Record) {
        if Repeats::<Identifier>::concern(record) && !self.admit(place, record) {
            return;
        }
        self.0.write_all(std::slice::from_ref(record));
    }

    fn admit(&self, place: Identifier, record: &Record) -> bool {
        let now = Instant::now();
        let mut repeats = self.0.repeats();
        let sums = repeats.due(now);
        let verdict = repeats.judge(now, place, record);
        drop(repeats);
        self.0.write_all(&sums);
        if let Verdict::Hold(Some(due)) = verdict {
            self.sum_up_at(due);
        }
        verdict == Verdict::Write
    }

    /// Schedules the summary of a storm, since no later line may trigger it.
    fn sum_up_at(&self, due: Instant) {
        let shared = Arc::downgrade(&self.0);
        // Without a thread, the summary waits for the next line.
        let _ = std::thread::Builder::new().name("log sums".into()).spawn(move || {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if let Some(shared) = shared.upgrade() {
                let sums = shared.repeats().due(Instant::now());
                shared.write_all(&sums);
            }
        });
    }
}

/// An open log that is not in use yet.
#[derive(Debug)]
#[must_use]
pub struct Next {
    log: Logging,
    current: Current,
    limits: Limits,
}

impl Next {
    /// Switches the log to this destination.
    pub fn switch(self) {
        let Self { log, current, limits } = self;
        current.sink.set_limits(limits, &current.style);
        log.0.now.store(Arc::new(current));
        // Each call site caches whether its events are wanted.
        tracing::callsite::rebuild_interest_cache();
    }
}

impl Shared {
    fn repeats(&self) -> std::sync::MutexGuard<'_, Repeats<Identifier>> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, records: &[Record]) {
        let now = self.now.load();
        for record in records {
            now.sink.write(record, &now.style);
        }
    }
}

impl Current {
    fn open(options: &LogOptions, program: &str, last: Option<&Self>) -> Result<Self, LogError> {
        let place = Place::of(options)?;
        let sink = match last {
            Some(last) if last.place == place => Arc::clone(&last.sink),
            _ => Arc::new(Sink::open(place.clone(), program)?),
        };
        let style = Style {
            time: options.time,
            utc: options.utc,
            colors: sink.is_terminal(),
            format: options.format,
        };
        Ok(Self { debug: options.debug, trace: options.trace, style, place, sink })
    }
}

#[cfg(test)]
mod tests;
