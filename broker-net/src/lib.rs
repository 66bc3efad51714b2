//! natsd on tokio: listeners, connections, and the [`Server`] that a program embeds.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = broker_net::Server::builder().bind().await?;
//! let client = async_nats::connect(server.url()).await?;
//!
//! let mut orders = server.client().subscribe("orders.*").await?;
//! client.publish("orders.eu", "one".into()).await?;
//! assert_eq!(orders.next().await.unwrap().payload, "one");
//! # Ok(()) }
//! ```

#![cfg_attr(not(test), warn(clippy::disallowed_methods, clippy::disallowed_types))]

mod advertise;
mod apply;
mod auth_checks;
mod authenticators;
mod clock;
mod cluster;
mod conn;
mod context;
mod dial;
mod handshake;
mod interfaces;
mod lame_duck;
mod listen;
mod listeners;
#[cfg(feature = "testing")]
mod network;
#[cfg(not(feature = "testing"))]
mod no_network;
#[cfg(not(feature = "testing"))]
mod no_stall;
mod options;
mod phase;
mod pipe;
pub mod proxy;
mod random;
mod reserve;
mod server;
#[cfg(feature = "testing")]
mod stall;
mod status;
mod tcp_options;
#[cfg(feature = "testing")]
pub mod testing;
mod transport;
mod unauthenticated;
#[cfg(feature = "websocket")]
pub mod websocket;
mod workers;

pub use advertise::{Advertise, InvalidAdvertise};
pub use apply::{ApplyError, Report};
pub use authenticators::Authenticators;
#[cfg(feature = "compression")]
pub use broker_core::s2;
pub use dial::{
    Backoff, DialError, DialOptions, DialedConnection, Dialer, FailedAttempt, ReadLineError,
};
#[cfg(feature = "tls-core")]
pub use handshake::tls::{
    ClientCertificates, HandshakeFirst, Pem, RouteTls, TlsAlgorithms, TlsCertificate,
    TlsClientError, TlsClientOptions, TlsConfig, TlsError, TlsOptions, TlsVersion,
};
#[cfg(feature = "websocket")]
pub use handshake::websocket::WebsocketOptions;
pub use listen::{BindError, Carries, Listener, ListenerKind, listen_tcp};
#[cfg(not(feature = "testing"))]
use no_network as network;
#[cfg(not(feature = "testing"))]
use no_stall as stall;
#[cfg(unix)]
pub use options::UnixOptions;
pub use options::{ClusterListenerOptions, ServerOptions};
pub use phase::LameDuck;
pub use pipe::LocalStream;
pub use server::{Server, ServerBuilder};
pub use status::ServerStatus;
pub use tcp_options::TcpOptions;
pub use workers::{Stall, StallWatch};

/// Compiles and runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles and runs the examples of the project's README.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../../README.md")]
struct ReadmeOfAll;
