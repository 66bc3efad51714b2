//! Options of a broker.

mod cluster;
mod share;

pub use cluster::{
    ClusterOptions, CompressionMode, CompressionOptions, MAX_POOL_SIZE, RouteAddress,
    RoutePermissions, SubjectPermission,
};
pub use share::{Export, ExportAccess, Import, ResponseType, Sampling, ServiceLatency, ShareKind};

use std::collections::BTreeMap;

use crate::limits::{AccountLimits, Limits};
use crate::subject::{Mapping, Subject, SubjectFilter};
use crate::sync::Arc;

/// Options of a broker. Start from the default and change single fields.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Limits on what clients may do.
    pub limits: Limits,
    /// The server's name; its id if `None`.
    pub server_name: Option<String>,
    /// The server's id, if it is the public key of a key pair that the program holds; `None` for an id made from the
    /// seed. Fixed when the broker is made.
    pub server_id: Option<String>,
    /// The server's public key for sealed responses of auth callouts, which INFO shows.
    pub xkey: Option<String>,
    /// Tags of the server, which its events show. `server_tags`.
    pub server_tags: Vec<String>,
    /// Metadata of the server, which its events show. `server_metadata`.
    pub server_metadata: BTreeMap<String, String>,
    /// Feature flags of nats-server, which its events show. They have no effect.
    pub server_feature_flags: BTreeMap<String, bool>,
    /// Logs every operation that clients send and receive, at level `trace`. Costs far more than the
    /// messages themselves. `trace`.
    pub trace: bool,
    /// Logs only the headers of traced messages. `trace_headers`.
    pub trace_headers: bool,
    /// The length of a traced payload that is logged, in bytes; 0, the default as in NATS 2.14, for all of it.
    /// `max_traced_msg_len`.
    pub max_traced_payload_bytes: usize,
    /// Refuses headers. `no_header_support`.
    pub no_header_support: bool,
    /// Accounts that exist before a client logs in to them. `$G` and the system account always do; others are made when an
    /// authenticator names them. Of two with one name the last counts. Shared, so that a copy of the options costs little.
    pub accounts: Vec<Arc<AccountConfig>>,
    /// The account that receives the server's own events and its requests; `None` for `$SYS`. Fixed when the broker
    /// is made.
    pub system_account: Option<Arc<str>>,
    /// The server's part in a cluster; `None` for a server by itself.
    pub cluster: Option<ClusterOptions>,
    /// The name of the cluster that a server by itself belongs to, which INFO and events show. Fixed when the broker is made.
    // NATS 2.14: server.go NewServer, for a cluster with a name and without a port.
    pub cluster_name: Option<String>,
    /// Filters for which messages are counted: see
    /// [`Broker::counted_subjects`](crate::Broker::counted_subjects). At most
    /// [`MAX_COUNTED_SUBJECTS`](crate::limits::MAX_COUNTED_SUBJECTS); further ones are ignored. Fixed when the
    /// broker is made.
    pub counted_subjects: Vec<SubjectFilter>,
    /// The seed of server ids, inboxes, queue group picks and hashes. The same seed gives the same ones, for
    /// replays. Production brokers need a random seed: brokers with one seed have one server id, and a
    /// client that knows the seed can choose subjects whose hashes collide.
    pub seed: u64,
}

/// The configuration of one account.
///
/// ```
/// use broker_core::account::AccountConfig;
/// use broker_core::limits::AccountLimits;
///
/// let limits = AccountLimits { max_connections: Some(10), ..AccountLimits::default() };
/// let billing = AccountConfig::new("BILLING").with_limits(limits);
/// assert_eq!(billing.limits.max_connections, Some(10));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct AccountConfig {
    /// The name that authenticators use.
    pub name: Arc<str>,
    /// The limits of its members.
    pub limits: AccountLimits,
    /// The streams and services that other accounts may import.
    pub exports: Vec<Export>,
    /// The streams and services of other accounts.
    pub imports: Vec<Import>,
    /// The mappings of the subjects that its clients publish to. Of two with one source the last counts.
    pub mappings: Vec<Mapping>,
    /// The destination of traces of messages that tracing systems have marked.
    pub trace_destination: Option<TraceDestination>,
}

impl AccountConfig {
    /// Returns true if it exports or imports something.
    pub(crate) fn shares(&self) -> bool {
        !self.exports.is_empty() || !self.imports.is_empty()
    }

    /// Creates an account without limits, which shares nothing.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            limits: AccountLimits::default(),
            exports: Vec::new(),
            imports: Vec::new(),
            mappings: Vec::new(),
            trace_destination: None,
        }
    }

    /// Replaces the limits.
    #[must_use]
    pub fn with_limits(self, limits: AccountLimits) -> Self {
        Self { limits, ..self }
    }

    /// Adds an export.
    #[must_use]
    pub fn with_export(mut self, export: Export) -> Self {
        self.exports.push(export);
        self
    }

    /// Adds an import.
    #[must_use]
    pub fn with_import(mut self, import: Import) -> Self {
        self.imports.push(import);
        self
    }

    /// Adds a mapping.
    #[must_use]
    pub fn with_mapping(mut self, mapping: Mapping) -> Self {
        self.mappings.push(mapping);
        self
    }

    /// Traces messages that tracing systems have marked as sampled by the header `traceparent`.
    #[must_use]
    pub fn with_trace_destination(self, destination: TraceDestination) -> Self {
        Self { trace_destination: Some(destination), ..self }
    }
}

/// The destination of the traces of an account. `msg_trace` of an account.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TraceDestination {
    /// The subject of the events. A sender without permission to publish there may not send marked messages.
    pub subject: Subject,
    /// The percentage of marked messages that are traced, 1 to 100.
    pub sampling: u8,
}

impl TraceDestination {
    /// Traces all marked messages to `subject`.
    pub fn new(subject: Subject) -> Self {
        Self { subject, sampling: 100 }
    }

    /// Traces that percentage of them; all if it is not within 1 and 100.
    #[must_use]
    pub fn with_sampling(self, sampling: u8) -> Self {
        Self { sampling, ..self }
    }
}
