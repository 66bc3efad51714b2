//! The log: `tracing` events, printed as nats-server prints its lines.
//!
//! ```text
//! [7327] 2026/11/20 23:19:15.208626 [INF] Server is ready
//! ```
//!
//! An event is its message. A field `client` names the connection it is about and comes first
//! (`127.0.0.1:52174 - cid:5 - …`); `fatal` makes an error the one the program ends with ([`fatal`]);
//! any other field is appended as `name=value`.
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
//! | key | what |
//! | --- | --- |
//! | `time` | RFC 3339, microseconds, always UTC; missing if `logtime` is off |
//! | `level` | `trace`, `debug`, `info`, `warn`, `error` or `fatal` |
//! | `pid` | the process |
//! | `client` | the connection it is about, if it is about one |
//! | `message` | what would stand behind the label |
//! | any other | a field of the event, as text, number or truth value |
//!
//! # Where it goes
//!
//! To standard error, to a file that is moved aside when it grows too long
//! (`natsd.log.2026.11.20.23.19.15.208626123`), or to a syslog, whose lines have neither process, date
//! nor label: it has its own. A file or syslog that cannot be opened at the start ends the program;
//! later on the log copes. See [`LogOptions`].
//!
//! # Storms
//!
//! Lines that somebody outside can cause (`[ERR]`, `[WRN]`, and `[INF]` about a client) are written
//! ten times a minute if they say the same of the same host but for numbers, and a hundred times from one
//! place in the code. The others are counted, and the count is logged at the end of the minute.

mod file;
mod layer;
mod line;
mod record;
mod repeats;
mod sink;
mod syslog;
mod zone;

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

/// For a syslog to take the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Why there is no such log. The texts are what nats-server says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The log file cannot be opened.
    #[error("error opening log file {}: {source}", path.display())]
    File {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The syslog cannot be reached.
    #[error("error connecting to syslog: \"{0}\"")]
    Syslog(#[source] io::Error),
    /// Its address names neither `udp`, `tcp` nor `unix`.
    #[error("error invalid network type: {0:?}")]
    SyslogNetwork(String),
    /// Somebody has made another log the process's own.
    #[error("the process has a log already")]
    Installed,
}

/// Logs why the program cannot go on, as `[FTL]`.
pub fn fatal(why: &dyn std::fmt::Display) {
    tracing::error!(fatal = true, "{why}");
}

/// Opens the log that `options` ask for, and makes it the process's own. `program` is what a syslog
/// knows it by.
///
/// # Errors
///
/// As [`Logging::open`]; or the process has a `tracing` subscriber already.
pub fn install(options: &LogOptions, program: &str) -> Result<Logging, LogError> {
    let logging = Logging::open(options, program)?;
    tracing::subscriber::set_global_default(Registry::default().with(logging.layer()))
        .map_err(|_| LogError::Installed)?;
    Ok(logging)
}

/// A log that is open. Clones are the same log.
#[derive(Clone, Debug)]
pub struct Logging(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    program: String,
    now: ArcSwap<Current>,
    repeats: Mutex<Repeats<Identifier>>,
}

/// What may change while the program runs.
#[derive(Debug)]
struct Current {
    debug: bool,
    trace: bool,
    style: Style,
    place: Place,
    sink: Arc<Sink>,
}

impl Logging {
    /// Opens the log that `options` ask for. Connecting to a syslog may take seconds.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, the syslog not be reached, or its address not be read.
    pub fn open(options: &LogOptions, program: &str) -> Result<Self, LogError> {
        let current = Current::open(options, program, None)?;
        current.sink.set_limits(Limits::of(options), &current.style);
        Ok(Self(Arc::new(Shared {
            program: program.to_owned(),
            now: ArcSwap::from_pointee(current),
            repeats: Mutex::default(),
        })))
    }

    /// The log as a layer for a `tracing` subscriber of one's own.
    pub fn layer(&self) -> Log {
        Log::new(self.clone())
    }

    /// From here on the log is as `options` ask for: level, place, limits and form of its lines. A file
    /// or syslog that stays what it was stays open. Connecting to another syslog may take seconds.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); then nothing has changed.
    pub fn reconfigure(&self, options: &LogOptions) -> Result<(), LogError> {
        self.prepare(options).map(Next::switch)
    }

    /// Opens what `options` ask for beside what is written to, which stays what it is until
    /// [`Next::switch`]: for those who have other things to change with it, or not to.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn prepare(&self, options: &LogOptions) -> Result<Next, LogError> {
        let current = Current::open(options, &self.0.program, Some(&self.0.now.load()))?;
        let limits = Limits::of(options);
        Ok(Next { log: self.clone(), current, limits })
    }

    /// Opens the log file again under its name, after something moved it away; `false` if the log is no
    /// file.
    ///
    /// # Errors
    ///
    /// The file cannot be opened; lines go on to the one that was open.
    pub fn reopen(&self) -> io::Result<bool> {
        self.0.now.load().sink.reopen()
    }

    /// Writes what has been held back, and waits up to a second for a syslog to take it. To be called
    /// when the program ends.
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

    /// A storm that has ended has no next line that would bring its sum with it.
    fn sum_up_at(&self, due: Instant) {
        let shared = Arc::downgrade(&self.0);
        // Without a thread the sum waits for the next line.
        let _ = std::thread::Builder::new().name("log sums".into()).spawn(move || {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if let Some(shared) = shared.upgrade() {
                let sums = shared.repeats().due(Instant::now());
                shared.write_all(&sums);
            }
        });
    }
}

/// A log that is open, but not written to yet.
#[derive(Debug)]
#[must_use]
pub struct Next {
    log: Logging,
    current: Current,
    limits: Limits,
}

impl Next {
    /// From here on the log goes there.
    pub fn switch(self) {
        let Self { log, current, limits } = self;
        current.sink.set_limits(limits, &current.style);
        log.0.now.store(Arc::new(current));
        // Each place in the code remembers whether it is heard.
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
