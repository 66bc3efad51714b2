//! Log destinations.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use super::LogError;
use super::file::{Limits, LogFile};
use super::line::Style;
use super::record::{Label, Record};
use super::syslog::{Address, Syslog};
use crate::options::{LogFormat, LogOptions};

/// A log destination as configured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Place {
    Stderr,
    File(PathBuf),
    Syslog(Address),
}

impl Place {
    // NATS 2.14: log.go ConfigureLogger, the first one that is set.
    pub(super) fn of(options: &LogOptions) -> Result<Self, LogError> {
        Ok(match options {
            LogOptions { file: Some(path), .. } => Self::File(path.clone()),
            LogOptions { remote_syslog: Some(url), .. } => Self::Syslog(Address::parse(url)?),
            LogOptions { syslog: true, .. } => Self::Syslog(Address::Local),
            _ => Self::Stderr,
        })
    }
}

/// An open log destination.
#[derive(Debug)]
pub(super) enum Sink {
    Stderr,
    File(LogFile),
    Syslog(Syslog),
}

impl Sink {
    /// Opens the destination; connecting to a syslog may take seconds.
    pub(super) fn open(place: Place, program: &str) -> Result<Self, LogError> {
        match place {
            Place::Stderr => Ok(Self::Stderr),
            Place::File(path) => LogFile::open(path.clone())
                .map(Self::File)
                .map_err(|source| LogError::File { path, source }),
            Place::Syslog(address) => {
                let syslog = Syslog::open(address, program, complain);
                syslog.map(Self::Syslog).map_err(LogError::Syslog)
            }
        }
    }

    /// Returns true if the destination is a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Stderr) && io::stderr().is_terminal()
    }

    /// Sets the limits of a file.
    pub(super) fn set_limits(&self, limits: Limits, style: &Style) {
        if let Self::File(file) = self {
            file.set_limits(limits, &|label, text: &str| {
                style.line(&Record::new(label, text.to_owned()))
            });
        }
    }

    /// Reopens the file at its path; returns false if there is none.
    pub(super) fn reopen(&self) -> io::Result<bool> {
        match self {
            Self::File(file) => file.reopen().map(|()| true),
            Self::Stderr | Self::Syslog(_) => Ok(false),
        }
    }

    pub(super) fn write(&self, record: &Record, style: &Style) {
        match self {
            Self::Stderr => to_stderr(&style.line(record)),
            Self::File(file) => {
                let notice = |label, text: &str| style.line(&Record::new(label, text.to_owned()));
                file.write(&style.line(record), &notice);
            }
            Self::Syslog(syslog) => syslog.write(record.label, style.bare(record)),
        }
    }

    /// Waits until all lines are written, at most for `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        if let Self::Syslog(syslog) = self {
            syslog.flush(patience);
        }
    }
}

/// Ignores errors: a closed pipe must not stop the server, and there is no other place to report
/// it.
fn to_stderr(line: &str) {
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Reports that the log itself is unreachable.
fn complain(text: String) {
    let style = Style { time: true, utc: false, colors: false, format: LogFormat::Text };
    to_stderr(&style.line(&Record::new(Label::Error, text)));
}
