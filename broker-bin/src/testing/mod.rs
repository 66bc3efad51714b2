//! A test broker with natsd's configuration and monitoring (cargo feature `testing`): it takes the
//! text of a configuration file and returns the data of the monitoring endpoints.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use broker_bin::testing::TestNatsd;
//!
//! let natsd = TestNatsd::start_with(
//!     r#"
//!     listen: 0.0.0.0:4222     # in a test: any free port of 127.0.0.1
//!     max_payload: 1KB
//!     authorization { user: app, password: s3cr3t }
//!     "#,
//! )
//! .await;
//! let options = async_nats::ConnectOptions::with_user_and_password("app".into(), "s3cr3t".into());
//! let client = options.name("billing").connect(natsd.url()).await?;
//!
//! assert_eq!(natsd.varz().max_payload, 1024);
//! assert_eq!(natsd.connz().connections[0].name.as_ref(), "billing");
//! # Ok(()) }
//! ```
//!
//! It dereferences to [`TestBroker`], which inspects, waits, injects faults and moves the clock.
//!
//! # Differences from natsd
//!
//! | | |
//! | --- | --- |
//! | listeners | any free port of `127.0.0.1`, so that tests do not collide; no Unix socket |
//! | log, pid file, ports file | not written |
//! | streams (`jetstream`) | on a disk in memory, [`TestBroker::disk`], which restarts and crashes keep; `store_dir` is not used |
//! | monitoring port | not bound; [`Observer`] returns the same data. (Or pass it to `Monitor::bind`, with the feature `monitoring`) |
//! | everything else | as configured; invalid configurations are refused with natsd's messages |
//!
//! The environment is not read: [`variable`](TestNatsdBuilder::variable) sets what a configuration
//! takes from there.
//!
//! To run the whole program in the process, with log and endpoints, start a
//! [`Daemon`](crate::Daemon).

mod builder;
mod natsd;
mod plan;
pub(crate) mod stall;

#[cfg(feature = "testing-tls")]
pub use broker_net::testing::{CertificateError, Certificates, Identity};
pub use broker_net::testing::{
    Fault, Tap, Tapped, TestBroker, TestBrokerBuilder, TestCluster, TestClusterBuilder, Wait,
    block_on,
};
pub use builder::TestNatsdBuilder;
pub use natsd::TestNatsd;
pub use plan::StartError;

#[cfg(doc)]
use crate::monitor::Observer;
