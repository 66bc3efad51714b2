//! The signing keys of an account.

use std::collections::BTreeMap;

use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{UserLimits, json};

/// The signing keys of an account, each with its scope if it has one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SigningKeys(pub BTreeMap<String, Option<UserScope>>);

impl SigningKeys {
    /// Returns true if `key` is one of them.
    pub fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Returns the scope of `key`.
    pub fn scope(&self, key: &str) -> Option<&UserScope> {
        self.0.get(key)?.as_ref()
    }

    /// Adds a key without a scope.
    pub fn add(&mut self, key: impl Into<String>) {
        self.0.insert(key.into(), None);
    }

    /// Adds a key whose users get the permissions of the scope.
    pub fn add_scoped(&mut self, scope: UserScope) {
        self.0.insert(scope.key.clone(), Some(scope));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The permissions and limits of the users that a signing key signs.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct UserScope {
    kind: UserScopeKind,
    /// The public key.
    pub key: String,
    /// The name of the role.
    pub role: String,
    /// Permissions and limits. Subjects may contain `{{name()}}` and the other templates.
    pub template: UserLimits,
    /// A description, for people.
    pub description: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum UserScopeKind {
    #[default]
    UserScope,
}

impl UserScope {
    /// Creates a scope without limits.
    pub fn new(key: impl Into<String>, role: impl Into<String>) -> Self {
        let (key, role) = (key.into(), role.into());
        Self { key, role, template: UserLimits::unlimited(), ..Self::default() }
    }
}

/// A list of keys and scopes, ordered by key.
impl Serialize for SigningKeys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for (key, scope) in &self.0 {
            match scope {
                Some(scope) => list.serialize_element(scope)?,
                None => list.serialize_element(key)?,
            }
        }
        list.end()
    }
}

// NATS 2.14: jwt signingkeys.go UnmarshalJSON: other elements than keys and scopes are ignored.
impl<'de> Deserialize<'de> for SigningKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut keys = Self::default();
        for element in Vec::<Value>::deserialize(deserializer)? {
            match element {
                Value::String(key) => keys.add(key),
                Value::Object(fields) => {
                    let scope = scope(fields).map_err(serde::de::Error::custom)?;
                    keys.add_scoped(scope);
                }
                _ => {}
            }
        }
        Ok(keys)
    }
}

/// A limit that the template lacks does not limit.
fn scope(mut fields: Map<String, Value>) -> Result<UserScope, serde_json::Error> {
    let template = fields.entry("template").or_insert_with(|| Map::new().into());
    if let Value::Object(template) = template {
        json::set_unlimited(template);
    }
    if !fields.contains_key("kind") {
        return Err(serde::de::Error::missing_field("kind"));
    }
    serde_json::from_value(fields.into())
}
