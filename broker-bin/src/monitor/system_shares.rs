//! Services of the server that each account imports, and the system account exports, without configuration.

use super::shares::{ExportInfo, ImportInfo, ImportType};

/// The exports, each with its type of responses, in the order of their subjects.
// NATS 2.14: events.go addSystemAccountExports.
const EXPORTS: [(&str, &str); 4] = [
    ("$SYS.DEBUG.SUBSCRIBERS", "Singleton"),
    ("$SYS.REQ.ACCOUNT.*.CONNZ", "Streamed"),
    ("$SYS.REQ.ACCOUNT.*.STATZ", "Streamed"),
    ("$SYS.REQ.USER.*.INFO", "Singleton"),
];

/// The subjects in an account of services about itself, and the names of the services.
// NATS 2.14: events.go registerSystemImports.
const IMPORTS: [(&str, &str); 3] = [
    ("$SYS.REQ.ACCOUNT.PING.CONNZ", "CONNZ"),
    ("$SYS.REQ.SERVER.PING.CONNZ", "CONNZ"),
    ("$SYS.REQ.ACCOUNT.PING.STATZ", "STATZ"),
];

/// Adds the exports that the system account does not have anyway.
pub(super) fn add_exports(exports: &mut Vec<ExportInfo>) {
    for (subject, response_type) in EXPORTS {
        let is_there = |one: &ExportInfo| one.r#type == "service" && one.subject == subject;
        if !exports.iter().any(is_there) {
            exports.push(ExportInfo {
                subject: subject.to_owned(),
                r#type: "service",
                token_req: false,
                response_type: Some(response_type),
                service_latency: None,
                approved_accounts: Vec::new(),
            });
        }
    }
}

/// Adds the imports for whose subjects the account has no others. The system account has the one about users only.
pub(super) fn add_imports(
    imports: &mut Vec<ImportInfo>,
    account: &str,
    system: &str,
    is_system: bool,
) {
    let about_user = ("$SYS.REQ.USER.INFO", format!("$SYS.REQ.USER.{account}.INFO"), true);
    let about_account = IMPORTS
        .iter()
        .filter(|_| !is_system)
        .map(|(local, service)| (*local, format!("$SYS.REQ.ACCOUNT.{account}.{service}"), false));
    for (local, subject, share) in std::iter::once(about_user).chain(about_account) {
        if imports.iter().all(|one| one.local_subject != local) {
            imports.push(ImportInfo {
                subject,
                account: system.to_owned(),
                to: Some(local.to_owned()),
                local_subject: local.to_owned(),
                r#type: ImportType::Service,
                invalid: false,
                share,
                tracking: false,
                tracking_header: None,
                latency: None,
            });
        }
    }
}
