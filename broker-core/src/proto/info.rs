//! What the server says of itself: `INFO {json}`.

use serde::{Deserialize, Serialize};

use super::json::{self, NotJson, Value};

/// The NATS version that clients gate features on.
pub const NATS_VERSION: &str = "2.14.5";

/// The fields of INFO that clients read, in the order of NATS 2.14.
///
/// What does not apply is left out of the JSON.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Info {
    /// 56 characters that begin with `N`; new at every start.
    pub server_id: String,
    /// What the operator calls the server; its id if nothing.
    pub server_name: String,
    /// The version of NATS that clients may expect.
    pub version: String,
    /// 1: INFO may come again at any time.
    pub proto: u8,
    /// What the server was built with. NATS tells its Go version; clients want the field to be there.
    pub go: String,
    /// The address the server listens at, as it was asked to.
    pub host: String,
    /// The port it listens at.
    pub port: u16,
    /// Are `HPUB` and `HMSG` spoken?
    pub headers: bool,
    /// Must the client show credentials?
    #[serde(skip_serializing_if = "is_false")]
    pub auth_required: bool,
    /// Must the client go over to TLS now?
    #[serde(skip_serializing_if = "is_false")]
    pub tls_required: bool,
    /// Must it show a certificate?
    #[serde(skip_serializing_if = "is_false")]
    pub tls_verify: bool,
    /// May it go over to TLS?
    #[serde(skip_serializing_if = "is_false")]
    pub tls_available: bool,
    /// The largest payload with headers, in bytes.
    pub max_payload: usize,
    /// Are there streams?
    #[serde(skip_serializing_if = "is_false")]
    pub jetstream: bool,
    /// The number of this connection.
    #[serde(skip_serializing_if = "is_zero")]
    pub client_id: u64,
    /// Where the client comes from, as the server sees it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_ip: String,
    /// What the client must sign to show that it holds its key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// The cluster that the server is part of.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// The domain of its streams.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Where else a client can connect to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// Is the server about to go?
    #[serde(skip_serializing_if = "is_false")]
    pub ldm: bool,
    /// Is this the answer to CONNECT?
    #[serde(skip_serializing_if = "is_false")]
    pub connect_info: bool,
    /// The account that the client was put into.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_account: String,
    /// Is that the system account?
    #[serde(skip_serializing_if = "is_false")]
    pub acc_is_sys: bool,
    /// The level of the streaming API that the version stands for.
    #[serde(skip_serializing_if = "is_zero")]
    pub api_lvl: u64,
    /// The key for sealed requests to an auth callout.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub xkey: String,
}

// serde calls these with references.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Checks the INFO of a client, which has nothing to say there. Its fields must be of the types that
/// servers tell each other.
// NATS 2.14: client.go processInfo, server.go Info.
pub(crate) fn check_from_client(json: &[u8]) -> Result<(), NotJson> {
    json::for_each_member(
        json,
        |key, value| if value.is_null() { Ok(()) } else { check(key, value) },
    )
}

fn check(key: &str, value: Value<'_>) -> Result<(), NotJson> {
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

/// Two lists of subjects, either of which may be missing.
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
    fn the_info_of_a_client_has_the_types_of_a_servers() {
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
