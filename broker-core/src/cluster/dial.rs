//! The connections that a server makes to others.

use std::time::Duration;

use super::ticket::Ticket;
use crate::options::RouteAddress;
use crate::proto::route::GossipMode;
use crate::sync::Arc;

/// A connection to be made to another server. The dialler waits, connects, and opens a session for the connection with
/// this order; or gives up.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RouteDial {
    /// The address, with credentials.
    pub address: RouteAddress,
    /// True if the address is configured: it is then dialled until the order is no longer
    /// [wanted](super::Cluster::wants).
    pub is_configured: bool,
    /// The account of the route, if it is one account's.
    pub account: Option<Arc<str>>,
    /// The servers that are told of the route.
    pub gossip: GossipMode,
    /// The pause before the first attempt.
    pub delay: Duration,
    /// True if the server was not connected before, which decides how often failures are logged.
    pub is_first: bool,
    /// The attempts beyond the first; `None` for no limit.
    pub retries: Option<u32>,
    /// Lets the pauses between attempts grow.
    pub has_backoff: bool,
    /// The name to verify the certificate for, if the address has none: that of the first configured route that has one.
    pub tls_name: Option<String>,
    /// True if the server was a route on the connection that this one replaces.
    pub(super) is_again: bool,
    /// The id of the server at the address when it was a route last; empty if it was none yet.
    pub(super) lost_id: String,
    /// Held while the order is carried out.
    pub(super) ticket: Ticket,
}

/// Makes connections to other servers. The core calls it with nothing locked.
pub trait RouteDialer: Send + Sync + 'static {
    /// Makes a connection. Returns at once.
    fn dial(&self, dial: RouteDial);
}
