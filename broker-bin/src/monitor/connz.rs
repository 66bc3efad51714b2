//! `/connz`: connections, one by one.

use std::cmp::{Ordering, Reverse};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_core::PeerCertificate;
use broker_core::account::GLOBAL;
use broker_core::snapshot::{Closed, Connection, Subscription};
use serde::Serialize;

use super::observer::Observer;
use super::query::{BadRequest, DEFAULT_LIMIT, Query, at_least_0};
use super::subsz::SubDetail;
use super::time::{Moment, Now, round_trip, uptime};

/// What `/connz` is asked for.
#[derive(Clone, Debug, Default)]
pub struct ConnzOptions {
    /// The order.
    pub sort: SortBy,
    /// Show users and accounts.
    pub auth: bool,
    /// Show subscriptions.
    pub subscriptions: SubscriptionLists,
    /// Leave out so many.
    pub offset: usize,
    /// Show so many at most; 0 for 1,024.
    pub limit: usize,
    /// Show only the connection of this number.
    pub cid: Option<u64>,
    /// Open ones, closed ones or all.
    pub state: ConnState,
    /// Show only those of this user; empty for all.
    pub user: String,
    /// Show only those in this account; empty for all.
    pub account: String,
    /// Show only the MQTT client of this name; empty for all.
    pub mqtt_client: String,
    /// Show, and count, only those in which this text stands; empty for all.
    pub search: String,
}

/// The order of connections. The greatest first, except where said otherwise.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SortBy {
    /// Number, the least first.
    #[default]
    Cid,
    /// When they came, the oldest first.
    Start,
    /// How many subscriptions they have.
    Subscriptions,
    /// What waits for them.
    Pending,
    /// Messages they were sent.
    MessagesTo,
    /// Messages they sent.
    MessagesFrom,
    /// Bytes they were sent.
    BytesTo,
    /// Bytes they sent.
    BytesFrom,
    /// Last activity, the latest first.
    Last,
    /// For how long they were silent.
    Idle,
    /// For how long they were, or have been, connected; the shortest first.
    Uptime,
    /// When they ended, the latest first. Only of closed ones.
    Stop,
    /// Why they ended, by name. Only of closed ones.
    Reason,
    /// Round trip.
    Rtt,
}

impl SortBy {
    fn parse(text: &str) -> Result<Self, BadRequest> {
        Ok(match text {
            "" | "cid" => Self::Cid,
            "start" => Self::Start,
            "subs" => Self::Subscriptions,
            "pending" => Self::Pending,
            "msgs_to" => Self::MessagesTo,
            "msgs_from" => Self::MessagesFrom,
            "bytes_to" => Self::BytesTo,
            "bytes_from" => Self::BytesFrom,
            "last" => Self::Last,
            "idle" => Self::Idle,
            "uptime" => Self::Uptime,
            "stop" => Self::Stop,
            "reason" => Self::Reason,
            "rtt" => Self::Rtt,
            other => return Err(BadRequest(format!("invalid sorting option: {other}"))),
        })
    }
}

/// What is shown of subscriptions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SubscriptionLists {
    /// How many there are.
    #[default]
    Count,
    /// And their subjects.
    Subjects,
    /// And all that is known of them.
    Detail,
}

/// Which connections are shown.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ConnState {
    /// Those that are there.
    #[default]
    Open,
    /// Those that are gone.
    Closed,
    /// Both.
    All,
}

impl ConnzOptions {
    pub(super) fn parse(query: &Query) -> Result<Self, BadRequest> {
        // In the order in which the reference reads them: the first fault is the one that is told.
        let auth = query.switch("auth")?;
        let subscriptions = match query.subscriptions()? {
            (_, true) => SubscriptionLists::Detail,
            (true, _) => SubscriptionLists::Subjects,
            _ => SubscriptionLists::Count,
        };
        let offset = at_least_0(query.int("offset")?);
        let limit = at_least_0(query.int("limit")?);
        let cid = Some(query.uint("cid")?).filter(|cid| *cid > 0);
        let state = match &*query.text("state").to_lowercase() {
            "" | "open" => ConnState::Open,
            "closed" => ConnState::Closed,
            "any" | "all" => ConnState::All,
            _ => {
                let state = query.text("state");
                return Err(BadRequest(format!("Error decoding state for {state}")));
            }
        };
        let sort = SortBy::parse(query.text("sort"))?;
        let [user, account, mqtt_client, search] =
            ["user", "acc", "mqtt_client", "search"].map(|name| query.text(name).to_owned());
        Ok(Self {
            sort,
            auth,
            subscriptions,
            offset,
            limit,
            cid,
            state,
            user,
            account,
            mqtt_client,
            search,
        })
    }
}

/// What `/connz` shows, in the order of the reference.
// NATS 2.14: monitor.go Connz.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Connz {
    /// The server's id.
    pub server_id: String,
    /// When this was looked at.
    pub now: Moment,
    /// How many are shown.
    pub num_connections: usize,
    /// How many there are.
    pub total: usize,
    /// How many were left out.
    pub offset: usize,
    /// How many may be shown.
    pub limit: usize,
    /// The connections.
    pub connections: Vec<ConnInfo>,
}

/// A connection, in the order of the reference.
// NATS 2.14: monitor.go ConnInfo.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ConnInfo {
    /// Its number.
    pub cid: u64,
    /// What it is.
    pub kind: &'static str,
    /// What it speaks.
    #[serde(rename = "type")]
    pub protocol: &'static str,
    /// Where it comes from; empty for one inside of the process.
    pub ip: String,
    /// From which port.
    pub port: u16,
    /// When it came.
    pub start: Moment,
    /// When it last published, subscribed or was delivered something.
    pub last_activity: Moment,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<Moment>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The round trip.
    pub rtt: String,
    /// For how long it is, or was, connected.
    pub uptime: String,
    /// For how long it is, or was, silent.
    pub idle: String,
    /// What waits for it.
    pub pending_bytes: usize,
    /// Messages it sent.
    pub in_msgs: u64,
    /// Messages it was sent.
    pub out_msgs: u64,
    /// Bytes it sent.
    pub in_bytes: u64,
    /// Bytes it was sent.
    pub out_bytes: u64,
    /// How many subscriptions it has.
    pub subscriptions: usize,
    /// What it calls itself.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub name: Box<str>,
    /// The language of its library.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub lang: Box<str>,
    /// The version of its library.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub version: Box<str>,
    /// The version of TLS: `1.2` or `1.3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_version: Option<&'static str>,
    /// The cipher suite, as IANA calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cipher_suite: Option<&'static str>,
    /// The certificates it showed, its own first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tls_peer_certs: Vec<PeerCert>,
    /// The handshake came before INFO.
    #[serde(skip_serializing_if = "super::skip::is_false")]
    pub tls_first: bool,
    /// The user it came as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorized_user: Option<String>,
    /// The account it is in, unless that is the global one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The subjects it subscribes to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions_list: Vec<Box<str>>,
    /// Its subscriptions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions_list_detail: Vec<SubDetail>,
    /// The account under the name that people know it by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_tag: Option<String>,
}

/// A certificate, in the order of the reference.
// NATS 2.14: monitor.go TLSPeerCert.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PeerCert {
    /// Whose it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// SHA-256 of its public key, in hexadecimal digits.
    pub spki_sha256: String,
    /// SHA-256 of all of it, in hexadecimal digits.
    pub cert_sha256: String,
}

impl From<&PeerCertificate> for PeerCert {
    fn from(certificate: &PeerCertificate) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            subject: certificate.subject.clone(),
            spki_sha256: hex(&certificate.spki_sha256),
            cert_sha256: hex(&certificate.sha256),
        }
    }
}

/// A connection, open or closed.
enum Found {
    Open(Box<Connection>),
    Closed(Arc<Closed>),
}

impl Found {
    fn connection(&self) -> &Connection {
        match self {
            Self::Open(connection) => connection,
            Self::Closed(closed) => &closed.connection,
        }
    }

    fn closed(&self) -> Option<&Closed> {
        match self {
            Self::Open(_) => None,
            Self::Closed(closed) => Some(closed),
        }
    }

    fn is_meant(&self, options: &ConnzOptions) -> bool {
        let Connection { id, account, client_info, .. } = self.connection();
        let is = |wanted: &str, is: Option<&str>| wanted.is_empty() || is == Some(wanted);
        options.cid.is_none_or(|cid| cid == *id)
            && is(&options.user, client_info.user.as_deref())
            && is(&options.account, account.as_deref())
            && options.mqtt_client.is_empty()
    }

    /// Does this stand in what is shown of it? `text` in small letters.
    fn shows(&self, text: &str, auth: bool) -> bool {
        if text.is_empty() {
            return true;
        }
        let Connection { id, account, client_info, remote, .. } = self.connection();
        let stands_in = |shown: &str| shown.to_lowercase().contains(text);
        let user = client_info.user.as_deref().filter(|_| auth);
        let account = account.as_deref().filter(|_| auth);
        id.to_string() == text
            || [&*client_info.name, &*client_info.lang, &*client_info.version]
                .into_iter()
                .any(stands_in)
            || user.is_some_and(stands_in)
            || account.is_some_and(stands_in)
            || remote.is_some_and(|remote| stands_in(&remote.to_string()))
            || self.closed().is_some_and(|closed| stands_in(&closed.reason.to_string()))
    }
}

impl Observer {
    /// Connections, one by one.
    ///
    /// # Errors
    ///
    /// [`BadRequest`] if open connections are to be sorted by what only closed ones have.
    pub fn connz(&self, options: &ConnzOptions) -> Result<Connz, BadRequest> {
        if options.state != ConnState::Closed {
            let name = match options.sort {
                SortBy::Stop => Some("stop"),
                SortBy::Reason => Some("reason"),
                _ => None,
            };
            if let Some(name) = name {
                let text = format!("sort by {name} only valid on closed connections");
                return Err(BadRequest(text));
            }
        }
        let limit = match (options.cid, options.limit) {
            (Some(_), _) => 1,
            (None, 0) => DEFAULT_LIMIT,
            (None, limit) => limit,
        };
        let mut found = self.find(options.state);
        let now = self.now();
        let search = options.search.to_lowercase();
        found.retain(|one| is_in(one, &options.account) && one.shows(&search, options.auth));
        let total = found.len();
        found.retain(|one| one.is_meant(options));
        sort(&mut found, options.sort, now.instant);
        let connections: Vec<ConnInfo> = found
            .iter()
            .skip(options.offset)
            .take(limit)
            .map(|one| self.conn_info(one, options, now))
            .collect();
        Ok(Connz {
            server_id: self.server_id(),
            now: now.moment(),
            num_connections: connections.len(),
            total,
            offset: options.offset,
            limit,
            connections,
        })
    }

    /// Those of a state, by number, open ones before closed ones.
    fn find(&self, state: ConnState) -> Vec<Found> {
        let broker = self.broker();
        let mut found = Vec::new();
        if state != ConnState::Closed {
            found.extend(broker.connections().into_iter().map(|one| Found::Open(Box::new(one))));
        }
        if state != ConnState::Open {
            found.extend(broker.closed_connections().into_iter().map(Found::Closed));
        }
        found
    }

    fn conn_info(&self, found: &Found, options: &ConnzOptions, now: Now) -> ConnInfo {
        let connection = found.connection();
        let closed = found.closed();
        let end = closed.map_or(now.instant, |closed| closed.at);
        let until_end = |since: Instant| uptime(end.saturating_duration_since(since));
        let client_info = &connection.client_info;
        let security = connection.security.as_deref();
        let mut info = ConnInfo {
            cid: connection.id,
            kind: "Client",
            protocol: if connection.transport == "websocket" { "websocket" } else { "nats" },
            ip: connection.remote.map(|remote| remote.ip().to_string()).unwrap_or_default(),
            port: connection.remote.map_or(0, |remote| remote.port()),
            start: now.at(connection.since),
            last_activity: now.at(connection.last_activity),
            stop: closed.map(|closed| now.at(closed.at)),
            reason: closed.map(|closed| closed.reason.to_string()),
            rtt: round_trip(connection.rtt),
            uptime: until_end(connection.since),
            idle: until_end(connection.last_activity),
            pending_bytes: connection.pending_bytes,
            in_msgs: connection.traffic.in_messages,
            out_msgs: connection.traffic.out_messages,
            in_bytes: connection.traffic.in_bytes,
            out_bytes: connection.traffic.out_bytes,
            subscriptions: connection.subscriptions,
            name: client_info.name.clone(),
            lang: client_info.lang.clone(),
            version: client_info.version.clone(),
            tls_version: security.map(|security| security.version),
            tls_cipher_suite: security.map(|security| security.cipher_suite),
            tls_peer_certs: Vec::new(),
            tls_first: security.is_some_and(|security| security.is_first),
            authorized_user: None,
            account: None,
            subscriptions_list: Vec::new(),
            subscriptions_list_detail: Vec::new(),
            name_tag: None,
        };
        if options.auth {
            info.authorized_user = client_info.user.as_deref().map(Into::into);
            let peers = security.map(|security| &*security.peers).unwrap_or_default();
            info.tls_peer_certs = peers.iter().map(Into::into).collect();
            info.name_tag = connection.account.as_deref().map(Into::into);
            info.account = info.name_tag.clone().filter(|account| account != GLOBAL);
            // NATS 2.14: server.go saveClosedClient, which forgets the global account.
            if closed.is_some() {
                info.name_tag.clone_from(&info.account);
            }
        }
        if options.subscriptions != SubscriptionLists::Count {
            let subscriptions = self.subscriptions_of(found);
            if options.subscriptions == SubscriptionLists::Detail {
                // NATS 2.14: those of closed connections name their account, the others do not.
                let detail = |one| match closed {
                    Some(_) => SubDetail::from(one),
                    None => SubDetail::of_connection(one),
                };
                info.subscriptions_list_detail = subscriptions.into_iter().map(detail).collect();
            } else {
                info.subscriptions_list = subscriptions.into_iter().map(|one| one.filter).collect();
            }
        }
        info
    }

    fn subscriptions_of(&self, found: &Found) -> Vec<Subscription> {
        match found {
            Found::Open(connection) => self.broker().subscriptions_of(connection.id, usize::MAX),
            Found::Closed(closed) => closed.subscriptions.to_vec(),
        }
    }
}

fn is_in(found: &Found, account: &str) -> bool {
    account.is_empty() || found.connection().account.as_deref() == Some(account)
}

fn sort(found: &mut [Found], by: SortBy, now: Instant) {
    // Of equal ones the least number comes first.
    found.sort_by_key(|one| one.connection().id);
    let uptime = |one: &Found| -> Duration {
        let end = one.closed().map_or(now, |closed| closed.at);
        end.saturating_duration_since(one.connection().since)
    };
    let greatest_first = |found: &mut [Found], key: &dyn Fn(&Connection) -> u64| {
        found.sort_by_key(|one| Reverse(key(one.connection())));
    };
    match by {
        SortBy::Cid | SortBy::Start => {}
        SortBy::Subscriptions => greatest_first(found, &|one| one.subscriptions as u64),
        SortBy::Pending => greatest_first(found, &|one| one.pending_bytes as u64),
        SortBy::MessagesTo => greatest_first(found, &|one| one.traffic.out_messages),
        SortBy::MessagesFrom => greatest_first(found, &|one| one.traffic.in_messages),
        SortBy::BytesTo => greatest_first(found, &|one| one.traffic.out_bytes),
        SortBy::BytesFrom => greatest_first(found, &|one| one.traffic.in_bytes),
        SortBy::Last => found.sort_by_key(|one| Reverse(one.connection().last_activity)),
        SortBy::Idle => found.sort_by_key(|one| one.connection().last_activity),
        SortBy::Uptime => found.sort_by_key(uptime),
        SortBy::Stop => found.sort_by_key(|one| Reverse(one.closed().map(|closed| closed.at))),
        SortBy::Reason => found.sort_by(compare_reasons),
        SortBy::Rtt => found.sort_by_key(|one| Reverse(one.connection().rtt)),
    }
}

fn compare_reasons(a: &Found, b: &Found) -> Ordering {
    let reason = |one: &Found| one.closed().map(|closed| closed.reason.to_string());
    reason(a).cmp(&reason(b))
}
