//! The cluster: which other servers are known, which connections to them are made, and what is reported to whom.

mod dial;
mod snapshot;

pub use crate::options::{
    ClusterOptions, CompressionMode, CompressionOptions, MAX_POOL_SIZE, RouteAddress,
    RoutePermissions, SubjectPermission,
};
pub use dial::{RouteDial, RouteDialer};
pub use snapshot::RouteSnapshot;

use std::fmt;

/// A server's part in a cluster.
pub struct Cluster {
    _private: (),
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}
