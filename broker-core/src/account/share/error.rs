//! Reasons why an export or an import is not in force.

use crate::subject::RewriteError;
use crate::sync::Arc;

/// A reason why an export or an import is not in force.
// NATS 2.14: errors.go, accounts.go.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// The account is not configured, or does not export the stream to the importing account.
    #[error("stream import not authorized")]
    StreamNotAuthorized,
    /// The account is not configured, or does not export the service to the importing account.
    #[error("service import not authorized")]
    ServiceNotAuthorized,
    /// The prefix holds wildcards.
    #[error("stream import prefix can not contain wildcard tokens")]
    WildcardPrefix,
    /// The account imports the same subjects of the same account already.
    #[error("stream import already exists")]
    DuplicateStream,
    /// The account imports another service of the same account under the same subject.
    #[error(
        "duplicate service import subject {local:?}, previously used in import for account {account:?}, subject \
         {subject:?}"
    )]
    DuplicateService {
        /// The subject in the importing account.
        local: String,
        /// The exporting account.
        account: Arc<str>,
        /// The subject of the first import.
        subject: String,
    },
    /// Messages would return to the account.
    #[error("import forms a cycle")]
    Cycle,
    /// The chain of imports behind it is too long to be searched for a cycle.
    #[error("search cycle depth exhausted")]
    CycleDepth,
    /// The subject in the importing account is none, or the exported one has no `*` at the position of the account.
    #[error("sublist: invalid subject")]
    InvalidSubject,
    /// The subjects of a stream cannot be translated.
    #[error(
        "failed to create mapping transform for stream import subject from {from:?} to {to:?}: {reason}"
    )]
    StreamRewrite {
        /// The subject in the exporting account.
        from: String,
        /// The subject in the importing account.
        to: String,
        /// The reason.
        reason: RewriteError,
    },
    /// The subjects of a service cannot be translated.
    #[error(
        "failed to create mapping transform for service import subject from {from:?} to {to:?}: {reason}"
    )]
    ServiceRewrite {
        /// The subject in the importing account.
        from: String,
        /// The subject in the exporting account.
        to: String,
        /// The reason.
        reason: RewriteError,
    },
    /// Response times are published for services with one response only.
    #[error("bad service response type")]
    LatencyResponseType,
    /// Response times would be published to a service that the account exports.
    #[error("invalid publish subject")]
    LatencySubject,
    /// The percentage is not 1 to 100.
    #[error("bad sampling percentage, should be 1-100")]
    LatencySampling,
}

/// An export or an import that is not in force.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ShareFault {
    /// The account that exports or imports.
    pub account: Arc<str>,
    /// The export or import, by its place in the configuration of the account.
    pub item: ShareItem,
    /// The reason.
    pub error: ShareError,
}

impl ShareError {
    /// Returns true if the import may be in force once others are gone.
    pub(super) fn is_cycle(&self) -> bool {
        matches!(self, Self::Cycle | Self::CycleDepth)
    }
}

/// An export or an import, by its place in the configuration of its account.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ShareItem {
    /// One of the exports.
    Export(usize),
    /// One of the imports.
    Import(usize),
}
