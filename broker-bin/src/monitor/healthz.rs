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
}

impl HealthzOptions {
    pub(super) fn parse(query: &Query) -> Result<Self, BadRequest> {
        // Without JetStream these parameters have no effect, but they are validated.
        for name in ["js-enabled", "js-enabled-only", "js-server-only", "js-meta-only"] {
            query.switch(name)?;
        }
        let [account, stream, consumer] =
            ["account", "stream", "consumer"].map(|name| query.text(name).to_owned());
        Ok(Self { account, stream, consumer, details: query.switch("details")? })
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
}

/// An error.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HealthError {
    /// The subject of the error: `CONNECTION`, or `BAD_REQUEST`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The description.
    pub error: String,
}

impl Observer {
    /// Returns the readiness of the server.
    pub fn healthz(&self, options: &HealthzOptions) -> Healthz {
        let (health, kind, error) = if options.account.is_empty() && !options.stream.is_empty() {
            (Health::BadRequest, "BAD_REQUEST", must_not_be_empty("account", "stream"))
        } else if options.stream.is_empty() && !options.consumer.is_empty() {
            (Health::BadRequest, "BAD_REQUEST", must_not_be_empty("stream", "consumer"))
        } else if !self.is_accepting() {
            let error = "failed to be ready for connections after 1ms: server".to_owned();
            (Health::NotReady, "CONNECTION", error)
        } else {
            let health = Health::Ok;
            return Healthz { status: "ok", error: None, errors: Vec::new(), health };
        };
        if options.details {
            let errors = vec![HealthError { kind, error }];
            return Healthz { status: "error", error: None, errors, health };
        }
        Healthz { status: "error", error: Some(error), errors: Vec::new(), health }
    }
}

fn must_not_be_empty(what: &str, of: &str) -> String {
    format!("\"{what}\" must not be empty when checking {of} health")
}
