//! Builds a test broker from a configuration.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use broker_net::testing::{TestBroker, TestBrokerBuilder};

use super::natsd::TestNatsd;
use super::plan::{Plan, StartError};
use crate::options::{Access, Deciders, Loaded, Options};

/// Builds a [`TestNatsd`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use broker_bin::testing::TestNatsd;
///
/// let natsd = TestNatsd::builder()
///     .config("authorization { token: $TOKEN }")
///     .variable("TOKEN", "s3cr3t")
///     .options(|options| options.max_connections = 10)
///     .broker(|broker| broker.seed(7).own_thread())
///     .start()
///     .await?;
/// assert_eq!(natsd.varz().max_connections, 10);
/// # Ok(()) }
/// ```
#[must_use = "it is started by `start` or `start_blocking`"]
#[derive(Default)]
pub struct TestNatsdBuilder {
    plan: Plan,
    broker: Vec<ChangeBroker>,
}

type ChangeBroker = Box<dyn FnOnce(TestBrokerBuilder) -> TestBrokerBuilder + Send>;
impl fmt::Debug for TestNatsdBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestNatsdBuilder").finish_non_exhaustive()
    }
}

impl TestNatsdBuilder {
    /// Sets the configuration, in the language of configuration files.
    pub fn config(mut self, text: impl Into<String>) -> Self {
        self.plan.text = Some(text.into());
        self.plan.request.file = None;
        self
    }

    /// Sets the configuration file. Included files are looked up relative to it.
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.plan.text = None;
        self.plan.request.file = Some(path.into());
        self
    }

    /// Sets a variable for `$NAME` in the configuration. The environment of the test is not used.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.plan.request.environment.insert(name.into(), value.into());
        self
    }

    /// Changes options after the configuration is applied, and again after each
    /// [reload](TestNatsd::reload).
    pub fn options(mut self, change: impl Fn(&mut Options) + Send + Sync + 'static) -> Self {
        self.plan.changes.push(Box::new(change));
        self
    }

    /// Sets options of the broker that a configuration does not have: a seed, the number of
    /// recorded lines, a dedicated thread.
    pub fn broker(
        mut self,
        change: impl FnOnce(TestBrokerBuilder) -> TestBrokerBuilder + Send + 'static,
    ) -> Self {
        self.broker.push(Box::new(change));
        self
    }

    /// Starts the broker. Clients can connect once this returns.
    ///
    /// # Errors
    ///
    /// Returns [`StartError`].
    ///
    /// # Cancel safety
    ///
    /// If dropped before it returns, nothing is left running.
    pub async fn start(self) -> Result<TestNatsd, StartError> {
        let (builder, ready) = self.prepare()?;
        Ok(ready.with(builder.start().await?))
    }

    /// Starts the broker on a dedicated thread and blocks until it is ready, for tests without a
    /// runtime.
    ///
    /// # Errors
    ///
    /// See [`Self::start`].
    pub fn start_blocking(self) -> Result<TestNatsd, StartError> {
        let (builder, ready) = self.prepare()?;
        Ok(ready.with(builder.start_blocking()?))
    }

    fn prepare(self) -> Result<(TestBrokerBuilder, Ready), StartError> {
        let Self { plan, broker } = self;
        let loaded = plan.load()?;
        let deciders = loaded.options.deciders()?;
        let mut server = loaded.options.server();
        let is_delegated = deciders.delegation.is_on();
        // Otherwise the id is made from the seed, and is another one after a restart.
        if is_delegated {
            deciders.delegation.introduce(&mut server);
        }
        let mut builder = TestBroker::builder().all_options(server);
        #[cfg(feature = "jwt")]
        if let Some(operators) = deciders.operators() {
            builder = builder.operator_mode(operators.mode().clone());
        }
        let authenticators = deciders.clone().authenticators();
        // Without configured users, a call may still add some.
        if is_delegated || !matches!(deciders.all, Access::Anybody) {
            builder = builder.authenticator(authenticators.all);
        }
        if let Some(authenticator) = authenticators.websocket {
            builder = builder.websocket_authenticator(authenticator);
        }
        #[cfg(feature = "streams")]
        if let Some(streams) = loaded.options.streams() {
            // In memory, and by the seed of the broker.
            let in_test = broker_streams::service::Options { directory: None, seed: 0, ..streams };
            builder = builder.streams_with(in_test);
        }
        let builder = broker.into_iter().fold(builder, |builder, change| change(builder));
        Ok((builder, Ready { plan, loaded, deciders }))
    }
}

/// All parts except the broker.
struct Ready {
    plan: Plan,
    loaded: Loaded,
    deciders: Deciders,
}

impl Ready {
    fn with(self, broker: TestBroker) -> TestNatsd {
        TestNatsd::new(broker, self.plan, self.loaded, self.deciders)
    }
}

impl TestNatsd {
    /// Starts a broker with a configuration. Clients can connect once this returns.
    ///
    /// # Panics
    ///
    /// Panics if it does not start, with all errors and their places. [`TestNatsdBuilder::start`]
    /// returns an error instead.
    pub async fn start_with(config: impl Into<String>) -> Self {
        let starting = Self::builder().config(config).start();
        starting.await.unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    /// Returns a builder.
    pub fn builder() -> TestNatsdBuilder {
        TestNatsdBuilder::default()
    }
}

/// Formats an error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
