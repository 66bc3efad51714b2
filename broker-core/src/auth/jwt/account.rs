//! Claims of accounts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Body, Claims, Export, Generic, Import, KeyKind, NO_LIMIT, Permissions, Revocations,
    SigningKeys, User, is_default,
};

/// The claims of an account.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Account {
    /// Streams and services imported from other accounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<Import>,
    /// Streams and services exported to other accounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exports: Vec<Export>,
    /// Limits.
    pub limits: AccountLimits,
    /// Other keys that sign for the account.
    #[serde(skip_serializing_if = "SigningKeys::is_empty")]
    pub signing_keys: SigningKeys,
    /// Users whose tokens are no longer valid.
    #[serde(skip_serializing_if = "Revocations::is_empty")]
    pub revocations: Revocations,
    /// The permissions of users without any.
    #[serde(skip_serializing_if = "is_default")]
    pub default_permissions: Permissions,
    /// Replacements of subjects, by subject.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub mappings: BTreeMap<String, Vec<WeightedMapping>>,
    /// The service that authorizes its users.
    #[serde(skip_serializing_if = "is_default")]
    pub authorization: ExternalAuthorization,
    /// The destination of message traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<MessageTrace>,
    /// Whose account carries the traffic between servers: `system`, `owner` or empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster_traffic: String,
    /// A description, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// A page about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub info_url: String,
    /// Tags, kind and version.
    #[serde(flatten)]
    pub generic: Generic,
}

impl Body for Account {
    const KIND: &'static str = "account";
    const ISSUERS: &'static [KeyKind] = &[KeyKind::Account, KeyKind::Operator];
    const SUBJECT: Option<KeyKind> = Some(KeyKind::Account);

    fn unlimited() -> Self {
        Self { limits: AccountLimits::unlimited(), ..Self::default() }
    }

    fn set_generic(&mut self, version: i64) {
        self.generic.set(Self::KIND, version);
    }
}

impl Claims<Account> {
    /// Returns true if `issuer` may sign for the account, as which the claims name `issuer_account`.
    // NATS 2.14: jwt account_claims.go DidSign.
    pub fn may_sign(&self, issuer: &str, issuer_account: &str) -> bool {
        issuer == self.subject
            || issuer_account == self.subject && self.nats.signing_keys.contains(issuer)
    }

    /// Returns true if the account has revoked these claims. Claims without a time of issue always are.
    // NATS 2.14: jwt account_claims.go IsClaimRevoked.
    pub fn has_revoked(&self, user: &Claims<User>) -> bool {
        user.issued_at == 0 || self.nats.revocations.covers(&user.subject, user.issued_at)
    }
}

/// The limits of an account. Negative for none.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AccountLimits {
    /// Subscriptions of a client.
    #[serde(skip_serializing_if = "is_default")]
    pub subs: i64,
    /// Bytes. Not enforced, as in the reference.
    #[serde(skip_serializing_if = "is_default")]
    pub data: i64,
    /// The size of a message, in bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub payload: i64,
    /// Imports.
    #[serde(skip_serializing_if = "is_default")]
    pub imports: i64,
    /// Exports.
    #[serde(skip_serializing_if = "is_default")]
    pub exports: i64,
    /// Exports may contain wildcards.
    #[serde(skip_serializing_if = "is_default")]
    pub wildcards: bool,
    /// Its users may not log in by a token alone.
    #[serde(skip_serializing_if = "is_default")]
    pub disallow_bearer: bool,
    /// Connections.
    #[serde(skip_serializing_if = "is_default")]
    pub conn: i64,
    /// Leaf nodes.
    #[serde(skip_serializing_if = "is_default")]
    pub leaf: i64,
    /// The limits of streams, and others.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

impl AccountLimits {
    /// Creates limits that limit nothing.
    pub fn unlimited() -> Self {
        Self {
            subs: NO_LIMIT,
            data: NO_LIMIT,
            payload: NO_LIMIT,
            imports: NO_LIMIT,
            exports: NO_LIMIT,
            wildcards: true,
            disallow_bearer: false,
            conn: NO_LIMIT,
            leaf: NO_LIMIT,
            other: BTreeMap::new(),
        }
    }

    /// Returns true if nothing is set.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One destination of a mapping.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct WeightedMapping {
    /// The subject.
    pub subject: String,
    /// The share of messages, in percent; 0 for all.
    #[serde(skip_serializing_if = "is_default")]
    pub weight: u8,
    /// Only in this cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
}

impl WeightedMapping {
    /// Returns the share of messages, in percent.
    pub fn percent(&self) -> u8 {
        if self.weight == 0 { 100 } else { self.weight }
    }
}

/// The service that authorizes the users of an account.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct ExternalAuthorization {
    /// Users that are not sent to the service: its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub auth_users: Vec<String>,
    /// The accounts that the service may put users into; `*` for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_accounts: Vec<String>,
    /// The key for which requests are encrypted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub xkey: String,
}

impl ExternalAuthorization {
    /// Returns true if there is such a service.
    pub fn is_enabled(&self) -> bool {
        !self.auth_users.is_empty()
    }
}

/// The destination of message traces.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct MessageTrace {
    /// The subject.
    #[serde(rename = "dest", skip_serializing_if = "String::is_empty")]
    pub destination: String,
    /// The share of messages, in percent; 0 for all.
    #[serde(skip_serializing_if = "is_default")]
    pub sampling: i64,
}
