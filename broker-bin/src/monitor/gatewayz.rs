//! `/gatewayz`: gateways to other clusters.

use serde::Serialize;

use super::observer::Observer;
use super::time::Moment;
use super::varz::Absent;

/// The answer of `/gatewayz`, in the reference's order.
// NATS 2.14: monitor.go Gatewayz.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Gatewayz {
    /// The server's id.
    pub server_id: String,
    /// The time of the answer.
    pub now: Moment,
    /// Connections to other clusters: natsd has none.
    pub outbound_gateways: Absent,
    /// Connections from other clusters: natsd has none.
    pub inbound_gateways: Absent,
}

impl Observer {
    /// Returns the list of gateways, which is empty.
    pub fn gatewayz(&self) -> Gatewayz {
        Gatewayz {
            server_id: self.server_id(),
            now: self.now().moment(),
            outbound_gateways: Absent {},
            inbound_gateways: Absent {},
        }
    }
}
