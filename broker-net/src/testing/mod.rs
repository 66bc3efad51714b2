//! A broker for tests (cargo feature `testing`): in the process, ready in one line, gone when dropped.
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
//! # What it can do
//!
//! | | |
//! | --- | --- |
//! | start | [`TestBroker::start`], [`start_blocking`](TestBroker::start_blocking), and [a builder](TestBrokerBuilder) for more |
//! | look inside | [`tap`](TestBroker::tap), [`stats`](TestBroker::stats), [`connections`](TestBroker::connections), [`lines`](TestBroker::lines) |
//! | wait, instead of sleeping | [`wait_for_subscription`](TestBroker::wait_for_subscription), [`wait_for_clients`](TestBroker::wait_for_clients), [`wait_idle`](TestBroker::wait_idle), [`wait_until`](TestBroker::wait_until) anything, [`Tap::expect`] |
//! | do harm | [`disturb`](TestBroker::disturb) messages, [`cut`](TestBroker::cut) and [stall](TestBroker::stall_writes) connections, [`refuse_connections`](TestBroker::refuse_connections), [`restart`](TestBroker::restart), [`fail_authentication`](TestBroker::fail_authentication), [`send_error`](TestBroker::send_error), [`send_info`](TestBroker::send_info), [`lame_duck`](TestBroker::lame_duck), [`apply`](TestBroker::apply) |
//! | move the clock | [`advance`](TestBroker::advance) |
//!
//! # Where it lives
//!
//! In the runtime of whoever starts it: then a test is one thread's work, and time can be paused. A test
//! that blocks its thread would block the broker too: start it with
//! [`own_thread`](TestBrokerBuilder::own_thread), or, where there is no runtime at all, with
//! [`start_blocking`](TestBroker::start_blocking). Whatever [waits](Wait) can be awaited anywhere, or
//! given to [`block_on`].
//!
//! # When a test fails
//!
//! What waits in vain panics, and says what did happen. A broker that is dropped by a panic prints the
//! last lines that its clients said and were told. No logger is needed for it, and none is installed.

mod authenticator;
mod block_on;
mod broker;
mod builder;
#[cfg(feature = "testing-tls")]
mod certificates;
mod disturbance;
mod fault;
mod kit;
mod lines;
mod listener;
mod own_thread;
mod start_error;
mod tap;
mod tapped;
mod wait;
mod watcher;

pub use block_on::block_on;
pub use broker::TestBroker;
pub use builder::TestBrokerBuilder;
#[cfg(feature = "testing-tls")]
pub use certificates::{CertificateError, Certificates, Identity};
pub use disturbance::Disturbance;
pub use fault::Fault;
pub use listener::{Answer, TestListener};
pub use start_error::StartError;
pub use tap::Tap;
pub use tapped::Tapped;
pub use wait::Wait;

/// Returns how many turns of connections have ended on this thread because something was ready to be read or
/// written, and was not: never, if every transport means what it says.
pub fn false_readiness() -> u64 {
    crate::transport::false_readiness()
}

pub use broker_core::auth::{
    Authenticator, Credentials, Decision, Denied, Grant, Permissions, User,
};
pub use broker_core::{Client, HeaderMap, Limits, Message, Subject, Subscriber};
