//! Monitoring: where it is listened for, who may look, and what metrics are called.

use broker_core::auth::Secret;
use broker_net::{ClientCertificates, TlsOptions};

use super::{Options, OptionsError};
use crate::config::field::Show;

/// Where monitoring is listened for, who may look, and what metrics are called.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct MonitorOptions {
    /// Host name or address to listen on; empty for every address the machine has.
    pub host: String,
    /// Port; 0 lets the system choose.
    pub port: u16,
    /// Speak TLS, with this. Nobody is asked for a certificate. Default: plain HTTP.
    pub tls: Option<TlsOptions>,
    /// What all paths begin with: `/nats` has `/nats/varz`. Default: nothing.
    pub base_path: String,
    /// Who looks must show this token: `Authorization: Bearer …`. `/healthz` asks for nothing. Default:
    /// anybody may look.
    pub token: Option<Secret>,
    /// Or this user and password (`Authorization: Basic …`).
    pub user: Option<(String, Secret)>,
    /// What the names of metrics begin with that nats-server's exporter has too.
    pub prefix: MetricsPrefix,
    /// What metrics name the server by.
    pub server_label: MetricsServerId,
    /// How many may look at once; others wait. Default 256.
    pub max_connections: usize,
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
        }
    }
}

impl MonitorOptions {
    /// May anybody look who can reach it?
    pub fn is_open(&self) -> bool {
        self.token.is_none() && self.user.is_none()
    }
}

/// What the names of metrics begin with: prometheus-nats-exporter knows two ways, and dashboards are made
/// for one or the other.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricsPrefix {
    /// `gnatsd_varz_…`, as the exporter does by itself.
    #[default]
    Gnatsd,
    /// `nats_varz_…`, as the exporter does with `-prefix=nats`, which the Helm chart gives it.
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

/// What the label `server_id` of metrics is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricsServerId {
    /// The URL of the monitoring endpoints, as the exporter does by itself.
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
    /// Monitoring, if it is asked for.
    ///
    /// # Errors
    ///
    /// A user without a password, or the reverse; HTTP and HTTPS together; HTTPS without TLS for clients.
    pub fn monitoring(&self) -> Result<Option<MonitorOptions>, OptionsError> {
        let user = match (&self.http_user, &self.http_password) {
            (None, None) => None,
            (Some(user), Some(password)) => Some((user.clone(), password.clone())),
            _ => return Err(OptionsError::HalfAnHttpUser),
        };
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
        // -1 is any port that is free.
        let port = u16::try_from(port).unwrap_or(0);
        // NATS 2.14: opts.go setBaselineOptions. A host of its own can be given with `http`.
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
    fn a_user_needs_a_password_and_the_reverse() {
        let user = Options { http_user: Some("u".into()), ..Options::default() };
        assert_eq!(user.monitoring(), Err(OptionsError::HalfAnHttpUser));
        let both = Options { http_password: Some("p".into()), http_port: 1, ..user };
        assert!(!both.monitoring().unwrap().unwrap().is_open());
    }
}
