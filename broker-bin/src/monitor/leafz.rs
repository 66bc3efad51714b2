//! `/leafz`: leaf nodes.

use serde::Serialize;

use super::observer::Observer;
use super::time::Moment;
use super::varz::Absent;

/// The answer of `/leafz`, in the reference's order.
// NATS 2.14: monitor.go Leafz.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Leafz {
    /// The server's id.
    pub server_id: String,
    /// The time of the answer.
    pub now: Moment,
    /// The number of leaf nodes.
    pub leafnodes: usize,
    /// The leaf nodes: natsd has none.
    pub leafs: Vec<Absent>,
}

impl Observer {
    /// Returns the list of leaf nodes, which is empty.
    pub fn leafz(&self) -> Leafz {
        Leafz {
            server_id: self.server_id(),
            now: self.now().moment(),
            leafnodes: 0,
            leafs: Vec::new(),
        }
    }
}
