//! Requests to a service that authorizes users, and its responses.

use serde::{Deserialize, Serialize};

use super::{Body, Generic, KeyKind, is_default};

/// The claims of a server about a client that logs in.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AuthorizationRequest {
    /// The server.
    #[serde(rename = "server_id")]
    pub server: ServerId,
    /// The public key that the response must be about.
    pub user_nkey: String,
    /// The client.
    #[serde(rename = "client_info")]
    pub client: ClientInformation,
    /// Its CONNECT.
    #[serde(rename = "connect_opts")]
    pub connect: SentOptions,
    /// Its TLS connection.
    #[serde(rename = "client_tls", skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    /// The nonce that the client has signed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_nonce: String,
    /// Tags, kind and version.
    #[serde(flatten)]
    pub generic: Generic,
}

impl Body for AuthorizationRequest {
    const KIND: &'static str = "authorization_request";
    const ISSUERS: &'static [KeyKind] = &[KeyKind::Server];
    const SUBJECT: Option<KeyKind> = None;

    fn set_generic(&mut self, version: i64) {
        self.generic.set(Self::KIND, version);
    }
}

/// A server.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct ServerId {
    /// Its name.
    pub name: String,
    /// Its host.
    pub host: String,
    /// Its id.
    pub id: String,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Its cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Its tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Its key for encrypted responses.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub xkey: String,
}

/// A client.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct ClientInformation {
    /// Its address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Its number.
    #[serde(skip_serializing_if = "is_default")]
    pub id: u64,
    /// Its user.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The tags of its token.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The name in its token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name_tag: String,
    /// Client or leaf node.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The protocol.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// The id of an MQTT client.
    #[serde(rename = "mqtt_id", skip_serializing_if = "String::is_empty")]
    pub mqtt: String,
    /// The nonce that it was sent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nonce: String,
}

/// The CONNECT of a client. Secrets are text here: the service needs them. Do not print or log it.
#[derive(Clone, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct SentOptions {
    /// The token of the user.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jwt: String,
    /// The public key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nkey: String,
    /// The signed nonce.
    #[serde(rename = "sig", skip_serializing_if = "String::is_empty")]
    pub signed_nonce: String,
    /// The token.
    #[serde(rename = "auth_token", skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// The user.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The password.
    #[serde(rename = "pass", skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// The name of the client.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The language of the client.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lang: String,
    /// The version of the client.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The version of the protocol.
    pub protocol: i64,
}

/// Prints no secrets.
impl std::fmt::Debug for SentOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SentOptions").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A TLS connection.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct ClientTls {
    /// The version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The cipher suite.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cipher: String,
    /// Certificates that were not verified, as PEM.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certs: Vec<String>,
    /// Verified chains, as PEM.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verified_chains: Vec<Vec<String>>,
}

/// The claims of an authorization service about a client.
#[derive(Clone, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AuthorizationResponse {
    /// The token of the user as whom the client is accepted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jwt: String,
    /// The reason of a rejection.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// The account, if a signing key of it is the issuer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub issuer_account: String,
    /// Tags, kind and version.
    #[serde(flatten)]
    pub generic: Generic,
}

impl Body for AuthorizationResponse {
    const KIND: &'static str = "authorization_response";
    const ISSUERS: &'static [KeyKind] = &[KeyKind::Account];
    const SUBJECT: Option<KeyKind> = None;

    fn set_generic(&mut self, version: i64) {
        self.generic.set(Self::KIND, version);
    }
}

/// Prints no token.
impl std::fmt::Debug for AuthorizationResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthorizationResponse").field("error", &self.error).finish_non_exhaustive()
    }
}
