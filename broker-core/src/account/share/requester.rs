//! The description of a client that services, and measurements of them, are given.

use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Context;
use crate::auth::Identity;
use crate::endpoint::Endpoint;
use crate::go_json;
use crate::sync::Ordering;
use crate::timestamp::Timestamp;
use crate::transport::TransportInfo;

/// A client, in the reference's order.
// NATS 2.14: events.go ClientInfo.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct Requester {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) start: Option<Timestamp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) host: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) id: u64,
    #[serde(rename = "acc", skip_serializing_if = "String::is_empty")]
    pub(crate) account: String,
    #[serde(rename = "svc", skip_serializing_if = "String::is_empty")]
    pub(crate) service: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) user: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) lang: String,
    #[serde(rename = "ver", skip_serializing_if = "String::is_empty")]
    pub(crate) version: String,
    /// In nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) rtt: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) server: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) cluster: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) issuer_key: String,
    /// The name in the token of the user.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name_tag: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) client_type: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Requester {
    /// Describes a client of an account: the account and the round trip, and the rest if it is `detailed`. The reference adds
    /// the token of the user, which is nobody else's business.
    // NATS 2.14: client.go getClientInfo, events.go issuerForClient.
    pub(crate) fn of(
        endpoint: &Endpoint,
        account: &str,
        detailed: bool,
        context: &Context,
    ) -> Self {
        let rtt = endpoint.rtt_nanos.load(Ordering::Relaxed);
        let brief = Self { account: account.to_owned(), rtt, ..Self::default() };
        if !detailed {
            return brief;
        }
        let info = endpoint.client_info.load_full().unwrap_or_default();
        let identity = info.identity.as_deref();
        let issuer = |one: &Identity| one.issuer_key.as_deref().unwrap_or(account).to_owned();
        let name_tag = |one: &Identity| one.name_tag.as_deref().unwrap_or_default().to_owned();
        let tags = |one: &Identity| one.tags.iter().map(|tag| tag.to_string()).collect();
        let age = context.clock.now().saturating_duration_since(endpoint.since);
        let start = context.clock.wall().checked_sub(age).unwrap_or(UNIX_EPOCH);
        Self {
            start: Some(Timestamp(start)),
            host: endpoint.remote.map(|remote| remote.ip().to_string()).unwrap_or_default(),
            id: endpoint.id,
            user: info.user.as_deref().unwrap_or_default().to_owned(),
            name: info.name.to_string(),
            lang: info.lang.to_string(),
            version: info.version.to_string(),
            server: context.server_name.to_string(),
            cluster: context.cluster.load().as_deref().cloned().unwrap_or_default(),
            issuer_key: identity.map(issuer).unwrap_or_default(),
            name_tag: identity.map(name_tag).unwrap_or_default(),
            tags: identity.map(tags).unwrap_or_default(),
            kind: "Client".to_owned(),
            client_type: match endpoint.transport {
                TransportInfo::Websocket(_) => "websocket".to_owned(),
                _ => "nats".to_owned(),
            },
            ..brief
        }
    }

    pub(crate) fn round_trip(&self) -> Duration {
        Duration::from_nanos(self.rtt)
    }
}

/// Returns the reply subject that a description contains.
pub(crate) fn reply_of(info: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Described {
        reply: String,
    }
    serde_json::from_slice(info).ok().map(|Described { reply }| reply)
}

/// Writes JSON as Go does.
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    // Writing plain strings and numbers to memory cannot fail.
    go_json::compact(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_of_html_are_escaped() {
        let requester =
            Requester { name: "<a&b>".to_owned(), account: "A".to_owned(), ..Requester::default() };
        let json = String::from_utf8(to_json(&requester)).unwrap();
        assert_eq!(json, r#"{"acc":"A","name":"\u003ca\u0026b\u003e"}"#);
    }
}
