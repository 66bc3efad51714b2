//! The errors of the API, with their codes and texts.

mod table;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// An error as the API answers with it: an HTTP-like code, the number of the kind of error, and its text.
///
/// There is a constant for each error whose text is fixed, and a function for each whose text contains details.
///
/// ```
/// use broker_streams::error::ApiError;
///
/// assert_eq!(ApiError::STREAM_NOT_FOUND.to_string(), "stream not found (10059)");
/// assert_eq!(ApiError::sequence_not_found(7).description, "sequence 7 not found");
/// ```
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

impl ApiError {
    /// Returns true if both are of the same kind, whatever their details.
    pub fn is(&self, kind: &Self) -> bool {
        self.err_code == kind.err_code
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u16) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// All errors of nats-server 2.14.5: number, code, text.
    const TEXTS: &str = include_str!("texts.txt");

    #[test]
    fn each_error_has_the_codes_and_the_text_of_the_reference() {
        let mut ours = BTreeMap::new();
        for error in table::FIXED.iter().cloned().chain(table::detailed()) {
            let line = format!("{} {} {}", error.err_code, error.code, error.description);
            assert_eq!(ours.insert(error.err_code, line), None, "a number is used twice");
        }
        let ours: Vec<_> = ours.values().map(String::as_str).collect();
        assert_eq!(ours, TEXTS.lines().collect::<Vec<_>>());
    }

    #[test]
    fn an_error_is_written_as_the_api_does() {
        let json = serde_json::to_string(&ApiError::BAD_REQUEST).unwrap();
        assert_eq!(json, r#"{"code":400,"err_code":10003,"description":"bad request"}"#);
    }

    #[test]
    fn details_do_not_change_the_kind() {
        assert!(ApiError::sequence_not_found(1).is(&ApiError::sequence_not_found(2)));
        assert!(!ApiError::BAD_REQUEST.is(&ApiError::STREAM_NOT_FOUND));
    }
}
