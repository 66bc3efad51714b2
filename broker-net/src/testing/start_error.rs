//! Errors of starting a test broker.

use std::io;
use std::path::PathBuf;

use broker_core::auth::UsersError;

use crate::listen::BindError;

/// A test broker did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be bound.
    #[error("the test broker did not start")]
    Bind(#[from] BindError),
    /// The users are invalid.
    #[error("the users of the test broker are invalid")]
    Users(#[from] UsersError),
    /// There are users or a token, and a custom authenticator as well.
    #[error("users, a token and a custom authenticator exclude each other")]
    TwoAuthenticators,
    /// Its own thread could not be started.
    #[error("could not start a thread for the test broker")]
    Thread(#[source] io::Error),
    /// There is no such program, or none of this name in `PATH`.
    #[error("there is no nats-server: the program {program:?} is not found")]
    NoNatsServer {
        /// The path, or the name.
        program: PathBuf,
    },
    /// The program has ended, or is not ready after ten seconds.
    #[error("{program:?} did not start as a nats-server: {why}")]
    NatsServer {
        /// The path, or the name.
        program: PathBuf,
        /// The end of its log, or why it was not started.
        why: String,
    },
    /// Its own runtime could not be created.
    #[error("could not create a runtime for the test broker")]
    Runtime(#[source] io::Error),
}
