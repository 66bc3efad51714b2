//! The JSON of answers.

use broker_core::ServerInfo;
use serde::Serialize;

/// The answer to an update or a removal.
// NATS 2.14: accounts.go ServerAPIClaimUpdateResponse.
#[derive(Debug, Serialize)]
pub(super) struct Updated {
    pub(super) server: ServerInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Failure>,
}

// NATS 2.14: accounts.go ClaimUpdateStatus.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) account: String,
    pub(super) code: u16,
    pub(super) message: String,
}

// NATS 2.14: accounts.go ClaimUpdateError.
#[derive(Debug, Serialize)]
pub(super) struct Failure {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) account: String,
    pub(super) code: u16,
    pub(super) description: String,
}

/// The answer to a list. The reference encodes a map, whose keys are sorted.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    pub(super) data: Vec<String>,
    pub(super) server: ServerInfo,
}
