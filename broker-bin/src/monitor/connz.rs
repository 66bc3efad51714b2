//! `/connz`: the list of connections.

use std::cmp::{Ordering, Reverse};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_core::account::GLOBAL;
use broker_core::auth::Identity;
use broker_core::snapshot::{Closed, Connection, Subscription};
use broker_core::sort::sort_by;
use broker_core::{PeerCertificate, SubjectFilter};
use serde::Serialize;

use super::observer::Observer;
use super::query::{BadRequest, DEFAULT_LIMIT, Query, at_least_0};
use super::subsz::SubDetail;
use super::time::{Moment, Now, round_trip, uptime};

/// The parameters of `/connz`.
#[derive(Clone, Debug, Default)]
pub struct ConnzOptions {
    /// The order.
    pub sort: SortBy,
    /// Includes users and accounts.
    pub auth: bool,
    /// Includes subscriptions.
    pub subscriptions: SubscriptionLists,
    /// The number of connections to skip.
    pub offset: usize,
    /// The maximum number of connections; 0 for 1,024.
    pub limit: usize,
    /// Selects the connection with this id.
    pub cid: Option<u64>,
    /// Selects open connections, closed ones, or all.
    pub state: ConnState,
    /// Selects the connections of this user; empty for all.
    pub user: String,
    /// Selects the connections in this account; empty for all.
    pub account: String,
    /// Selects the MQTT client of this name; empty for all.
    pub mqtt_client: String,
    /// Selects the connections with a subscription that overlaps with this filter; empty for all. Needs `account`.
    pub filter_subject: String,
    /// Selects the connections whose data contain this text, and counts only these; empty for all.
    pub search: String,
}

/// The order of connections: greatest first, unless noted otherwise.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SortBy {
    /// Id, least first.
    #[default]
    Cid,
    /// Start, oldest first.
    Start,
    /// Number of subscriptions.
    Subscriptions,
    /// Pending bytes.
    Pending,
    /// Messages sent to the client.
    MessagesTo,
    /// Messages received from the client.
    MessagesFrom,
    /// Bytes sent to the client.
    BytesTo,
    /// Bytes received from the client.
    BytesFrom,
    /// Last activity, the latest first.
    Last,
    /// Idle time.
    Idle,
    /// Duration of the connection, shortest first.
    Uptime,
    /// End, latest first. Closed connections only.
    Stop,
    /// Close reason, by name. Closed connections only.
    Reason,
    /// Round-trip time.
    Rtt,
}

impl SortBy {
    pub(crate) fn parse(text: &str) -> Result<Self, BadRequest> {
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

/// The detail in which subscriptions are listed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SubscriptionLists {
    /// Their number.
    #[default]
    Count,
    /// Their number and subjects.
    Subjects,
    /// All of their data.
    Detail,
}

impl SubscriptionLists {
    /// Returns the detail that is asked for by two switches: for subjects, and for all data.
    pub(crate) fn of((subjects, detail): (bool, bool)) -> Self {
        match (subjects, detail) {
            (_, true) => Self::Detail,
            (true, false) => Self::Subjects,
            (false, false) => Self::Count,
        }
    }
}

/// The state of the listed connections.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ConnState {
    /// Open connections.
    #[default]
    Open,
    /// Closed connections.
    Closed,
    /// Both.
    All,
}

impl ConnzOptions {
    pub(super) fn parse(query: &Query) -> Result<Self, BadRequest> {
        // Parsed in the reference's order, because only the first error is reported.
        let auth = query.switch("auth")?;
        let subscriptions = SubscriptionLists::of(query.subscriptions()?);
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
            filter_subject: String::new(),
            search,
        })
    }
}

impl ConnzOptions {
    /// Returns the filter of subscriptions, if it excludes any.
    fn subject_filter(&self) -> Result<Option<SubjectFilter>, BadRequest> {
        if self.filter_subject.is_empty() || self.filter_subject == ">" {
            return Ok(None);
        }
        if self.account.is_empty() {
            let text = "filter by subject only valid with account filtering";
            return Err(BadRequest(text.to_owned()));
        }
        // NATS 2.14 compares tokens, whatever they are: an invalid filter finds nothing.
        let nothing = || BadRequest("invalid subject".to_owned());
        SubjectFilter::parse(&self.filter_subject).map(Some).map_err(|_| nothing())
    }
}

/// The answer of `/connz`, in the reference's order.
// NATS 2.14: monitor.go Connz.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Connz {
    /// The server's id.
    pub server_id: String,
    /// The time of the answer.
    pub now: Moment,
    /// The number of connections listed.
    pub num_connections: usize,
    /// The number of connections selected.
    pub total: usize,
    /// The number of connections skipped.
    pub offset: usize,
    /// The maximum number of connections listed.
    pub limit: usize,
    /// The connections.
    pub connections: Vec<ConnInfo>,
}

/// A connection, in the reference's order.
// NATS 2.14: monitor.go ConnInfo.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ConnInfo {
    /// The connection's id.
    pub cid: u64,
    /// The kind of the endpoint.
    pub kind: &'static str,
    /// The kind of the client.
    #[serde(rename = "type")]
    pub protocol: &'static str,
    /// The remote address; empty for an in-process client.
    pub ip: String,
    /// The remote port.
    pub port: u16,
    /// The start of the connection.
    pub start: Moment,
    /// The time of the last publish, subscription or delivery.
    pub last_activity: Moment,
    /// The end of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<Moment>,
    /// The close reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The round-trip time.
    pub rtt: String,
    /// The duration of the connection.
    pub uptime: String,
    /// The time since the last activity, up to now or to the end.
    pub idle: String,
    /// Bytes queued for the client.
    pub pending_bytes: usize,
    /// Messages received from the client.
    pub in_msgs: u64,
    /// Messages sent to the client.
    pub out_msgs: u64,
    /// Bytes received from the client.
    pub in_bytes: u64,
    /// Bytes sent to the client.
    pub out_bytes: u64,
    /// The number of subscriptions.
    pub subscriptions: usize,
    /// The client's name.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub name: Box<str>,
    /// The language of the client library.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub lang: Box<str>,
    /// The version of the client library.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub version: Box<str>,
    /// The TLS version: `1.2` or `1.3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_version: Option<&'static str>,
    /// The IANA name of the cipher suite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cipher_suite: Option<&'static str>,
    /// The client's certificate chain, leaf first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tls_peer_certs: Vec<PeerCert>,
    /// The TLS handshake preceded INFO.
    #[serde(skip_serializing_if = "super::skip::is_false")]
    pub tls_first: bool,
    /// The authenticated user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorized_user: Option<String>,
    /// The account, unless it is the global account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The subjects of its subscriptions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions_list: Vec<Box<str>>,
    /// Its subscriptions in detail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions_list_detail: Vec<SubDetail>,
    /// The key that has issued the user's token, or the account of a user with a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer_key: Option<Arc<str>>,
    /// The display name of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_tag: Option<String>,
    /// The tags in the user's token.
    #[serde(skip_serializing_if = "<[Arc<str>]>::is_empty")]
    pub tags: Arc<[Arc<str>]>,
    /// The trusted proxy that the client comes through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyInfo>,
}

/// A trusted proxy.
// NATS 2.14: monitor.go ProxyInfo.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ProxyInfo {
    /// Its public key.
    pub key: Arc<str>,
}

impl ConnInfo {
    /// Adds the proven identity. The token is not shown: monitoring shows no credentials.
    // NATS 2.14: closed connections show it in any case, with the name in the user's token in place of the account's.
    fn show(&mut self, identity: &Identity, auth: bool, is_closed: bool) {
        if auth || is_closed {
            self.issuer_key.clone_from(&identity.issuer_key);
            self.tags = Arc::clone(&identity.tags);
        }
        let name = match auth && self.account.is_some() {
            true => &identity.account_name,
            false if is_closed => &identity.name_tag,
            false => &None,
        };
        if let Some(name) = name.as_deref().filter(|name| !name.is_empty()) {
            self.name_tag = Some(name.to_owned());
        }
    }
}

/// A certificate, in the reference's order.
// NATS 2.14: monitor.go TLSPeerCert.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PeerCert {
    /// The subject.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// The hexadecimal SHA-256 of the public key.
    pub spki_sha256: String,
    /// The hexadecimal SHA-256 of the certificate.
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

/// An open or closed connection.
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

    /// Returns true if the listed data contain `text`, which is in lower case.
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
    /// Returns the list of connections.
    ///
    /// # Errors
    ///
    /// Returns [`BadRequest`] if open connections are requested in an order that only closed ones
    /// have.
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
        let filter = options.subject_filter()?;
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
        if let Some(filter) = filter {
            found.retain(|one| self.subscribes(one, &filter));
        }
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

    /// Returns the connections in a state, by id, open ones first.
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
            issuer_key: None,
            name_tag: None,
            tags: Arc::default(),
            proxy: client_info.proxy.clone().map(|key| ProxyInfo { key }),
        };
        if options.auth {
            info.authorized_user = client_info.user.as_deref().map(Into::into);
            let peers = security.map(|security| &*security.peers).unwrap_or_default();
            info.tls_peer_certs = peers.iter().map(Into::into).collect();
            info.name_tag = connection.account.as_deref().map(Into::into);
            info.account = info.name_tag.clone().filter(|account| account != GLOBAL);
            // NATS 2.14: server.go saveClosedClient, which omits the global account.
            if closed.is_some() {
                info.name_tag.clone_from(&info.account);
            }
        }
        if let Some(identity) = &client_info.identity {
            info.show(identity, options.auth, closed.is_some());
        }
        if options.subscriptions != SubscriptionLists::Count {
            let subscriptions = self.subscriptions_of(found);
            if options.subscriptions == SubscriptionLists::Detail {
                // NATS 2.14: subscriptions of closed connections include the account, others do
                // not.
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

    fn subscribes(&self, found: &Found, filter: &SubjectFilter) -> bool {
        self.subscriptions_of(found).iter().any(|one| {
            SubjectFilter::parse(&*one.filter).is_ok_and(|other| filter.overlaps(&other))
        })
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

type Order = Box<dyn Fn(&Found, &Found) -> Ordering>;

fn by_key<K: Ord>(key: impl Fn(&Found) -> K + 'static) -> Order {
    Box::new(move |one, other| key(one).cmp(&key(other)))
}

/// Sorts by one comparison for all orders: an instance of the sort takes several KB of the program.
fn sort(found: &mut [Found], by: SortBy, now: Instant) {
    let uptime = move |one: &Found| -> Duration {
        let end = one.closed().map_or(now, |closed| closed.at);
        end.saturating_duration_since(one.connection().since)
    };
    let greatest_first =
        |key: fn(&Connection) -> u64| by_key(move |one| Reverse(key(one.connection())));
    let order = match by {
        SortBy::Cid | SortBy::Start => by_key(|_| ()),
        SortBy::Subscriptions => greatest_first(|one| one.subscriptions as u64),
        SortBy::Pending => greatest_first(|one| one.pending_bytes as u64),
        SortBy::MessagesTo => greatest_first(|one| one.traffic.out_messages),
        SortBy::MessagesFrom => greatest_first(|one| one.traffic.in_messages),
        SortBy::BytesTo => greatest_first(|one| one.traffic.out_bytes),
        SortBy::BytesFrom => greatest_first(|one| one.traffic.in_bytes),
        SortBy::Last => by_key(|one| Reverse(one.connection().last_activity)),
        SortBy::Idle => by_key(|one| one.connection().last_activity),
        SortBy::Uptime => by_key(uptime),
        SortBy::Stop => by_key(|one| Reverse(one.closed().map(|closed| closed.at))),
        SortBy::Reason => Box::new(compare_reasons),
        SortBy::Rtt => by_key(|one| Reverse(one.connection().rtt)),
    };
    // Ties are ordered by id.
    let id = |one: &Found| one.connection().id;
    sort_by(found, |one, other| order(one, other).then_with(|| id(one).cmp(&id(other))));
}

fn compare_reasons(a: &Found, b: &Found) -> Ordering {
    let reason = |one: &Found| one.closed().map(|closed| closed.reason.to_string());
    reason(a).cmp(&reason(b))
}
