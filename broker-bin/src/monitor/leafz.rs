//! `/leafz`: leaf nodes.

use serde::Serialize;

use super::observer::Observer;
use super::time::Moment;
use super::varz::Absent;

/// What `/leafz` shows, in the order of the reference.
// NATS 2.14: monitor.go Leafz.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Leafz {
    /// The server's id.
    pub server_id: String,
    /// When this was looked at.
    pub now: Moment,
    /// How many leaf nodes there are.
    pub leafnodes: usize,
    /// The leaf nodes: natsd has none.
    pub leafs: Vec<Absent>,
}

impl Observer {
    /// Leaf nodes.
    pub fn leafz(&self) -> Leafz {
        Leafz {
            server_id: self.server_id(),
            now: self.now().moment(),
            leafnodes: 0,
            leafs: Vec::new(),
        }
    }
}
