//! Builds the exports and imports of the core's accounts from options.

use std::collections::BTreeMap;

use broker_core::account::{
    self, AccountConfig, ExportAccess, ResponseType, Sampling, ServiceLatency, ShareError,
    ShareFault, ShareItem, check_shares,
};
use broker_core::sort::sort_by_key;
use broker_core::{Subject, SubjectFilter};

use super::{Account, Export, Import, Imported, Latency, OptionsError};

type Accounts = BTreeMap<String, Account>;

/// Adds the exports and imports to the accounts, which are those of `accounts` by name.
///
/// # Errors
///
/// Returns the first that is not valid by itself.
pub(super) fn add(configs: &mut [AccountConfig], accounts: &Accounts) -> Result<(), OptionsError> {
    for config in configs.iter_mut() {
        let Some(account) = accounts.get(&*config.name) else { continue };
        for (index, export) in account.exports.iter().enumerate() {
            let path = |name: &str| format!("accounts.{name}.exports[{index}]");
            let built = export.build(accounts).map_err(|text| fault(path(&config.name), text))?;
            config.exports.extend(built);
        }
        for (index, import) in account.imports.iter().enumerate() {
            let path = |name: &str| format!("accounts.{name}.imports[{index}]");
            let built = import.build(accounts).map_err(|text| fault(path(&config.name), text))?;
            config.imports.extend(built);
        }
        // They live as long as the server.
        config.exports.shrink_to_fit();
        config.imports.shrink_to_fit();
    }
    Ok(())
}

/// Checks the exports and imports of all accounts together.
///
/// # Errors
///
/// Returns the first that cannot be in force, with the text of the reference.
// NATS 2.14: opts.go parseAccounts: streams before services, exports before imports.
pub(super) fn check(configs: &[AccountConfig]) -> Result<(), OptionsError> {
    let mut faults = check_shares(configs);
    sort_by_key(&mut faults, |fault| fault.item);
    faults.first().map_or(Ok(()), |first| Err(describe(first, configs)))
}

fn fault(path: String, text: String) -> OptionsError {
    OptionsError::Share { path, text }
}

/// Returns the error of an export or import that cannot be in force.
fn describe(found: &ShareFault, configs: &[AccountConfig]) -> OptionsError {
    let config = configs.iter().find(|config| config.name == found.account);
    let (list, index) = match found.item {
        ShareItem::Export(index) => ("exports", index),
        ShareItem::Import(index) => ("imports", index),
    };
    let path = format!("accounts.{}.{list}[{index}]", found.account);
    let error = &found.error;
    let shared = config.and_then(|config| match found.item {
        ShareItem::Export(_) => config.exports.get(index).map(|it| (it.kind, &it.subject)),
        ShareItem::Import(_) => config.imports.get(index).map(|it| (it.kind, &it.subject)),
    });
    let Some((kind, subject)) = shared else { return fault(path, error.to_string()) };
    let kind = match kind {
        account::ShareKind::Stream => "stream",
        account::ShareKind::Service => "service",
    };
    let text = match (found.item, error) {
        (_, ShareError::DuplicateService { local, account, subject }) => format!(
            "Duplicate service import subject {local:?}, previously used in import for account {account:?}, \
             subject {subject:?}"
        ),
        (
            ShareItem::Export(_),
            ShareError::LatencySubject
            | ShareError::LatencyResponseType
            | ShareError::LatencySampling,
        ) => {
            let latency = config
                .and_then(|config| config.exports.get(index)?.latency.as_ref())
                .map(|latency| latency.subject.to_string())
                .unwrap_or_default();
            latency_error(&subject.to_string(), &latency, &error.to_string())
        }
        (ShareItem::Export(_), _) => format!("Error adding {kind} export \"{subject}\": {error}"),
        (ShareItem::Import(_), _) => format!("Error adding {kind} import \"{subject}\": {error}"),
    };
    fault(path, text)
}

fn latency_error(service: &str, subject: &str, error: &str) -> String {
    format!("Error adding service latency sampling for {service:?} on subject {subject:?}: {error}")
}

impl Export {
    /// Builds the core's export; `None` if it names neither a stream nor a service, as in the reference.
    // NATS 2.14: opts.go parseExportStreamOrService.
    fn build(&self, accounts: &Accounts) -> Result<Option<account::Export>, String> {
        let (kind, subject) = match (&self.stream, &self.service) {
            (None, None) => return Ok(None),
            (Some(_), Some(service)) => {
                return Err(format!("Detected service {service:?} but already saw a stream"));
            }
            (Some(stream), None) => {
                let of_service = [
                    ("response", self.response_type.is_some()),
                    ("response", self.response_threshold.is_some()),
                    ("latency", self.latency.is_some()),
                    ("allow_trace", self.allow_trace),
                ];
                if let Some((key, _)) = of_service.into_iter().find(|(_, is_set)| *is_set) {
                    return Err(format!("Detected {key} directive on non-service"));
                }
                (account::ShareKind::Stream, stream)
            }
            (None, Some(service)) => (account::ShareKind::Service, service),
        };
        let export = account::Export::new(kind, filter(subject)?)
            .with_access(self.access(kind, accounts)?)
            .with_allow_trace(self.allow_trace)
            .with_response_type(match self.response_type.as_deref() {
                Some("stream") => ResponseType::Streamed,
                Some("chunk" | "chunked") => ResponseType::Chunked,
                _ => ResponseType::Singleton,
            });
        let export = match self.response_threshold.filter(|threshold| !threshold.is_zero()) {
            Some(threshold) => export.with_response_threshold(threshold),
            None => export,
        };
        match &self.latency {
            Some(latency) => Ok(Some(export.with_latency(latency.build(subject)?))),
            None => Ok(Some(export)),
        }
    }

    fn access(
        &self,
        kind: account::ShareKind,
        accounts: &Accounts,
    ) -> Result<ExportAccess, String> {
        if let Some(unknown) = self.accounts.iter().find(|name| !accounts.contains_key(*name)) {
            let kind = match kind {
                account::ShareKind::Stream => "stream",
                account::ShareKind::Service => "service",
            };
            return Err(format!("{unknown:?} account not defined for {kind} export"));
        }
        Ok(match usize::try_from(self.account_token_position) {
            Ok(position @ 1..) => ExportAccess::TokenPosition(position),
            _ if self.accounts.is_empty() => ExportAccess::Public,
            _ => {
                let names = self.accounts.iter().map(|name| name.as_str().into());
                ExportAccess::Accounts(names.collect())
            }
        })
    }
}

impl Latency {
    fn build(&self, service: &str) -> Result<ServiceLatency, String> {
        let Some(subject) = &self.subject else {
            return Err("Latency subject required, but missing".to_owned());
        };
        let parsed = Subject::parse(subject.as_str())
            .map_err(|_| latency_error(service, subject, "invalid publish subject"))?;
        let sampling = self.sampling.trim();
        let sampling = match sampling.trim_end_matches('%').parse() {
            Ok(percent) => Sampling::Percent(percent),
            Err(_) => Sampling::Headers,
        };
        Ok(ServiceLatency::new(parsed, sampling))
    }
}

impl Import {
    /// Builds the core's import; `None` if it names neither a stream nor a service, as in the reference.
    // NATS 2.14: opts.go parseImportStreamOrService.
    fn build(&self, accounts: &Accounts) -> Result<Option<account::Import>, String> {
        let (kind, imported) = match (&self.stream, &self.service) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err("Detected service but already saw a stream".to_owned());
            }
            (Some(stream), None) => (account::ShareKind::Stream, stream),
            (None, Some(service)) => (account::ShareKind::Service, service),
        };
        let is_stream = kind == account::ShareKind::Stream;
        if self.allow_trace && !is_stream {
            return Err("Detected allow_trace directive on a non-stream".to_owned());
        }
        let prefix = self.prefix.as_deref().filter(|prefix| is_stream && !prefix.is_empty());
        let to = self.to.as_deref().filter(|to| !to.is_empty());
        if prefix.is_some() && to.is_some() {
            return Err("Stream import can not have a 'prefix' and a 'to' property".to_owned());
        }
        let (name, subject) = imported.parts()?;
        if !accounts.contains_key(name) {
            let kind = if is_stream { "stream" } else { "service" };
            return Err(format!("{name:?} account not defined for {kind} import"));
        }
        let mut import = account::Import::new(kind, name, filter(subject)?)
            .with_share(self.share && !is_stream)
            .with_allow_trace(self.allow_trace);
        if let Some(prefix) = prefix {
            import = import.with_prefix(prefix);
        }
        if let Some(to) = to {
            import = import.with_to(to);
        }
        Ok(Some(import))
    }
}

impl Imported {
    fn parts(&self) -> Result<(&str, &str), String> {
        match (self.account.as_deref(), self.subject.as_deref()) {
            (Some(account), Some(subject)) if !account.is_empty() && !subject.is_empty() => {
                Ok((account, subject))
            }
            _ => Err("Expect an account name and a subject".to_owned()),
        }
    }
}

/// Returns a subject that the table of options has checked.
fn filter(text: &str) -> Result<SubjectFilter, String> {
    SubjectFilter::parse(text).map_err(|error| error.to_string())
}
