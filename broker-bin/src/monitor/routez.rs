//! `/routez`: the other servers of the cluster.

use serde::Serialize;

use super::observer::Observer;
use super::time::Moment;
use super::varz::Absent;

/// What `/routez` shows, in the order of the reference.
// NATS 2.14: monitor.go Routez.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Routez {
    /// The server's id.
    pub server_id: String,
    /// Its name.
    pub server_name: String,
    /// When this was looked at.
    pub now: Moment,
    /// How many routes there are.
    pub num_routes: usize,
    /// The routes: there are none yet.
    pub routes: Vec<Absent>,
}

impl Observer {
    /// The other servers of the cluster.
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
