//! Applies new options to a running daemon: all of them or none.
//!
//! Any error that would have prevented the start leaves a reload without effect: an invalid
//! configuration, a log that cannot be opened, a pid file that cannot be written. Changes that take
//! a restart are refused by name, all in one message.

use std::path::PathBuf;
use std::{fmt, io};

use broker_net::{ApplyError, Authenticators, ServerOptions};

use crate::config::table::Reload;
use crate::logging::{LogError, Logging, Next};
use crate::options::{Change, ConfigErrors, diff};
use crate::options::{Deciders, Options, OptionsError};
use crate::pid_file;

/// The outcome of a reload.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reloaded {
    /// The changed options.
    pub changes: Vec<Change>,
    /// Number of connections closed because they exceed a lowered limit.
    pub excess: usize,
    /// The configuration was read, which leaves free memory behind. Unchanged files are not read.
    pub(crate) was_read: bool,
}

/// Nothing was changed. The text is the log's; it has one line per reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// There is no configuration file to read again.
    // NATS 2.14: reload.go Reload.
    #[error("can only reload config when a file is provided using -c or --config")]
    NoFile,
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// Options contradict each other.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The changes take a restart.
    #[error("{}", Lines(.0))]
    NotAtRunTime(Vec<Change>),
    /// An account that is to have routes of its own does not exist.
    // NATS 2.14: reload.go diffOptions.
    #[error("unable to add account {0:?} to the list of dedicated routes: account missing")]
    RouteAccount(String),
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The pid file cannot be written.
    #[error("Could not write pidfile: {}: {source}", path.display())]
    PidFile {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The server refused the options.
    #[error(transparent)]
    Server(#[from] ApplyError),
    /// The system provided no thread for reading files, or the thread ended without a result.
    #[error("could not read the configuration: {0}")]
    Thread(String),
}

/// Displays one change per line.
struct Lines<'a>(&'a [Change]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, change) in self.0.iter().enumerate() {
            write!(f, "{}{change}", if index > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

/// The steps of a reload. Once a plan exists, nothing can refuse it.
pub(crate) struct Plan {
    /// The new options; `None` if unchanged.
    pub(crate) options: Option<Options>,
    pub(crate) changes: Vec<Change>,
    pub(crate) server: ServerOptions,
    /// The access rules, if changed.
    pub(crate) deciders: Option<Deciders>,
    /// The new log, if changed.
    pub(crate) log: Option<Next>,
}

impl Plan {
    /// Compares options with those that were checked, given with their access rules, and opens files. May take long: a
    /// syslog may be slow.
    pub(crate) fn make(
        old: &Options,
        (mut new, next): (Options, Deciders),
        before: &Deciders,
        log: Option<&Logging>,
    ) -> Result<Self, ReloadError> {
        new.program.clone_from(&old.program);
        let changes = diff(old, &new);
        let (refused, changes): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|change| change.reload == Reload::Restart);
        if !refused.is_empty() {
            return Err(ReloadError::NotAtRunTime(refused));
        }
        if let Some(name) = new.missing_route_account(old) {
            return Err(ReloadError::RouteAccount(name.to_owned()));
        }
        let deciders = match changes.iter().any(Change::is_about_access) {
            true => Some(next.succeeding(before)),
            false => None,
        };
        let log = match log {
            Some(log) if old.log() != new.log() => Some(log.prepare(&new.log())?),
            _ => None,
        };
        // The last step, because it cannot be undone.
        if let Some(path) = new.pid_file.as_ref().filter(|path| old.pid_file.as_ref() != Some(path))
        {
            pid_file::write(path)
                .map_err(|source| ReloadError::PidFile { path: path.clone(), source })?;
        }
        let mut server = new.server();
        deciders.as_ref().unwrap_or(before).delegation.introduce(&mut server);
        // A change that is not listed is none: a requested "any free port" keeps the current port.
        let options = (!changes.is_empty()).then_some(new);
        Ok(Self { options, changes, server, deciders, log })
    }

    /// Applies the same options again: only the files that they name may have changed.
    pub(crate) fn repeat(old: &Options, deciders: &Deciders) -> Result<Self, ReloadError> {
        old.check_all_but_access()?;
        deciders.check_files()?;
        let (changes, mut server) = (Vec::new(), old.server());
        deciders.delegation.introduce(&mut server);
        Ok(Self { options: None, changes, server, deciders: None, log: None })
    }

    pub(crate) fn authenticators(&self) -> Option<Authenticators> {
        self.deciders.clone().map(Deciders::authenticators)
    }

    /// Returns the number of changes logged before the server logs its own changes.
    // NATS 2.14: the number of closed connections precedes the limit.
    pub(crate) fn lines_before_the_server_s(changes: &[Change]) -> usize {
        let is_limit = |change: &Change| change.path == "max_connections";
        changes.iter().position(is_limit).unwrap_or(changes.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use broker_core::auth::{Credentials, Grant};

    use super::*;
    use crate::options::{BUILT_LISTS, Request, load_checked};

    const NAMES: [&str; 2] = ["same", "changed"];

    fn config(password: &str) -> String {
        let user = |name: &str, password: &str| {
            format!("{{ user: {name}, password: {password}, permissions: {{ publish: {name} }} }}")
        };
        format!(
            "authorization {{ users: [ {}, {} ] }}",
            user("same", "s"),
            user("changed", password)
        )
    }

    /// Checks the file with this password.
    fn load(password: &str) -> (Options, Deciders) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("natsd.conf");
        std::fs::write(&file, config(password)).unwrap();
        let request = Request { file: Some(file), ..Request::default() };
        let (loaded, deciders) = load_checked(&request).unwrap();
        (loaded.options, deciders)
    }

    fn grants(deciders: &Deciders, password: &str) -> [Grant; 2] {
        let authenticator = deciders.all.clone().authenticator();
        [("same", "s"), ("changed", password)].map(|(name, password)| {
            let mut credentials = Credentials::default();
            (credentials.user, credentials.password) = (name.into(), password.into());
            authenticator.authenticate(&credentials).resolve().unwrap()
        })
    }

    /// With tens of thousands of users they take most of the time of a reload.
    #[test]
    fn a_reload_builds_the_access_rules_once_and_keeps_unchanged_permissions() {
        let (old, before) = load("one");
        BUILT_LISTS.set(0);
        let checked = load("two");
        assert_eq!(BUILT_LISTS.get(), 1, "by the check");
        let plan = Plan::make(&old, checked, &before, None).unwrap();
        assert_eq!(BUILT_LISTS.get(), 1, "the plan takes those");
        assert!(plan.authenticators().is_some());
        let (was, now) = (grants(&before, "one"), grants(&plan.deciders.unwrap(), "two"));
        for ((was, now), name) in was.iter().zip(&now).zip(NAMES) {
            let (was, now) = (was.permissions.as_ref().unwrap(), now.permissions.as_ref().unwrap());
            assert!(Arc::ptr_eq(was, now), "{name}");
        }
        Plan::repeat(&old, &before).unwrap();
        assert_eq!(BUILT_LISTS.get(), 1, "unchanged files need none");
    }

    /// A plan that built them itself would not take these, which are of no options.
    #[test]
    fn a_plan_takes_the_access_rules_of_the_check() {
        let ((old, before), (new, _), (_, other)) = (load("one"), load("two"), load("three"));
        let plan = Plan::make(&old, (new, other), &before, None).unwrap();
        grants(&plan.deciders.unwrap(), "three");
    }
}
