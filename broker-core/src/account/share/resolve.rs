//! From the configuration of all accounts to what each of them shares: authorization, translation, cycles.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::cycles::Graph;
use super::error::{ShareError, ShareFault, ShareItem};
use super::service::ServiceExport;
use super::stream::StreamImport;
use crate::options::{
    AccountConfig, Export, ExportAccess, Import, ResponseType, Sampling, ShareKind,
};
use crate::subject::{Rewrite, SubjectFilter, Token, filter_of, numbered};
use crate::sync::Arc;

/// The time that a responder has by default.
// NATS 2.14: const.go DEFAULT_SERVICE_EXPORT_RESPONSE_THRESHOLD.
const RESPONSE_THRESHOLD: Duration = Duration::from_mins(2);

/// Checks the exports and imports of all accounts. Returns those that cannot be in force.
///
/// ```
/// use broker_core::account::{AccountConfig, Export, Import, ShareError, check_shares};
/// use broker_core::SubjectFilter;
///
/// let orders = || SubjectFilter::parse("orders.>").unwrap();
/// let shop = AccountConfig::new("SHOP").with_export(Export::stream(orders()));
/// let billing = AccountConfig::new("BILLING")
///     .with_import(Import::stream("SHOP", orders()))
///     .with_import(Import::service("SHOP", orders()));
/// let faults = check_shares(&[shop, billing]);
/// assert_eq!(faults.len(), 1);
/// assert_eq!(faults[0].error, ShareError::ServiceNotAuthorized);
/// ```
pub fn check_shares(accounts: &[AccountConfig]) -> Vec<ShareFault> {
    resolve(accounts).1
}

/// What one account shares, with the names of the others.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    pub(super) streams: Vec<StreamImport>,
    pub(super) services: Vec<ResolvedService>,
    pub(super) invalid: Vec<ShareItem>,
    /// The subjects in the importing account of the imports that are in force, by their places.
    pub(super) locals: Vec<(usize, SubjectFilter)>,
}

/// An imported service.
#[derive(Debug)]
pub(super) struct ResolvedService {
    pub(super) exporter: Arc<str>,
    pub(super) export: Arc<ServiceExport>,
    pub(super) local: SubjectFilter,
    pub(super) subject: SubjectFilter,
    pub(super) rewrite: Rewrite,
    pub(super) share: bool,
}

/// Resolves what all accounts share; the order of the accounts is that of the result. Of two accounts with one name the
/// last counts.
pub(super) fn resolve(accounts: &[AccountConfig]) -> (Vec<Resolved>, Vec<ShareFault>) {
    let mut faults = Faults::new();
    let exporters: Vec<Exporter<'_>> =
        accounts.iter().enumerate().map(|(at, one)| Exporter::new(one, at, &mut faults)).collect();
    let mut all: Vec<Resolved> = accounts.iter().map(|_| Resolved::default()).collect();
    let numbers = accounts.iter().enumerate().map(|(at, account)| (&*account.name, at)).collect();
    let mut importer =
        Importer { accounts, exporters: &exporters, numbers, graph: Graph::new(all.len()) };
    for kind in [ShareKind::Stream, ShareKind::Service] {
        for (number, account) in accounts.iter().enumerate() {
            let mut known = Known::default();
            for (at, import) in account.imports.iter().enumerate() {
                let result = match import.kind {
                    one if one != kind => continue,
                    ShareKind::Stream => {
                        importer.stream(number, import, &mut known).map(|stream| {
                            all[number].locals.push((at, stream.local.clone()));
                            all[number].streams.push(stream);
                        })
                    }
                    ShareKind::Service => {
                        importer.service(number, import, &mut known).map(|service| {
                            all[number].locals.push((at, service.local.clone()));
                            all[number].services.push(service);
                        })
                    }
                };
                if let Err(error) = result {
                    faults.push((number, ShareItem::Import(at), error));
                }
            }
        }
    }
    for (number, item, _) in &faults {
        all[*number].invalid.push(*item);
    }
    let fault = |(number, item, error): (usize, ShareItem, ShareError)| ShareFault {
        account: Arc::clone(&accounts[number].name),
        item,
        error,
    };
    (all, faults.into_iter().map(fault).collect())
}

/// The faults by number of account.
type Faults = Vec<(usize, ShareItem, ShareError)>;

/// The exports of an account.
struct Exporter<'a> {
    exact: HashMap<(ShareKind, &'a SubjectFilter), (usize, &'a Export)>,
    wild: Vec<(usize, &'a Export)>,
    services: Vec<Arc<ServiceExport>>,
    /// The place among the services, by the place among all exports.
    places: HashMap<usize, usize>,
}

impl<'a> Exporter<'a> {
    fn new(account: &'a AccountConfig, number: usize, faults: &mut Faults) -> Self {
        let mut all = Self {
            exact: HashMap::new(),
            wild: Vec::new(),
            services: Vec::new(),
            places: HashMap::new(),
        };
        for (at, export) in account.exports.iter().enumerate() {
            if let Err(error) = check_export(export, &account.exports) {
                faults.push((number, ShareItem::Export(at), error));
                continue;
            }
            // The last one for a subject counts.
            all.exact.insert((export.kind, &export.subject), (at, export));
            if export.subject.has_wildcard() {
                all.wild.push((at, export));
            }
            if export.kind == ShareKind::Service {
                all.places.insert(at, all.services.len());
                all.services.push(Arc::new(ServiceExport {
                    subject: export.subject.clone(),
                    response_type: export.response_type,
                    threshold: export.response_threshold.unwrap_or(RESPONSE_THRESHOLD),
                    latency: export.latency.clone(),
                    allow_trace: export.allow_trace,
                }));
            }
        }
        all
    }

    /// Returns the export that covers an import of `subject`, and whether it has just that subject.
    // NATS 2.14: accounts.go checkStreamExportApproved: any of several that cover it; here the first.
    fn find(&self, kind: ShareKind, subject: &SubjectFilter) -> Option<(usize, &'a Export, bool)> {
        if let Some((at, export)) = self.exact.get(&(kind, subject)) {
            return Some((*at, export, true));
        }
        let covers =
            |(_, export): &&(usize, &Export)| export.kind == kind && export.subject.covers(subject);
        self.wild.iter().find(covers).map(|(at, export)| (*at, *export, false))
    }

    fn service(&self, at: usize) -> Option<Arc<ServiceExport>> {
        self.services.get(*self.places.get(&at)?).cloned()
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

/// Returns true if `importer` may import `subject` by an export that covers it.
// NATS 2.14: accounts.go checkAuth.
fn is_allowed(importer: &str, import: &Import, export: &Export, is_exact: bool) -> bool {
    match &export.access {
        ExportAccess::Public => true,
        ExportAccess::Accounts(names) => names.iter().any(|name| **name == *importer),
        ExportAccess::Activation => import.activated,
        ExportAccess::TokenPosition(position) => {
            let token = position.checked_sub(1).and_then(|at| import.subject.tokens().nth(at));
            !is_exact && token == Some(Token::Literal(importer.as_bytes()))
        }
    }
}

/// The imports of one account so far.
#[derive(Default)]
struct Known {
    streams: HashSet<(usize, SubjectFilter)>,
    services: HashMap<(usize, SubjectFilter), SubjectFilter>,
}

struct Importer<'a> {
    accounts: &'a [AccountConfig],
    exporters: &'a [Exporter<'a>],
    numbers: HashMap<&'a str, usize>,
    graph: Graph,
}

impl Importer<'_> {
    /// Returns the exporting account and the place of the export, if the import is allowed.
    fn source(&self, importer: usize, import: &Import) -> Option<(usize, usize)> {
        let exporter = *self.numbers.get(&*import.account)?;
        let found = self.exporters[exporter].find(import.kind, &import.subject);
        let (at, export, is_exact) = found?;
        let name = &self.accounts[importer].name;
        is_allowed(name, import, export, is_exact).then_some((exporter, at))
    }

    // NATS 2.14: accounts.go addStreamImportWithClaim, addMappedStreamImportWithClaim.
    fn stream(
        &mut self,
        importer: usize,
        import: &Import,
        known: &mut Known,
    ) -> Result<StreamImport, ShareError> {
        let source = self.source(importer, import);
        let (exporter, _) = source.ok_or(ShareError::StreamNotAuthorized)?;
        let subject = &import.subject;
        let from = subject.to_string();
        let to = match (import.prefix.as_deref(), import.to.as_deref()) {
            (Some(prefix), _) if !prefix.is_empty() => {
                let prefix = prefix.strip_suffix('.').unwrap_or(prefix);
                if SubjectFilter::parse(prefix).is_ok_and(|prefix| prefix.has_wildcard()) {
                    return Err(ShareError::WildcardPrefix);
                }
                format!("{prefix}.{from}")
            }
            (_, Some(to)) if !to.is_empty() => to.to_owned(),
            _ => from.clone(),
        };
        let written = SubjectFilter::parse(&to).map_err(|_| ShareError::InvalidSubject)?;
        for subject in [&written, subject] {
            let exports = |account: usize, subject: &SubjectFilter| {
                self.exporters[account].find(ShareKind::Stream, subject).is_some()
            };
            self.graph.check_stream(importer, exporter, subject, exports)?;
        }
        let (local, forward, back) = if to == from {
            (written, Rewrite::Same, Rewrite::Same)
        } else if subject.has_wildcard() {
            let reason = |reason| {
                let (from, to) = (from.clone(), to.clone());
                ShareError::StreamRewrite { from, to, reason }
            };
            let numbered = numbered(&to);
            let forward = Rewrite::new(subject, &numbered).map_err(reason)?;
            let back = Rewrite::reversed(subject, &numbered).map_err(reason)?;
            let local = filter_of(&numbered).map_err(|_| ShareError::InvalidSubject)?;
            (local, forward, back)
        } else {
            let (forward, back) = (written.as_bytes().into(), subject.as_bytes().into());
            (written, Rewrite::Literal(forward), Rewrite::Literal(back))
        };
        if !known.streams.insert((exporter, subject.clone())) {
            return Err(ShareError::DuplicateStream);
        }
        self.graph.add_stream(importer, exporter, &local);
        Ok(StreamImport {
            exporter: Arc::clone(&import.account),
            subject: subject.clone(),
            local,
            forward: Arc::new(forward),
            back,
            allow_trace: import.allow_trace,
        })
    }

    // NATS 2.14: accounts.go addServiceImportWithClaim, addServiceImport.
    fn service(
        &mut self,
        importer: usize,
        import: &Import,
        known: &mut Known,
    ) -> Result<ResolvedService, ShareError> {
        let to = import.subject.to_string();
        let from = import.to.as_deref().filter(|from| !from.is_empty()).unwrap_or(&to);
        let written = SubjectFilter::parse(from).map_err(|_| ShareError::InvalidSubject)?;
        let source = self.source(importer, import);
        let (exporter, at) = source.ok_or(ShareError::ServiceNotAuthorized)?;
        let export =
            self.exporters[exporter].service(at).ok_or(ShareError::ServiceNotAuthorized)?;
        let is_wild = import.subject.has_wildcard();
        let local = if is_wild {
            filter_of(from).map_err(|_| ShareError::InvalidSubject)?
        } else {
            written
        };
        self.graph.check_service(importer, exporter, &local)?;
        let rewrite = if is_wild && *from != *to {
            let reason = |reason| {
                let (from, to) = (from.to_owned(), to.clone());
                ShareError::ServiceRewrite { from, to, reason }
            };
            let numbered = numbered(from);
            Rewrite::new(&import.subject, &numbered).map_err(reason)?;
            Rewrite::reversed(&import.subject, &numbered).map_err(reason)?
        } else if *from == *to {
            Rewrite::Same
        } else {
            Rewrite::Literal(import.subject.as_bytes().into())
        };
        let key = (exporter, local.clone());
        if let Some(before) = known.services.get(&key) {
            return Err(ShareError::DuplicateService {
                local: from.to_owned(),
                account: Arc::clone(&import.account),
                subject: before.to_string(),
            });
        }
        known.services.insert(key, import.subject.clone());
        self.graph.add_service(importer, exporter, &local, &import.subject);
        Ok(ResolvedService {
            exporter: Arc::clone(&import.account),
            export,
            local,
            subject: import.subject.clone(),
            rewrite,
            share: import.share,
        })
    }
}
