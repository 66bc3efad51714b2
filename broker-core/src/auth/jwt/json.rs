//! The JSON of claims, before it has types.

use serde_json::{Map, Value};

use super::{JwtError, NO_LIMIT};

/// Removes fields that are null: in the reference they count as absent.
pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Returns the version of the format. Version 1 has the kind outside `nats`.
// NATS 2.14: jwt decoder.go identifier.
pub(super) fn version(value: &Value) -> Result<i64, JwtError> {
    if !outer_kind(value).is_empty() {
        return Ok(1);
    }
    match value.get("nats").and_then(|nats| nats.get("version")) {
        None => Ok(0),
        Some(version) => {
            version.as_i64().ok_or_else(|| JwtError::Json("a field has another type".to_owned()))
        }
    }
}

/// Returns the kind of claims.
pub(super) fn kind(value: &Value) -> &str {
    match outer_kind(value) {
        "" => text(value.get("nats").and_then(|nats| nats.get("type"))),
        kind => kind,
    }
}

fn outer_kind(value: &Value) -> &str {
    text(value.get("type"))
}

fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

/// Turns claims of version 1 into those of version 2.
// NATS 2.14: jwt decoder_account.go, decoder_activation.go, decoder_operator.go, decoder_user.go.
pub(super) fn migrate(value: &mut Value, version: i64) -> Result<(), JwtError> {
    let kind = kind(value).to_owned();
    if kind.starts_with("authorization_") || version == 2 {
        return Ok(());
    }
    if version != 1 {
        return Err(JwtError::Version);
    }
    let Value::Object(outer) = value else { return Ok(()) };
    let mut nats = match outer.remove("nats") {
        Some(Value::Object(nats)) => nats,
        None => Map::new(),
        Some(_) => return Err(JwtError::Json("a field has another type".to_owned())),
    };
    let known: &[&str] = match &*kind {
        "account" => &["imports", "exports", "limits", "signing_keys", "revocations"],
        "activation" => &["subject", "kind"],
        "operator" => {
            &["signing_keys", "account_server_url", "operator_service_urls", "system_account"]
        }
        _ => &[
            "pub",
            "sub",
            "resp",
            "src",
            "times",
            "times_location",
            "subs",
            "data",
            "payload",
            "bearer_token",
        ],
    };
    if kind == "activation"
        && let Some(kind) = nats.remove("type")
    {
        nats.insert("kind".to_owned(), kind);
    }
    nats.retain(|key, _| known.contains(&&**key));
    match &*kind {
        "user" => set_unlimited(&mut nats),
        // The limits of streams are of version 2.
        "account" => {
            if let Some(Value::Object(limits)) = nats.get_mut("limits") {
                limits.retain(|key, _| V1_ACCOUNT_LIMITS.contains(&&**key));
            }
        }
        _ => {}
    }
    for key in ["tags", "issuer_account"] {
        if let Some(value) = outer.remove(key) {
            nats.insert(key.to_owned(), value);
        }
    }
    nats.insert("type".to_owned(), kind.into());
    nats.insert("version".to_owned(), 1.into());
    outer.insert("nats".to_owned(), nats.into());
    Ok(())
}

const V1_ACCOUNT_LIMITS: [&str; 9] = [
    "subs",
    "data",
    "payload",
    "imports",
    "exports",
    "wildcards",
    "disallow_bearer",
    "conn",
    "leaf",
];

/// Sets the limits that are absent to none.
pub(super) fn set_unlimited(fields: &mut Map<String, Value>) {
    for key in ["subs", "data", "payload"] {
        fields.entry(key).or_insert_with(|| NO_LIMIT.into());
    }
}
