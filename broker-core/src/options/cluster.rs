//! Options of a server as a member of a cluster.

use std::time::Duration;

use crate::auth::Secret;
use crate::limits::WriteTimeout;
use crate::sync::Arc;

/// The largest number of routes between two servers, without those of accounts.
pub const MAX_POOL_SIZE: u16 = 1024;

/// Options of a server as a member of a cluster: what the core decides by. Start from the default and change single
/// fields.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ClusterOptions {
    /// The name of the cluster, the same on all of its servers; `None` for a generated one, which gives way to that of
    /// another server. `name`.
    pub name: Option<String>,
    /// The servers to connect to. `routes`.
    pub routes: Vec<RouteAddress>,
    /// The number of routes to each server, which share the accounts; `None` for one route without a pool, as before
    /// NATS 2.10. The default is 3. `pool_size`.
    pub pool_size: Option<u16>,
    /// The accounts with a route of their own to each server. The system account always has one if there is a pool.
    /// `accounts`.
    pub accounts: Vec<Arc<str>>,
    /// True, the default, if the system account has a route of its own to each server. Not if the server has no system
    /// account.
    pub has_system_route: bool,
    /// The user and the password that other servers must present. `authorization`.
    pub credentials: Option<(String, Secret)>,
    /// The time for another server to authenticate. `authorization.timeout`.
    pub auth_timeout: Duration,
    /// The subjects that are shared with other servers; `None` for all. `permissions`.
    pub permissions: Option<RoutePermissions>,
    /// The attempts to connect to a server that another one has reported, beyond the first. `connect_retries`.
    pub connect_retries: u32,
    /// Lets the pauses between attempts grow. `connect_backoff`.
    pub connect_backoff: bool,
    /// Reports no addresses of this server's clients to others, and no others' to clients. `no_advertise`.
    pub no_advertise: bool,
    /// The address that others are told to connect to, if it is not that of the listener. `cluster_advertise`.
    pub advertise: Option<(String, u16)>,
    /// The compression of routes. `compression`.
    pub compression: CompressionOptions,
    /// The pause between PINGs, at most 30 s; `None` for that of clients, at most 2 s. `ping_interval`.
    pub ping_interval: Option<Duration>,
    /// The number of PINGs without an answer after which a route is closed; `None` for that of clients. `ping_max`.
    pub ping_max: Option<u32>,
    /// The time of another server to read its queue; `None` for that of clients. `write_deadline`.
    pub write_deadline: Option<Duration>,
    /// The treatment of a route that exceeds it. The default is to try again, as long as the other server reads.
    /// `write_timeout`.
    pub write_timeout: WriteTimeout,
    /// True if routes use TLS, which INFO states.
    pub is_tls: bool,
    /// Admits another server if a name in its certificate is the user of [`credentials`](Self::credentials), instead of
    /// by a password. `tls.verify_and_map`.
    pub maps_certificates: bool,
    /// Admits another server if a DNS name in its certificate is the host of one of the [`routes`](Self::routes),
    /// instead of by a password. `tls.verify_cert_and_check_known_urls`.
    pub checks_known_urls: bool,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            name: None,
            routes: Vec::new(),
            pool_size: Some(3),
            accounts: Vec::new(),
            has_system_route: true,
            credentials: None,
            auth_timeout: Duration::from_secs(2),
            permissions: None,
            connect_retries: 0,
            connect_backoff: false,
            no_advertise: false,
            advertise: None,
            compression: CompressionOptions::default(),
            ping_interval: None,
            ping_max: None,
            write_deadline: None,
            write_timeout: WriteTimeout::Retry,
            is_tls: false,
            maps_certificates: false,
            checks_known_urls: false,
        }
    }
}

impl ClusterOptions {
    /// Returns true if other servers are admitted by their certificates.
    pub(crate) fn admits_by_certificate(&self) -> bool {
        self.maps_certificates || self.checks_known_urls
    }
}

/// The address of another server's listener for routes, with the credentials to present there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RouteAddress {
    /// The host name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The user and the password, if there are some in the URL.
    pub credentials: Option<(String, Secret)>,
}

/// Prints `host:port`, with brackets around an IPv6 address, and no credentials.
impl std::fmt::Display for RouteAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// The subjects that a server shares with the others of its cluster.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RoutePermissions {
    /// The subjects whose interest is sent to others: their messages may come in. `import`.
    pub import: Option<SubjectPermission>,
    /// The subjects whose interest is taken from others: messages to them may leave. `export`.
    pub export: Option<SubjectPermission>,
}

/// Allowed and denied filters. An empty list of allowed ones allows all.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct SubjectPermission {
    /// The allowed filters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// The denied filters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

/// The compression of routes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CompressionOptions {
    /// The mode.
    pub mode: CompressionMode,
    /// The round-trip times from which the next better level is used, if the mode is chosen by them.
    pub rtt_thresholds: Vec<Duration>,
}

impl Default for CompressionOptions {
    fn default() -> Self {
        let rtt_thresholds = [10, 50, 100].map(Duration::from_millis).to_vec();
        Self { mode: CompressionMode::Accept, rtt_thresholds }
    }
}

/// The mode of compression, as servers name it to each other.
// NATS 2.14: server.go CompressionNotSupported, ….
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CompressionMode {
    /// As a server that knows no compression.
    NotSupported,
    /// Off.
    Off,
    /// The mode that the other server wants.
    #[default]
    Accept,
    /// A level chosen by the round-trip time.
    S2Auto,
    /// The format of S2, uncompressed.
    S2Uncompressed,
    /// Fast.
    S2Fast,
    /// Better.
    S2Better,
    /// Best.
    S2Best,
}

impl CompressionMode {
    const NAMES: [(Self, &'static str); 8] = [
        (Self::NotSupported, "not supported"),
        (Self::Off, "off"),
        (Self::Accept, "accept"),
        (Self::S2Auto, "s2_auto"),
        (Self::S2Uncompressed, "s2_uncompressed"),
        (Self::S2Fast, "s2_fast"),
        (Self::S2Better, "s2_better"),
        (Self::S2Best, "s2_best"),
    ];

    /// Returns the name in INFO.
    pub fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(mode, _)| *mode == self);
        named.map_or("", |(_, name)| name)
    }

    /// Returns the mode of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, other)| *other == name).map(|(mode, _)| *mode)
    }

    /// Returns true if bytes are sent in the format of S2.
    // NATS 2.14: server.go needsCompression.
    pub fn compresses(self) -> bool {
        !matches!(self, Self::NotSupported | Self::Off)
    }
}
