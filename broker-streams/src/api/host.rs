//! The interface of the API to the server: the streams of one account.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::request::SnapshotRequest;
use crate::cell::Cell;
use crate::config::limits::{AccountLimits, ServerLimits, tier_name};
use crate::config::{StorageType, StreamConfig, Time};
use crate::error::ApiError;
use crate::outbox::Outbox;
use crate::stream::Room;

/// A request.
#[derive(Clone, Copy, Debug, Default)]
pub struct ApiRequest<'a> {
    /// The subject, which begins with `$JS.API.`, whatever prefix the client used.
    pub subject: &'a str,
    /// The reply subject; empty for none.
    pub reply: &'a [u8],
    /// The header block; empty for none.
    pub headers: &'a [u8],
    /// The content.
    pub payload: &'a [u8],
    /// The client, as JSON of the header `Nats-Request-Info`; empty if it is not known. For advisories.
    pub client: &'a [u8],
    /// The account whose streams the request is about. For advisories.
    pub account: &'a str,
}

/// Values of the server that all requests share.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The name of the server.
    pub server: String,
    /// The version that is reported as that of the API.
    pub version: String,
    /// The domain; empty for none.
    pub domain: String,
    /// Requests with unknown members are refused.
    pub strict: bool,
    /// The limits of the server.
    pub limits: ServerLimits,
}

/// The number of requests of an account.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RequestCounts {
    /// All.
    pub total: u64,
    /// Those that were answered with an error.
    pub errors: u64,
}

/// The bytes and numbers that streams of a tier use.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TierUsage {
    /// Bytes of messages in memory.
    pub memory: u64,
    /// Bytes of messages in files.
    pub storage: u64,
    /// Bytes that limits of streams in memory reserve.
    pub reserved_memory: u64,
    /// Bytes that limits of streams in files reserve.
    pub reserved_storage: u64,
    /// Streams.
    pub streams: u64,
    /// Consumers.
    pub consumers: u64,
}

/// The server as advisories name it.
pub trait Origin {
    /// Values of the server that all requests share.
    fn identity(&self) -> Arc<Identity>;

    /// Returns a random text of 22 letters and digits, as advisories and names of consumers need it.
    fn unique_id(&mut self) -> String;
}

/// The streams of one account, and the account's part of the server.
pub trait Host: Origin {
    /// Returns the limits; `None` if the account may have no streams.
    fn limits(&self) -> Option<Arc<AccountLimits>>;

    /// Returns the bytes that limits of streams reserve on the server, and the most that they may.
    fn reserved_on_server(&self, storage: StorageType) -> (i64, i64);

    /// Returns the names of all streams, sorted.
    fn stream_names(&self) -> Vec<String>;

    /// Returns the configuration of a stream.
    fn stream_config(&self, name: &str) -> Option<Arc<StreamConfig>>;

    /// Returns the error of a request to a stream that is not served: there is none of that name, or its files cannot be read.
    fn not_served(&self, _name: &str) -> ApiError {
        ApiError::STREAM_NOT_FOUND
    }

    /// Calls `act` with a stream, the room that its messages have, and where messages leave to. Returns false if there is no such
    /// stream.
    fn with_stream(
        &mut self,
        name: &str,
        act: &mut dyn FnMut(&mut Cell, Room, &mut dyn Outbox),
    ) -> bool;

    /// Creates a stream whose configuration was checked.
    ///
    /// # Errors
    ///
    /// The error of the answer.
    fn create_stream(&mut self, config: StreamConfig, now: Time) -> Result<(), ApiError>;

    /// Removes a stream with its consumers. Returns false if there is none.
    ///
    /// # Errors
    ///
    /// The error of the answer.
    fn delete_stream(&mut self, name: &str, now: Time) -> Result<bool, ApiError>;

    /// Begins a backup of a stream, which answers the request and ends on its own.
    ///
    /// # Errors
    ///
    /// The error of the answer.
    fn start_snapshot(
        &mut self,
        name: &str,
        snapshot: &SnapshotRequest,
        request: &ApiRequest<'_>,
    ) -> Result<(), ApiError>;

    /// Begins to restore a stream, whose configuration was checked. Returns the subject at which the backup is received.
    ///
    /// # Errors
    ///
    /// The error of the answer.
    fn start_restore(
        &mut self,
        config: StreamConfig,
        request: &ApiRequest<'_>,
    ) -> Result<String, ApiError>;

    /// Counts a request that is answered.
    fn count(&mut self, is_error: bool);

    /// Returns the number of requests that were answered.
    fn counts(&self) -> RequestCounts;

    /// Tells the operator about a request that is not as the server expects: a line for the log, at most one each second.
    fn warn(&mut self, text: &str);

    /// Returns the usage by tier; without tiers, the tier with an empty name has the total.
    fn usage(&mut self) -> BTreeMap<String, TierUsage> {
        let mut tiers: BTreeMap<String, TierUsage> = BTreeMap::new();
        let is_flat = self.limits().is_some_and(|limits| limits.as_flat().is_some());
        for name in self.stream_names() {
            self.with_stream(&name, &mut |cell, _, _| {
                let stream = cell.stream();
                let config = stream.config();
                let tier = if is_flat { String::new() } else { tier_name(config.replicas) };
                let used = tiers.entry(tier).or_default();
                let bytes = stream.state().bytes;
                let reserved = u64::try_from(config.max_bytes).unwrap_or(0);
                let (bytes_used, bytes_reserved) = match config.storage {
                    StorageType::Memory => (&mut used.memory, &mut used.reserved_memory),
                    StorageType::File => (&mut used.storage, &mut used.reserved_storage),
                };
                *bytes_used += bytes;
                *bytes_reserved = bytes_reserved.saturating_add(reserved);
                used.streams += 1;
                used.consumers += cell.consumers().count() as u64;
            });
        }
        tiers
    }
}
