//! Claims of operators.

use serde::{Deserialize, Serialize};

use super::{Body, Claims, Generic, KeyKind, is_default};

/// The claims of an operator.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Operator {
    /// Other keys that sign for the operator.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signing_keys: Vec<String>,
    /// The server of account tokens that tools use.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub account_server_url: String,
    /// The servers to which tools connect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operator_service_urls: Vec<String>,
    /// The public key of the system account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub system_account: String,
    /// The lowest version of a server, as `major.minor.patch`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub assert_server_version: String,
    /// Only signing keys may sign accounts.
    #[serde(skip_serializing_if = "is_default")]
    pub strict_signing_key_usage: bool,
    /// Tags, kind and version.
    #[serde(flatten)]
    pub generic: Generic,
}

impl Body for Operator {
    const KIND: &'static str = "operator";
    const ISSUERS: &'static [KeyKind] = &[KeyKind::Operator];
    const SUBJECT: Option<KeyKind> = Some(KeyKind::Operator);

    fn set_generic(&mut self, version: i64) {
        self.generic.set(Self::KIND, version);
    }
}

impl Claims<Operator> {
    /// Returns true if `issuer` may sign for the operator.
    // NATS 2.14: jwt operator_claims.go DidSign, for the claims of accounts.
    pub fn may_sign(&self, issuer: &str) -> bool {
        if issuer == self.subject {
            return !self.nats.strict_signing_key_usage;
        }
        self.nats.signing_keys.iter().any(|key| key == issuer)
    }
}
