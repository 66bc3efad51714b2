//! Exports and imports of accounts, as they are configured.

use std::time::Duration;

use crate::subject::{Subject, SubjectFilter};
use crate::sync::Arc;

/// The two things that accounts share.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ShareKind {
    /// Messages: members of the importing account receive what is published in the exporting account.
    Stream,
    /// Requests: members of the importing account send requests to the exporting account, and get its responses.
    Service,
}

/// A stream or service that an account exports.
///
/// ```
/// use broker_core::account::{Export, ExportAccess, ResponseType};
/// use broker_core::SubjectFilter;
///
/// let orders = Export::stream(SubjectFilter::parse("orders.>")?);
/// assert_eq!(orders.access, ExportAccess::Public);
/// let prices = Export::service(SubjectFilter::parse("prices.*")?)
///     .with_access(ExportAccess::Accounts(vec!["SHOP".into()]))
///     .with_response_type(ResponseType::Streamed);
/// # Ok::<(), broker_core::SubjectError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Export {
    /// Stream or service.
    pub kind: ShareKind,
    /// The subjects, in the exporting account.
    pub subject: SubjectFilter,
    /// The accounts that may import it.
    pub access: ExportAccess,
    /// The number of responses to a request. Services only.
    pub response_type: ResponseType,
    /// The time that a responder has for its response, or between two of them; two minutes if `None`. Services only.
    pub response_threshold: Option<Duration>,
    /// The publication of response times. Services only.
    pub latency: Option<ServiceLatency>,
    /// Message traces continue in the exporting account. Services only: an import of a stream decides by itself.
    pub allow_trace: bool,
}

/// The accounts that may import something.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum ExportAccess {
    /// All accounts.
    #[default]
    Public,
    /// The accounts of these names.
    Accounts(Vec<Arc<str>>),
    /// Each account whose name is the token at that position of the imported subject, counted from 1. The exported
    /// subject has the wildcard `*` there.
    TokenPosition(usize),
    /// Accounts whose import is [activated](Import::activated).
    Activation,
}

/// The number of responses to a request.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum ResponseType {
    /// One.
    #[default]
    Singleton,
    /// Any number.
    Streamed,
    /// One, in several messages.
    Chunked,
}

/// The publication of response times.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServiceLatency {
    /// The destination, in the exporting account.
    pub subject: Subject,
    /// The requests that are measured.
    pub sampling: Sampling,
}

/// The requests of which the response time is published.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Sampling {
    /// This percentage of the requests, 1 to 100, and those whose headers ask for it.
    Percent(u8),
    /// Requests whose tracing headers ask for it.
    Headers,
}

impl ServiceLatency {
    /// Publishes the times to `subject`.
    pub fn new(subject: Subject, sampling: Sampling) -> Self {
        Self { subject, sampling }
    }
}

impl Export {
    /// Exports a stream to all accounts.
    pub fn stream(subject: SubjectFilter) -> Self {
        Self::new(ShareKind::Stream, subject)
    }

    /// Exports a service to all accounts. A request has one response.
    pub fn service(subject: SubjectFilter) -> Self {
        Self::new(ShareKind::Service, subject)
    }

    /// Exports something to all accounts.
    pub fn new(kind: ShareKind, subject: SubjectFilter) -> Self {
        Self {
            kind,
            subject,
            access: ExportAccess::Public,
            response_type: ResponseType::Singleton,
            response_threshold: None,
            latency: None,
            allow_trace: false,
        }
    }

    /// Sets the accounts that may import it.
    #[must_use]
    pub fn with_access(self, access: ExportAccess) -> Self {
        Self { access, ..self }
    }

    /// Sets the number of responses.
    #[must_use]
    pub fn with_response_type(self, response_type: ResponseType) -> Self {
        Self { response_type, ..self }
    }

    /// Sets the time that a responder has.
    #[must_use]
    pub fn with_response_threshold(self, threshold: Duration) -> Self {
        Self { response_threshold: Some(threshold), ..self }
    }

    /// Publishes response times.
    #[must_use]
    pub fn with_latency(self, latency: ServiceLatency) -> Self {
        Self { latency: Some(latency), ..self }
    }

    /// Continues message traces in the exporting account.
    #[must_use]
    pub fn with_allow_trace(self, allow_trace: bool) -> Self {
        Self { allow_trace, ..self }
    }
}

/// A stream or service that an account imports.
///
/// ```
/// use broker_core::account::Import;
/// use broker_core::SubjectFilter;
///
/// let orders = Import::stream("SHOP", SubjectFilter::parse("orders.>")?).with_prefix("shop");
/// let prices = Import::service("SHOP", SubjectFilter::parse("prices.*")?).with_to("shop.price.$1");
/// # Ok::<(), broker_core::SubjectError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Import {
    /// Stream or service.
    pub kind: ShareKind,
    /// The exporting account.
    pub account: Arc<str>,
    /// The subjects in the exporting account.
    pub subject: SubjectFilter,
    /// The subjects in the importing account; `$1` and `*` stand for the tokens that matched the wildcards of `subject`.
    /// `None`: the same as in the exporting account.
    pub to: Option<Arc<str>>,
    /// The prefix of a stream's subjects in the importing account, without wildcards. Takes precedence over `to`.
    pub prefix: Option<Arc<str>>,
    /// Tells the service who sends a request. Services only.
    pub share: bool,
    /// Message traces continue in the importing account. Streams only: an export of a service decides by itself.
    pub allow_trace: bool,
    /// It holds a valid activation of the exporting account, for [`ExportAccess::Activation`]. An activation that
    /// expires or is revoked is a change of the configuration.
    pub activated: bool,
}

impl Import {
    /// Imports a stream under its own subjects.
    pub fn stream(account: impl Into<Arc<str>>, subject: SubjectFilter) -> Self {
        Self::new(ShareKind::Stream, account, subject)
    }

    /// Imports a service under its own subjects.
    pub fn service(account: impl Into<Arc<str>>, subject: SubjectFilter) -> Self {
        Self::new(ShareKind::Service, account, subject)
    }

    /// Imports something under its own subjects.
    pub fn new(kind: ShareKind, account: impl Into<Arc<str>>, subject: SubjectFilter) -> Self {
        Self {
            kind,
            account: account.into(),
            subject,
            to: None,
            prefix: None,
            share: false,
            allow_trace: false,
            activated: false,
        }
    }

    /// Sets the subjects in the importing account.
    #[must_use]
    pub fn with_to(self, to: impl Into<Arc<str>>) -> Self {
        Self { to: Some(to.into()), ..self }
    }

    /// Sets the prefix of the subjects in the importing account.
    #[must_use]
    pub fn with_prefix(self, prefix: impl Into<Arc<str>>) -> Self {
        Self { prefix: Some(prefix.into()), ..self }
    }

    /// Tells the service who sends a request.
    #[must_use]
    pub fn with_share(self, share: bool) -> Self {
        Self { share, ..self }
    }

    /// Continues message traces in the importing account.
    #[must_use]
    pub fn with_allow_trace(self, allow_trace: bool) -> Self {
        Self { allow_trace, ..self }
    }

    /// States whether the import holds a valid activation.
    #[must_use]
    pub fn with_activation(self, activated: bool) -> Self {
        Self { activated, ..self }
    }
}
