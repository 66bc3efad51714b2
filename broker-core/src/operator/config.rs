//! From the claims of an account to its configuration.

use std::time::Duration;

use crate::account::{
    AccountConfig, Export, ExportAccess, Import, Mapping, ResponseType, Sampling, ServiceLatency,
    ShareKind,
};
use crate::auth::jwt::{self, AccountClaims, ExportType};
use crate::limits::AccountLimits;
use crate::options::TraceDestination;
use crate::subject::{Subject, SubjectFilter};

/// Returns the configuration of an account. `is_activated` tells whether an import holds a valid activation.
///
/// Invalid parts are left out, as in the reference.
// NATS 2.14: accounts.go updateAccountClaimsWithRefresh.
pub fn account_config(
    claims: &AccountClaims,
    is_activated: impl Fn(&jwt::Import) -> bool,
) -> AccountConfig {
    let nats = &claims.nats;
    let mut config = AccountConfig::new(&*claims.subject).with_limits(limits(&nats.limits));
    config.exports = nats.exports.iter().filter_map(export).collect();
    let import = |claim: &jwt::Import| import(claim, is_activated(claim));
    config.imports = nats.imports.iter().filter_map(import).collect();
    config.mappings = nats.mappings.iter().filter_map(|(from, to)| mapping(from, to)).collect();
    config.trace_destination = nats.trace.as_ref().and_then(trace_destination);
    config
}

fn trace_destination(claim: &jwt::MessageTrace) -> Option<TraceDestination> {
    let to = TraceDestination::new(Subject::parse(&claim.destination).ok()?);
    // 0 stands for all.
    let sampling = u8::try_from(claim.sampling).ok().filter(|percent| (1..=100).contains(percent));
    Some(to.with_sampling(sampling.unwrap_or(100)))
}

fn limits(claims: &jwt::AccountLimits) -> AccountLimits {
    AccountLimits {
        max_connections: limit(claims.conn),
        max_subscriptions: limit(claims.subs),
        max_payload_bytes: limit(claims.payload),
        max_leaf_nodes: limit(claims.leaf),
    }
}

/// Returns a limit of claims; `None` if it does not limit.
pub(super) fn limit(claim: i64) -> Option<usize> {
    usize::try_from(claim).ok()
}

fn kind(claim: ExportType) -> Option<ShareKind> {
    match claim {
        ExportType::Stream => Some(ShareKind::Stream),
        ExportType::Service => Some(ShareKind::Service),
        ExportType::Unknown => None,
    }
}

fn export(claim: &jwt::Export) -> Option<Export> {
    let access = match (usize::try_from(claim.account_token_position).unwrap_or(0), claim.token_req)
    {
        (0, false) => ExportAccess::Public,
        (0, true) => ExportAccess::Activation,
        (position, _) => ExportAccess::TokenPosition(position),
    };
    let mut export = Export::new(kind(claim.kind)?, SubjectFilter::parse(&*claim.subject).ok()?)
        .with_access(access)
        .with_allow_trace(claim.allow_trace)
        .with_response_type(match &*claim.response_type {
            "Stream" => ResponseType::Streamed,
            "Chunked" => ResponseType::Chunked,
            _ => ResponseType::Singleton,
        });
    if let Some(nanos) = u64::try_from(claim.response_threshold).ok().filter(|nanos| *nanos > 0) {
        export = export.with_response_threshold(Duration::from_nanos(nanos));
    }
    if let Some(latency) = claim.latency.as_ref().and_then(latency) {
        export = export.with_latency(latency);
    }
    Some(export)
}

fn latency(claim: &jwt::ServiceLatency) -> Option<ServiceLatency> {
    let sampling = match claim.sampling {
        jwt::Sampling::Headers => Sampling::Headers,
        jwt::Sampling::Percent(percent) => Sampling::Percent(
            u8::try_from(percent).ok().filter(|percent| (1..=100).contains(percent))?,
        ),
    };
    Some(ServiceLatency::new(Subject::parse(&claim.results).ok()?, sampling))
}

fn import(claim: &jwt::Import, is_activated: bool) -> Option<Import> {
    let kind = kind(claim.kind)?;
    let jwt::Import { subject, to, local_subject: local, .. } = claim;
    let (remote, here) = match kind {
        _ if !local.is_empty() => (subject, Some(local)),
        ShareKind::Service if !to.is_empty() => (to, Some(subject)),
        _ => (subject, None),
    };
    let mut import = Import::new(kind, &*claim.account, SubjectFilter::parse(&**remote).ok()?)
        .with_share(claim.share)
        .with_allow_trace(claim.allow_trace)
        .with_activation(is_activated);
    if let Some(here) = here {
        import = import.with_to(&**here);
    } else if kind == ShareKind::Stream && !to.is_empty() {
        import = import.with_prefix(&**to);
    }
    Some(import)
}

fn mapping(source: &str, destinations: &[jwt::WeightedMapping]) -> Option<Mapping> {
    let mut builder = Mapping::builder(source);
    for claim in destinations {
        let percent = claim.percent();
        builder = match &*claim.cluster {
            "" => builder.to(&*claim.subject, percent),
            cluster => builder.to_in_cluster(cluster, &*claim.subject, percent),
        };
    }
    builder.build().ok()
}
