//! The test broker's handle.

use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

use broker_net::testing::TestBroker;

use super::plan::{Plan, StartError};
use crate::config::problem::Problem;
use crate::monitor::{
    Connz, ConnzOptions, Healthz, HealthzOptions, Observer, SubscriptionLists, Subsz, SubszOptions,
    Varz,
};
use crate::options::Loaded;
use crate::options::{Deciders, Options};
use crate::reload::{self, ReloadError, Reloaded};

/// A [`TestBroker`] with a configuration: see the [module](super).
#[derive(Debug)]
pub struct TestNatsd {
    broker: TestBroker,
    plan: Plan,
    warnings: Vec<Problem>,
    now: Mutex<Now>,
    /// Held while options are changed.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Now {
    /// Boxed because of its size.
    options: Box<Options>,
    deciders: Deciders,
    digest: Option<String>,
    /// Observes this run of the broker.
    observer: Observer,
}

impl Deref for TestNatsd {
    type Target = TestBroker;

    fn deref(&self) -> &TestBroker {
        &self.broker
    }
}

impl TestNatsd {
    pub(super) fn new(broker: TestBroker, plan: Plan, loaded: Loaded, deciders: Deciders) -> Self {
        let Loaded { options, digest, warnings, .. } = loaded;
        let observer = observer_of(&broker, &options, &deciders, digest.as_deref());
        let options = Box::new(options);
        let now = Mutex::new(Now { options, deciders, digest, observer });
        Self { broker, plan, warnings, now, changing: tokio::sync::Mutex::default() }
    }

    /// Returns the warnings of the configuration.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Applies another configuration, like a reload of natsd.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use broker_bin::testing::TestNatsd;
    /// let natsd = TestNatsd::start_with("max_payload: 1KB").await;
    /// let client = async_nats::connect(natsd.url()).await?;
    ///
    /// natsd.reload("max_payload: 1KB, authorization { token: s3cr3t }").await?;
    /// natsd.wait_for_clients(0).await; // it has none to show
    ///
    /// let refused = natsd.reload("max_payload: 1KB, server_name: other").await.unwrap_err();
    /// assert!(refused.to_string().contains("ServerName"), "{refused}");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`ReloadError`] and changes nothing.
    ///
    /// # Panics
    ///
    /// Panics while the broker [restarts](TestBroker::restart).
    ///
    /// # Cancel safety
    ///
    /// If dropped before it returns, the broker may have changed while the next call still compares
    /// against the old configuration.
    pub async fn reload(&self, config: &str) -> Result<Reloaded, ReloadError> {
        let _changing = self.changing.lock().await;
        let Loaded { options, digest, .. } = self.plan.load_text(config)?;
        let next = options.checked_deciders()?;
        let plan = {
            let now = self.now();
            reload::Plan::make(&now.options, (options, next), &now.deciders, None)?
        };
        let authenticators = plan.authenticators();
        let reload::Plan { options, changes, server, deciders, .. } = plan;
        let report = self.broker.apply_with(server.at_any_port(), authenticators).await?;
        #[cfg(feature = "jwt")]
        if let Some(operators) = deciders.as_ref().and_then(Deciders::operators) {
            operators.follow();
        }
        let mut now = self.now();
        if let Some(options) = options {
            #[cfg(feature = "streams")]
            self.broker.with_streams(|streams| {
                crate::streams::follow(streams, &now.options, &options);
            });
            *now.options = options;
        }
        now.observer.follow(&now.options, digest.as_deref());
        now.digest = digest;
        if let Some(deciders) = deciders {
            now.deciders = deciders;
        }
        Ok(Reloaded { changes, excess: report.excess, was_read: true })
    }

    /// Restarts the broker with another configuration at the same port: clients see the server go
    /// away and come back as another.
    ///
    /// # Errors
    ///
    /// Returns [`StartError`]. If the configuration is invalid, nothing has changed; otherwise the
    /// broker has stopped.
    ///
    /// # Cancel safety
    ///
    /// See [`TestBroker::restart`].
    pub async fn restart_with(&self, config: &str) -> Result<(), StartError> {
        let _changing = self.changing.lock().await;
        let Loaded { options, digest, .. } = self.plan.load_text(config)?;
        let deciders = options.checked_deciders()?;
        let authenticators = Some(deciders.clone().authenticators());
        let server = options.server().at_any_port();
        #[cfg(feature = "jwt")]
        self.broker
            .set_operator_mode(deciders.operators().map(|operators| operators.mode().clone()));
        {
            let mut now = self.now();
            (*now.options, now.deciders, now.digest) = (options, deciders, digest);
        }
        let restarted = self.broker.restart_with(server, authenticators).await;
        restarted.map_err(|error| StartError::Broker(error.into()))
    }

    /// Returns the monitoring data of this run of the broker. After a
    /// [restart](TestBroker::restart), request a new observer.
    ///
    /// # Panics
    ///
    /// Panics while the broker restarts.
    pub fn observer(&self) -> Observer {
        let id = self.broker.broker().info().server_id;
        let mut now = self.now();
        if now.observer.server_id() != id {
            let digest = now.digest.as_deref();
            now.observer = observer_of(&self.broker, &now.options, &now.deciders, digest);
        }
        now.observer.clone()
    }

    /// Returns the data of `/varz`: general data of the server.
    ///
    /// # Panics
    ///
    /// See [`Self::observer`].
    pub fn varz(&self) -> Varz {
        self.observer().varz()
    }

    /// Returns the data of `/connz?subs=1&auth=1`: open connections with their subscriptions and
    /// users. [`Observer::connz`] takes other parameters.
    ///
    /// # Panics
    ///
    /// See [`Self::observer`].
    pub fn connz(&self) -> Connz {
        let subscriptions = SubscriptionLists::Subjects;
        let options = ConnzOptions { auth: true, subscriptions, ..ConnzOptions::default() };
        self.observer().connz(&options).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns the data of `/subsz?subs=1`: all subscriptions. [`Observer::subsz`] takes other
    /// parameters.
    ///
    /// # Panics
    ///
    /// See [`Self::observer`].
    pub fn subsz(&self) -> Subsz {
        let options = SubszOptions { subscriptions: true, ..SubszOptions::default() };
        self.observer().subsz(&options).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns the data of `/healthz`.
    ///
    /// # Panics
    ///
    /// See [`Self::observer`].
    pub fn healthz(&self) -> Healthz {
        self.observer().healthz(&HealthzOptions::default())
    }

    /// Returns the text of `/metrics` in the Prometheus text format, with the configured names.
    ///
    /// # Panics
    ///
    /// See [`Self::observer`].
    pub fn metrics_text(&self) -> String {
        let prefix = self.now().options.metrics_prefix;
        self.observer().metrics_text(prefix)
    }

    /// Stops the broker: see [`TestBroker::stop`].
    pub async fn stop(self) {
        self.broker.stop().await;
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn observer_of(
    broker: &TestBroker,
    options: &Options,
    deciders: &Deciders,
    digest: Option<&str>,
) -> Observer {
    let observer = Observer::of_test(broker);
    observer.follow(options, digest);
    #[cfg(feature = "jwt")]
    if let Some(operators) = deciders.operators() {
        observer
            .update_facts(|facts| facts.operators = crate::monitor::OperatorFacts::of(operators));
    }
    #[cfg(not(feature = "jwt"))]
    let _ = deciders;
    observer
}
