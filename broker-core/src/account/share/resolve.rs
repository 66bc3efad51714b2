//! From the configuration of accounts to what each of them shares: authorization, translation, cycles.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Deref;

use super::cycles::{Edges, Graph};
use super::error::{ShareError, ShareFault, ShareItem};
use super::exporter::Exporter;
use super::service::ServiceExport;
use super::stream::StreamImport;
use crate::options::{AccountConfig, Export, ExportAccess, Import, ShareKind};
use crate::subject::{Rewrite, SubjectFilter, Token, filter_of, numbered};
use crate::sync::Arc;

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
    Resolver::new(accounts).2
}

/// The imports and exports of one account, with the names of the others.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
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

/// An item that cannot be in force, with the number of its account.
type Fault = (usize, ShareItem, ShareError);

/// The exports and imports of accounts, as far as the imports of one have to be resolved again when another one
/// changes.
///
/// `C`: a configuration, shared or borrowed.
pub(crate) struct Resolver<C = Arc<AccountConfig>> {
    numbers: HashMap<Arc<str>, usize>,
    accounts: Vec<Known<C>>,
    graph: Graph,
    /// The accounts of which an import is refused because it would form a cycle.
    cyclic: BTreeSet<usize>,
}

/// An account, or a name by which another account imports.
struct Known<C> {
    /// `None` if there is only the name.
    config: Option<C>,
    exporter: Exporter,
    /// The accounts that import from it, perhaps in vain.
    importers: BTreeSet<usize>,
}

/// The current exports and imports of an account.
pub(crate) type Change<C = Arc<AccountConfig>> = (C, Resolved);

impl<C: Deref<Target = AccountConfig> + Clone> Resolver<C> {
    /// Resolves what all accounts share. Of two accounts with one name the last counts. The order of the accounts
    /// decides which of several imports that form a cycle is refused: the last one.
    pub(crate) fn new(
        configs: impl IntoIterator<Item = C>,
    ) -> (Self, Vec<Change<C>>, Vec<ShareFault>) {
        let mut all = Self {
            numbers: HashMap::new(),
            accounts: Vec::new(),
            graph: Graph::default(),
            cyclic: BTreeSet::new(),
        };
        let mut order = Vec::new();
        let mut places: HashMap<usize, usize> = HashMap::new();
        for config in configs {
            let number = all.number(&config.name);
            places.entry(number).or_insert_with(|| {
                order.push(number);
                order.len() - 1
            });
            all.replace(number, config);
        }
        let mut faults = Vec::new();
        let mut resolved: Vec<Resolved> = order.iter().map(|_| Resolved::default()).collect();
        for number in &order {
            all.fault_exports(*number, &mut faults);
        }
        for kind in [ShareKind::Stream, ShareKind::Service] {
            for (number, resolved) in order.iter().zip(&mut resolved) {
                all.import(*number, kind, resolved, &mut faults);
            }
        }
        for (number, item, error) in &faults {
            resolved[places[number]].invalid.push(*item);
            all.cyclic.extend(error.is_cycle().then_some(*number));
        }
        let config = |number: &usize| all.accounts[*number].config.clone();
        let changes = order.iter().zip(resolved);
        let changes =
            changes.filter_map(|(number, resolved)| Some((config(number)?, resolved))).collect();
        let fault = |(number, item, error): Fault| {
            let account = Arc::clone(&config(&number)?.name);
            Some(ShareFault { account, item, error })
        };
        let faults = faults.into_iter().filter_map(fault).collect();
        (all, changes, faults)
    }

    /// Replaces the configuration of one account. Returns what the accounts share that are concerned: itself, those that
    /// import from it, and those of which an import formed a cycle before.
    ///
    /// An import that is in force is not refused for another one that comes later and forms a cycle with it.
    pub(crate) fn set(&mut self, config: C) -> Vec<Change<C>> {
        let first = self.number(&config.name);
        let before = self.graph.clear(first);
        // A search for cycles depends on the exports of the accounts on its way.
        let mut has_lost = self.accounts[first].config.is_some();
        self.replace(first, config);
        let mut done = BTreeSet::from([first]);
        let mut changes = Vec::new();
        self.resolve(first, &before, &mut changes, &mut has_lost);
        let importers: Vec<usize> = self.accounts[first].importers.iter().copied().collect();
        for number in importers.into_iter().filter(|number| done.insert(*number)) {
            let before = self.graph.clear(number);
            self.resolve(number, &before, &mut changes, &mut has_lost);
        }
        if has_lost {
            let cyclic: Vec<usize> = self.cyclic.iter().copied().collect();
            for number in cyclic.into_iter().filter(|number| done.insert(*number)) {
                let before = self.graph.clear(number);
                self.resolve(number, &before, &mut changes, &mut has_lost);
            }
        }
        changes
    }

    /// Resolves what one account shares. Sets `has_lost` if it imports less than before.
    fn resolve(
        &mut self,
        number: usize,
        before: &Edges,
        changes: &mut Vec<Change<C>>,
        has_lost: &mut bool,
    ) {
        let (mut resolved, mut faults) = (Resolved::default(), Vec::new());
        self.fault_exports(number, &mut faults);
        for kind in [ShareKind::Stream, ShareKind::Service] {
            self.import(number, kind, &mut resolved, &mut faults);
        }
        resolved.invalid = faults.iter().map(|(_, item, _)| *item).collect();
        if faults.iter().any(|(_, _, error)| error.is_cycle()) {
            self.cyclic.insert(number);
        } else {
            self.cyclic.remove(&number);
        }
        *has_lost |= self.graph.lacks_some_of(number, before);
        let config = self.accounts[number].config.clone();
        changes.extend(config.map(|config| (config, resolved)));
    }

    /// Returns the number of a name.
    fn number(&mut self, name: &Arc<str>) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.accounts.len();
        self.numbers.insert(Arc::clone(name), number);
        self.accounts.push(Known {
            config: None,
            exporter: Exporter::default(),
            importers: BTreeSet::new(),
        });
        self.graph.grow(self.accounts.len());
        number
    }

    fn replace(&mut self, number: usize, config: C) {
        let exporter = Exporter::new(&config);
        let account = &mut self.accounts[number];
        account.exporter = exporter;
        let before = account.config.replace(config.clone());
        for import in before.iter().flat_map(|before| &before.imports) {
            let exporter = self.number(&import.account);
            self.accounts[exporter].importers.remove(&number);
        }
        for import in &config.imports {
            let exporter = self.number(&import.account);
            self.accounts[exporter].importers.insert(number);
        }
    }

    fn fault_exports(&self, number: usize, faults: &mut Vec<Fault>) {
        let all = &self.accounts[number].exporter.faults;
        faults
            .extend(all.iter().map(|(at, error)| (number, ShareItem::Export(*at), error.clone())));
    }

    /// Resolves the imports of one kind of an account.
    fn import(
        &mut self,
        number: usize,
        kind: ShareKind,
        resolved: &mut Resolved,
        faults: &mut Vec<Fault>,
    ) {
        let Some(config) = self.accounts[number].config.clone() else { return };
        let mut before = Before::default();
        let imports = config.imports.iter().enumerate();
        for (at, import) in imports.filter(|(_, import)| import.kind == kind) {
            let result = match kind {
                ShareKind::Stream => self.stream(number, import, &mut before).map(|stream| {
                    resolved.locals.push((at, stream.local.clone()));
                    resolved.streams.push(stream);
                }),
                ShareKind::Service => self.service(number, import, &mut before).map(|service| {
                    resolved.locals.push((at, service.local.clone()));
                    resolved.services.push(service);
                }),
            };
            if let Err(error) = result {
                faults.push((number, ShareItem::Import(at), error));
            }
        }
    }

    /// Returns the exporting account and the place of the export, if the import is allowed.
    fn source(&self, importer: usize, import: &Import) -> Option<(usize, usize)> {
        let number = *self.numbers.get(&import.account)?;
        let Known { config, exporter, .. } = &self.accounts[number];
        let config = config.as_ref()?;
        let (at, is_exact) = exporter.find(config, import.kind, &import.subject)?;
        let name = &self.accounts[importer].config.as_ref()?.name;
        is_allowed(name, import, &config.exports[at], is_exact).then_some((number, at))
    }

    // NATS 2.14: accounts.go addStreamImportWithClaim, addMappedStreamImportWithClaim.
    fn stream(
        &mut self,
        importer: usize,
        import: &Import,
        before: &mut Before,
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
                let Known { config, exporter, .. } = &self.accounts[account];
                let found =
                    |config: &C| exporter.find(config, ShareKind::Stream, subject).is_some();
                config.as_ref().is_some_and(found)
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
        if !before.streams.insert((exporter, subject.clone())) {
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
        before: &mut Before,
    ) -> Result<ResolvedService, ShareError> {
        let to = import.subject.to_string();
        let from = import.to.as_deref().filter(|from| !from.is_empty()).unwrap_or(&to);
        let written = SubjectFilter::parse(from).map_err(|_| ShareError::InvalidSubject)?;
        let source = self.source(importer, import);
        let (exporter, at) = source.ok_or(ShareError::ServiceNotAuthorized)?;
        let export =
            self.accounts[exporter].exporter.service(at).ok_or(ShareError::ServiceNotAuthorized)?;
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
        if let Some(other) = before.services.get(&key) {
            return Err(ShareError::DuplicateService {
                local: from.to_owned(),
                account: Arc::clone(&import.account),
                subject: other.to_string(),
            });
        }
        before.services.insert(key, import.subject.clone());
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
struct Before {
    streams: HashSet<(usize, SubjectFilter)>,
    services: HashMap<(usize, SubjectFilter), SubjectFilter>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> SubjectFilter {
        SubjectFilter::parse(text).unwrap()
    }

    /// Account `number` exports one stream and imports those of `from`.
    fn account(number: usize, from: &[usize]) -> Arc<AccountConfig> {
        let subject = |number: usize| filter(&format!("s{number}.>"));
        let config = AccountConfig::new(format!("A{number}"));
        let config = config.with_export(Export::stream(subject(number)));
        let import = |config: AccountConfig, from: &usize| {
            config.with_import(Import::stream(format!("A{from}"), subject(*from)))
        };
        Arc::new(from.iter().fold(config, import))
    }

    fn names(changes: &[Change]) -> Vec<&str> {
        changes.iter().map(|(config, _)| &*config.name).collect()
    }

    #[test]
    fn a_change_resolves_the_account_and_its_importers_only() {
        let configs = (0..1_000).map(|number| account(number, &[(number + 1) % 1_000]));
        let (mut resolver, changes, faults) = Resolver::new(configs);
        assert_eq!((changes.len(), faults.len()), (1_000, 0));
        let changes = resolver.set(account(7, &[9]));
        assert_eq!(names(&changes), ["A7", "A6"]);
        assert!(changes.iter().all(|(_, resolved)| resolved.streams.len() == 1));
        let changes = resolver.set(Arc::new(AccountConfig::new("A9")));
        assert_eq!(names(&changes), ["A9", "A7", "A8"]);
        assert!(changes.iter().all(|(_, resolved)| resolved.streams.is_empty()));
        assert_eq!(names(&resolver.set(account(2_000, &[3_000]))), ["A2000"]);
        let changes = resolver.set(account(3_000, &[]));
        assert_eq!(names(&changes), ["A3000", "A2000"], "it was imported before it existed");
    }

    #[test]
    fn an_import_that_formed_a_cycle_is_in_force_once_the_others_are_gone() {
        let all = || filter("x");
        let ring = |number: usize, from: Option<usize>| {
            let config =
                AccountConfig::new(format!("A{number}")).with_export(Export::service(all()));
            Arc::new(match from {
                Some(from) => config.with_import(Import::service(format!("A{from}"), all())),
                None => config,
            })
        };
        let (mut resolver, _, _) = Resolver::new([]);
        for number in 0..2 {
            resolver.set(ring(number, Some(number + 1)));
        }
        let changes = resolver.set(ring(2, Some(0)));
        assert_eq!(names(&changes), ["A2", "A1"]);
        assert!(changes[0].1.invalid.is_empty());
        assert_eq!(changes[1].1.invalid, [ShareItem::Import(0)], "the last one is refused");
        let changes = resolver.set(ring(0, None));
        assert_eq!(names(&changes), ["A0", "A2", "A1"]);
        assert!(changes[2].1.invalid.is_empty());
        assert_eq!(changes[2].1.services.len(), 1);
    }
}
