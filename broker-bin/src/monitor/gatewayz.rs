//! `/gatewayz`: other clusters.

use serde::Serialize;

use super::observer::Observer;
use super::time::Moment;
use super::varz::Absent;

/// What `/gatewayz` shows, in the order of the reference.
// NATS 2.14: monitor.go Gatewayz.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Gatewayz {
    /// The server's id.
    pub server_id: String,
    /// When this was looked at.
    pub now: Moment,
    /// Connections to other clusters: natsd has none.
    pub outbound_gateways: Absent,
    /// Connections from other clusters: natsd has none.
    pub inbound_gateways: Absent,
}

impl Observer {
    /// Other clusters.
    pub fn gatewayz(&self) -> Gatewayz {
        Gatewayz {
            server_id: self.server_id(),
            now: self.now().moment(),
            outbound_gateways: Absent {},
            inbound_gateways: Absent {},
        }
    }
}
