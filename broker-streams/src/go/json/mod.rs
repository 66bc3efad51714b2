//! JSON as Go's `encoding/json` decodes it: names of members regardless of case, members of the wrong type and syntax
//! errors with Go's texts.
//!
//! A [`Record`] describes the Go type that the reference decodes into. [`read`] decodes by it and then hands the result,
//! with the names and types that were described, to `serde`.

mod read;
mod scan;
mod shape;
mod time;

pub use read::{is_empty_request, is_object_or_array, read};
pub use shape::{Choice, Field, Record, Shape};

/// The treatment of unknown members and further values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Unknown members are an error; several values may follow each other.
    // NATS 2.14: jetstream_api.go unmarshalRequest, if strict.
    Strict,
    /// Unknown members are ignored.
    // NATS 2.14: jetstream_api.go unmarshalRequest, if not strict.
    Lenient,
    /// Unknown members are ignored, and there must be one value.
    // Go: json.Unmarshal.
    One,
}
