//! WebSocket data in `/varz`.

use serde::Serialize;

use super::skip::is_false;
use super::time::Moment;
use crate::options::Websocket;

/// WebSocket data in `/varz`; empty without a WebSocket listener.
// NATS 2.14: monitor.go WebsocketOptsVarz.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct WebsocketVarz {
    /// The listener's host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The listener's port.
    #[serde(skip_serializing_if = "is_zero")]
    pub port: u16,
    /// The advertised address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub advertise: String,
    /// The user of clients without credentials.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub no_auth_user: String,
    /// The cookie that carries a JWT.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jwt_cookie: String,
    /// Timeout of the TLS and WebSocket handshakes together, in nanoseconds.
    #[serde(skip_serializing_if = "is_none")]
    pub handshake_timeout: u64,
    /// Timeout of authentication, in seconds, if different from that of other clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_timeout: Option<f64>,
    /// Connections without TLS are allowed.
    #[serde(skip_serializing_if = "is_false")]
    pub no_tls: bool,
    /// Certificates identify users.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_map: bool,
    /// Fingerprints of the accepted certificates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tls_pinned_certs: Vec<String>,
    /// Only pages of the host that they connect to are allowed.
    #[serde(skip_serializing_if = "is_false")]
    pub same_origin: bool,
    /// Allowed origins of pages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<String>,
    /// Compression is enabled.
    #[serde(skip_serializing_if = "is_false")]
    pub compression: bool,
    /// The earliest expiry of the certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert_not_after: Option<Moment>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(port: &u16) -> bool {
    *port == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_none(nanos: &u64) -> bool {
    *nanos == 0
}

impl WebsocketVarz {
    /// Returns the data for these options and the bound port.
    pub(crate) fn of(set: &Websocket, host: String, port: u16) -> Self {
        let tls = set.tls.as_ref();
        Self {
            host,
            port,
            advertise: set.advertise.clone().unwrap_or_default(),
            no_auth_user: set.no_auth_user.clone().unwrap_or_default(),
            jwt_cookie: set.jwt_cookie.clone().unwrap_or_default(),
            handshake_timeout: u64::try_from(set.handshake_timeout.as_nanos()).unwrap_or(u64::MAX),
            auth_timeout: set.authorization.timeout.map(|timeout| timeout.as_secs_f64()),
            no_tls: set.no_tls,
            tls_map: tls.is_some_and(|tls| tls.verify_and_map),
            tls_pinned_certs: tls.map(|tls| tls.pinned_certs.clone()).unwrap_or_default(),
            same_origin: set.same_origin,
            allowed_origins: set.allowed_origins.clone(),
            compression: set.compression,
            tls_cert_not_after: None,
        }
    }
}
