//! `/healthz`: readiness of the server.

use serde::Serialize;

use super::observer::Observer;
use super::query::{BadRequest, Query};

/// The parameters of `/healthz`.
#[derive(Clone, Debug, Default)]
pub struct HealthzOptions {
    /// The account of the stream.
    pub account: String,
    /// The stream to check.
    pub stream: String,
    /// The consumer to check.
    pub consumer: String,
    /// Lists errors in detail.
    pub details: bool,
    /// Checks no accounts, streams and consumers, only the server.
    pub server_only: bool,
    /// Checks that JetStream is enabled, and nothing behind it.
    pub enabled_only: bool,
}

impl HealthzOptions {
    pub(super) fn parse(query: &Query) -> Result<Self, BadRequest> {
        let is_deprecated = query.switch("js-enabled")?;
        if is_deprecated {
            tracing::warn!("Healthcheck: js-enabled deprecated, use js-enabled-only instead");
        }
        let enabled_only = query.switch("js-enabled-only")? || is_deprecated;
        let server_only = query.switch("js-server-only")?;
        // A server that replicates nothing ignores it.
        query.switch("js-meta-only")?;
        let [account, stream, consumer] =
            ["account", "stream", "consumer"].map(|name| query.text(name).to_owned());
        let details = query.switch("details")?;
        Ok(Self { account, stream, consumer, details, server_only, enabled_only })
    }
}

/// The answer of `/healthz`.
// NATS 2.14: monitor.go HealthStatus.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Healthz {
    /// `ok`, or `error`.
    pub status: &'static str,
    /// The error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The errors, if details were requested.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<HealthError>,
    /// The server's health.
    #[serde(skip)]
    pub health: Health,
}

/// The health of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Health {
    /// Clients can connect.
    Ok,
    /// Clients cannot connect.
    NotReady,
    /// The requested check does not exist.
    BadRequest,
    /// The account, stream or consumer does not exist.
    NotFound,
    /// A stream is not served.
    Unavailable,
}

/// An error.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HealthError {
    /// The subject of the error: `CONNECTION`, `BAD_REQUEST`, `JETSTREAM`, `ACCOUNT`, `STREAM` or `CONSUMER`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub account: String,
    /// The stream.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stream: String,
    /// The consumer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub consumer: String,
    /// The description.
    pub error: String,
}

impl HealthError {
    fn new(kind: &'static str, error: String) -> Self {
        let [account, stream, consumer] = [const { String::new() }; 3];
        Self { kind, account, stream, consumer, error }
    }
}

impl Observer {
    /// Returns the readiness of the server.
    pub fn healthz(&self, options: &HealthzOptions) -> Healthz {
        let bad_request =
            |error| (Health::BadRequest, vec![HealthError::new("BAD_REQUEST", error)]);
        let (health, errors) = if options.account.is_empty() && !options.stream.is_empty() {
            bad_request(must_not_be_empty("account", "stream"))
        } else if options.stream.is_empty() && !options.consumer.is_empty() {
            bad_request(must_not_be_empty("stream", "consumer"))
        } else if !self.is_accepting() {
            let error = "failed to be ready for connections after 1ms: server".to_owned();
            (Health::NotReady, vec![HealthError::new("CONNECTION", error)])
        } else if options.server_only || options.enabled_only {
            (Health::Ok, Vec::new())
        } else {
            self.health_of_cluster(options).unwrap_or_else(|| self.health_of_streams(options))
        };
        let Some(first) = errors.first() else {
            return Healthz { status: "ok", error: None, errors, health };
        };
        if options.details {
            return Healthz { status: "error", error: None, errors, health };
        }
        let status = match health {
            Health::NotFound | Health::Unavailable => "unavailable",
            _ => "error",
        };
        let error = Some(first.error.clone());
        Healthz { status, error, errors: Vec::new(), health }
    }

    /// Returns the conflicts with other servers that have JetStream; `None` without. A check of one account is no check of
    /// the cluster.
    fn health_of_cluster(&self, options: &HealthzOptions) -> Option<(Health, Vec<HealthError>)> {
        if !options.account.is_empty() {
            return None;
        }
        let conflicts = self.broker().jetstream_conflicts();
        let errors = conflicts.into_iter().map(|text| HealthError::new("JETSTREAM", text));
        let errors: Vec<_> = errors.collect();
        (!errors.is_empty()).then_some((Health::Unavailable, errors))
    }

    #[cfg(not(feature = "streams"))]
    fn health_of_streams(&self, _: &HealthzOptions) -> (Health, Vec<HealthError>) {
        (Health::Ok, Vec::new())
    }

    // NATS 2.14: monitor.go healthz, for a single server.
    #[cfg(feature = "streams")]
    fn health_of_streams(&self, options: &HealthzOptions) -> (Health, Vec<HealthError>) {
        use broker_streams::service::StreamHealth;

        let Some(viewer) = self.streams() else { return (Health::Ok, Vec::new()) };
        let HealthzOptions { account, stream, consumer, .. } = options;
        let names = match &**account {
            "" => viewer.account_names(),
            account => vec![account.to_owned()],
        };
        let mut errors = Vec::new();
        let (mut has_account, mut has_stream) = (false, false);
        for name in names {
            let Some(streams) = viewer.health(&name) else { continue };
            has_account = true;
            has_stream |= streams.contains_key(stream);
            let checked = streams.into_iter().filter(|(one, _)| stream.is_empty() || one == stream);
            for (one, health) in checked {
                let why = match health {
                    StreamHealth::Served => continue,
                    StreamHealth::WriteFailed(error) => format!("write error: {error}"),
                    StreamHealth::NotRecovered => "could not be recovered".to_owned(),
                };
                let error = format!("JetStream stream '{name} > {one}' {why}");
                let (account, stream) = (name.clone(), one);
                let error = HealthError { account, stream, ..HealthError::new("STREAM", error) };
                errors.push(error);
            }
        }
        if !account.is_empty() && !has_account {
            return not_found(options, "ACCOUNT");
        }
        if !stream.is_empty() && !has_stream {
            return not_found(options, "STREAM");
        }
        if !errors.is_empty() {
            return (Health::Unavailable, errors);
        }
        if !consumer.is_empty() && !viewer.has_consumer(account, stream, consumer) {
            return not_found(options, "CONSUMER");
        }
        (Health::Ok, errors)
    }
}

#[cfg(feature = "streams")]
fn not_found(options: &HealthzOptions, kind: &'static str) -> (Health, Vec<HealthError>) {
    use broker_core::error::Quoted;

    let HealthzOptions { account, stream, consumer, .. } = options;
    let (of, at) = (Quoted::from(&**account), Quoted::from(&**stream));
    let (error, stream, consumer) = match kind {
        "ACCOUNT" => (format!("JetStream account {of} not found"), "", ""),
        "STREAM" => (format!("JetStream stream {at} not found on account {of}"), &**stream, ""),
        _ => {
            let one = Quoted::from(&**consumer);
            let error =
                format!("JetStream consumer {one} not found for stream {at} on account {of}");
            (error, &**stream, &**consumer)
        }
    };
    let error = HealthError {
        account: account.clone(),
        stream: stream.to_owned(),
        consumer: consumer.to_owned(),
        ..HealthError::new(kind, error)
    };
    (Health::NotFound, vec![error])
}

fn must_not_be_empty(what: &str, of: &str) -> String {
    format!("\"{what}\" must not be empty when checking {of} health")
}
