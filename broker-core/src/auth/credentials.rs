//! What a party showed to be let in.

use std::fmt;
use std::net::SocketAddr;

use super::{Certificate, Secret};
use crate::sync::Arc;

/// What a connection showed in CONNECT, and where it came from.
///
/// As in CONNECT, empty text is the same as none. All that could let somebody else in is a
/// [`Secret`], so that credentials may be printed.
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
    /// `jwt`: whoever holds a bearer token's is let in.
    pub jwt: Secret,
    /// `nkey`: a public key.
    pub nkey: String,
    /// `sig`: the nonce, signed.
    pub sig: Secret,
    /// The nonce that this connection was asked to sign, if it was.
    pub nonce: String,
    /// `name`: what the client calls itself.
    pub name: String,
    /// `lang`: what the client is written in.
    pub lang: String,
    /// `version` of the client.
    pub version: String,
    /// Where the connection comes from, if from a network.
    pub remote: Option<SocketAddr>,
    /// How it came.
    pub kind: ConnectionKind,
    /// The certificate that it showed, verified.
    pub certificate: Option<Arc<Certificate>>,
    /// The certificate must name the user. `verify_and_map`.
    pub is_mapped: bool,
}

impl Credentials {
    /// The name under which monitoring shows this party, true or not: key, user, or that there is a
    /// token.
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

    /// Was nothing shown of what lets in by name, password or token?
    pub(super) fn is_anonymous(&self) -> bool {
        self.user.is_empty() && self.password.is_empty() && self.token.is_empty()
    }
}

/// How a connection came, as far as users may be bound to it (`allowed_connection_types`).
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
    /// A client in the broker's own process.
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

    /// Its name in configurations and JWTs.
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

/// In upper or lower case.
impl std::str::FromStr for ConnectionKind {
    type Err = UnknownConnectionKind;

    fn from_str(name: &str) -> Result<Self, UnknownConnectionKind> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(name));
        known.ok_or_else(|| UnknownConnectionKind(name.to_owned()))
    }
}

/// There is no such [`ConnectionKind`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown connection type {0:?}")]
pub struct UnknownConnectionKind(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_credentials_tell_no_secret() {
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
    fn connection_kinds_are_known_by_the_names_of_configurations() {
        for kind in ConnectionKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(kind.as_str().to_lowercase().parse(), Ok(kind));
        }
        let unknown = "CARRIER_PIGEON".parse::<ConnectionKind>().unwrap_err();
        assert_eq!(unknown.to_string(), "unknown connection type \"CARRIER_PIGEON\"");
    }
}
