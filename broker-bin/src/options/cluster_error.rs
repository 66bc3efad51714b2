//! Contradictions between the options of a cluster.

use std::fmt;
use std::time::Duration;

use broker_net::TlsError;

/// The options of a cluster contradict each other.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// Gateways name this cluster differently.
    // NATS 2.14: errors.go ErrClusterNameConfigConflict.
    #[error("cluster name conflicts between cluster and gateway definitions")]
    Name,
    /// The password would never be required.
    #[error("cluster.authorization: a password needs a user")]
    PasswordWithoutUser,
    /// The address of a server cannot be connected to. The URL may hold a password and is not shown.
    #[error("{path}: {what}")]
    Route {
        /// The path of the URL.
        path: String,
        /// The fault.
        what: &'static str,
    },
    /// The address for others has no port, and neither has the listener: it is any free one.
    #[error("cluster.advertise: {0:?} needs a port, because cluster.port is any free one")]
    Advertise(String),
    /// Routes do not know who requested something.
    // NATS 2.14: opts.go parseCluster.
    #[error("Cluster permissions do not support dynamic responses")]
    Responses,
    /// A subject of the permissions is none.
    // NATS 2.14: opts.go checkClusterPermissionSubjects.
    #[error("cluster {list}: subject {subject:?} is not a valid subject")]
    Subject {
        /// `import allow`, `export deny`, ….
        list: &'static str,
        /// The subject.
        subject: String,
    },
    /// Without a pool, no account has a route of its own.
    // NATS 2.14: server.go validateCluster.
    #[error("pool_size cannot be negative if pinned accounts are specified")]
    AccountsWithoutPool,
    /// An account is listed twice.
    #[error("found duplicate account name {name:?} in pinned accounts list {list}")]
    DuplicateAccount {
        /// Its name.
        name: String,
        /// The list, as Go shows it.
        list: String,
    },
    /// Round-trip times are not ascending.
    // NATS 2.14: server.go validateAndNormalizeCompressionOption.
    #[error("RTT threshold values {} should be in ascending order", List(.0))]
    Thresholds(Vec<Duration>),
    /// More round-trip times than levels.
    #[error("compression mode {mode:?} should have no more than 4 RTT thresholds: {}", List(.thresholds))]
    TooManyThresholds {
        /// The mode as it was written.
        mode: String,
        /// The times.
        thresholds: Vec<Duration>,
    },
    /// All round-trip times are zero.
    #[error("compression mode {0:?} requires at least one RTT threshold")]
    NoThreshold(String),
    /// The TLS options are invalid.
    #[error("cluster.tls: {0}")]
    Tls(TlsError),
}

impl ClusterError {
    /// Returns the path of the option to be changed.
    pub(super) fn path(&self) -> &str {
        match self {
            Self::Name => "cluster.name",
            Self::PasswordWithoutUser => "cluster.authorization.password",
            Self::Route { path, .. } => path,
            Self::Advertise(_) => "cluster.advertise",
            Self::Responses | Self::Subject { .. } => "cluster.permissions",
            Self::AccountsWithoutPool => "cluster.pool_size",
            Self::DuplicateAccount { .. } => "cluster.accounts",
            Self::Thresholds(_) | Self::TooManyThresholds { .. } | Self::NoThreshold(_) => {
                "cluster.compression"
            }
            Self::Tls(_) => "cluster.tls",
        }
    }
}

/// Shows durations as Go shows a list of them.
struct List<'a>(&'a [Duration]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<_> =
            self.0.iter().map(|duration| crate::config::duration::show(*duration)).collect();
        write!(f, "[{}]", shown.join(" "))
    }
}
