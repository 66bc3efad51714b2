//! `/routez`: the other servers of the cluster.

use serde::Serialize;

use super::observer::Observer;
use super::time::Moment;
use super::varz::Absent;

/// The answer of `/routez`, in the reference's order.
// NATS 2.14: monitor.go Routez.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Routez {
    /// The server's id.
    pub server_id: String,
    /// The server's name.
    pub server_name: String,
    /// The time of the answer.
    pub now: Moment,
    /// The number of routes.
    pub num_routes: usize,
    /// The routes: natsd has none.
    pub routes: Vec<Absent>,
}

impl Observer {
    /// Returns the list of routes, which is empty.
    pub fn routez(&self) -> Routez {
        let info = self.broker().info();
        Routez {
            server_id: info.server_id,
            server_name: info.server_name,
            now: self.now().moment(),
            num_routes: 0,
            routes: Vec::new(),
        }
    }
}
