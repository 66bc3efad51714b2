//! The first operation of the server that has dialled: `CONNECT {json}`.

use serde::Serialize;

use crate::auth::Secret;
use crate::proto::info::check_permission;
use crate::proto::json::{self, NotJson, Value};

/// The fields of CONNECT between servers, in the order of NATS 2.14.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RouteConnect {
    /// Always true.
    pub echo: bool,
    /// Asks for `+OK`.
    pub verbose: bool,
    /// Asks for stricter checks.
    pub pedantic: bool,
    /// The user.
    pub user: String,
    /// The password.
    pub pass: Secret,
    /// True if the route uses TLS.
    pub tls_required: bool,
    /// True if headers are supported.
    pub headers: bool,
    /// The id of the server.
    pub name: String,
    /// The name of the cluster.
    pub cluster: String,
    /// True if that name was generated.
    pub cluster_dynamic: bool,
    /// True if the server understands `LS+` and `LMSG`.
    pub lnoc: bool,
    /// True if the server understands `LS-` with the origin.
    pub lnocu: bool,
    /// The cluster of a gateway that connects to the wrong port.
    pub gateway: String,
    /// The language of a client that connects to the wrong port.
    pub lang: String,
    /// The account that it requests: refused, whatever it is.
    // NATS 2.14: client.go processConnect.
    pub account: String,
}

impl RouteConnect {
    /// Decodes `json`.
    ///
    /// As in Go's decoder, keys match in any case, the last of several wins, `null` changes nothing, and unknown keys
    /// are skipped.
    ///
    /// # Errors
    ///
    /// [`NotRouteConnect`] if the JSON, or the type of a value, is wrong.
    ///
    /// ```
    /// use broker_core::proto::route::RouteConnect;
    ///
    /// let connect = RouteConnect::from_json(br#"{"name":"N1","cluster":"east","headers":true}"#)?;
    /// assert_eq!((&*connect.name, &*connect.cluster), ("N1", "east"));
    /// # Ok::<(), broker_core::proto::route::NotRouteConnect>(())
    /// ```
    pub fn from_json(json: &[u8]) -> Result<Self, NotRouteConnect> {
        let mut connect = Self::default();
        let mut requests_account = false;
        json::for_each_member(json, |key, value| match key {
            _ if value.is_null() => Ok(()),
            "new_account" => {
                requests_account = value.bool()?;
                Ok(())
            }
            _ => connect.set(key, value),
        })
        .map_err(|NotJson| NotRouteConnect)?;
        if requests_account && connect.account.is_empty() {
            connect.account = String::from("new_account");
        }
        Ok(connect)
    }

    fn set(&mut self, key: &str, value: Value<'_>) -> Result<(), NotJson> {
        match key {
            "echo" => self.echo = value.bool()?,
            "verbose" => self.verbose = value.bool()?,
            "pedantic" => self.pedantic = value.bool()?,
            "user" => self.user = value.string()?,
            "pass" => self.pass = Secret::from(value.string()?),
            "tls_required" => self.tls_required = value.bool()?,
            "headers" => self.headers = value.bool()?,
            "name" => self.name = value.string()?,
            "cluster" => self.cluster = value.string()?,
            "cluster_dynamic" => self.cluster_dynamic = value.bool()?,
            "lnoc" => self.lnoc = value.bool()?,
            "lnocu" => self.lnocu = value.bool()?,
            "gateway" => self.gateway = value.string()?,
            "lang" => self.lang = value.string()?,
            "account" => self.account = value.string()?,
            _ => check(key, value)?,
        }
        Ok(())
    }

    /// Returns the JSON, without the fields of clients.
    // NATS 2.14: route.go connectInfo.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let Self { echo, verbose, pedantic, tls_required, headers, .. } = *self;
        let Self { cluster_dynamic, lnoc, lnocu, .. } = *self;
        let Self { user, pass, name, cluster, gateway, .. } = self;
        let pass = pass.expose();
        let fields = Fields {
            echo,
            verbose,
            pedantic,
            user,
            pass,
            tls_required,
            headers,
            name,
            cluster,
            cluster_dynamic,
            lnoc,
            lnocu,
            gateway,
        };
        // Plain strings and flags can be written.
        crate::go_json::compact(&fields).unwrap_or_default()
    }
}

/// Checks a field of clients that servers do not use.
// NATS 2.14: client.go ClientOpts.
fn check(key: &str, value: Value<'_>) -> Result<(), NotJson> {
    match key {
        "no_responders" => value.bool().map(drop),
        "protocol" => value.integer::<i64>().map(drop),
        "nkey" | "jwt" | "sig" | "auth_token" | "version" | "remote_account" | "proxy_sig" => {
            value.string().map(drop)
        }
        "import" | "export" => check_permission(value),
        _ => Ok(()),
    }
}

/// The JSON of CONNECT.
#[derive(Serialize)]
struct Fields<'a> {
    echo: bool,
    verbose: bool,
    pedantic: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    user: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pass: &'a str,
    tls_required: bool,
    headers: bool,
    name: &'a str,
    cluster: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    cluster_dynamic: bool,
    #[serde(skip_serializing_if = "is_false")]
    lnoc: bool,
    #[serde(skip_serializing_if = "is_false")]
    lnocu: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    gateway: &'a str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// CONNECT carried something else than an object with values of the right types.
///
/// Does not contain the offending text, which could be a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not the options of a server")]
pub struct NotRouteConnect;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_decoded_as_in_the_reference() {
        let json = br#"{"ECHO":true,"verbose":true,"pedantic":null,"user":"x","User":"u","pass":"p",
            "tls_required":true,"headers":true,"name":"N","cluster":"c","cluster_dynamic":true,"lnoc":true,
            "lnocu":true,"gateway":"g","lang":"go","unknown":[1e9],"nkey":"a","import":{"allow":["x"]}}"#;
        let expected = RouteConnect {
            echo: true,
            verbose: true,
            pedantic: false,
            user: "u".into(),
            pass: "p".into(),
            tls_required: true,
            headers: true,
            name: "N".into(),
            cluster: "c".into(),
            cluster_dynamic: true,
            lnoc: true,
            lnocu: true,
            gateway: "g".into(),
            lang: "go".into(),
            account: String::new(),
        };
        assert_eq!(RouteConnect::from_json(json), Ok(expected));
        assert_eq!(RouteConnect::from_json(b"{}"), Ok(RouteConnect::default()));
        assert_eq!(RouteConnect::from_json(b"null"), Ok(RouteConnect::default()));
        for request in [&br#"{"new_account":true}"#[..], br#"{"account":"A"}"#] {
            assert!(!RouteConnect::from_json(request).unwrap().account.is_empty());
        }
    }

    #[test]
    fn values_of_another_type_are_refused() {
        for bad in [
            "",
            "[]",
            "{",
            r#"{"name":1}"#,
            r#"{"headers":"true"}"#,
            r#"{"lnoc":1}"#,
            r#"{"cluster":null,"gateway":{}}"#,
            r#"{"protocol":"1"}"#,
            r#"{"nkey":1}"#,
            r#"{"import":1}"#,
            r#"{"no_responders":1}"#,
        ] {
            assert_eq!(RouteConnect::from_json(bad.as_bytes()), Err(NotRouteConnect), "{bad}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let connect = RouteConnect { pass: "marker".into(), ..RouteConnect::default() };
        assert!(!format!("{connect:?}").contains("marker"));
    }
}
