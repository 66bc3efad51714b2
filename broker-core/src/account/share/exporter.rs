//! The exports of one account, as imports look for them.

use std::time::Duration;

use super::error::ShareError;
use super::service::ServiceExport;
use crate::options::{AccountConfig, Export, ExportAccess, ResponseType, Sampling, ShareKind};
use crate::sort::sort_by;
use crate::subject::{SubjectFilter, Token};
use crate::sync::Arc;

/// The time that a responder has by default.
// NATS 2.14: const.go DEFAULT_SERVICE_EXPORT_RESPONSE_THRESHOLD.
const RESPONSE_THRESHOLD: Duration = Duration::from_mins(2);

/// The places of the exports of an account that may be in force.
#[derive(Default)]
pub(super) struct Exporter {
    /// Ordered by kind and subject, those of the same subject by place.
    places: Box<[usize]>,
    wild: Box<[usize]>,
    /// Ordered by place.
    services: Box<[(usize, Arc<ServiceExport>)]>,
    /// Exports that cannot be in force.
    pub(super) faults: Vec<(usize, ShareError)>,
}

fn key(export: &Export) -> (bool, &[u8]) {
    (export.kind == ShareKind::Service, export.subject.as_bytes())
}

impl Exporter {
    pub(super) fn new(account: &AccountConfig) -> Self {
        let exports = &account.exports;
        let (mut places, mut wild) = (Vec::new(), Vec::new());
        let (mut services, mut faults) = (Vec::new(), Vec::new());
        for (at, export) in exports.iter().enumerate() {
            if let Err(error) = check_export(export, exports) {
                faults.push((at, error));
                continue;
            }
            places.push(at);
            if export.subject.has_wildcard() {
                wild.push(at);
            }
            if export.kind == ShareKind::Service {
                let service = ServiceExport {
                    subject: export.subject.clone(),
                    response_type: export.response_type,
                    threshold: export.response_threshold.unwrap_or(RESPONSE_THRESHOLD),
                    latency: export.latency.clone(),
                    allow_trace: export.allow_trace,
                };
                services.push((at, Arc::new(service)));
            }
        }
        sort_by(&mut places, |a, b| key(&exports[*a]).cmp(&key(&exports[*b])));
        Self { places: places.into(), wild: wild.into(), services: services.into(), faults }
    }

    /// Returns the place of the export that covers an import of `subject`, and whether it has just that subject. Of
    /// several with that subject the last one counts. `account`: the one with which it was made.
    // NATS 2.14: accounts.go checkStreamExportApproved: any of several that cover it; here the first.
    pub(super) fn find(
        &self,
        account: &AccountConfig,
        kind: ShareKind,
        subject: &SubjectFilter,
    ) -> Option<(usize, bool)> {
        let exports = &account.exports;
        let wanted = (kind == ShareKind::Service, subject.as_bytes());
        let end = self.places.partition_point(|at| key(&exports[*at]) <= wanted);
        let last = end.checked_sub(1).map(|at| self.places[at]);
        if let Some(at) = last.filter(|at| key(&exports[*at]) == wanted) {
            return Some((at, true));
        }
        let covers = |at: &&usize| {
            let export = &exports[**at];
            export.kind == kind && export.subject.covers(subject)
        };
        self.wild.iter().find(covers).map(|at| (*at, false))
    }

    /// Returns the service that is exported at that place.
    pub(super) fn service(&self, at: usize) -> Option<Arc<ServiceExport>> {
        let found = self.services.binary_search_by_key(&at, |(at, _)| *at).ok()?;
        Some(Arc::clone(&self.services[found].1))
    }
}

fn check_export(export: &Export, all: &[Export]) -> Result<(), ShareError> {
    if let ExportAccess::TokenPosition(position) = export.access {
        // NATS 2.14: accounts.go setExportAuth.
        let token = position.checked_sub(1).and_then(|at| export.subject.tokens().nth(at));
        if token != Some(Token::Partial) {
            return Err(ShareError::InvalidSubject);
        }
    }
    let Some(latency) = export.latency.as_ref().filter(|_| export.kind == ShareKind::Service)
    else {
        return Ok(());
    };
    // NATS 2.14: accounts.go TrackServiceExportWithSampling.
    if matches!(latency.sampling, Sampling::Percent(percent) if !(1..=100).contains(&percent)) {
        return Err(ShareError::LatencySampling);
    }
    let is_service = |other: &Export| {
        other.kind == ShareKind::Service && other.subject.matches(&latency.subject)
    };
    if all.iter().any(is_service) {
        return Err(ShareError::LatencySubject);
    }
    if export.response_type != ResponseType::Singleton {
        return Err(ShareError::LatencyResponseType);
    }
    Ok(())
}
