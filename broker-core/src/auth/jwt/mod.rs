//! JWTs of NATS: signed claims about operators, accounts and users.
//!
//! [`decode_user`], [`decode_account`] and the others check the signature and return typed claims; [`encode`] signs
//! them. Decoding is total: any text gives claims or a [`JwtError`]. Whether the issuer may make such claims, and
//! whether they are still valid, is for the caller to decide ([`Claims::issues`]).
//!
//! ```
//! use broker_core::auth::jwt::{Claims, User, decode_user, encode};
//! use broker_core::auth::nkey::{KeyKind, KeyPair};
//!
//! let account = KeyPair::from_random(KeyKind::Account, [1; 32]);
//! let user = KeyPair::from_random(KeyKind::User, [2; 32]);
//!
//! let mut claims = Claims::<User>::new(user.public());
//! claims.name = "joe".to_owned();
//! claims.nats.limits.permissions.publish.deny.push("secret.>".to_owned());
//! let token = encode(&claims, &account)?;
//!
//! let decoded = decode_user(token.expose())?;
//! assert_eq!(decoded.name, "joe");
//! assert_eq!(decoded.issuer, account.public().to_string());
//! # Ok::<(), broker_core::auth::jwt::JwtError>(())
//! ```

mod account;
mod activation;
mod authorization;
mod json;
mod operator;
mod revocations;
mod scope;
mod share;
mod token;
mod user;
mod validation;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use account::{Account, AccountLimits, ExternalAuthorization, MessageTrace, WeightedMapping};
pub use activation::Activation;
pub use authorization::{
    AuthorizationRequest, AuthorizationResponse, ClientInformation, ClientTls, SentOptions,
    ServerId,
};
pub use operator::Operator;
pub use revocations::Revocations;
pub use scope::{SigningKeys, UserScope};
pub use share::{Export, ExportType, Import, Sampling, ServiceLatency};
pub use token::encode;
pub use user::{Permission, Permissions, ResponsePermission, TimeRange, User, UserLimits};
pub use validation::{Issue, Network, Severity};
pub(crate) use validation::{is_contained_in, parse_server_version, second_of_day};

use super::nkey::{KeyKind, PublicKey};

/// The longest token, in bytes.
// NATS 2.14: jwt decoder.go MaxTokenSize.
pub const MAX_TOKEN_BYTES: usize = 1024 * 1024;

/// A limit that does not limit.
pub const NO_LIMIT: i64 = -1;

/// Claims of an operator.
pub type OperatorClaims = Claims<Operator>;
/// Claims of an account.
pub type AccountClaims = Claims<Account>;
/// Claims of a user.
pub type UserClaims = Claims<User>;
/// Claims that allow an account to import.
pub type ActivationClaims = Claims<Activation>;
/// Claims of a server about a client that logs in.
pub type AuthorizationRequestClaims = Claims<AuthorizationRequest>;
/// Claims of an authorization service about that client.
pub type AuthorizationResponseClaims = Claims<AuthorizationResponse>;
/// Claims of any kind, without types.
pub type GenericClaims = Claims<serde_json::Map<String, serde_json::Value>>;

/// The claims of a token: those that every token has, and those of its kind in `nats`.
///
/// Keys are text, as in the token: code that relies on one decodes it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, bound(deserialize = "B: Default + Deserialize<'de>"))]
pub struct Claims<B> {
    /// The recipient.
    #[serde(rename = "aud", skip_serializing_if = "String::is_empty")]
    pub audience: String,
    /// The end, in seconds since 1970; 0 for none.
    #[serde(rename = "exp", skip_serializing_if = "is_default")]
    pub expires: i64,
    /// The id: a hash of the claims. Set by [`encode`].
    #[serde(rename = "jti", skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The time of issue, in seconds since 1970.
    #[serde(rename = "iat", skip_serializing_if = "is_default")]
    pub issued_at: i64,
    /// The public key of the issuer. Set by [`encode`].
    #[serde(rename = "iss", skip_serializing_if = "String::is_empty")]
    pub issuer: String,
    /// The name of the subject, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The beginning, in seconds since 1970; 0 for none.
    #[serde(rename = "nbf", skip_serializing_if = "is_default")]
    pub not_before: i64,
    /// The public key of the subject.
    #[serde(rename = "sub", skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// The claims of this kind.
    pub nats: B,
}

impl<B: Body> Claims<B> {
    /// Creates claims about `subject`, without limits.
    pub fn new(subject: PublicKey) -> Self {
        Self { subject: subject.to_string(), nats: B::unlimited(), ..Self::default() }
    }

    /// Returns true if the issuer is the subject.
    pub fn is_self_signed(&self) -> bool {
        self.issuer == self.subject
    }
}

/// The claims of one kind.
pub trait Body: Default + DeserializeOwned + Serialize + private::Sealed {
    /// The kind in `nats.type`; empty if any is accepted.
    const KIND: &'static str;
    /// The kinds of keys that may sign such claims; empty for all.
    const ISSUERS: &'static [KeyKind];
    /// The kind of key that the claims are about; `None` for any.
    const SUBJECT: Option<KeyKind>;

    /// Creates claims that limit nothing.
    fn unlimited() -> Self {
        Self::default()
    }

    /// Sets the fields that every kind has.
    #[doc(hidden)]
    fn set_generic(&mut self, version: i64);
}

mod private {
    /// The kinds of claims are those of NATS.
    pub trait Sealed {}

    impl Sealed for super::Account {}
    impl Sealed for super::Activation {}
    impl Sealed for super::AuthorizationRequest {}
    impl Sealed for super::AuthorizationResponse {}
    impl Sealed for super::Operator {}
    impl Sealed for super::User {}
    impl Sealed for serde_json::Map<String, serde_json::Value> {}
}

/// The fields that the claims of every kind have.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Generic {
    /// Words for rules and templates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The kind of claims.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The version of the format: 1 or 2.
    #[serde(skip_serializing_if = "is_default")]
    pub version: i64,
}

impl Generic {
    fn set(&mut self, kind: &str, version: i64) {
        kind.clone_into(&mut self.kind);
        self.version = version;
    }
}

impl Body for serde_json::Map<String, serde_json::Value> {
    const KIND: &'static str = "";
    const ISSUERS: &'static [KeyKind] = &[];
    const SUBJECT: Option<KeyKind> = None;

    fn set_generic(&mut self, version: i64) {
        self.insert("version".to_owned(), version.into());
    }
}

/// Decodes claims of an operator.
///
/// # Errors
///
/// [`JwtError`] if they are not well-formed and signed.
pub fn decode_operator(token: &str) -> Result<OperatorClaims, JwtError> {
    token::decode(token)
}

/// Decodes claims of an account.
///
/// # Errors
///
/// [`JwtError`] if they are not well-formed and signed.
pub fn decode_account(token: &str) -> Result<AccountClaims, JwtError> {
    token::decode(token)
}

/// Decodes claims of a user.
///
/// # Errors
///
/// [`JwtError`] if they are not well-formed and signed.
pub fn decode_user(token: &str) -> Result<UserClaims, JwtError> {
    token::decode(token)
}

/// Decodes an activation.
///
/// # Errors
///
/// [`JwtError`] if it is not well-formed and signed.
pub fn decode_activation(token: &str) -> Result<ActivationClaims, JwtError> {
    token::decode(token)
}

/// Decodes the request of a server to an authorization service.
///
/// # Errors
///
/// [`JwtError`] if it is not well-formed and signed.
pub fn decode_authorization_request(token: &str) -> Result<AuthorizationRequestClaims, JwtError> {
    token::decode(token)
}

/// Decodes the response of an authorization service.
///
/// # Errors
///
/// [`JwtError`] if it is not well-formed and signed.
pub fn decode_authorization_response(token: &str) -> Result<AuthorizationResponseClaims, JwtError> {
    token::decode(token)
}

/// Decodes claims of any kind.
///
/// # Errors
///
/// [`JwtError`] if they are not well-formed and signed.
pub fn decode_generic(token: &str) -> Result<GenericClaims, JwtError> {
    token::decode(token)
}

/// The reason why a token was refused. Contains no part of the token.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtError {
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("token size {0} exceeds maximum of {MAX_TOKEN_BYTES} bytes: token too large")]
    TooLarge(usize),
    /// Not three parts separated by dots.
    #[error("expected 3 chunks")]
    Chunks,
    /// A part is not base64.
    #[error("illegal base64 data")]
    Base64,
    /// The header is not that of a JWT signed by an nkey.
    #[error("unexpected header")]
    Header,
    /// A part is no JSON, or its fields have other types.
    #[error("invalid claims: {0}")]
    Json(String),
    /// A version of the format that does not exist yet.
    #[error("JWT was generated by a newer version ")]
    Version,
    /// Claims of another kind.
    #[error("not {0} claim")]
    Kind(&'static str),
    /// The signature is not that of the issuer.
    #[error("claim failed V{0} signature verification")]
    Signature(i64),
    /// A key of this kind may not make such claims.
    #[error("unable to validate expected prefixes")]
    Issuer,
    /// The claims are about a key of another kind.
    #[error("expected subject to be {0} public key")]
    Subject(KeyKind),
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
