//! Services of the server that the system account exports, whatever its claims say.

use crate::account::{AccountConfig, Export, ExportAccess, ResponseType, ShareKind};
use crate::subject::SubjectFilter;

/// Services about the account that imports them. Its key is the fourth token of the subject, counted from 1.
// NATS 2.14: events.go addSystemAccountExports.
const ABOUT_THE_IMPORTER: [&str; 2] = ["$SYS.REQ.ACCOUNT.*.CONNZ", "$SYS.REQ.ACCOUNT.*.STATZ"];
const POSITION_OF_THE_IMPORTER: usize = 4;

/// Adds those that the claims do not export already.
pub(super) fn add(config: &mut AccountConfig) {
    for subject in ABOUT_THE_IMPORTER.into_iter().filter_map(|one| SubjectFilter::parse(one).ok()) {
        let covers = |one: &Export| one.kind == ShareKind::Service && one.subject.covers(&subject);
        if !config.exports.iter().any(covers) {
            let access = ExportAccess::TokenPosition(POSITION_OF_THE_IMPORTER);
            let export = Export::service(subject).with_access(access);
            config.exports.push(export.with_response_type(ResponseType::Streamed));
        }
    }
}
