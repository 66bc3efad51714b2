//! A connection to another server at its beginning.

use std::net::SocketAddr;

use crate::cluster::RouteDial;
use crate::session::client::HandshakeOrder;
use crate::transport::TransportInfo;

/// Properties of a connection to another server at its beginning.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RouteArrival {
    /// The address of the other end; `None` for connections inside the process.
    pub remote: Option<SocketAddr>,
    /// The transport of its bytes.
    pub transport: TransportInfo,
    /// [`HandshakeOrder::None`], or [`HandshakeOrder::BeforeInfo`] with TLS.
    pub handshake: HandshakeOrder,
    /// The order by which this server has dialled; `None` for an accepted connection.
    pub dial: Option<RouteDial>,
}

impl RouteArrival {
    /// Describes an accepted connection.
    pub fn accepted(remote: Option<SocketAddr>) -> Self {
        Self { remote, ..Self::default() }
    }

    /// Describes a dialled connection.
    pub fn dialed(dial: RouteDial, remote: Option<SocketAddr>) -> Self {
        Self { remote, dial: Some(dial), ..Self::default() }
    }
}
