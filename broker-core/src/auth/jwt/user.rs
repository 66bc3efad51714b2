//! Claims of users.

use serde::{Deserialize, Deserializer, Serialize};

use super::{Body, Generic, KeyKind, NO_LIMIT, is_default};

/// The claims of a user.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct User {
    /// Permissions and limits. Empty for a user whose signing key is scoped.
    #[serde(flatten)]
    pub limits: UserLimits,
    /// The account, if a signing key of it is the issuer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub issuer_account: String,
    /// Tags, kind and version.
    #[serde(flatten)]
    pub generic: Generic,
}

impl Body for User {
    const KIND: &'static str = "user";
    const ISSUERS: &'static [KeyKind] = &[KeyKind::Account];
    const SUBJECT: Option<KeyKind> = Some(KeyKind::User);

    fn unlimited() -> Self {
        Self { limits: UserLimits::unlimited(), ..Self::default() }
    }

    fn set_generic(&mut self, version: i64) {
        self.generic.set(Self::KIND, version);
    }
}

/// The permissions and limits of a user, in its own claims or in the template of a scoped signing key.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct UserLimits {
    /// The subjects that the user may use.
    #[serde(flatten)]
    pub permissions: Permissions,
    /// The networks from which the user may connect, as `address/bits`; empty for all.
    #[serde(deserialize_with = "networks", skip_serializing_if = "Vec::is_empty")]
    pub src: Vec<String>,
    /// The times of day at which the user may be connected; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<TimeRange>,
    /// The time zone of `times`; that of the server if empty.
    #[serde(rename = "times_location", skip_serializing_if = "String::is_empty")]
    pub locale: String,
    /// The number of subscriptions.
    #[serde(skip_serializing_if = "is_default")]
    pub subs: i64,
    /// The number of bytes. Not enforced, as in the reference.
    #[serde(skip_serializing_if = "is_default")]
    pub data: i64,
    /// The size of a message, in bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub payload: i64,
    /// The token alone is enough to log in.
    #[serde(skip_serializing_if = "is_default")]
    pub bearer_token: bool,
    /// The user must connect through a proxy.
    #[serde(skip_serializing_if = "is_default")]
    pub proxy_required: bool,
    /// The kinds of connections that the user may use; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_connection_types: Vec<String>,
}

impl UserLimits {
    /// Creates limits that limit nothing.
    pub fn unlimited() -> Self {
        Self { subs: NO_LIMIT, data: NO_LIMIT, payload: NO_LIMIT, ..Self::default() }
    }

    /// Returns true if nothing is set. Only then may a scoped key have signed.
    // NATS 2.14: jwt user_claims.go HasEmptyPermissions.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Subjects that may be published and subscribed to.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Permissions {
    /// Subjects to publish to.
    #[serde(rename = "pub", skip_serializing_if = "is_default")]
    pub publish: Permission,
    /// Subjects to subscribe to, each with a queue group behind a blank if it is for that group only.
    #[serde(rename = "sub", skip_serializing_if = "is_default")]
    pub subscribe: Permission,
    /// Publishing to the reply subjects of received messages.
    #[serde(rename = "resp", skip_serializing_if = "Option::is_none")]
    pub responses: Option<ResponsePermission>,
}

/// Allowed and denied subjects.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Permission {
    /// Allowed subjects; all if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Denied subjects, even if they are allowed too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

/// Permission to publish to the reply subjects of received messages.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct ResponsePermission {
    /// The number of messages for each; 0 for one, -1 for any number.
    pub max: i64,
    /// The time for them, in nanoseconds; 0 for two minutes, -1 for any.
    pub ttl: i64,
}

/// A part of a day: `HH:MM:SS`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct TimeRange {
    /// Its beginning.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub start: String,
    /// Its end. If it is before `start`, the part includes midnight.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub end: String,
}

/// A list, or one text separated by commas, as in version 1.
// NATS 2.14: jwt types.go CIDRList.
fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Networks {
        List(Vec<String>),
        Text(String),
    }
    Ok(match Networks::deserialize(deserializer)? {
        Networks::List(list) => list,
        Networks::Text(text) => {
            let entries = text.split(',').map(|entry| entry.trim().to_lowercase());
            entries.filter(|entry| !entry.is_empty()).collect()
        }
    })
}
