//! The transport-agnostic core of natsd, a NATS-compatible message broker: bytes and commands in, bytes
//! and events out. It has no socket, clock, thread, runtime or file of its own.
//!
//! A program that embeds a broker without a network:
//!
//! ```
//! use std::time::{Instant, SystemTime};
//! use broker_core::{Broker, Options};
//!
//! let broker = Broker::new(Options::default(), (Instant::now, SystemTime::now));
//! let client = broker.client();
//! # futures_executor::block_on(async {
//! let mut orders = client.subscribe("orders.*").await?;
//! client.publish("orders.eu", "one".into()).await?;
//!
//! let order = orders.next().await.unwrap();
//! assert_eq!((&*order.subject, &order.payload[..]), ("orders.eu", &b"one"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! A transport passes the bytes of a connection to a [`ClientSession`](session::ClientSession), and writes
//! the session's byte queue through a [`WriteHandle`](endpoint::WriteHandle):
//!
//! ```
//! # use std::io::{self, IoSlice};
//! # use std::sync::{Arc, Mutex};
//! # use std::time::{Instant, SystemTime};
//! # use broker_core::{Broker, Options};
//! use broker_core::endpoint::{Scratch, WriteHandle};
//! use broker_core::session::client::Arrival;
//!
//! /// A model of a socket that never blocks.
//! #[derive(Clone, Default)]
//! struct Memory(Arc<Mutex<Vec<u8>>>);
//!
//! impl WriteHandle for Memory {
//!     fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
//!         let mut written = self.0.lock().unwrap();
//!         pieces.iter().for_each(|piece| written.extend_from_slice(piece));
//!         Ok(pieces.iter().map(|piece| piece.len()).sum())
//!     }
//!
//!     fn wake(&self) {}
//! }
//!
//! let broker = Broker::new(Options::default(), (Instant::now, SystemTime::now));
//! let (socket, mut scratch, now) = (Memory::default(), Scratch::new(), Instant::now());
//! let mut session = broker.open(Arrival::default(), Box::new(socket.clone()), now, &mut scratch);
//! session.receive(now, b"SUB greetings 1\r\nPUB greetings 5\r\nhello\r\n", None, &mut scratch);
//!
//! let written = String::from_utf8(socket.0.lock().unwrap().clone()).unwrap();
//! assert!(written.starts_with("INFO {"));
//! assert!(written.ends_with("MSG greetings 1 5\r\nhello\r\n"));
//! ```
//!
//! # The path of a message
//!
//! ```text
//!          bytes                                                     bytes
//!            │                                                         ▲
//!  2 proto::parser     bytes → operation, without a copy               │
//!  3 session           what this client may do now         7 endpoint  │  a bounded queue for each receiver
//!  4 auth              the permission to publish           6 routing ──┘  each match, one of each queue group
//!            └───────────▶ 5 interest: the subscriptions that match ──▶┘
//! ```
//!
//! Stages 1 and 8, reading and writing, belong to the transport. Every message enters through a session and leaves
//! through a destination of an endpoint; the in-process [`Client`] is a session without bytes.
//!
//! # Modules, lowest layer first
//!
//! | module | contents |
//! | --- | --- |
//! | [`limits`] | every limit with its default and its reason |
//! | [`subject`] | subjects and filters |
//! | [`error`] | faults of clients, close reasons, and the one table between the two |
//! | [`proto`] | bytes to operations and back; no policy |
//! | [`stats`], [`latency`] | counters and histograms |
//! | `interest` | the subscriptions that match a subject: an index, and a cache for each session |
//! | [`auth`] | authentication, permissions |
//! | [`endpoint`] | one connection or in-process client as others see it: kind, queue, subscriptions, counters |
//! | [`account`] | one isolated subject space |
//! | `routing` | one message to its matches |
//! | [`snapshot`] | connections, accounts and subscriptions as monitoring shows them |
//! | `shared` | the state that all sessions of one broker share |
//! | [`session`] | the rules of one endpoint as a state machine; each kind is a type of its own |
//! | `broker` | [`Broker`], the handle |
//!
//! Modules depend only on those above them in this table, which `.ci/run arrows` checks.
//!
//! # Guarantees
//!
//! - No bytes from a peer make it panic, or use more memory than [`Limits`] allow.
//! - A slow receiver affects no other receiver.
//! - The messages of one publisher to one subscriber arrive in the order sent.
//! - After warm-up a small message between two connections allocates nothing.
//! - On the wire it behaves as nats-server 2.14, except for the few documented differences where following it
//!   would be wrong.
//! - No global state: two brokers in one process share nothing.
//!
//! # Stability
//!
//! Below 1.0 a minor version may change the API. [`Broker`], [`Client`], [`Options`], [`Limits`] and
//! [`auth`] are intended to stay stable; [`session`] and [`endpoint`], which only transports need, may
//! still change. It needs Rust 1.95.

#![cfg_attr(not(test), warn(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod account;
mod arena;
pub mod auth;
mod backlogs;
mod broker;
mod clock;
mod closed;
pub mod cluster;
pub mod endpoint;
pub mod error;
pub mod go_json;
pub mod header_block;
mod headers;
mod history;
mod ids;
mod interest;
pub mod latency;
pub mod limits;
mod message;
mod message_trace;
#[cfg(feature = "jwt")]
pub mod operator;
mod options;
#[cfg(feature = "testing")]
pub mod probe;
pub mod proto;
mod random;
mod reserved;
mod routing;
#[cfg(feature = "compression")]
pub mod s2;
mod security;
mod server_info;
pub mod session;
mod shared;
pub mod snapshot;
// For the crates above this one.
#[doc(hidden)]
pub mod sort;
pub mod stats;
pub mod subject;
mod subject_counts;
mod sync;
pub mod system;
mod table;
mod timestamp;
mod trace;
pub mod transport;

pub use account::InterestEvents;
pub use broker::{Broker, LameDuckInfoError, LameDuckOrder, WeakBroker};
pub use clock::Clock;
pub use endpoint::Applied;
pub use error::{ClientFault, CloseReason};
pub use headers::{HeaderMap, InvalidHeader};
pub use interest::InterestChange;
pub use limits::Limits;
pub use message::{Message, RawMessage, ServerMessage};
pub use message_trace::{Encoding, StreamReport, StreamTrace};
pub use options::Options;
pub use security::{PeerCertificate, Security};
pub use server_info::ServerInfo;
pub use session::handler::{HandlerContext, HandlerSubscription};
pub use session::local::{Batch, Client, PublishError, RequestError, SubscribeError, Subscriber};
pub use session::server_publisher::ServerPublisher;
pub use shared::{ChangeReport, QuestionStats};
pub use subject::{Subject, SubjectError, SubjectFilter};
pub use subject_counts::SubjectCount;
pub use timestamp::Timestamp;

/// Compiles and runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
