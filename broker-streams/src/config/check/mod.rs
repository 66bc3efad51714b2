//! Checks of configurations: defaults that are filled in, errors in the order of the reference.

mod consumer;
mod consumer_update;
mod context;
mod source;
mod stream;
mod stream_update;
mod subject;
mod transform;

pub use consumer::{check_consumer, is_valid_group, set_consumer_defaults};
pub use consumer_update::check_consumer_update;
pub use context::StreamCheck;
pub use stream::check_stream;
pub use stream_update::{check_stream_update, violating_consumers};
pub use subject::{collide, collide_any, is_covered_by, is_subject};

use crate::error::ApiError;

/// The longest description of a stream or consumer, in bytes.
// NATS 2.14: jetstream_api.go JSMaxDescriptionLen.
pub const MAX_DESCRIPTION_BYTES: usize = 4 * 1024;
/// The most bytes of metadata: names and values.
// NATS 2.14: jetstream_api.go JSMaxMetadataLen.
pub const MAX_METADATA_BYTES: usize = 128 * 1024;
/// The longest name of a stream or consumer, in bytes: names are names of files, too.
// NATS 2.14: jetstream_api.go JSMaxNameLen.
pub const MAX_NAME_BYTES: usize = 255;

/// Returns true if a stream or consumer may have the name.
// NATS 2.14: jetstream.go isValidAssetName.
pub fn is_valid_name(name: &str) -> bool {
    let is_refused =
        |c| matches!(c, ' ' | '\t' | '\r' | '\n' | '\x0c' | '.' | '*' | '>' | '\\' | '/');
    !name.is_empty() && !name.contains(is_refused)
}

fn invalid(text: impl std::fmt::Display) -> ApiError {
    ApiError::stream_invalid_config(text)
}

/// Returns the error if the condition holds.
fn refuse_if(condition: bool, error: impl FnOnce() -> ApiError) -> Result<(), ApiError> {
    if condition { Err(error()) } else { Ok(()) }
}

fn metadata_bytes(metadata: &std::collections::BTreeMap<String, String>) -> usize {
    metadata.iter().map(|(name, value)| name.len() + value.len()).sum()
}
