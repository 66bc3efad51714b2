//! Errors of starting a test broker.

use std::io;

use broker_core::auth::UsersError;

use crate::listen::BindError;

/// Why a test broker did not start. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be listened at.
    #[error("the test broker did not start")]
    Bind(#[from] BindError),
    /// The users make no sense.
    #[error("the users of the test broker make no sense")]
    Users(#[from] UsersError),
    /// There are users, or a token, and somebody else who is to decide who comes in.
    #[error("users, a token and an authenticator of one's own exclude each other")]
    TwoAuthenticators,
    /// It was to have a thread of its own, which could not be had.
    #[error("no thread for the test broker")]
    Thread(#[source] io::Error),
    /// It was to have a runtime of its own, which could not be had.
    #[error("no runtime for the test broker")]
    Runtime(#[source] io::Error),
}
