//! Checks of subject transforms.

use super::is_subject;
use crate::config::TransformConfig;

pub(super) fn is_bad_source(transform: &TransformConfig) -> bool {
    !transform.source.is_empty() && !is_subject(&transform.source)
}

pub(super) fn bad_subject(subject: &str) -> String {
    format!("invalid subject {subject}")
}

/// Checks that a destination fits its source; an empty one always does.
// NATS 2.14: subject_transform.go ValidateMapping.
pub(super) fn check_mapping(transform: &TransformConfig) -> Result<(), String> {
    let TransformConfig { source, destination } = transform;
    if destination.is_empty() {
        return Ok(());
    }
    let source = if source.is_empty() { ">" } else { source };
    let mapping = broker_core::subject::Mapping::to(source, destination);
    mapping.map(|_| ()).map_err(|error| error.to_string())
}
