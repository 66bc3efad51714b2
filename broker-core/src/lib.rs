//! The transport-agnostic core of natsd, a NATS-compatible message broker: bytes and commands in, bytes
//! and events out. It has no socket, clock, thread, runtime or file of its own.
//!
//! A program that wants a broker inside of it, and no network:
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
//! Whoever brings a transport passes a connection's bytes to a [`ClientSession`](session::ClientSession),
//! and writes what its outlet hands to a [`WriteHandle`](outlet::Link):
//!
//! ```
//! # use std::io::{self, IoSlice};
//! # use std::sync::{Arc, Mutex};
//! # use std::time::Instant;
//! # use broker_core::{Broker, Options};
//! use broker_core::endpoint::{Link, Work};
//! use broker_core::session::client::Arrival;
//!
//! /// A real one writes to its socket without waiting.
//! #[derive(Clone, Default)]
//! struct Memory(Arc<Mutex<Vec<u8>>>);
//!
//! impl Link for Memory {
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
//! let (link, mut work, now) = (Memory::default(), Work::new(), Instant::now());
//! let mut session = broker.open(Arrival::default(), Box::new(link.clone()), now, &mut work);
//! session.receive(now, b"SUB greetings 1\r\nPUB greetings 5\r\nhello\r\n", None, &mut work);
//!
//! let written = String::from_utf8(link.0.lock().unwrap().clone()).unwrap();
//! assert!(written.starts_with("INFO {"));
//! assert!(written.ends_with("MSG greetings 1 5\r\nhello\r\n"));
//! ```
//!
//! # The way of a message
//!
//! ```text
//!          bytes                                                     bytes
//!            │                                                         ▲
//!  2 proto::parser     bytes → operation, without a copy               │
//!  3 session           what this party may do now          7 outlet    │  a bounded queue for each receiver
//!  4 auth              may it publish here?                6 deliver ──┘  each match, one of each queue group
//!            └───────────▶ 5 interest: who wants the subject? ────▶┘
//! ```
//!
//! (Stages 1 and 8, reading and writing, are the transport's.) There is one way in, a session, and one
//! way out, an outlet; the in-process [`Client`] is a session like any other, that speaks no bytes.
//!
//! # Where things stand
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`subject`] | what subjects and filters are |
//! | [`proto`] | bytes to operations and back; no policy |
//! | [`session`] | what a connection may do in its state: each kind a type of its own |
//! | [`auth`] | who is let in, and what they may do |
//! | [`account`] | one isolated subject space |
//! | `interest` | who wants a subject: a trie, and a cache in front of it |
//! | `deliver` | one message to its matches |
//! | [`byte_queue`] | queues, and what happens when they are full |
//! | [`limits`] | every limit with its default and its reason |
//! | [`error`] | faults of clients, why connections end, and the one table between the two |
//! | [`stats`] | counters |
//! | [`latency`] | how long messages are on their way |
//! | [`snapshot`] | what is seen from outside: connections, accounts, subscriptions |
//!
//! # What it promises
//!
//! - No bytes from a peer make it panic, or hold more memory than [`Limits`] say.
//! - A receiver that cannot keep up costs only itself.
//! - Every publisher's messages to one subscriber arrive in the order sent.
//! - After warm-up a small message between two connections allocates nothing.
//! - On the wire a NATS client cannot tell it from nats-server 2.14, but for the few places listed with
//!   the project, where following it would be wrong.
//! - No global state: two brokers in one process share nothing.
//!
//! # Stability
//!
//! Below 1.0 a minor version may change the API. [`Broker`], [`Client`], [`Options`], [`Limits`] and
//! [`auth`] are meant to stay as they are; [`session`] and [`byte_queue`], which only transports need, may
//! still move. It needs Rust 1.95.

#![cfg_attr(not(test), warn(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod account;
pub mod auth;
mod broker;
mod clock;
pub mod endpoint;
pub mod error;
mod headers;
mod history;
mod ids;
mod interest;
pub mod latency;
pub mod limits;
mod message;
mod options;
#[cfg(feature = "testing")]
pub mod probe;
pub mod proto;
mod random;
mod routing;
mod security;
pub mod session;
mod shared;
pub mod snapshot;
pub mod stats;
pub mod subject;
mod subject_counts;
mod sync;
mod trace;
pub mod transport;

pub use broker::{Broker, LameDuckOrder};
pub use clock::Clock;
pub use endpoint::Applied;
pub use error::{ClientFault, CloseReason};
pub use headers::{HeaderMap, InvalidHeader};
pub use limits::Limits;
pub use message::Message;
pub use options::Options;
pub use security::{PeerCertificate, Security};
pub use session::local::{Client, PublishError, RequestError, SubscribeError, Subscriber};
pub use shared::ChangeReport;
pub use subject::{Subject, SubjectError, SubjectFilter};
pub use subject_counts::SubjectCount;

/// Compiles and runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
