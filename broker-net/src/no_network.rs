//! Stands in for the network of the test kit in a build without it: routes are TCP.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use broker_core::cluster::RouteDial;

use crate::handshake::AcceptedConnection;
use crate::handshake::route_tls::RouteSecurity;

/// A place in a network; none exist in this build.
#[derive(Clone, Debug)]
pub(crate) enum NetworkPort {}

/// Accepts connections at a place.
#[derive(Debug)]
pub(crate) enum NetworkListener {}

impl NetworkPort {
    pub(crate) fn address(&self) -> SocketAddr {
        match *self {}
    }

    pub(crate) fn listen(&self) -> NetworkListener {
        match *self {}
    }

    pub(crate) async fn dial(
        &self,
        _: &RouteDial,
        _: &RouteSecurity,
    ) -> io::Result<AcceptedConnection> {
        match *self {}
    }
}

impl NetworkListener {
    pub(crate) fn poll_accept(
        &mut self,
        _: &mut Context<'_>,
        _: &RouteSecurity,
    ) -> Poll<AcceptedConnection> {
        match *self {}
    }
}
