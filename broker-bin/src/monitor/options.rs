//! Settings of monitoring, with their defaults.

use broker_core::auth::Secret;

/// Where monitoring is listened for, who may look, and what metrics are called.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct MonitorOptions {
    /// Host name or address to listen on; empty for every address the machine has.
    pub host: String,
    /// Port; 0 lets the system choose.
    pub port: u16,
    /// What all paths begin with: `/nats` has `/nats/varz`. Default: nothing.
    pub base_path: String,
    /// Who looks must show this token: `Authorization: Bearer …`. `/healthz` asks for nothing. Default:
    /// anybody may look. Ours: NATS has no such option.
    pub token: Option<Secret>,
    /// Or this user and password (`Authorization: Basic …`).
    pub user: Option<(String, Secret)>,
    /// What the names of metrics begin with that nats-server's exporter has too.
    pub prefix: Prefix,
    /// What metrics name the server by.
    pub server_label: ServerLabel,
    /// How many may look at once; others wait. Default 256.
    pub max_connections: usize,
}

impl Default for MonitorOptions {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 0,
            base_path: String::new(),
            token: None,
            user: None,
            prefix: Prefix::default(),
            server_label: ServerLabel::default(),
            max_connections: 256,
        }
    }
}

/// What the names of metrics begin with: prometheus-nats-exporter knows two ways, and dashboards are made
/// for one or the other.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Prefix {
    /// `gnatsd_varz_…`, as the exporter does by itself.
    #[default]
    Gnatsd,
    /// `nats_varz_…`, as the exporter does with `-prefix=nats`, which the Helm chart gives it.
    Nats,
}

/// What the label `server_id` of metrics is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ServerLabel {
    /// The URL of the monitoring endpoints, as the exporter does by itself.
    #[default]
    Url,
    /// The server's id, as the exporter does with `-use_internal_server_id`.
    Id,
    /// The server's name, as the exporter does with `-use_internal_server_name`.
    Name,
}
