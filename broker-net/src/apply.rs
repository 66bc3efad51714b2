//! Changes of the options of a running server: all of them take effect, or none.

use std::fmt;

use broker_core::Options;

#[cfg(feature = "websocket")]
use crate::handshake::websocket::WebsocketOptions;
use crate::options::{ClusterListenerOptions, ServerOptions};

/// The outcome of [`Server::apply`](crate::Server::apply).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The number of connections closed because `max_connections` is lower now.
    pub excess: usize,
}

/// Reasons why options were not applied; all options are unchanged.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// An option that cannot change without a restart.
    // NATS 2.14: reload.go diffOptions.
    #[error("config reload not supported for {name}: old={old}, new={new}")]
    NotAtRunTime {
        /// The option's name in NATS.
        name: &'static str,
        /// The value in force.
        old: String,
        /// The new value.
        new: String,
    },
    /// The TLS options are invalid.
    #[cfg(feature = "tls-core")]
    #[error("TLS cannot be offered")]
    Tls(#[from] crate::TlsError),
}

/// Without TLS there is no TLS error.
#[cfg(not(feature = "tls-core"))]
impl From<std::convert::Infallible> for ApplyError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// Returns an error if the options differ in one that cannot change without a restart.
///
/// Port 0 and a server name of `None` stand for the values that the server chose.
pub(crate) fn check(old: &ServerOptions, new: &ServerOptions) -> Result<(), ApplyError> {
    differs("Host", &old.host, &new.host)?;
    if new.port != 0 {
        differs("Port", &old.port, &new.port)?;
    }
    check_cluster(old.cluster.as_ref(), new.cluster.as_ref())?;
    #[cfg(feature = "websocket")]
    check_websocket(old.websocket.as_ref(), new.websocket.as_ref())?;
    #[cfg(unix)]
    {
        let path = |options: &ServerOptions| match &options.unix {
            Some(unix) => unix.path.display().to_string(),
            None => String::new(),
        };
        if old.unix != new.unix {
            let (old, new) = (path(old), path(new));
            return Err(ApplyError::NotAtRunTime { name: "ListenUnix", old, new });
        }
    }
    let (old, new): (&Options, &Options) = (&old.broker, &new.broker);
    if let Some(name) = &new.server_name {
        differs("ServerName", old.server_name.as_ref().unwrap_or(&String::new()), name)?;
    }
    differs("MaxPending", &old.limits.max_pending_bytes, &new.limits.max_pending_bytes)?;
    differs("NoHeaderSupport", &old.no_header_support, &new.no_header_support)
}

/// The server can neither join nor leave a cluster: it then has, or has had, no host and no port.
// NATS 2.14: reload.go validateClusterOpts.
fn check_cluster(
    old: Option<&ClusterListenerOptions>,
    new: Option<&ClusterListenerOptions>,
) -> Result<(), ApplyError> {
    let host = |options: Option<&ClusterListenerOptions>| {
        options.map_or_else(String::new, |options| options.host.clone())
    };
    differs("cluster host", &host(old), &host(new))?;
    let port = |options: Option<&ClusterListenerOptions>| options.map_or(0, |options| options.port);
    match (port(old), port(new)) {
        (_, 0) if new.is_some() == old.is_some() => Ok(()),
        (old, new) => differs("cluster port", &old, &new),
    }
}

/// The TLS options can change, but TLS cannot be added or removed.
// NATS 2.14: reload.go diffOptions.
#[cfg(feature = "websocket")]
fn check_websocket(
    old: Option<&WebsocketOptions>,
    new: Option<&WebsocketOptions>,
) -> Result<(), ApplyError> {
    let comparable = |options: Option<&WebsocketOptions>| {
        let options = options?;
        let mut comparable = options.in_the_clear();
        if let (0, Some(old)) = (options.port, old) {
            comparable.port = old.port;
        }
        Some((comparable, options.is_tls()))
    };
    if comparable(old) == comparable(new) {
        return Ok(());
    }
    let shown = |options: Option<&WebsocketOptions>| match options {
        Some(options) => format!("{}:{}", options.host, options.port),
        None => String::new(),
    };
    let (old, new) = (shown(old), shown(new));
    Err(ApplyError::NotAtRunTime { name: "Websocket", old, new })
}

fn differs<T: fmt::Display + Eq>(name: &'static str, old: &T, new: &T) -> Result<(), ApplyError> {
    if old == new {
        return Ok(());
    }
    Err(ApplyError::NotAtRunTime { name, old: old.to_string(), new: new.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut ServerOptions)) -> Option<String> {
        let old = ServerOptions { port: 4222, ..ServerOptions::default() };
        let mut new = old.clone();
        change(&mut new);
        check(&old, &new).err().map(|error| error.to_string())
    }

    #[test]
    fn options_that_need_a_restart_are_refused_with_the_text_of_the_reference() {
        for (refused, expected) in [
            (refused(|new| new.host = "0.0.0.0".into()), "Host: old=127.0.0.1, new=0.0.0.0"),
            (refused(|new| new.port = 4223), "Port: old=4222, new=4223"),
            (refused(|new| new.broker.server_name = Some("x".into())), "ServerName: old=, new=x"),
            (
                refused(|new| new.broker.limits.max_pending_bytes = 1),
                "MaxPending: old=67108864, new=1",
            ),
            (
                refused(|new| new.broker.no_header_support = true),
                "NoHeaderSupport: old=false, new=true",
            ),
        ] {
            let expected = format!("config reload not supported for {expected}");
            assert_eq!(refused, Some(expected));
        }
    }

    #[test]
    fn the_listener_of_a_cluster_needs_a_restart() {
        let cluster = |host: &str, port| Some(ClusterListenerOptions::new(host, port));
        let refused = |old: &Option<_>, new: Option<ClusterListenerOptions>| {
            check_cluster(old.as_ref(), new.as_ref()).err().map(|error| error.to_string())
        };
        let old = cluster("127.0.0.1", 6222);
        for (refused, expected) in [
            (refused(&old, cluster("0.0.0.0", 6222)), "cluster host: old=127.0.0.1, new=0.0.0.0"),
            (refused(&old, cluster("127.0.0.1", 6223)), "cluster port: old=6222, new=6223"),
            (refused(&old, None), "cluster host: old=127.0.0.1, new="),
            (refused(&None, old.clone()), "cluster host: old=, new=127.0.0.1"),
        ] {
            let expected = format!("config reload not supported for {expected}");
            assert_eq!(refused, Some(expected));
        }
        assert_eq!(refused(&old, cluster("127.0.0.1", 0)), None);
        assert_eq!(refused(&old, old.clone()), None);
        assert_eq!(refused(&None, None), None);
    }

    #[test]
    fn all_other_options_can_change() {
        assert_eq!(
            refused(|new| {
                new.port = 0;
                new.broker.limits.max_payload_bytes = 1;
                new.broker.limits.max_connections = None;
                new.broker.trace = true;
                new.broker.seed += 1;
            }),
            None
        );
    }
}
