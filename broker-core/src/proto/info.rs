//! The description of the server: `INFO {json}`.

use serde::{Deserialize, Serialize};

use super::json::{self, NotJson, Value};

/// The NATS version by which clients enable features.
pub const NATS_VERSION: &str = "2.14.5";

/// The fields of INFO that clients read, in the order of NATS 2.14.
///
/// Fields that do not apply are absent from the JSON.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Info {
    /// The id of the server: 56 characters that begin with `N`; new at every start.
    pub server_id: String,
    /// The configured name of the server, or else its id.
    pub server_name: String,
    /// The version of NATS that the server is compatible with.
    pub version: String,
    /// 1: INFO may be sent again at any time.
    pub proto: u8,
    /// The build of the server. NATS sends its Go version; clients require the field.
    pub go: String,
    /// The configured listen address.
    pub host: String,
    /// The listen port.
    pub port: u16,
    /// True if `HPUB` and `HMSG` are supported.
    pub headers: bool,
    /// True if the client must authenticate.
    #[serde(skip_serializing_if = "is_false")]
    pub auth_required: bool,
    /// True if the client must switch to TLS now.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_required: bool,
    /// True if the client must present a certificate.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_verify: bool,
    /// True if the client may switch to TLS.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_available: bool,
    /// The largest payload with headers, in bytes.
    pub max_payload: usize,
    /// True if streams are supported.
    #[serde(skip_serializing_if = "is_false")]
    pub jetstream: bool,
    /// The number of this connection.
    #[serde(skip_serializing_if = "is_zero")]
    pub client_id: u64,
    /// The address of the client, as seen by the server.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_ip: String,
    /// The nonce that the client must sign to prove that it holds its key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// The cluster of the server.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// The domain of its streams.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Other addresses that clients can connect to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// True if the server is in lame duck mode.
    #[serde(skip_serializing_if = "is_false")]
    pub ldm: bool,
    /// True in the answer to CONNECT.
    #[serde(skip_serializing_if = "is_false")]
    pub connect_info: bool,
    /// The account of the client.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_account: String,
    /// True if that is the system account.
    #[serde(skip_serializing_if = "is_false")]
    pub acc_is_sys: bool,
    /// The level of the JetStream API that corresponds to the version.
    #[serde(skip_serializing_if = "is_zero")]
    pub api_lvl: u64,
    /// The key for sealed requests to an auth callout.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub xkey: String,
}

// The signature is that of serde, with references.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Checks INFO from a client, whose fields are otherwise ignored: they must have the types that servers
/// use among themselves.
// NATS 2.14: client.go processInfo, server.go Info.
pub(crate) fn check_from_client(json: &[u8]) -> Result<(), NotJson> {
    json::for_each_member(
        json,
        |key, value| if value.is_null() { Ok(()) } else { check(key, value) },
    )
}

pub(super) fn check(key: &str, value: Value<'_>) -> Result<(), NotJson> {
    match key {
        "headers" | "auth_required" | "tls_required" | "tls_verify" | "tls_available"
        | "jetstream" | "cluster_dynamic" | "ldm" | "connect_info" | "acc_is_sys" | "lnoc"
        | "lnocu" | "info_on_connect" | "gateway_nrp" | "gateway_iom" => _ = value.bool()?,
        "proto" | "port" | "api_lvl" | "route_pool_size" | "route_pool_idx" => {
            let _: i64 = value.integer()?;
        }
        "max_payload" => _ = value.integer::<i32>()?,
        "client_id" => _ = value.integer::<u64>()?,
        "gossip_mode" | "gateway_cmd" => _ = value.integer::<u8>()?,
        "server_id"
        | "server_name"
        | "version"
        | "git_commit"
        | "go"
        | "host"
        | "ip"
        | "client_ip"
        | "nonce"
        | "cluster"
        | "domain"
        | "compression"
        | "remote_account"
        | "route_account"
        | "route_acc_add_reqid"
        | "gateway"
        | "gateway_url"
        | "xkey" => {
            _ = value.string()?;
        }
        "connect_urls" | "ws_connect_urls" | "gateway_urls" | "leafnode_urls" => {
            check_strings(value)?;
        }
        "import" | "export" => check_permission(value)?,
        _ => {}
    }
    Ok(())
}

/// Checks two lists of subjects, either of which may be missing.
// NATS 2.14: auth.go SubjectPermission.
pub(super) fn check_permission(value: Value<'_>) -> Result<(), NotJson> {
    value.for_each_member(&mut |key: &str, value: Value<'_>| match key {
        "allow" | "deny" if !value.is_null() => check_strings(value),
        _ => Ok(()),
    })
}

fn check_strings(value: Value<'_>) -> Result<(), NotJson> {
    value.for_each_element(|value| if value.is_null() { Ok(()) } else { value.string().map(drop) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_from_a_client_must_have_the_types_of_servers() {
        for good in [
            "{}",
            "null",
            r#"{"port":4222,"headers":true,"nonce":"\ud83d","connect_urls":["a",null],"other":[1e9]}"#,
            r#"{"port":null,"import":{"allow":[]},"max_payload":-2147483648,"gossip_mode":255}"#,
        ] {
            assert_eq!(check_from_client(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in [
            "",
            "5",
            "[]",
            "{",
            r#"{"port":"4222"}"#,
            r#"{"port":1.0}"#,
            r#"{"HEADERS":1}"#,
            r#"{"nonce":true}"#,
            r#"{"connect_urls":"a"}"#,
            r#"{"connect_urls":[1]}"#,
            r#"{"export":[]}"#,
            r#"{"max_payload":2147483648}"#,
            r#"{"gossip_mode":256}"#,
            r#"{"client_id":-1}"#,
        ] {
            assert_eq!(check_from_client(bad.as_bytes()), Err(NotJson), "{bad}");
        }
    }
}
