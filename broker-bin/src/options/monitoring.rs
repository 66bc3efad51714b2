//! The monitoring listener, its authorization, and the names of metrics.

use broker_core::auth::Secret;
use broker_net::{ClientCertificates, TlsOptions};

use super::{Options, OptionsError};
use crate::config::field::Show;

/// The monitoring listener, its authorization, and the names of metrics.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct MonitorOptions {
    /// Host name or address to listen on; empty for all addresses.
    pub host: String,
    /// Port; 0 for any free port.
    pub port: u16,
    /// TLS options; clients need no certificate. Default: plain HTTP.
    pub tls: Option<TlsOptions>,
    /// Prefix of all paths: with `/nats` the path is `/nats/varz`. Default: none.
    pub base_path: String,
    /// Required token: `Authorization: Bearer …`, except for `/healthz`. Default: none.
    pub token: Option<Secret>,
    /// Required user and password (`Authorization: Basic …`), in place of the token or beside it.
    pub user: Option<(String, Secret)>,
    /// Prefix of the metrics that nats-server's exporter has too.
    pub prefix: MetricsPrefix,
    /// The label that identifies the server.
    pub server_label: MetricsServerId,
    /// Maximum number of connections; further ones wait. Default 256.
    pub max_connections: usize,
    /// Shows messages of streams to everybody with the credentials. Default false.
    pub shows_messages: bool,
}

impl Default for MonitorOptions {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 0,
            tls: None,
            base_path: String::new(),
            token: None,
            user: None,
            prefix: MetricsPrefix::default(),
            server_label: MetricsServerId::default(),
            max_connections: 256,
            shows_messages: false,
        }
    }
}

impl MonitorOptions {
    /// Returns true if no credentials are required.
    pub fn is_open(&self) -> bool {
        self.token.is_none() && self.user.is_none()
    }
}

/// Prefix of the names of metrics: prometheus-nats-exporter has two, and a dashboard expects one of
/// them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricsPrefix {
    /// `gnatsd_varz_…`, the exporter's default.
    #[default]
    Gnatsd,
    /// `nats_varz_…`, the exporter's names with `-prefix=nats`, which the Helm chart sets.
    Nats,
}

impl Show for MetricsPrefix {
    fn show(&self) -> String {
        String::from(match self {
            Self::Gnatsd => "gnatsd",
            Self::Nats => "nats",
        })
    }
}

/// The value of the label `server_id` of metrics.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricsServerId {
    /// The URL of the monitoring endpoints, the exporter's default.
    #[default]
    Url,
    /// The server's id, as the exporter does with `-use_internal_server_id`.
    Id,
    /// The server's name, as the exporter does with `-use_internal_server_name`.
    Name,
}

impl Show for MetricsServerId {
    fn show(&self) -> String {
        String::from(match self {
            Self::Url => "url",
            Self::Id => "id",
            Self::Name => "name",
        })
    }
}

impl Options {
    /// Returns the monitoring options, if monitoring is enabled.
    ///
    /// # Errors
    ///
    /// Returns an error for a user without a password or the reverse, for HTTP and HTTPS together,
    /// for HTTPS without TLS for clients, and for messages that are shown without credentials.
    pub fn monitoring(&self) -> Result<Option<MonitorOptions>, OptionsError> {
        let user = match (&self.http_user, &self.http_password) {
            (None, None) => None,
            (Some(user), Some(password)) => Some((user.clone(), password.clone())),
            _ => return Err(OptionsError::HalfAnHttpUser),
        };
        if self.http_messages && user.is_none() && self.http_token.is_none() {
            return Err(OptionsError::OpenHttpMessages);
        }
        // NATS 2.14: server.go StartMonitoring.
        let (port, tls) = match (self.http_port, self.https_port) {
            (0, 0) => return Ok(None),
            (port, 0) => (port, None),
            (0, port) => (port, Some(self.client_tls()?.ok_or(OptionsError::HttpsWithoutTls)?)),
            _ => return Err(OptionsError::HttpAndHttps),
        };
        let tls = tls.map(|mut tls| {
            tls.client_certificates = ClientCertificates::Ignore;
            tls
        });
        // -1 is any free port.
        let port = u16::try_from(port).unwrap_or(0);
        // NATS 2.14: opts.go setBaselineOptions. `http` can set another host.
        let host = if self.http_host.is_empty() { &self.host } else { &self.http_host };
        Ok(Some(MonitorOptions {
            host: host.clone(),
            port,
            tls,
            base_path: self.http_base_path.clone().unwrap_or_default(),
            token: self.http_token.clone(),
            user,
            prefix: self.metrics_prefix,
            server_label: self.metrics_server_id,
            shows_messages: self.http_messages,
            ..MonitorOptions::default()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monitoring_is_off_unless_a_port_is_given() {
        assert_eq!(Options::default().monitoring(), Ok(None));
        let options = Options { http_port: 8222, host: "192.0.2.1".into(), ..Options::default() };
        let monitoring = options.monitoring().unwrap().unwrap();
        assert_eq!((&*monitoring.host, monitoring.port), ("192.0.2.1", 8222));
        assert!(monitoring.is_open());
        let options = Options { http_host: "127.0.0.1".into(), http_port: -1, ..options };
        let monitoring = options.monitoring().unwrap().unwrap();
        assert_eq!((&*monitoring.host, monitoring.port), ("127.0.0.1", 0));
    }

    #[test]
    fn https_needs_tls_and_http_to_be_off() {
        let https = Options { https_port: 8443, ..Options::default() };
        assert_eq!(https.monitoring(), Err(OptionsError::HttpsWithoutTls));
        let both = Options { http_port: 8222, ..https };
        assert_eq!(both.monitoring(), Err(OptionsError::HttpAndHttps));
    }

    #[test]
    fn messages_are_shown_only_to_those_with_credentials() {
        let open = Options { http_port: 8222, http_messages: true, ..Options::default() };
        assert_eq!(open.monitoring(), Err(OptionsError::OpenHttpMessages));
        let closed = Options { http_token: Some("t".into()), ..open };
        assert!(closed.monitoring().unwrap().unwrap().shows_messages);
        let off = Options { http_messages: false, ..closed };
        assert!(!off.monitoring().unwrap().unwrap().shows_messages);
    }

    #[test]
    fn a_user_needs_a_password_and_the_reverse() {
        let user = Options { http_user: Some("u".into()), ..Options::default() };
        assert_eq!(user.monitoring(), Err(OptionsError::HalfAnHttpUser));
        let both = Options { http_password: Some("p".into()), http_port: 1, ..user };
        assert!(!both.monitoring().unwrap().unwrap().is_open());
    }
}
