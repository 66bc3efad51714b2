//! A test broker (cargo feature `testing`): in-process, started in one line, stopped when dropped.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use broker_net::testing::TestBroker;
//!
//! let broker = TestBroker::start().await; // any free port; ready
//! let confirmed = broker.tap("orders.confirmed"); // looks inside
//!
//! // The code under test, with the client that it uses anyway.
//! let client = async_nats::connect(broker.url()).await?;
//! client.publish("orders.confirmed", "7 apples".into()).await?;
//!
//! assert_eq!(confirmed.next().await.payload, "7 apples");
//! # Ok(()) }
//! ```
//!
//! # Features
//!
//! | | |
//! | --- | --- |
//! | start | [`TestBroker::start`], [`start_blocking`](TestBroker::start_blocking), and [a builder](TestBrokerBuilder) for more |
//! | inspect | [`tap`](TestBroker::tap), [`stats`](TestBroker::stats), [`connections`](TestBroker::connections), [`lines`](TestBroker::lines) |
//! | wait, instead of sleeping | [`wait_for_subscription`](TestBroker::wait_for_subscription), [`wait_for_clients`](TestBroker::wait_for_clients), [`wait_idle`](TestBroker::wait_idle), [`wait_until`](TestBroker::wait_until) anything, [`Tap::expect`] |
//! | inject faults | [`disturb`](TestBroker::disturb) messages, [`cut`](TestBroker::cut) and [stall](TestBroker::stall_writes) connections, [`refuse_connections`](TestBroker::refuse_connections), [`restart`](TestBroker::restart), [`fail_authentication`](TestBroker::fail_authentication), [`send_error`](TestBroker::send_error), [`send_info`](TestBroker::send_info), [`lame_duck`](TestBroker::lame_duck), [`apply`](TestBroker::apply) |
//! | streams | `TestBroker::builder().streams()`, and `crash()`, `disk()` with faults (cargo feature `streams`) |
//! | move the clock | [`advance`](TestBroker::advance) |
//! | several servers | [`TestCluster::start(3)`](TestCluster::start): [stop](TestCluster::stop), restart, [partition](TestCluster::partition), [isolate](TestCluster::isolate), heal and [cut](TestCluster::cut) them, [move their clocks](TestCluster::advance), [mix them](TestClusterBuilder::with_nats_server) with nats-server |
//!
//! # Runtime
//!
//! In the runtime of its caller: then a test runs on one thread, and time can be paused. A test
//! that blocks its thread would block the broker too: start it with
//! [`own_thread`](TestBrokerBuilder::own_thread), or, without a runtime, with
//! [`start_blocking`](TestBroker::start_blocking). [Waits](Wait) can be awaited on any executor, or
//! passed to [`block_on`].
//!
//! # Failing tests
//!
//! A wait that times out panics with a report of what happened instead. A broker dropped by a panic
//! prints the last lines of the protocol. This needs and installs no logger.

mod authenticator;
mod block_on;
mod broker;
mod builder;
#[cfg(feature = "testing-tls")]
mod certificates;
mod cluster;
mod disturbance;
mod fault;
mod kit;
mod lines;
mod listener;
#[cfg(feature = "jwt")]
mod operator;
mod own_thread;
mod start_error;
#[cfg(feature = "streams")]
mod streams;
mod tap;
mod tapped;
mod wait;
mod watcher;

pub use block_on::block_on;
pub use broker::TestBroker;
pub use builder::TestBrokerBuilder;
#[cfg(feature = "testing-tls")]
pub use certificates::{CertificateError, Certificates, Identity};
pub use cluster::{TestCluster, TestClusterBuilder};
pub use disturbance::Disturbance;
pub use fault::Fault;
pub use listener::{Answer, TestListener};
#[cfg(feature = "jwt")]
pub use operator::{TestAccount, TestOperator, TestSigningKey, TestUser};
pub use start_error::StartError;
#[cfg(feature = "streams")]
pub use streams::TestDisk;
pub use tap::Tap;
pub use tapped::Tapped;
pub use wait::Wait;

/// Returns how many turns of connections have ended on this thread because a transport was ready
/// and then made no progress: 0, if all transports report readiness correctly.
pub fn false_readiness() -> u64 {
    crate::transport::false_readiness()
}

pub use broker_core::auth::{
    Authenticator, Credentials, Decision, Denied, Grant, Permissions, User,
};
pub use broker_core::{Client, HeaderMap, Limits, Message, Subject, Subscriber};
