//! The JSON of events, in the reference's order.

use std::sync::Arc;

use broker_core::snapshot::Connection;
use broker_core::{ServerInfo, Timestamp};
use serde::Serialize;

use crate::monitor::{AccountStat, MessagesAndBytes, Moment};

/// The head of an event.
// NATS 2.14: events.go TypedEvent.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Head {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) id: String,
    pub(super) timestamp: Timestamp,
}

/// The types of events.
pub(super) const CONNECT: &str = "io.nats.server.advisory.v1.client_connect";
pub(super) const DISCONNECT: &str = "io.nats.server.advisory.v1.client_disconnect";
pub(super) const ACCOUNT_CONNECTIONS: &str = "io.nats.server.advisory.v1.account_connections";

/// A client has logged in.
// NATS 2.14: events.go ConnectEventMsg.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Connect {
    #[serde(flatten)]
    pub(super) head: Head,
    pub(super) server: ServerInfo,
    pub(super) client: Client,
}

/// A connection was closed, or its credentials were refused.
// NATS 2.14: events.go DisconnectEventMsg.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Disconnect {
    #[serde(flatten)]
    pub(super) head: Head,
    pub(super) server: ServerInfo,
    pub(super) client: Client,
    /// From the client to the server, as in the reference.
    pub(super) sent: MessagesAndBytes,
    pub(super) received: MessagesAndBytes,
    pub(super) reason: String,
}

/// The number of connections of an account.
// NATS 2.14: events.go AccountNumConns.
#[derive(Clone, Debug, Serialize)]
pub(super) struct AccountConnections {
    #[serde(flatten)]
    pub(super) head: Head,
    pub(super) server: ServerInfo,
    #[serde(flatten)]
    pub(super) stat: AccountStat,
}

/// A client in an event. The reference adds the client's JWT, which is no one else's business.
// NATS 2.14: events.go ClientInfo.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Client {
    start: Moment,
    #[serde(skip_serializing_if = "String::is_empty")]
    host: String,
    id: u64,
    acc: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: Box<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    lang: Box<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    ver: Box<str>,
    /// In nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer_key: Option<Arc<str>>,
    /// The name of the account in its token.
    name_tag: Arc<str>,
    #[serde(skip_serializing_if = "is_empty")]
    tags: Arc<[Arc<str>]>,
    kind: &'static str,
    client_type: &'static str,
}

fn is_empty(tags: &Arc<[Arc<str>]>) -> bool {
    tags.is_empty()
}

impl Client {
    /// Describes a connection, in `account`.
    pub(super) fn new(connection: &Connection, account: &str, start: Moment) -> Self {
        let info = &connection.client_info;
        let identity = info.identity.as_deref();
        let or_account = |name: Option<&Arc<str>>| name.cloned().unwrap_or_else(|| account.into());
        let is_websocket = connection.transport == "websocket";
        Self {
            start,
            host: connection.remote.map(|remote| remote.ip().to_string()).unwrap_or_default(),
            id: connection.id,
            acc: account.to_owned(),
            user: info.user.as_deref().map(Into::into),
            name: info.name.clone(),
            lang: info.lang.clone(),
            ver: info.version.clone(),
            rtt: None,
            stop: None,
            issuer_key: identity.map(|one| or_account(one.issuer_key.as_ref())),
            name_tag: or_account(identity.and_then(|one| one.account_name.as_ref())),
            tags: identity.map(|one| Arc::clone(&one.tags)).unwrap_or_default(),
            kind: "Client",
            client_type: if is_websocket { "websocket" } else { "nats" },
        }
    }

    /// Adds the end of the connection.
    pub(super) fn ended(self, connection: &Connection, at: Timestamp) -> Self {
        let nanos = |rtt: std::time::Duration| u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX);
        Self { rtt: connection.rtt.map(nanos), stop: Some(at), ..self }
    }
}
