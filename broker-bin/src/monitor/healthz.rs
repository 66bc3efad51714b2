//! `/healthz`: may clients be sent here?

use serde::Serialize;

use super::observer::Observer;
use super::query::{BadRequest, Query};

/// What `/healthz` is asked for.
#[derive(Clone, Debug, Default)]
pub struct HealthzOptions {
    /// The account whose stream is meant.
    pub account: String,
    /// The stream that is meant.
    pub stream: String,
    /// The consumer that is meant.
    pub consumer: String,
    /// List what is wrong.
    pub details: bool,
}

impl HealthzOptions {
    pub(super) fn parse(query: &Query) -> Result<Self, BadRequest> {
        // There are no streams that these could ask for; but they must be what they are.
        for name in ["js-enabled", "js-enabled-only", "js-server-only", "js-meta-only"] {
            query.switch(name)?;
        }
        let [account, stream, consumer] =
            ["account", "stream", "consumer"].map(|name| query.text(name).to_owned());
        Ok(Self { account, stream, consumer, details: query.switch("details")? })
    }
}

/// What `/healthz` shows.
// NATS 2.14: monitor.go HealthStatus.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Healthz {
    /// `ok`, or `error`.
    pub status: &'static str,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What is wrong, if details were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<HealthError>,
    /// How it is.
    #[serde(skip)]
    pub health: Health,
}

/// How a server is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Health {
    /// Clients may come.
    Ok,
    /// Clients cannot connect.
    NotReady,
    /// What was asked for cannot be.
    BadRequest,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HealthError {
    /// What it is about: `CONNECTION`, or `BAD_REQUEST`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What is wrong.
    pub error: String,
}

impl Observer {
    /// May clients be sent here?
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
