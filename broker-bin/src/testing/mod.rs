//! A broker for tests that is told what natsd is told (cargo feature `testing`): the very text of a
//! configuration goes in, and what monitoring shows comes out.
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
//! It is a [`TestBroker`], and can do all that one can: look inside, wait, do harm, move the clock.
//!
//! # What a configuration says, and what a test makes of it
//!
//! | | |
//! | --- | --- |
//! | where it listens | any free port of `127.0.0.1`, so that tests do not meet; no socket in the file system |
//! | the log, the pid file, the ports file | nothing is written |
//! | the port of the monitoring endpoints | nobody listens; [`Observer`] shows the same without HTTP. (Or pass it to `Monitor::bind`, with the feature `monitoring`) |
//! | all else | holds. What natsd refuses is refused, in the same words, with its place |
//!
//! Nothing is read of the environment: what a configuration takes from there is given by
//! [`variable`](TestNatsdBuilder::variable).
//!
//! Whoever wants the whole program in the process, with its log and its endpoints, starts a
//! [`Daemon`](crate::Daemon).

mod builder;
mod natsd;
mod plan;
pub(crate) mod stall;

#[cfg(feature = "testing-tls")]
pub use broker_net::testing::{CertificateError, Certificates, Identity};
pub use broker_net::testing::{Fault, Tap, Tapped, TestBroker, TestBrokerBuilder, Wait, block_on};
pub use builder::TestNatsdBuilder;
pub use natsd::TestNatsd;
pub use plan::StartError;

#[cfg(doc)]
use crate::monitor::Observer;
