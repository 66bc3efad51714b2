//! Data of the cluster in `/varz`.

use serde::Serialize;

use super::skip::{is_0, is_false};
use super::time::Moment;
use crate::options::Cluster;

/// Data of the cluster in `/varz`; empty without one.
// NATS 2.14: monitor.go ClusterOptsVarz.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct ClusterVarz {
    /// The name of the cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The listener's host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub addr: String,
    /// The listener's port.
    #[serde(skip_serializing_if = "is_0")]
    pub cluster_port: u16,
    /// Timeout of authentication, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_timeout: Option<f64>,
    /// The addresses of the configured servers, without credentials.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Timeout of TLS handshakes, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_timeout: Option<f64>,
    /// Other servers must use TLS.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_required: bool,
    /// Other servers must present certificates.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_verify: bool,
    /// The number of routes to each server; negative without a pool.
    #[serde(skip_serializing_if = "is_0")]
    pub pool_size: i64,
    /// Timeout of writes to another server, in nanoseconds, if different from that of clients.
    #[serde(skip_serializing_if = "is_0")]
    pub write_deadline: u64,
    /// The action at that timeout, if configured.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub write_timeout: String,
    /// The earliest expiry of the certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert_not_after: Option<Moment>,
}

impl ClusterVarz {
    /// Returns the data for these options and the bound port.
    // NATS 2.14: opts.go setBaselineOptions.
    pub(crate) fn of(set: &Cluster, port: u16) -> Self {
        let name = set.name.clone().unwrap_or_default();
        if !set.is_on() {
            return Self { name, ..Self::default() };
        }
        let tls = set.tls.clone();
        let deadline = set.write_deadline.unwrap_or_default();
        Self {
            name,
            addr: set.host().to_owned(),
            cluster_port: port,
            auth_timeout: Some(set.auth_timeout().as_secs_f64()),
            urls: set.route_hosts(),
            tls_required: tls.is_some(),
            tls_verify: tls.is_some(),
            tls_timeout: Some(tls.unwrap_or_default().timeout.as_secs_f64()),
            pool_size: set.pool_size,
            write_deadline: u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX),
            write_timeout: set.write_timeout.replace("default", ""),
            tls_cert_not_after: None,
        }
    }
}
