//! The transport-agnostic core of natsd, a NATS-compatible message broker.

pub mod auth;
pub mod subject;

pub use subject::{Subject, SubjectError, SubjectFilter};
