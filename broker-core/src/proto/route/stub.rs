//! stub
use super::{GossipMode, RouteConnect, RouteInfo};
use crate::proto::json::NotJson;
fn s(v: &serde_json::Value, k: &str) -> String {
    v[k].as_str().unwrap_or_default().to_owned()
}
fn b(v: &serde_json::Value, k: &str) -> bool {
    v[k].as_bool().unwrap_or_default()
}
fn i(v: &serde_json::Value, k: &str) -> i64 {
    v[k].as_i64().unwrap_or_default()
}
fn l(v: &serde_json::Value, k: &str) -> Vec<String> {
    v[k].as_array()
        .map(|a| a.iter().filter_map(|x| x.as_str().map(str::to_owned)).collect())
        .unwrap_or_default()
}
impl RouteInfo {
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, NotJson> {
        let v: serde_json::Value = serde_json::from_slice(json).map_err(|_| NotJson)?;
        Ok(Self {
            server_id: s(&v, "server_id"),
            server_name: s(&v, "server_name"),
            version: s(&v, "version"),
            proto: i(&v, "proto"),
            go: s(&v, "go"),
            host: s(&v, "host"),
            port: i(&v, "port") as u16,
            headers: b(&v, "headers"),
            auth_required: b(&v, "auth_required"),
            tls_required: b(&v, "tls_required"),
            tls_verify: b(&v, "tls_verify"),
            max_payload: i(&v, "max_payload"),
            jetstream: b(&v, "jetstream"),
            ip: s(&v, "ip"),
            nonce: s(&v, "nonce"),
            cluster: s(&v, "cluster"),
            cluster_dynamic: b(&v, "cluster_dynamic"),
            domain: s(&v, "domain"),
            connect_urls: l(&v, "connect_urls"),
            ws_connect_urls: l(&v, "ws_connect_urls"),
            ldm: b(&v, "ldm"),
            compression: s(&v, "compression"),
            import: None,
            export: None,
            lnoc: b(&v, "lnoc"),
            lnocu: b(&v, "lnocu"),
            route_pool_size: i(&v, "route_pool_size"),
            route_pool_idx: i(&v, "route_pool_idx"),
            route_account: s(&v, "route_account"),
            route_acc_add_reqid: s(&v, "route_acc_add_reqid"),
            gossip_mode: match i(&v, "gossip_mode") {
                1 => GossipMode::Disabled,
                2 => GossipMode::Override,
                _ => GossipMode::Default,
            },
            ..Default::default()
        })
    }
}
impl RouteConnect {
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, NotJson> {
        let v: serde_json::Value = serde_json::from_slice(json).map_err(|_| NotJson)?;
        Ok(Self {
            echo: true,
            user: s(&v, "user"),
            pass: s(&v, "pass").into(),
            tls_required: b(&v, "tls_required"),
            headers: b(&v, "headers"),
            name: s(&v, "name"),
            cluster: s(&v, "cluster"),
            cluster_dynamic: b(&v, "cluster_dynamic"),
            lnoc: b(&v, "lnoc"),
            lnocu: b(&v, "lnocu"),
            gateway: s(&v, "gateway"),
            lang: s(&v, "lang"),
            verbose: b(&v, "verbose"),
            pedantic: b(&v, "pedantic"),
        })
    }
}
