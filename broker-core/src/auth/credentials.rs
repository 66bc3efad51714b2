//! Credentials of a connection.

use std::fmt;
use std::net::SocketAddr;
use std::time::SystemTime;

use super::{Certificate, Secret};
use crate::sync::Arc;

/// Credentials from CONNECT, the transport and the certificate.
///
/// Empty text means none, as in CONNECT. Secrets are of the type [`Secret`], so that credentials may be
/// printed.
///
/// ```
/// use broker_core::auth::Credentials;
///
/// let mut credentials = Credentials::default();
/// credentials.user = "derek".to_owned();
/// credentials.password = "T0pS3cr3t".into();
/// assert_eq!(credentials.shown_as(), Some("derek"));
/// assert!(!format!("{credentials:?}").contains("T0pS3cr3t"));
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Credentials {
    /// `user`.
    pub user: String,
    /// `pass`.
    pub password: Secret,
    /// `auth_token`.
    pub token: Secret,
    /// `jwt`: a bearer token is enough to log in.
    pub jwt: Secret,
    /// `nkey`: a public key.
    pub nkey: String,
    /// `sig`: the nonce, signed.
    pub sig: Secret,
    /// `proxy_sig`: the nonce, signed by the proxy that the client comes through.
    pub proxy_sig: Secret,
    /// The public key of a [trusted](super::TrustedProxies) proxy that has signed the nonce.
    pub proxy: Option<Arc<str>>,
    /// The nonce that INFO asked this connection to sign.
    pub nonce: String,
    /// `name` of the client.
    pub name: String,
    /// `lang`: the language of the client.
    pub lang: String,
    /// `version` of the client.
    pub version: String,
    /// The remote address, for connections from a network.
    pub remote: Option<SocketAddr>,
    /// The kind of connection.
    pub kind: ConnectionKind,
    /// The verified certificate of the client.
    pub certificate: Option<Arc<Certificate>>,
    /// The certificate must name the user. `verify_and_map`.
    pub is_mapped: bool,
    /// The number of the connection.
    pub client_id: u64,
    /// `protocol` of CONNECT.
    pub protocol: i64,
    /// The TLS connection.
    pub tls: Option<TlsDetails>,
    /// The time by the wall clock of the broker; `None` if the caller is no session.
    pub time: Option<SystemTime>,
}

/// A TLS connection.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct TlsDetails {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The IANA name of the cipher suite.
    pub cipher_suite: &'static str,
    /// The verified certificates (DER), from that of the client to that of the authority. Empty without a certificate,
    /// and for an authenticator that [does not read](super::Authenticator::reads_certificates) them.
    pub verified_chain: Arc<Vec<Vec<u8>>>,
}

impl Credentials {
    /// Returns the name that monitoring shows for this client, verified or not: key, user, or a mark for
    /// a token.
    // NATS 2.14: client.go getRawAuthUser. The subject of a JWT is known only once it is decoded.
    pub fn shown_as(&self) -> Option<&str> {
        if !self.nkey.is_empty() {
            Some(&self.nkey)
        } else if !self.user.is_empty() {
            Some(&self.user)
        } else if !self.token.is_empty() {
            Some("[REDACTED]")
        } else {
            None
        }
    }

    /// Returns true if there is no user, password, token, key or JWT.
    pub(super) fn is_anonymous(&self) -> bool {
        self.user.is_empty() && self.password.is_empty() && self.token.is_empty()
    }
}

/// Kinds of connections that users can be restricted to (`allowed_connection_types`).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ConnectionKind {
    /// A client over TCP or TLS.
    #[default]
    Standard,
    /// A client over WebSocket.
    Websocket,
    /// A leaf node.
    Leafnode,
    /// A leaf node over WebSocket.
    LeafnodeWs,
    /// An MQTT client.
    Mqtt,
    /// An MQTT client over WebSocket.
    MqttWs,
    /// A client in the process of the broker.
    InProcess,
}

impl ConnectionKind {
    const ALL: [Self; 7] = [
        Self::Standard,
        Self::Websocket,
        Self::Leafnode,
        Self::LeafnodeWs,
        Self::Mqtt,
        Self::MqttWs,
        Self::InProcess,
    ];

    /// Returns its name in configurations and JWTs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "STANDARD",
            Self::Websocket => "WEBSOCKET",
            Self::Leafnode => "LEAFNODE",
            Self::LeafnodeWs => "LEAFNODE_WS",
            Self::Mqtt => "MQTT",
            Self::MqttWs => "MQTT_WS",
            Self::InProcess => "IN_PROCESS",
        }
    }
}

impl fmt::Display for ConnectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Parses the name, in upper or lower case.
impl std::str::FromStr for ConnectionKind {
    type Err = UnknownConnectionKind;

    fn from_str(name: &str) -> Result<Self, UnknownConnectionKind> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(name));
        known.ok_or_else(|| UnknownConnectionKind(name.to_owned()))
    }
}

/// An unknown [`ConnectionKind`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown connection type {0:?}")]
pub struct UnknownConnectionKind(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_credentials_show_no_secret() {
        let credentials = Credentials {
            user: "derek".to_owned(),
            password: "marker-1".into(),
            token: "marker-2".into(),
            jwt: "marker-3".into(),
            sig: "marker-4".into(),
            ..Credentials::default()
        };
        for shown in [format!("{credentials:?}"), format!("{credentials:#?}")] {
            assert!(shown.contains("derek"));
            assert!(!shown.contains("marker"), "{shown}");
        }
    }

    #[test]
    fn a_token_is_never_a_name() {
        let mut credentials = Credentials { token: "marker".into(), ..Credentials::default() };
        assert_eq!(credentials.shown_as(), Some("[REDACTED]"));
        credentials.user = "derek".to_owned();
        assert_eq!(credentials.shown_as(), Some("derek"));
        credentials.nkey = "UA".to_owned();
        assert_eq!(credentials.shown_as(), Some("UA"));
        assert_eq!(Credentials::default().shown_as(), None);
    }

    #[test]
    fn connection_kinds_parse_from_their_names_in_configurations() {
        for kind in ConnectionKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(kind.as_str().to_lowercase().parse(), Ok(kind));
        }
        let unknown = "CARRIER_PIGEON".parse::<ConnectionKind>().unwrap_err();
        assert_eq!(unknown.to_string(), "unknown connection type \"CARRIER_PIGEON\"");
    }
}
