//! Imports and exports of accounts, as claims.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Revocations, is_default};

/// A stream or a service.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ExportType {
    /// Not set, which is invalid.
    #[default]
    #[serde(skip)]
    Unknown,
    /// Messages that other accounts receive.
    Stream,
    /// Requests that other accounts send.
    Service,
}

impl ExportType {
    pub(super) fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}

impl fmt::Display for ExportType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Stream => "stream",
            Self::Service => "service",
        })
    }
}

/// An export, as claimed by an account.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Export {
    /// A name, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The subject.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Stream or service.
    #[serde(rename = "type", skip_serializing_if = "ExportType::is_unknown")]
    pub kind: ExportType,
    /// Importing it requires an activation.
    #[serde(skip_serializing_if = "is_default")]
    pub token_req: bool,
    /// Accounts whose activations are no longer valid.
    #[serde(skip_serializing_if = "Revocations::is_empty")]
    pub revocations: Revocations,
    /// `Singleton`, `Stream` or `Chunked`; empty for the first.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub response_type: String,
    /// The time for a response, in nanoseconds; 0 for the default.
    #[serde(skip_serializing_if = "is_default")]
    pub response_threshold: i64,
    /// The measurement of the service.
    #[serde(rename = "service_latency", skip_serializing_if = "Option::is_none")]
    pub latency: Option<ServiceLatency>,
    /// The token of the subject that is the importing account, from 1; 0 for none.
    #[serde(skip_serializing_if = "is_default")]
    pub account_token_position: u32,
    /// Shown by tools.
    #[serde(skip_serializing_if = "is_default")]
    pub advertise: bool,
    /// Message traces go on in this account.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_trace: bool,
    /// A description, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// A page about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub info_url: String,
}

impl Export {
    /// Creates a public export.
    pub fn new(kind: ExportType, subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), kind, ..Self::default() }
    }
}

/// The measurement of a service.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct ServiceLatency {
    /// The share of requests.
    pub sampling: Sampling,
    /// The subject of the results.
    pub results: String,
}

/// The share of requests that are measured.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Sampling {
    /// Those with a header for it.
    #[default]
    Headers,
    /// This many percent.
    Percent(i64),
}

impl Serialize for Sampling {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Headers => serializer.serialize_str("headers"),
            Self::Percent(percent) => serializer.serialize_i64(*percent),
        }
    }
}

impl<'de> Deserialize<'de> for Sampling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Percent(i64),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Percent(0) => Ok(Self::Headers),
            Form::Percent(percent) => Ok(Self::Percent(percent)),
            Form::Text(text) if text.eq_ignore_ascii_case("headers") => Ok(Self::Headers),
            Form::Text(_) => Err(serde::de::Error::custom("unknown sampling rate")),
        }
    }
}

/// An import, as claimed by an account.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Import {
    /// A name, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The subject, as its publisher sees it: that of the exporting account for a stream, that of this account for a
    /// service (unless `local_subject` is set).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// The public key of the account that exports.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub account: String,
    /// The activation, or a URL of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// The old form of `local_subject`: a prefix for a stream, the subject of the exporting account for a service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub to: String,
    /// The subject in this account. `$1` is the first wildcard of `subject`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub local_subject: String,
    /// Stream or service.
    #[serde(rename = "type", skip_serializing_if = "ExportType::is_unknown")]
    pub kind: ExportType,
    /// The service may learn who has sent a request.
    #[serde(skip_serializing_if = "is_default")]
    pub share: bool,
    /// Message traces go on in this account.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_trace: bool,
}

impl Import {
    /// Creates an import under the same subject.
    pub fn new(kind: ExportType, account: impl Into<String>, subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), account: account.into(), kind, ..Self::default() }
    }
}
