//! Exported and imported services.

use std::time::Duration;

use crate::account::Account;
use crate::endpoint::Subscription;
use crate::options::{ResponseType, ServiceLatency};
use crate::subject::{Rewrite, SubjectFilter};
use crate::sync::{Arc, Weak};

/// A service that an account exports.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ServiceExport {
    pub(crate) subject: SubjectFilter,
    pub(crate) response_type: ResponseType,
    /// The time that a responder has for its response, or between two of them.
    pub(crate) threshold: Duration,
    pub(crate) latency: Option<ServiceLatency>,
    /// Message traces continue in the exporting account.
    pub(crate) allow_trace: bool,
}

/// A service that an account imports. A subscription in its interest holds it.
pub(crate) struct ServiceImport {
    pub(crate) exporter: Weak<Account>,
    pub(crate) export: Arc<ServiceExport>,
    /// The subjects in the importing account.
    pub(crate) local: SubjectFilter,
    /// The subjects in the exporting account.
    pub(crate) subject: SubjectFilter,
    /// From the importing to the exporting account.
    pub(crate) rewrite: Rewrite,
    /// The service is told who sends a request.
    pub(crate) share: bool,
}

/// An import and its subscription in the interest of the importing account.
#[derive(Clone)]
pub(super) struct BoundService {
    pub(super) import: Arc<ServiceImport>,
    pub(super) subscription: Arc<Subscription>,
}
