//! Activations: claims of an account that another one may import from it.

use super::account::AccountState;
use crate::auth::jwt::{self, Severity, decode_activation, is_contained_in};

/// Returns the end of a valid activation, in seconds since 1970 (0 for none); `None` if it is not valid.
// NATS 2.14: accounts.go checkActivation. The claims of the importing account were checked when they were loaded: its
// activations are for this import.
pub(super) fn check(import: &jwt::Import, exporter: &AccountState, now: i64) -> Option<i64> {
    let activation = decode_activation(&import.token).ok()?;
    let is_wrong = activation.issues(now).iter().any(|issue| issue.severity != Severity::Warning);
    let has_ended = activation.expires != 0 && activation.expires <= now;
    let account = &activation.nats.issuer_account;
    let is_signed = match &**account {
        "" => activation.issuer == exporter.claims.subject,
        account => {
            account == exporter.claims.subject && exporter.signer(&activation.issuer).is_some()
        }
    };
    if is_wrong || has_ended || !is_signed {
        return None;
    }
    let is_revoked = export(import, exporter)
        .is_some_and(|export| export.revocations.covers(&activation.subject, activation.issued_at));
    (!is_revoked).then_some(activation.expires)
}

/// Returns the export that an import uses: the one of the same subject, or one that contains it.
fn export<'a>(import: &jwt::Import, exporter: &'a AccountState) -> Option<&'a jwt::Export> {
    let is_renamed = import.kind == jwt::ExportType::Service && !import.to.is_empty();
    let subject =
        if is_renamed && import.local_subject.is_empty() { &import.to } else { &import.subject };
    let of_kind =
        || exporter.claims.nats.exports.iter().filter(|export| export.kind == import.kind);
    let exact = of_kind().find(|export| export.subject == *subject);
    exact.or_else(|| of_kind().find(|export| is_contained_in(subject, &export.subject)))
}
