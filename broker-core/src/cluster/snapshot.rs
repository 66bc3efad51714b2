//! Routes as monitoring shows them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::endpoint::OutCounts;
use crate::options::{CompressionMode, SubjectPermission};
use crate::sync::Arc;

/// A route as monitoring shows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RouteSnapshot {
    /// The number of the connection.
    pub id: u64,
    /// The id of the other server.
    pub remote_id: String,
    /// The name of the other server.
    pub remote_name: String,
    /// True if this server has dialled, or has taken the connection for one that it dials.
    pub is_solicited: bool,
    /// True if this server has made the connection. The other server has then accepted it.
    pub is_dialed: bool,
    /// True if the address of the other server is configured.
    pub is_configured: bool,
    /// The address of the other end.
    pub remote: Option<SocketAddr>,
    /// The time of the connection.
    pub since: Instant,
    /// The time of the last activity.
    pub last_activity: Instant,
    /// The last measured round trip.
    pub rtt: Option<Duration>,
    /// The subjects whose interest the other server sends.
    pub import: Option<SubjectPermission>,
    /// The subjects whose interest the other server accepts.
    pub export: Option<SubjectPermission>,
    /// Messages and bytes from the other server.
    pub in_messages: u64,
    /// Their bytes.
    pub in_bytes: u64,
    /// Messages to the other server, their bytes, and pending bytes.
    pub out: OutCounts,
    /// The number of its subscriptions.
    pub subscriptions: usize,
    /// The account of the route, if it is one account's.
    pub account: Option<Arc<str>>,
    /// The index in the pool.
    pub pool_index: Option<usize>,
    /// The negotiated compression.
    pub compression: CompressionMode,
}
