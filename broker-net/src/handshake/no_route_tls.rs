//! Stands in for TLS of routes in a build without TLS.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::SystemTime;

use broker_core::cluster::RouteDial;
use broker_core::session::client::Arrival;

use super::listener_tls::TlsFault;
use super::{AcceptedConnection, canonical};
use crate::transport::Transport;

/// TLS options of routes; none exist in this build.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum RouteTls {}

/// The result of building no options.
pub(crate) struct BuiltRouteTls;

/// Admits routes in the clear.
#[derive(Debug, Default)]
pub(crate) struct RouteSecurity;

pub(crate) fn build(_: Option<&RouteTls>) -> Result<BuiltRouteTls, TlsFault> {
    Ok(BuiltRouteTls)
}

pub(crate) fn pinned_keys(_: Option<&RouteTls>) -> Result<HashSet<[u8; 32]>, TlsFault> {
    Ok(HashSet::new())
}

impl RouteSecurity {
    pub(crate) fn set(&self, _: BuiltRouteTls) {}

    pub(crate) fn not_after(&self) -> Option<SystemTime> {
        None
    }

    pub(crate) fn stop_tending(&self) {}

    pub(crate) fn accept(&self, stream: impl Transport, remote: SocketAddr) -> AcceptedConnection {
        let arrival = Arrival { remote: Some(canonical(remote)), ..Arrival::default() };
        AcceptedConnection::new(stream, arrival)
    }

    pub(crate) fn dialed(
        &self,
        stream: impl Transport,
        remote: SocketAddr,
        _: &RouteDial,
    ) -> AcceptedConnection {
        self.accept(stream, remote)
    }
}
