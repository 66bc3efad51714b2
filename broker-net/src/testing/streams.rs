//! Streams of a test broker.

use std::path::PathBuf;

use broker_streams::service::{Options, Streams};
pub use broker_streams::testing::TestDisk;

use super::broker::TestBroker;
use super::builder::TestBrokerBuilder;
use super::kit::StreamsConfig;

impl TestBrokerBuilder {
    /// Serves streams (JetStream) that need no directory: those in files are on a [`TestDisk`] in memory, which is the broker's own.
    /// They have no threads: everything happens in the runtime of the broker, by its clock, so that
    /// [`advance`](TestBroker::advance) or a paused time makes messages expire and redelivers them without waiting.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), async_nats::Error> {
    /// use async_nats::jetstream::{self, stream};
    /// use broker_net::testing::TestBroker;
    /// use std::time::Duration;
    ///
    /// let broker = TestBroker::builder().streams().start().await?;
    /// let context = jetstream::new(async_nats::connect(broker.url()).await?);
    /// let mut orders = context
    ///     .create_stream(stream::Config {
    ///         name: "ORDERS".into(),
    ///         subjects: vec!["orders.*".into()],
    ///         max_age: Duration::from_secs(3600),
    ///         ..Default::default()
    ///     })
    ///     .await?;
    /// context.publish("orders.eu", "7 apples".into()).await?.await?;
    ///
    /// broker.crash().await; // the power fails; what was acknowledged is on the disk
    /// broker.restart().await?;
    /// assert_eq!(orders.info().await?.state.messages, 1);
    ///
    /// broker.advance(Duration::from_secs(3601)).await; // takes no time
    /// assert_eq!(orders.info().await?.state.messages, 0);
    /// # Ok(()) }
    /// ```
    pub fn streams(self) -> Self {
        self.streams_with(Options::default())
    }

    /// Serves streams like [`Self::streams`], on that disk, which also outlives the broker.
    pub fn streams_on(mut self, disk: &TestDisk) -> Self {
        let options = Options::default();
        self.surroundings.streams = Some(StreamsConfig { options, disk: Some(disk.clone()) });
        self
    }

    /// Serves streams like [`Self::streams`], in files of a directory. Each publisher waits for the disk.
    pub fn streams_in(self, directory: impl Into<PathBuf>) -> Self {
        self.streams_with(Options { directory: Some(directory.into()), ..Options::default() })
    }

    /// Serves streams like [`Self::streams`] with other options; in files of the directory, if they have one.
    pub fn streams_with(mut self, options: Options) -> Self {
        self.surroundings.streams = Some(StreamsConfig { options, disk: None });
        self
    }
}

impl TestBroker {
    /// Returns the disk of its streams, whose faults it sets.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), async_nats::Error> {
    /// # use async_nats::jetstream::{self, stream};
    /// # use broker_net::testing::TestBroker;
    /// let broker = TestBroker::builder().streams().start().await?;
    /// let context = jetstream::new(async_nats::connect(broker.url()).await?);
    /// # let name = "ORDERS".to_owned();
    /// # let config = stream::Config { name, subjects: vec!["orders".into()], ..Default::default() };
    /// # context.create_stream(config).await?;
    /// broker.disk().set_capacity(0); // full
    /// assert!(context.publish("orders", vec![0; 1 << 16].into()).await?.await.is_err());
    /// broker.disk().set_capacity(1 << 30);
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if it has no streams, or has them in a directory.
    pub fn disk(&self) -> TestDisk {
        let disk =
            self.kit().surroundings.streams.as_ref().and_then(|streams| streams.disk.clone());
        disk.unwrap_or_else(|| panic!("the test broker has no disk: start it with `streams()`"))
    }

    /// Ends the server as a power failure does, and leaves it down until [`Self::restart`]: connections are gone, and of its streams
    /// what was not synced to the [disk](Self::disk) is lost or torn. With a directory it is killed: what the process did not write is
    /// lost.
    pub async fn crash(&self) {
        let kit = std::sync::Arc::clone(self.kit());
        let _ = self.there(async move { kit.crash().await }).await;
    }

    /// Looks at the streams; `None` without, and while the broker is down.
    pub fn with_streams<R>(&self, look: impl FnOnce(&Streams) -> R) -> Option<R> {
        self.kit().server()?.streams().map(look)
    }
}
