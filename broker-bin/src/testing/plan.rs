//! The sources of the options of a test broker, and the errors of its start.

use std::fmt;

use broker_net::testing::StartError as BrokerError;

use crate::options::{self, ConfigErrors, Loaded, Options, OptionsError, Request};

/// The file name in errors of a configuration given as text.
const TEXT: &str = "configuration";

pub(super) type ChangeOptions = Box<dyn Fn(&mut Options) + Send + Sync>;

/// The sources of the options of a test broker.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) text: Option<String>,
    pub(super) request: Request,
    pub(super) changes: Vec<ChangeOptions>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The configuration may contain passwords.
        f.debug_struct("Plan").finish_non_exhaustive()
    }
}

/// The test broker did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is invalid: all errors with their places, one per line.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The options set [beside the configuration](super::TestNatsdBuilder::options) contradict each
    /// other.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The broker did not start.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl Plan {
    /// Loads all sources.
    pub(super) fn load(&self) -> Result<Loaded, StartError> {
        let loaded = match &self.text {
            Some(text) => options::load_text(text, TEXT, &self.request)?,
            None => options::load(&self.request)?,
        };
        let loaded = self.change(loaded);
        loaded.options.check()?;
        Ok(loaded)
    }

    /// Loads another text in place of the configuration.
    pub(super) fn load_text(&self, text: &str) -> Result<Loaded, ConfigErrors> {
        options::load_text(text, TEXT, &self.request).map(|loaded| self.change(loaded))
    }

    fn change(&self, mut loaded: Loaded) -> Loaded {
        let options = &mut loaded.options;
        for change in &self.changes {
            change(options);
        }
        // Files of the program are not written in a test.
        options.pid_file = None;
        options.ports_file_dir = None;
        loaded
    }
}
