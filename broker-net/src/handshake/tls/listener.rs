//! TLS of a listener, with the same interface as in a build without TLS.

use std::sync::Arc;

use broker_core::session::client::Arrival;

use super::config::TlsConfig;
use crate::handshake::{AcceptedConnection, ListenerConfig};
use crate::transport::Transport;

pub(crate) use super::admission::TlsAdmission;
pub(crate) use super::error::TlsError as TlsFault;
pub(crate) use super::options::TlsOptions;
pub(crate) use super::set;

/// Options with the configuration built from them; `None` for a listener without TLS.
pub(crate) type BuiltTls = Option<(TlsOptions, TlsConfig)>;

/// Reads and checks certificates and keys.
pub(crate) fn build(options: Option<&TlsOptions>) -> Result<BuiltTls, TlsFault> {
    let build = |options: &TlsOptions| Ok((options.clone(), options.build()?));
    options.map(build).transpose()
}

/// Turns a stream into a connection that a session can be opened for.
pub(crate) fn admit<T: Transport>(
    listener_config: &Arc<ListenerConfig>,
    stream: T,
    arrival: Arrival,
) -> AcceptedConnection {
    match listener_config.tls.config() {
        Some(config) => super::admit(listener_config, stream, arrival, config),
        None => AcceptedConnection::new(stream, arrival),
    }
}
