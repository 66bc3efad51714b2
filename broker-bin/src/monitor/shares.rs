//! Imports and exports of accounts, as `/accountz` shows them.

use std::collections::BTreeMap;

use broker_core::account::{
    Export, ExportAccess, ImportState, PendingResponse, ResponseType, Sampling, ServiceLatency,
    ShareKind,
};
use serde::{Serialize, Serializer};

use super::skip::is_false;

/// An export, in the reference's order.
// NATS 2.14: monitor.go ExtExport.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ExportInfo {
    /// The subject.
    pub subject: String,
    /// `stream` or `service`.
    pub r#type: &'static str,
    /// An import needs an activation.
    #[serde(skip_serializing_if = "is_false")]
    pub token_req: bool,
    /// The number of responses of a service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_type: Option<&'static str>,
    /// The publication of response times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_latency: Option<LatencyInfo>,
    /// The accounts that may import it, if not all may.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approved_accounts: Vec<String>,
}

/// An import, or a response that is awaited, in the reference's order.
// NATS 2.14: monitor.go ExtImport, newExtImport.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ImportInfo {
    /// The subject in the exporting account; for a response the reply subject in the account of the requester.
    pub subject: String,
    /// The exporting account; for a response that of the requester.
    pub account: String,
    /// The subject of a service in the importing account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The subject in the importing account.
    pub local_subject: String,
    /// Its kind.
    pub r#type: ImportType,
    /// True if it is not in force.
    pub invalid: bool,
    /// The service is told who sends a request.
    pub share: bool,
    /// The response time of the request is measured.
    pub tracking: bool,
    /// The headers that asked for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracking_header: Option<BTreeMap<String, Vec<String>>>,
    /// The publication of response times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyInfo>,
}

/// The kind of an import.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ImportType {
    /// A stream.
    Stream,
    /// A service.
    Service,
    /// A response.
    Response,
}

impl Serialize for ImportType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Stream => serializer.serialize_str("stream"),
            Self::Service => serializer.serialize_str("service"),
            // NATS 2.14 writes the type of a response as a number.
            Self::Response => serializer.serialize_u8(2),
        }
    }
}

/// The publication of response times.
// NATS 2.14: jwt ServiceLatency.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LatencyInfo {
    /// The percentage of requests measured, or `headers`.
    pub sampling: SamplingInfo,
    /// The subject.
    pub results: String,
}

/// The requests that are measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SamplingInfo(pub Sampling);

impl Serialize for SamplingInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Sampling::Percent(percent) => serializer.serialize_u8(percent),
            Sampling::Headers => serializer.serialize_str("headers"),
        }
    }
}

impl LatencyInfo {
    fn of(latency: &ServiceLatency) -> Self {
        Self { sampling: SamplingInfo(latency.sampling), results: latency.subject.to_string() }
    }
}

impl ExportInfo {
    /// Describes the exports of an account; of several with one subject the last.
    pub(super) fn all(exports: &[Export]) -> Vec<Self> {
        let by_subject: BTreeMap<(&str, String), Self> = exports
            .iter()
            .map(|export| {
                let info = Self::of(export);
                ((info.r#type, info.subject.clone()), info)
            })
            .collect();
        by_subject.into_values().collect()
    }

    fn of(export: &Export) -> Self {
        let is_service = export.kind == ShareKind::Service;
        let response_type = match export.response_type {
            ResponseType::Singleton => "Singleton",
            ResponseType::Streamed => "Streamed",
            ResponseType::Chunked => "Chunked",
        };
        let approved_accounts = match &export.access {
            ExportAccess::Accounts(names) => {
                let mut names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
                names.sort();
                names
            }
            _ => Vec::new(),
        };
        Self {
            subject: export.subject.to_string(),
            r#type: if is_service { "service" } else { "stream" },
            token_req: export.access == ExportAccess::Activation,
            response_type: is_service.then_some(response_type),
            service_latency: export.latency.as_ref().filter(|_| is_service).map(LatencyInfo::of),
            approved_accounts,
        }
    }
}

impl ImportInfo {
    pub(super) fn of(state: &ImportState) -> Self {
        let import = &state.import;
        let local = state.local.to_string();
        let is_service = import.kind == ShareKind::Service;
        Self {
            subject: import.subject.to_string(),
            account: import.account.to_string(),
            to: is_service.then(|| local.clone()),
            local_subject: local,
            r#type: if is_service { ImportType::Service } else { ImportType::Stream },
            invalid: state.is_invalid,
            share: import.share,
            tracking: false,
            tracking_header: None,
            latency: state.latency.as_ref().map(LatencyInfo::of),
        }
    }

    pub(super) fn of_response(subject: &str, response: &PendingResponse) -> Self {
        Self {
            subject: response.to.clone(),
            account: response.account.to_string(),
            to: Some(subject.to_owned()),
            local_subject: subject.to_owned(),
            r#type: ImportType::Response,
            invalid: false,
            share: response.share,
            tracking: response.latency.is_some(),
            tracking_header: response.tracing_headers.clone(),
            latency: response.latency.as_ref().map(LatencyInfo::of),
        }
    }
}
