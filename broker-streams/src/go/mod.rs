//! Texts and JSON as programs in Go write and read them: errors of the API contain them.

mod bytes;
mod duration;
pub mod json;
mod quote;

pub use bytes::friendly_bytes;
pub use duration::{duration, parse_duration};
pub use quote::{quoted, quoted_bytes, quoted_char};
