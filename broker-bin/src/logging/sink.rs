//! Where lines go.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use super::LogError;
use super::file::{Limits, LogFile};
use super::line::Style;
use super::record::{Label, Record};
use super::syslog::{Address, Syslog};
use crate::options::{LogFormat, LogOptions};

/// A place for the log, as it was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Place {
    Stderr,
    File(PathBuf),
    Syslog(Address),
}

impl Place {
    // NATS 2.14: log.go ConfigureLogger, the first of them that is set.
    pub(super) fn of(options: &LogOptions) -> Result<Self, LogError> {
        Ok(match options {
            LogOptions { file: Some(path), .. } => Self::File(path.clone()),
            LogOptions { remote_syslog: Some(url), .. } => Self::Syslog(Address::parse(url)?),
            LogOptions { syslog: true, .. } => Self::Syslog(Address::Local),
            _ => Self::Stderr,
        })
    }
}

/// A place that is open.
#[derive(Debug)]
pub(super) enum Sink {
    Stderr,
    File(LogFile),
    Syslog(Syslog),
}

impl Sink {
    /// Opens it; a syslog is connected to, which may take seconds.
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

    /// A person is reading along.
    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Stderr) && io::stderr().is_terminal()
    }

    /// From here on these limits hold for a file.
    pub(super) fn set_limits(&self, limits: Limits, style: &Style) {
        if let Self::File(file) = self {
            file.set_limits(limits, &|label, text: &str| {
                style.line(&Record::new(label, text.to_owned()))
            });
        }
    }

    /// Opens the file again under its name; `false` if there is none.
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

    /// Waits until all is written, or for `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        if let Self::Syslog(syslog) = self {
            syslog.flush(patience);
        }
    }
}

/// A closed pipe must not stop the server, and there is nowhere left to say so.
fn to_stderr(line: &str) {
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// What a log says that cannot be reached itself.
fn complain(text: String) {
    let style = Style { time: true, utc: false, colors: false, format: LogFormat::Text };
    to_stderr(&style.line(&Record::new(Label::Error, text)));
}
