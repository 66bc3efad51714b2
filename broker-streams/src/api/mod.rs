//! The API of streams: requests and responses as JSON over subjects below `$JS.API`.
//!
//! [`handle`] answers a request. It knows the streams of the account through the trait [`Host`].

mod account;
mod account_purge;
mod advisory;
mod backup;
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

pub(crate) use account_purge::{
    PREFIX as ACCOUNT_PURGE, answer as answer_account_purge, delete_all,
};
pub(crate) use advisory::{BackupEvent, limit_reached, tell_backup};
pub(crate) use backup::{Restoration, answer_snapshot, check_restored};
pub(crate) use response::{ClusterInfo, StreamInfo, StreamState};
pub(crate) use stream::{of as stream_info, state as stream_state};

pub use dispatch::handle;
pub use host::{ApiRequest, Host, Identity, Origin, RequestCounts, TierUsage};

#[cfg(test)]
mod tests;
