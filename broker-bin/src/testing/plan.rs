//! The sources of the options of a test broker, and the errors of its start.

use std::fmt;

use broker_net::testing::StartError as BrokerError;

use crate::options::{self, ConfigErrors, Loaded, Options, OptionsError, Request};

/// What errors call a text that is no file.
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
        // A configuration may hold passwords.
        f.debug_struct("Plan").finish_non_exhaustive()
    }
}

/// Why a test broker did not start. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// What the configuration says is wrong: all of it, a line each, with its place.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// What it was told [beside the configuration](super::TestNatsdBuilder::options) contradicts itself.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The broker itself did not start.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl Plan {
    /// Reads all there is.
    pub(super) fn load(&self) -> Result<Loaded, StartError> {
        let loaded = match &self.text {
            Some(text) => options::load_text(text, TEXT, &self.request)?,
            None => options::load(&self.request)?,
        };
        let loaded = self.change(loaded);
        loaded.options.check()?;
        Ok(loaded)
    }

    /// Reads another text in place of what there was.
    pub(super) fn load_text(&self, text: &str) -> Result<Loaded, ConfigErrors> {
        options::load_text(text, TEXT, &self.request).map(|loaded| self.change(loaded))
    }

    fn change(&self, mut loaded: Loaded) -> Loaded {
        let options = &mut loaded.options;
        for change in &self.changes {
            change(options);
        }
        // What a program writes, a guest does not.
        options.pid_file = None;
        options.ports_file_dir = None;
        loaded
    }
}
