//! Requests of the topology to its caller.

use crate::cluster::RouteDial;
use crate::error::CloseReason;
use crate::options::SubjectPermission;
use crate::proto::route::{RouteFault, RouteInfo};
use crate::sync::Arc;

/// The id of a connection to another server.
pub(crate) type RouteId = u64;

/// An action for other connections than the one whose input caused it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Dial a server.
    Dial(RouteDial),
    /// Send INFO.
    Send(RouteId, Box<RouteInfo>),
    /// Close a connection.
    Close(RouteId, CloseReason),
    /// Close a connection whose other server is no longer authorized.
    Unauthorized(RouteId),
    /// The name of the cluster has changed.
    Renamed(String),
    /// The addresses for clients have changed.
    Urls,
    /// Apply changed permissions to the interest that is sent over a connection.
    Interest(RouteId),
    /// Send the interest that the other server takes now, and did not take before.
    Wanted {
        /// The connection.
        id: RouteId,
        /// The subjects that it took.
        before: Option<SubjectPermission>,
        /// The subjects that it takes.
        now: Option<SubjectPermission>,
    },
    /// Take from the other server no more interest that the permissions now deny.
    Denied(RouteId),
    /// Take the interest of an account over any route: it has no route of its own any longer.
    TakeBack(Arc<str>),
    /// Send the interest of an account that had a route of its own.
    Follow(RouteId, Arc<str>),
    /// An account has moved to a route of its own: what was sent and taken of its interest over this connection is
    /// void on both sides. More of it is ignored if the other server has asked for the move.
    Moved {
        /// The connection.
        id: RouteId,
        /// The account.
        account: Arc<str>,
        /// Interest that is still under way is ignored.
        is_asked: bool,
    },
}

/// The fate of a connection after an INFO.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Joined {
    /// The INFO changes something else.
    Noted,
    /// The connection is a route now.
    Registered(Place),
    /// The connection must be closed.
    Refused(Refusal),
}

/// The place of a route.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    /// The index in the pool; `None` for a route of one account.
    pub(crate) index: Option<usize>,
    /// The route is the only one, for all accounts.
    pub(crate) has_no_pool: bool,
    /// INFO to be sent before anything else, reports about other servers included.
    pub(crate) info: Option<Box<RouteInfo>>,
    /// A PING is to be sent, whose PONG leads to the next connection of the pool.
    pub(crate) pings: bool,
}

/// The begin of the text that states which servers of the cluster have JetStream.
const CONFLICT: &str = "JetStream is enabled on ";

/// A reason to refuse another server.
// NATS 2.14: route.go.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The server has connected to itself, or twice.
    #[error("Duplicate Route")]
    Duplicate,
    /// The server is about to end.
    #[error("Server Shutdown")]
    Ending,
    /// The route was removed from the configuration while the connection was being made.
    #[error("Route Removed")]
    Removed,
    #[error("Rejecting connection, cluster name \"{theirs}\" does not match \"{ours}\"")]
    OtherName { theirs: String, ours: String, is_told: bool },
    /// Both servers have JetStream, or another server of the cluster has it: a request would be answered twice.
    // The other server finds the conflict by this text, because it may not have got INFO: see `CONFLICT`.
    #[error(
        "{CONFLICT}{theirs:?} and {ours:?}, and streams are not replicated: disable JetStream on one of them"
    )]
    JetStream { theirs: String, ours: String },
    #[error("Remote server has a duplicate name: \"{0}\"")]
    DuplicateName(String),
    #[error("Route pool index should not be set but is set to {0}")]
    IndexSet(i64),
    #[error("Invalid route pool index: {index} - pool size is {size}")]
    InvalidIndex { index: i64, size: i64 },
    #[error("No route for account \"{0}\"")]
    NoAccountRoute(String),
    #[error("Not possible to have a dedicated route for account \"{0}\" between those servers")]
    NoDedicatedRoute(String),
    #[error("Unable to lookup account \"{0}\": account missing")]
    NoAccount(String),
    #[error("unsupported route compression mode \"{0}\"")]
    Compression(String),
    #[error("attempted to connect to route port")]
    ClientOnRoutePort,
    #[error("Rejecting connection from gateway \"{0}\" on the Route port")]
    Gateway(String),
    #[error("Authorization Violation")]
    Unauthorized,
    #[error("Authentication Timeout")]
    AuthTimeout,
    #[error("Stale Connection")]
    Stale,
    #[error("maximum subscriptions exceeded")]
    TooManySubscriptions,
    /// The JSON of an operation is none.
    #[error("{0} Parse Error")]
    Json(&'static str),
    /// An operation is not in the protocol.
    #[error(transparent)]
    Wire(#[from] RouteFault),
}

impl Refusal {
    /// Returns the text of a [`Self::JetStream`] in the argument of `-ERR`.
    pub(crate) fn conflict_in(error: &str) -> Option<&str> {
        let text = error.trim().trim_matches('\'');
        text.starts_with(CONFLICT).then_some(text)
    }

    /// Returns the text of `-ERR`, if the other server is sent one, and the reason of the close.
    pub(crate) fn answer(&self) -> (Option<String>, CloseReason) {
        use CloseReason as Reason;
        let (is_told, reason) = match self {
            Self::Duplicate => (false, Reason::DuplicateRoute),
            Self::Ending => (false, Reason::ServerShutdown),
            Self::Removed => (false, Reason::RouteRemoved),
            Self::OtherName { is_told, .. } => (*is_told, Reason::ClusterNameConflict),
            Self::JetStream { .. } => (true, Reason::JetStreamConflict),
            Self::DuplicateName(_) => (false, Reason::DuplicateServerName),
            Self::IndexSet(_)
            | Self::InvalidIndex { .. }
            | Self::NoAccountRoute(_)
            | Self::NoDedicatedRoute(_)
            | Self::Compression(_) => (true, Reason::ProtocolViolation),
            Self::NoAccount(_) => (true, Reason::MissingAccount),
            Self::ClientOnRoutePort => (true, Reason::WrongPort),
            Self::Gateway(_) => (true, Reason::WrongGateway),
            Self::Unauthorized => (true, Reason::AuthenticationViolation),
            Self::AuthTimeout => (true, Reason::AuthenticationTimeout),
            Self::Stale => (true, Reason::StaleConnection),
            Self::TooManySubscriptions => (true, Reason::ProtocolViolation),
            Self::Json(_) => (false, Reason::ProtocolViolation),
            Self::Wire(fault) => {
                let (text, reason) = fault.answer();
                return (text.map(Into::into), reason);
            }
        };
        (is_told.then(|| self.to_string()), reason)
    }
}
