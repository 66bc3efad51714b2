//! Options for a daemon that serves: all of them take effect, or none.
//!
//! What would have kept natsd from starting keeps a reload from changing anything: a configuration that
//! is wrong, a log that cannot be opened, a pid file that cannot be written. What takes a restart is
//! refused by name, all of it at once.

use std::path::PathBuf;
use std::{fmt, io};

use broker_net::{ApplyError, Authenticators, ServerOptions};

use crate::config::table::Reload;
use crate::logging::{LogError, Logging, Next};
use crate::options::{Change, ConfigErrors, diff};
use crate::options::{Deciders, Options, OptionsError};
use crate::pid_file;

/// What came of a reload.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reloaded {
    /// What is another than before.
    pub changes: Vec<Change>,
    /// How many connections were cut because there were more than may be now.
    pub excess: usize,
    /// The configuration was read, and so memory used that is free again. It is not, where its files are as
    /// they were.
    pub(crate) was_read: bool,
}

/// Why nothing was changed. The text is what the log says; where there are several reasons, it has a line
/// for each.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// There is nothing to read again.
    // NATS 2.14: reload.go Reload.
    #[error("can only reload config when a file is provided using -c or --config")]
    NoFile,
    /// What is to be loaded is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// Settings that contradict each other.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// Something that takes a restart.
    #[error("{}", Lines(.0))]
    NotAtRunTime(Vec<Change>),
    /// There is no such log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The pid file cannot be written.
    #[error("Could not write pidfile: {}: {source}", path.display())]
    PidFile {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The server itself has something against it.
    #[error(transparent)]
    Server(#[from] ApplyError),
    /// The system gave no thread to read files in, or it ended without a result.
    #[error("could not read the configuration: {0}")]
    Thread(String),
}

/// One a line.
struct Lines<'a>(&'a [Change]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, change) in self.0.iter().enumerate() {
            write!(f, "{}{change}", if index > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

/// Everything that a reload will do. To have one means that nothing stands against it.
pub(crate) struct Plan {
    /// `None`: as they were.
    pub(crate) options: Option<Options>,
    pub(crate) changes: Vec<Change>,
    pub(crate) server: ServerOptions,
    /// Who may connect, if that has changed.
    pub(crate) deciders: Option<Deciders>,
    /// The log that is to be written to, if something about it has changed.
    pub(crate) log: Option<Next>,
}

impl Plan {
    /// Compares, checks and opens. Takes its time: a syslog may be slow.
    pub(crate) fn make(
        old: &Options,
        mut new: Options,
        deciders: &Deciders,
        log: Option<&Logging>,
    ) -> Result<Self, ReloadError> {
        new.program.clone_from(&old.program);
        let next = new.checked_deciders()?;
        let changes = diff(old, &new);
        let (refused, changes): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|change| change.reload == Reload::Restart);
        if !refused.is_empty() {
            return Err(ReloadError::NotAtRunTime(refused));
        }
        let deciders = match changes.iter().any(Change::is_about_access) {
            true => Some(next.succeeding(deciders)),
            false => None,
        };
        let log = match log {
            Some(log) if old.log() != new.log() => Some(log.prepare(&new.log())?),
            _ => None,
        };
        // The last, because it cannot be taken back.
        if let Some(path) = new.pid_file.as_ref().filter(|path| old.pid_file.as_ref() != Some(path))
        {
            pid_file::write(path)
                .map_err(|source| ReloadError::PidFile { path: path.clone(), source })?;
        }
        let server = new.server();
        // A change that is not listed is none: a port that was to be any free one.
        let options = (!changes.is_empty()).then_some(new);
        Ok(Self { options, changes, server, deciders, log })
    }

    /// The same options once more: only the files that they name may have changed.
    pub(crate) fn repeat(old: &Options) -> Result<Self, ReloadError> {
        old.check_all_but_access()?;
        let (changes, server) = (Vec::new(), old.server());
        Ok(Self { options: None, changes, server, deciders: None, log: None })
    }

    pub(crate) fn authenticators(&self) -> Option<Authenticators> {
        self.deciders.clone().map(Deciders::authenticators)
    }

    /// How many of the changes the log tells before the server logs what it has done.
    // NATS 2.14: it tells how many connections it closes, and then the limit.
    pub(crate) fn lines_before_the_server_s(changes: &[Change]) -> usize {
        let is_limit = |change: &Change| change.path == "max_connections";
        changes.iter().position(is_limit).unwrap_or(changes.len())
    }
}
