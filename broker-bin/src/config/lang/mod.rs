//! The NATS configuration language: text to values that know where they stand.
//!
//! Which keys there are, and what they may hold, is not known here.

mod value;

pub use value::{Entry, Map, Node, Span, Value};
