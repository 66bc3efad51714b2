//! The description of a server for other servers: `INFO {json}`.

use serde::Serialize;

use crate::options::SubjectPermission;
use crate::proto::info::check;
use crate::proto::json::{self, NotJson, Value};

/// The servers that are told of a new route.
// NATS 2.14: route.go gossipDefault, ….
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum GossipMode {
    /// By the rules.
    #[default]
    Default,
    /// Not at all.
    Disabled,
    /// In any case.
    Override,
}

/// The fields of INFO that servers of one cluster send each other, in the order of NATS 2.14.
///
/// Fields that do not apply are absent from the JSON.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct RouteInfo {
    /// The id of the server that is described: of the sender, or of another server that the sender reports.
    pub server_id: String,
    /// Its name.
    pub server_name: String,
    /// The version of NATS that it is compatible with.
    pub version: String,
    /// The version of the protocol of servers.
    pub proto: i64,
    /// Its build.
    pub go: String,
    /// The host of its listener for routes, or the advertised one.
    pub host: String,
    /// The port of its listener for routes, or the advertised one.
    pub port: u16,
    /// True if headers are supported.
    pub headers: bool,
    /// True if other servers must authenticate.
    #[serde(skip_serializing_if = "is_false")]
    pub auth_required: bool,
    /// True if routes use TLS.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_required: bool,
    /// True if routes verify certificates.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_verify: bool,
    /// The largest payload with headers, in bytes.
    pub max_payload: i64,
    /// True if streams are supported.
    #[serde(skip_serializing_if = "is_false")]
    pub jetstream: bool,
    /// The URL of its listener for routes: `nats-route://host:port/`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// A nonce, which routes do not sign.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// The name of the cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// True if that name was generated.
    #[serde(skip_serializing_if = "is_false")]
    pub cluster_dynamic: bool,
    /// The domain of its streams.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// The addresses of its listeners for clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// The addresses of its listeners for WebSocket.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ws_connect_urls: Vec<String>,
    /// True if it is in lame duck mode.
    #[serde(skip_serializing_if = "is_false")]
    pub ldm: bool,
    /// The compression that it offers, or has chosen.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub compression: String,
    /// The subjects whose interest it sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<SubjectPermission>,
    /// The subjects whose interest it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<SubjectPermission>,
    /// True if it understands `LS+` and `LMSG`.
    #[serde(skip_serializing_if = "is_false")]
    pub lnoc: bool,
    /// True if it understands `LS-` with the origin.
    #[serde(skip_serializing_if = "is_false")]
    pub lnocu: bool,
    /// The number of its routes to each server; 0 if it knows no pools.
    #[serde(skip_serializing_if = "is_zero")]
    pub route_pool_size: i64,
    /// The index of this route in the pool.
    #[serde(skip_serializing_if = "is_zero")]
    pub route_pool_idx: i64,
    /// The account of this route.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub route_account: String,
    /// The id of a request to give an account a route of its own.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub route_acc_add_reqid: String,
    /// The servers that are told of this route.
    #[serde(skip_serializing_if = "GossipMode::is_default")]
    pub gossip_mode: GossipMode,
    /// The cluster whose gateway it describes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// The address of its listener for gateways.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway_url: String,
    /// The addresses of its listeners for leaf nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leafnode_urls: Vec<String>,
    /// Its public key for sealed messages.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub xkey: String,
}

impl RouteInfo {
    /// Decodes `json`, with the rules of [`RouteConnect::from_json`](super::RouteConnect::from_json). A port that is
    /// none becomes 0.
    ///
    /// # Errors
    ///
    /// [`NotRouteInfo`] if the JSON, or the type of a value, is wrong.
    ///
    /// ```
    /// use broker_core::proto::route::RouteInfo;
    ///
    /// let info = RouteInfo::from_json(br#"{"server_id":"N1","host":"0.0.0.0","port":6222}"#)?;
    /// assert_eq!((&*info.server_id, info.port), ("N1", 6222));
    /// # Ok::<(), broker_core::proto::route::NotRouteInfo>(())
    /// ```
    pub fn from_json(json: &[u8]) -> Result<Self, NotRouteInfo> {
        let mut info = Self::default();
        json::for_each_member(json, |key, value| match key {
            _ if value.is_null() => Ok(()),
            // NATS 2.14: decoded, also if it has no effect on a route.
            _ => check(key, value).and_then(|()| info.set(key, value)),
        })
        .map_err(|NotJson| NotRouteInfo)?;
        Ok(info)
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        // Plain strings, numbers and lists can be written.
        crate::go_json::compact(self).unwrap_or_default()
    }

    fn set(&mut self, key: &str, value: Value<'_>) -> Result<(), NotJson> {
        if let Some(text) = self.text(key) {
            *text = value.string()?;
        } else if let Some(flag) = self.flag(key) {
            *flag = value.bool()?;
        } else {
            self.set_other(key, value)?;
        }
        Ok(())
    }

    fn text(&mut self, key: &str) -> Option<&mut String> {
        Some(match key {
            "server_id" => &mut self.server_id,
            "server_name" => &mut self.server_name,
            "version" => &mut self.version,
            "go" => &mut self.go,
            "host" => &mut self.host,
            "ip" => &mut self.ip,
            "nonce" => &mut self.nonce,
            "cluster" => &mut self.cluster,
            "domain" => &mut self.domain,
            "compression" => &mut self.compression,
            "route_account" => &mut self.route_account,
            "route_acc_add_reqid" => &mut self.route_acc_add_reqid,
            "gateway" => &mut self.gateway,
            "gateway_url" => &mut self.gateway_url,
            "xkey" => &mut self.xkey,
            _ => return None,
        })
    }

    fn flag(&mut self, key: &str) -> Option<&mut bool> {
        Some(match key {
            "headers" => &mut self.headers,
            "auth_required" => &mut self.auth_required,
            "tls_required" => &mut self.tls_required,
            "tls_verify" => &mut self.tls_verify,
            "jetstream" => &mut self.jetstream,
            "cluster_dynamic" => &mut self.cluster_dynamic,
            "ldm" => &mut self.ldm,
            "lnoc" => &mut self.lnoc,
            "lnocu" => &mut self.lnocu,
            _ => return None,
        })
    }

    fn set_other(&mut self, key: &str, value: Value<'_>) -> Result<(), NotJson> {
        match key {
            "proto" => self.proto = value.integer()?,
            "port" => self.port = u16::try_from(value.integer::<i64>()?).unwrap_or(0),
            "max_payload" => self.max_payload = value.integer()?,
            "route_pool_size" => self.route_pool_size = value.integer()?,
            "route_pool_idx" => self.route_pool_idx = value.integer()?,
            "gossip_mode" => self.gossip_mode = GossipMode::from_number(value.integer()?),
            "connect_urls" => self.connect_urls = strings(value)?,
            "ws_connect_urls" => self.ws_connect_urls = strings(value)?,
            "leafnode_urls" => self.leafnode_urls = strings(value)?,
            "import" => self.import = Some(permission(value)?),
            "export" => self.export = Some(permission(value)?),
            _ => {}
        }
        Ok(())
    }
}

/// Decodes a list of strings, in which `null` stands for an empty one.
fn strings(value: Value<'_>) -> Result<Vec<String>, NotJson> {
    let mut strings = Vec::new();
    value.for_each_element(|value| {
        strings.push(if value.is_null() { String::new() } else { value.string()? });
        Ok(())
    })?;
    Ok(strings)
}

fn permission(value: Value<'_>) -> Result<SubjectPermission, NotJson> {
    let mut permission = SubjectPermission::default();
    value.for_each_member(&mut |key, value| {
        match key {
            _ if value.is_null() => {}
            "allow" => permission.allow = strings(value)?,
            "deny" => permission.deny = strings(value)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(permission)
}

/// INFO carried something else than an object with values of the right types.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not the description of a server")]
pub struct NotRouteInfo;

impl GossipMode {
    /// Returns the mode of a number in INFO. Others are of later versions.
    fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Disabled,
            2 => Self::Override,
            _ => Self::Default,
        }
    }

    fn is_default(&self) -> bool {
        *self == Self::Default
    }
}

impl Serialize for GossipMode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_decoded_as_in_the_reference() {
        let info = RouteInfo::from_json(
            br#"{"SERVER_ID":"N","server_name":"n","port":6222,"headers":true,"max_payload":-1,"git_commit":"x",
                "connect_urls":["a",null],"import":{"allow":["x.>"],"deny":null},"export":null,"gossip_mode":2,
                "route_pool_size":3,"unknown":[{}],"ldm":null,"gateway_urls":["g"],"client_id":7,"proto":3}"#,
        );
        let import = SubjectPermission { allow: vec!["x.>".into()], deny: Vec::new() };
        let expected = RouteInfo {
            server_id: "N".into(),
            server_name: "n".into(),
            port: 6222,
            headers: true,
            max_payload: -1,
            connect_urls: vec!["a".into(), String::new()],
            import: Some(import),
            gossip_mode: GossipMode::Override,
            route_pool_size: 3,
            proto: 3,
            ..RouteInfo::default()
        };
        assert_eq!(info, Ok(expected));
        assert_eq!(RouteInfo::from_json(b"null"), Ok(RouteInfo::default()));
        for (port, expected) in [("0", 0), ("65535", 65535), ("65536", 0), ("-1", 0)] {
            let json = format!(r#"{{"port":{port}}}"#);
            assert_eq!(RouteInfo::from_json(json.as_bytes()).unwrap().port, expected);
        }
        for (number, mode) in
            [(0, GossipMode::Default), (1, GossipMode::Disabled), (9, GossipMode::Default)]
        {
            let json = format!(r#"{{"gossip_mode":{number}}}"#);
            assert_eq!(RouteInfo::from_json(json.as_bytes()).unwrap().gossip_mode, mode);
        }
    }

    #[test]
    fn values_of_another_type_are_refused() {
        for bad in [
            "",
            "[]",
            "{}x",
            r#"{"port":"6222"}"#,
            r#"{"port":1.5}"#,
            r#"{"max_payload":2147483648}"#,
            r#"{"gossip_mode":256}"#,
            r#"{"connect_urls":"a"}"#,
            r#"{"import":[]}"#,
            r#"{"client_id":-1}"#,
            r#"{"gateway_nrp":1}"#,
            r#"{"server_id":1,"server_id":"N"}"#,
        ] {
            assert_eq!(RouteInfo::from_json(bad.as_bytes()), Err(NotRouteInfo), "{bad}");
        }
    }
}
