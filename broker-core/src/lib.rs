//! The transport-agnostic core of natsd, a NATS-compatible message broker.

pub mod account;
pub mod auth;
mod broker;
mod deliver;
pub mod error;
mod headers;
mod ids;
mod interest;
pub mod limits;
mod message;
pub mod outlet;
pub mod proto;
mod random;
mod receiver;
pub mod session;
pub mod stats;
pub mod subject;
mod subscription;
mod sync;
mod trace;

pub use broker::{Broker, Clock, Options};
pub use error::{ClientFault, CloseReason};
pub use headers::{HeaderMap, InvalidHeader};
pub use limits::Limits;
pub use message::Message;
pub use session::local::{Client, PublishError, RequestError, SubscribeError, Subscriber};
pub use subject::{Subject, SubjectError, SubjectFilter};
