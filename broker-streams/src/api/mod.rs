//! The API of streams: requests and responses as JSON over subjects below `$JS.API`.
//!
//! [`handle`] answers a request. It knows the streams of the account through the trait [`Host`].

mod account;
mod advisory;
mod call;
mod client;
mod consumer;
mod consumer_create;
mod dispatch;
mod host;
mod message;
pub mod request;
mod response;
mod stream;
mod stream_change;
pub mod subject;

pub(crate) use advisory::limit_reached;
pub(crate) use response::{ClusterInfo, StreamInfo, StreamState};
pub(crate) use stream::of as stream_info;

pub use dispatch::handle;
pub use host::{ApiRequest, Host, Identity, RequestCounts, TierUsage};

#[cfg(test)]
mod tests;
