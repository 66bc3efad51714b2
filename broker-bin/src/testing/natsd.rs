//! The broker that a test holds.

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

/// A [`TestBroker`] that goes by a configuration: see the [module](super).
#[derive(Debug)]
pub struct TestNatsd {
    broker: TestBroker,
    plan: Plan,
    warnings: Vec<Problem>,
    now: Mutex<Now>,
    /// Held by who changes options.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Now {
    /// Boxed, as there are hundreds of them.
    options: Box<Options>,
    deciders: Deciders,
    digest: Option<String>,
    /// Who looks at this run of the broker.
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
        let observer = Observer::of_test(&broker);
        observer.follow(&options, digest.as_deref());
        let options = Box::new(options);
        let now = Mutex::new(Now { options, deciders, digest, observer });
        Self { broker, plan, warnings, now, changing: tokio::sync::Mutex::default() }
    }

    /// What the configuration says that is not wrong but should not be.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Goes by another configuration, as natsd does at a reload.
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
    /// [`ReloadError`]: then nothing has changed.
    ///
    /// # Panics
    ///
    /// While it [restarts](TestBroker::restart).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, it may have changed the broker and go by the old configuration at the
    /// next call.
    pub async fn reload(&self, config: &str) -> Result<Reloaded, ReloadError> {
        let _changing = self.changing.lock().await;
        let Loaded { options, digest, .. } = self.plan.load_text(config)?;
        let plan = {
            let now = self.now();
            reload::Plan::make(&now.options, options, &now.deciders, None)?
        };
        let authenticators = plan.authenticators();
        let reload::Plan { options, changes, server, deciders, .. } = plan;
        let report = self.broker.apply_with(server.at_any_port(), authenticators).await?;
        let mut now = self.now();
        if let Some(options) = options {
            *now.options = options;
        }
        now.observer.follow(&now.options, digest.as_deref());
        now.digest = digest;
        if let Some(deciders) = deciders {
            now.deciders = deciders;
        }
        Ok(Reloaded { changes, excess: report.excess, was_read: true })
    }

    /// Restarts it with another configuration, at the same port: clients see a server that goes and comes back
    /// as another.
    ///
    /// # Errors
    ///
    /// [`StartError`]: what is wrong with the configuration, and then nothing has changed; or why there is no
    /// broker any more.
    ///
    /// # Cancel safety
    ///
    /// As [`TestBroker::restart`].
    pub async fn restart_with(&self, config: &str) -> Result<(), StartError> {
        let _changing = self.changing.lock().await;
        let Loaded { options, digest, .. } = self.plan.load_text(config)?;
        let deciders = options.checked_deciders()?;
        let authenticators = Some(deciders.clone().authenticators());
        let server = options.server().at_any_port();
        {
            let mut now = self.now();
            (*now.options, now.deciders, now.digest) = (options, deciders, digest);
        }
        let restarted = self.broker.restart_with(server, authenticators).await;
        restarted.map_err(|error| StartError::Broker(error.into()))
    }

    /// Looks at this run of the broker, as the monitoring endpoints do. After a
    /// [restart](TestBroker::restart), ask for another.
    ///
    /// # Panics
    ///
    /// While it restarts.
    pub fn observer(&self) -> Observer {
        let id = self.broker.broker().info().server_id;
        let mut now = self.now();
        if now.observer.server_id() != id {
            let observer = Observer::of_test(&self.broker);
            observer.follow(&now.options, now.digest.as_deref());
            now.observer = observer;
        }
        now.observer.clone()
    }

    /// What `/varz` shows: the server as a whole.
    ///
    /// # Panics
    ///
    /// As [`Self::observer`].
    pub fn varz(&self) -> Varz {
        self.observer().varz()
    }

    /// What `/connz?subs=1&auth=1` shows: the connections that are open, with what they subscribe to and whom
    /// they have logged in as. [`Observer::connz`] shows others.
    ///
    /// # Panics
    ///
    /// As [`Self::observer`].
    pub fn connz(&self) -> Connz {
        let subscriptions = SubscriptionLists::Subjects;
        let options = ConnzOptions { auth: true, subscriptions, ..ConnzOptions::default() };
        self.observer().connz(&options).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What `/subsz?subs=1` shows: all subscriptions. [`Observer::subsz`] shows others.
    ///
    /// # Panics
    ///
    /// As [`Self::observer`].
    pub fn subsz(&self) -> Subsz {
        let options = SubszOptions { subscriptions: true, ..SubszOptions::default() };
        self.observer().subsz(&options).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What `/healthz` shows.
    ///
    /// # Panics
    ///
    /// As [`Self::observer`].
    pub fn healthz(&self) -> Healthz {
        self.observer().healthz(&HealthzOptions::default())
    }

    /// What `/metrics` shows, in the text format of Prometheus; under the names that the configuration asks
    /// for.
    ///
    /// # Panics
    ///
    /// As [`Self::observer`].
    pub fn metrics_text(&self) -> String {
        let prefix = self.now().options.metrics_prefix;
        self.observer().metrics_text(prefix)
    }

    /// Ends the broker: see [`TestBroker::stop`].
    pub async fn stop(self) {
        self.broker.stop().await;
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
