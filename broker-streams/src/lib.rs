//! Streams of natsd: persistence that is compatible with JetStream, over the handlers of [`broker_core`].
//!
//! Streams, consumers and the API are state machines without I/O: the time is an argument, messages are stored through the
//! trait [`Storage`](store::Storage) and leave through the trait [`Outbox`](outbox::Outbox).
//!
//! # Modules, lowest layer first
//!
//! | module | contents |
//! | --- | --- |
//! | [`limits`] | bounds of queues and memory |
//! | [`latency`] | how long messages wait |
//! | [`go`] | texts and JSON as programs in Go write and read them |
//! | [`error`] | the errors of the API, with their codes and texts |
//! | [`config`] | configurations of streams and consumers |
//! | [`filters`] | the filters of a consumer |
//! | [`store`] | stores of messages: in memory, in files |
//! | [`outbox`] | the interface through which streams and consumers publish |
//! | [`stream`] | a stream: messages within limits |
//! | [`consumer`] | delivery of messages, and their acknowledgements |
//! | [`cell`] | a stream with its consumers, and the answers that wait for the disk |
//! | [`backup`] | streams as archives, in the form of nats-server |
//! | [`api`] | requests and responses |
//! | `testing` | a disk with faults (cargo feature `testing`) |
//! | [`service`] | threads, subscriptions and directories of a server with streams |

pub mod api;
pub mod backup;
pub mod cell;
pub mod config;
pub mod consumer;
mod decimal;
pub mod error;
pub mod filters;
pub mod go;
mod hash;
pub mod latency;
pub mod limits;
pub mod outbox;
mod random;
pub mod service;
pub mod store;
pub mod stream;
#[cfg(feature = "testing")]
pub mod testing;
