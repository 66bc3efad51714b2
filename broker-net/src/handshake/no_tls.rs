//! Stands in for TLS of a listener in a build without TLS, so that other modules do not depend on the feature.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::SystemTime;

use broker_core::Broker;
use broker_core::session::client::Arrival;

use super::{AcceptedConnection, ListenerConfig};
use crate::transport::Transport;

/// TLS without options cannot fail.
pub(crate) type TlsFault = Infallible;

/// TLS options; none exist in this build.
pub(crate) enum TlsOptions {}

/// The result of building no options.
pub(crate) struct BuiltTls;

/// Admits connections in the clear.
#[derive(Debug, Default)]
pub(crate) struct TlsAdmission;

impl TlsAdmission {
    pub(crate) fn not_after(&self) -> Option<SystemTime> {
        None
    }

    pub(crate) fn stop_tending(&self) {}
}

pub(crate) fn build(_: Option<&TlsOptions>) -> Result<BuiltTls, TlsFault> {
    Ok(BuiltTls)
}

pub(crate) fn set(_: &Arc<ListenerConfig>, _: Option<&Broker>, _: BuiltTls) {}

pub(crate) fn admit<T: Transport>(
    _: &Arc<ListenerConfig>,
    stream: T,
    arrival: Arrival,
) -> AcceptedConnection {
    AcceptedConnection::new(stream, arrival)
}
