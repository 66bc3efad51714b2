//! The errors of the API, with their codes and texts.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// An error as the API answers with it: an HTTP-like code, the number of the kind of error, and its text.
// NATS 2.14: errors.json.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[error("{description} ({err_code})")]
pub struct ApiError {
    /// The code, as of HTTP.
    pub code: u16,
    /// The number of the kind of error.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub err_code: u16,
    /// The text.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub description: Cow<'static, str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u16) -> bool {
    *number == 0
}
