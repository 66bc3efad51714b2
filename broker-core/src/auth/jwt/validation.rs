//! Checks of the content of claims.
// NATS 2.14: jwt validation.go and the Validate functions of each kind.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use super::{
    Account, Activation, Claims, Export, ExportType, Import, NO_LIMIT, Operator, Permissions,
    Sampling, TimeRange, User, UserLimits, decode_activation,
};
use crate::auth::nkey::{KeyKind, PublicKey};

/// Something about claims that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issue {
    /// The severity.
    pub severity: Severity,
    /// A description, which may quote the claims.
    pub text: String,
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The severity of an [`Issue`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// The claims are not valid.
    Error,
    /// The claims are not valid at this time.
    Time,
    /// The claims are valid.
    Warning,
}

/// Collects issues.
#[derive(Default)]
struct Issues(Vec<Issue>);

impl Issues {
    fn add(&mut self, severity: Severity, text: impl Into<String>) {
        self.0.push(Issue { severity, text: text.into() });
    }

    fn error(&mut self, text: impl Into<String>) {
        self.add(Severity::Error, text);
    }

    fn error_if(&mut self, is_wrong: bool, text: impl FnOnce() -> String) {
        if is_wrong {
            self.error(text());
        }
    }
}

impl<B> Claims<B> {
    /// Returns true if the claims have expired at `now` (seconds since 1970).
    pub fn is_expired(&self, now: i64) -> bool {
        self.expires > 0 && now > self.expires
    }

    fn check_times(&self, now: i64, issues: &mut Issues) {
        if self.is_expired(now) {
            issues.add(Severity::Time, "claim is expired");
        }
        if self.not_before > 0 && self.not_before > now {
            issues.add(Severity::Time, "claim is not yet valid");
        }
    }
}

impl Claims<User> {
    /// Returns what is wrong with the claims at `now` (seconds since 1970).
    pub fn issues(&self, now: i64) -> Vec<Issue> {
        let mut issues = Issues::default();
        self.check_times(now, &mut issues);
        check_user_limits(&self.nats.limits, &mut issues);
        check_issuer_account(&self.nats.issuer_account, &mut issues);
        issues.0
    }
}

impl Claims<Operator> {
    /// Returns what is wrong with the claims at `now` (seconds since 1970).
    pub fn issues(&self, now: i64) -> Vec<Issue> {
        let mut issues = Issues::default();
        self.check_times(now, &mut issues);
        let nats = &self.nats;
        let url = &nats.account_server_url;
        issues.error_if(!url.is_empty() && scheme(url).is_none(), || {
            format!("account server url {url:?} requires a protocol")
        });
        for url in nats.operator_service_urls.iter().filter(|url| !url.is_empty()) {
            check_service_url(url, &mut issues);
        }
        for key in &nats.signing_keys {
            issues.error_if(!PublicKey::is_valid(KeyKind::Operator, key), || {
                format!("{key} is not an operator public key")
            });
        }
        let system = &nats.system_account;
        let is_valid = system.is_empty() || PublicKey::is_valid(KeyKind::Account, system);
        issues.error_if(!is_valid, || format!("{system} is not an account public key"));
        if let Err(error) = parse_server_version(&nats.assert_server_version) {
            issues.error(format!("assert server version error: {error}"));
        }
        issues.0
    }
}

impl Claims<Activation> {
    /// Returns what is wrong with the claims at `now` (seconds since 1970).
    pub fn issues(&self, now: i64) -> Vec<Issue> {
        let mut issues = Issues::default();
        self.check_times(now, &mut issues);
        self.check_content(&mut issues);
        issues.0
    }

    fn check_content(&self, issues: &mut Issues) {
        let kind = self.nats.import_type;
        issues.error_if(kind.is_unknown(), || format!("invalid import type: \"{kind}\""));
        check_subject(&self.nats.import_subject, issues);
        check_issuer_account(&self.nats.issuer_account, issues);
    }
}

impl Claims<Account> {
    /// Returns what is wrong with the claims at `now` (seconds since 1970).
    pub fn issues(&self, now: i64) -> Vec<Issue> {
        let mut issues = Issues::default();
        self.check_times(now, &mut issues);
        check_imports(&self.nats.imports, &self.subject, &mut issues);
        check_exports(&self.nats.exports, &mut issues);
        check_permissions(&self.nats.default_permissions, &mut issues);
        check_mappings(&self.nats, &mut issues);
        check_external_authorization(&self.nats, &mut issues);
        check_trace(&self.nats, &mut issues);
        check_numbers(&self.nats, &mut issues);
        for (key, scope) in &self.nats.signing_keys.0 {
            let is_valid = PublicKey::is_valid(KeyKind::Account, key);
            issues.error_if(!is_valid && scope.is_some(), || {
                format!("{key} is not an account public key")
            });
            issues.error_if(!is_valid && scope.is_none(), || {
                format!("{key:?} is not a valid account signing key")
            });
        }
        check_info(&self.nats.description, &self.nats.info_url, &mut issues);
        let traffic = &*self.nats.cluster_traffic;
        issues.error_if(!matches!(traffic, "" | "system" | "owner"), || {
            format!("unknown cluster traffic option: {traffic:?}")
        });
        if PublicKey::is_valid(KeyKind::Account, &self.issuer) && !self.nats.limits.is_empty() {
            let text = "self-signed account JWTs shouldn't contain operator limits";
            issues.add(Severity::Warning, text);
        }
        issues.0
    }
}

fn check_issuer_account(key: &str, issues: &mut Issues) {
    let is_valid = key.is_empty() || PublicKey::is_valid(KeyKind::Account, key);
    issues.error_if(!is_valid, || "account_id is not an account public key".to_owned());
}

fn check_user_limits(limits: &UserLimits, issues: &mut Issues) {
    check_permissions(&limits.permissions, issues);
    for network in &limits.src {
        issues.error_if(Network::parse(network).is_none(), || {
            format!("invalid cidr {network:?} in user src limits")
        });
    }
    for range in &limits.times {
        check_time_range(range, issues);
    }
}

fn check_time_range(range: &TimeRange, issues: &mut Issues) {
    for (text, which) in [(&range.start, "start"), (&range.end, "end")] {
        if text.is_empty() {
            issues.error(format!(
                "time ranges {which} must contain a{} {which}",
                if which == "end" { "n" } else { "" }
            ));
        } else if second_of_day(text).is_none() {
            issues.error(format!("{which} in time range is invalid {text:?}"));
        }
    }
}

/// Parses `HH:MM:SS` into seconds. As in the reference, the hour may have one digit.
pub(crate) fn second_of_day(text: &str) -> Option<u32> {
    let mut parts = text.split(':');
    let mut part = |min_digits: usize, max: u32| {
        let part = parts.next()?;
        let is_number = (min_digits..=2).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u32>().ok().filter(|number| is_number && *number < max)
    };
    let [hour, minute, second] = [part(1, 24)?, part(2, 60)?, part(2, 60)?];
    parts.next().is_none().then_some(hour * 3600 + minute * 60 + second)
}

/// A network: an address and the number of its leading bits that count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Parses `address/bits`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let is_number = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
        let (address, bits): (IpAddr, u32) = (address.parse().ok()?, bits.parse().ok()?);
        let max = if address.is_ipv4() { 32 } else { 128 };
        (is_number && bits <= max).then_some(Self { address, bits })
    }

    /// Returns true if `address` is in the network. An IPv4 address may be written as IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        let all = |bits: u32, of: u32| if bits == 0 { 0 } else { u128::MAX << (of - bits) };
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                // A prefix of an IPv4 address in IPv6 form counts from the beginning of that form.
                let bits =
                    if self.address.is_ipv6() { self.bits.saturating_sub(96) } else { self.bits };
                let differs = u128::from(own.to_bits() ^ other.to_bits());
                differs & all(bits, 32) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()) & all(self.bits, 128) == 0
            }
            _ => false,
        }
    }
}

fn check_permissions(permissions: &Permissions, issues: &mut Issues) {
    let lists = [(&permissions.subscribe, true), (&permissions.publish, false)];
    for (list, has_queues) in lists {
        for text in list.allow.iter().chain(&list.deny) {
            check_permission(text, has_queues, issues);
        }
    }
}

fn check_permission(text: &str, has_queues: bool, issues: &mut Issues) {
    let parts: Vec<&str> = text.split(' ').collect();
    if parts.len() > 2 {
        return issues.error(format!("Permission Subject \"{text}\" contains too many spaces"));
    }
    parts.iter().for_each(|part| check_subject(part, issues));
    issues.error_if(parts.len() == 2 && !has_queues, || {
        format!("Permission Subject \"{text}\" is not allowed to contain queue")
    });
}

fn check_subject(subject: &str, issues: &mut Issues) {
    if subject.is_empty() {
        return issues.error("subject cannot be empty");
    }
    issues.error_if(subject.contains(' '), || format!("subject {subject:?} cannot have spaces"));
    issues.error_if(subject.starts_with('.') || subject.ends_with('.'), || {
        format!("subject {subject:?} cannot start or end with a `.`")
    });
    issues.error_if(subject.contains(".."), || {
        format!("subject {subject:?} cannot contain consecutive `.`")
    });
}

fn has_wildcards(subject: &str) -> bool {
    let mut tokens = subject.split('.').peekable();
    while let Some(token) = tokens.next() {
        if token == "*" || token == ">" && tokens.peek().is_none() {
            return true;
        }
    }
    false
}

/// Returns true if each subject that `inner` matches is matched by `outer` too.
// NATS 2.14: jwt types.go IsContainedIn.
pub(crate) fn is_contained_in(inner: &str, outer: &str) -> bool {
    let (inner, outer): (Vec<_>, Vec<_>) = (inner.split('.').collect(), outer.split('.').collect());
    let is_open = outer.last() == Some(&">");
    if inner.len() > outer.len() && !is_open || inner.len() < outer.len() {
        return false;
    }
    let fixed = if is_open { outer.len() - 1 } else { outer.len() };
    outer.iter().zip(&inner).take(fixed).all(|(outer, inner)| outer == inner || *outer == "*")
}

fn check_info(description: &str, url: &str, issues: &mut Issues) {
    const MAX: usize = 8 * 1024;
    issues.error_if(description.len() > MAX, || "Description is too long".to_owned());
    issues.error_if(url.len() > MAX, || "Info URL is too long".to_owned());
    let has_host = || {
        let rest = scheme(url).and_then(|scheme| url.get(scheme.len() + 1..)?.strip_prefix("//"));
        rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#', ':']))
    };
    issues.error_if(!url.is_empty() && !has_host(), || {
        "error parsing info url: no hostname or scheme".to_owned()
    });
}

/// Returns the scheme of a URL.
fn scheme(url: &str) -> Option<&str> {
    let (scheme, _) = url.split_once(':')?;
    let is_valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_valid.then_some(scheme)
}

fn check_service_url(url: &str, issues: &mut Issues) {
    let scheme = scheme(url).unwrap_or_default().to_ascii_lowercase();
    let rest = url.split_once("//").map_or("", |(_, rest)| rest);
    if rest.split('/').next().is_some_and(|host| host.contains('@')) {
        issues.error(format!("operator service url {url:?} - credentials are not supported"));
    } else if rest.contains('/') {
        issues.error(format!("operator service url {url:?} - paths are not supported"));
    } else if !matches!(&*scheme, "nats" | "tls" | "ws" | "wss") {
        issues.error(format!(
            "operator service url {url:?} - protocol not supported (only 'nats', 'tls', 'ws', 'wss' only)"
        ));
    }
}

/// Parses `major.minor.patch`; empty text is the lowest version.
///
/// # Errors
///
/// A description.
// NATS 2.14: jwt operator_claims.go ParseServerVersion.
pub(crate) fn parse_server_version(text: &str) -> Result<[u64; 3], String> {
    if text.is_empty() {
        return Ok([0; 3]);
    }
    let parts: Vec<&str> = text.split('.').collect();
    let Ok(parts) = <[&str; 3]>::try_from(parts) else {
        return Err(
            "asserted server version must be of the form <major>.<minor>.<update>".to_owned()
        );
    };
    let mut version = [0; 3];
    for (slot, part) in version.iter_mut().zip(parts) {
        let number: i64 = part
            .parse()
            .map_err(|_| format!("asserted server version cant parse {part} to int"))?;
        *slot = u64::try_from(number).map_err(|_| {
            format!("asserted server version can'b contain negative values: {text}")
        })?;
    }
    Ok(version)
}

fn check_imports(imports: &[Import], importer: &str, issues: &mut Issues) {
    let mut services: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for import in imports {
        if import.kind == ExportType::Service {
            let local = without_references(&import.local_subject);
            let own =
                [&import.to, &local, &import.subject].into_iter().find(|text| !text.is_empty());
            let own = own.cloned().unwrap_or_default();
            let others = services.entry(&import.account).or_default();
            for other in others.iter() {
                let overlaps = is_contained_in(&own, other) || is_contained_in(other, &own);
                issues.error_if(overlaps, || {
                    let account = &import.account;
                    format!("overlapping subject namespace for {own:?} and {other:?} in same account {account:?}")
                });
            }
            others.insert(own);
        }
        check_import(import, importer, issues);
    }
}

fn check_import(import: &Import, importer: &str, issues: &mut Issues) {
    let is_service = import.kind == ExportType::Service;
    let subject = &import.subject;
    issues
        .error_if(import.kind.is_unknown(), || format!("invalid import type: \"{}\"", import.kind));
    issues.error_if(is_service && import.allow_trace, || {
        "AllowTrace only valid for stream import".to_owned()
    });
    issues.error_if(import.account.is_empty(), || {
        "account to import from is not specified".to_owned()
    });
    if !import.to.is_empty() {
        let text = "the field to has been deprecated (use LocalSubject instead)";
        issues.add(Severity::Warning, text);
    }
    check_subject(subject, issues);
    if !import.local_subject.is_empty() {
        check_renaming(&import.local_subject, subject, issues);
        issues.error_if(!import.to.is_empty(), || "Local Subject replaces To".to_owned());
    }
    issues.error_if(import.share && !is_service, || {
        format!(
            "sharing information (for latency tracking) is only valid for services: {subject:?}"
        )
    });
    if !import.token.is_empty() {
        check_token(import, importer, issues);
    }
}

fn check_token(import: &Import, importer: &str, issues: &mut Issues) {
    let subject = &import.subject;
    let Ok(activation) = decode_activation(&import.token) else {
        return issues.error(format!("import {subject:?} contains an invalid activation token"));
    };
    let nats = &activation.nats;
    let is_issuer = activation.issuer == import.account || nats.issuer_account == import.account;
    issues.error_if(!is_issuer, || {
        format!("activation token doesn't match account for import {subject:?}")
    });
    issues.error_if(activation.subject != importer, || {
        format!("activation token doesn't match account it is being included in, {subject:?}")
    });
    issues.error_if(nats.import_type != import.kind, || {
        let (token, kind) = (nats.import_type, import.kind);
        format!("mismatch between token import type {token} and type of import {kind}")
    });
    activation.check_content(issues);
    let is_renamed = import.kind == ExportType::Service && !import.to.is_empty();
    let remote = if is_renamed { &import.to } else { subject };
    issues.error_if(!is_contained_in(remote, &nats.import_subject), || {
        let allowed = &nats.import_subject;
        format!("activation token import subject {allowed:?} doesn't match import {subject:?}")
    });
}

/// Returns the number of a reference to a wildcard: `$1`.
fn reference(token: &str) -> Option<i64> {
    token.strip_prefix('$').filter(|number| !number.is_empty())?.parse().ok()
}

/// Replaces references to wildcards by wildcards.
// NATS 2.14: jwt types.go RenamingSubject.ToSubject.
pub(crate) fn without_references(subject: &str) -> String {
    let tokens =
        subject.split('.').map(|token| if reference(token).is_some() { "*" } else { token });
    tokens.collect::<Vec<_>>().join(".")
}

// NATS 2.14: jwt types.go RenamingSubject.Validate.
fn check_renaming(subject: &str, from: &str, issues: &mut Issues) {
    check_subject(subject, issues);
    issues.error_if(from.is_empty(), || "subject cannot be empty".to_owned());
    let is_open = |subject: &str| subject == ">" || subject.ends_with(".>");
    issues.error_if(is_open(subject) != is_open(from), || {
        "both, renaming subject and subject, need to end or not end in >".to_owned()
    });
    let wildcards = from.split('.').filter(|token| *token == "*").count();
    let mut references = 0;
    for token in subject.split('.') {
        match reference(token) {
            Some(number) if usize::try_from(number).is_ok_and(|number| number > wildcards) => {
                issues.error(format!(
                    "Reference ${number} in {subject:?} reference * in {from:?} that do not exist"
                ));
            }
            Some(_) => references += 1,
            None if token == "*" => references += 1,
            None => {}
        }
    }
    issues.error_if(references != wildcards, || {
        "subject does not contain enough * or reference wildcards $[0-9]".to_owned()
    });
}

fn check_exports(exports: &[Export], issues: &mut Issues) {
    exports.iter().for_each(|export| check_export(export, issues));
    for kind in [ExportType::Service, ExportType::Stream] {
        let subjects: Vec<&str> = exports
            .iter()
            .filter(|export| (export.kind == ExportType::Service) == (kind == ExportType::Service))
            .map(|export| &*export.subject)
            .collect();
        check_overlaps(kind, &subjects, issues);
    }
}

/// Reports each subject that contains another one, once.
fn check_overlaps(kind: ExportType, subjects: &[&str], issues: &mut Issues) {
    let mut reported = BTreeSet::new();
    for (at, inner) in subjects.iter().enumerate() {
        for (other, outer) in subjects.iter().enumerate() {
            if at != other && is_contained_in(inner, outer) && reported.insert(*outer) {
                issues.error(format!("{kind} export subject {outer:?} already exports {inner:?}"));
            }
        }
    }
}

fn check_export(export: &Export, issues: &mut Issues) {
    let is_service = export.kind == ExportType::Service;
    let is_stream = export.kind == ExportType::Stream;
    let response = &*export.response_type;
    issues
        .error_if(export.kind.is_unknown(), || format!("invalid export type: \"{}\"", export.kind));
    issues.error_if(
        is_service && !matches!(response, "" | "Singleton" | "Stream" | "Chunked"),
        || format!("invalid response type for service: {response:?}"),
    );
    issues.error_if(is_stream && !response.is_empty(), || {
        format!("invalid response type for stream: {response:?}")
    });
    issues.error_if(is_stream && export.allow_trace, || {
        "AllowTrace only valid for service export".to_owned()
    });
    if let Some(latency) = &export.latency {
        issues.error_if(!is_service, || "latency tracking only permitted for services".to_owned());
        let is_valid = !matches!(latency.sampling, Sampling::Percent(percent) if !(1..=100).contains(&percent));
        issues.error_if(!is_valid, || "sampling percentage needs to be between 1-100".to_owned());
        check_subject(&latency.results, issues);
        issues.error_if(has_wildcards(&latency.results), || {
            "results subject can not contain wildcards".to_owned()
        });
    }
    issues.error_if(export.response_threshold < 0, || {
        "negative response threshold is invalid".to_owned()
    });
    issues.error_if(export.response_threshold > 0 && !is_service, || {
        "response threshold only valid for services".to_owned()
    });
    check_subject(&export.subject, issues);
    check_token_position(export, issues);
    check_info(&export.description, &export.info_url, issues);
}

fn check_token_position(export: &Export, issues: &mut Issues) {
    let (position, subject) = (export.account_token_position, &export.subject);
    let Some(at) = position.checked_sub(1) else { return };
    if !has_wildcards(subject) {
        return issues.error(format!(
            "Account Token Position can only be used with wildcard subjects: {subject}"
        ));
    }
    match subject.split('.').nth(at as usize) {
        Some("*") => {}
        Some(token) => issues.error(format!(
            "Account Token Position {position} matches '{token}' but must match a * in: {subject}"
        )),
        None => issues.error(format!(
            "Account Token Position {position} exceeds length of subject '{subject}'"
        )),
    }
}

fn check_mappings(account: &Account, issues: &mut Issues) {
    for (source, destinations) in &account.mappings {
        check_subject(source, issues);
        let mut totals: BTreeMap<&str, u32> = BTreeMap::new();
        for destination in destinations {
            check_subject(&destination.subject, issues);
            let (percent, cluster) = (destination.percent(), &*destination.cluster);
            issues.error_if(percent > 100, || {
                format!("Mapping {source:?} has a weight {percent} that exceeds 100")
            });
            let total = totals.entry(cluster).or_default();
            *total += u32::from(percent);
            issues.error_if(*total > 100 && !cluster.is_empty(), || {
                format!("Mapping {source:?} in cluster {cluster:?} exceeds 100% among all of it's weighted to mappings")
            });
        }
        issues.error_if(totals.get("").is_some_and(|total| *total > 100), || {
            format!("Mapping {source:?} exceeds 100% among all of it's weighted to mappings")
        });
    }
}

fn check_external_authorization(account: &Account, issues: &mut Issues) {
    let authorization = &account.authorization;
    let allowed = &authorization.allowed_accounts;
    issues.error_if(!allowed.is_empty() && !authorization.is_enabled(), || {
        "External authorization cannot have accounts without users specified".to_owned()
    });
    for user in &authorization.auth_users {
        issues.error_if(!PublicKey::is_valid(KeyKind::User, user), || {
            format!("AuthUser {user:?} is not a valid user public key")
        });
    }
    for account in allowed {
        match &**account {
            "*" => issues.error_if(allowed.len() > 1, || {
                "AllowedAccounts can only be a list of accounts or \"*\"".to_owned()
            }),
            key => issues.error_if(!PublicKey::is_valid(KeyKind::Account, key), || {
                format!("Account {key:?} is not a valid account public key")
            }),
        }
    }
    let xkey = &authorization.xkey;
    let is_valid = xkey.is_empty() || PublicKey::is_valid(KeyKind::Curve, xkey);
    issues.error_if(!is_valid, || format!("XKey {xkey:?} is not a valid public xkey"));
}

fn check_trace(account: &Account, issues: &mut Issues) {
    let Some(trace) = &account.trace else { return };
    let (destination, sampling) = (&trace.destination, trace.sampling);
    let mut found = Issues::default();
    check_subject(destination, &mut found);
    if let Some(first) = found.0.first() {
        issues.error(format!("the account Trace.Destination {first}"));
    }
    issues.error_if(has_wildcards(destination), || {
        format!(
            "the account Trace.Destination subject {destination:?} is not a valid publish subject"
        )
    });
    issues.error_if(!(0..=100).contains(&sampling), || {
        format!("the account Trace.Sampling value '{sampling}' is not valid, should be in the range [1..100]")
    });
}

fn check_numbers(account: &Account, issues: &mut Issues) {
    let limits = &account.limits;
    let exceeds = |count: usize, max: i64| {
        max != NO_LIMIT && i64::try_from(count).is_ok_and(|count| count > max)
    };
    issues.error_if(exceeds(account.imports.len(), limits.imports), || {
        "the account contains more imports than allowed by the operator".to_owned()
    });
    issues.error_if(exceeds(account.exports.len(), limits.exports), || {
        "the account contains more exports than allowed by the operator".to_owned()
    });
    let has_wildcard = account.exports.iter().any(|export| has_wildcards(&export.subject));
    issues.error_if(limits.exports != NO_LIMIT && !limits.wildcards && has_wildcard, || {
        "the account contains wildcard exports that are not allowed by the operator".to_owned()
    });
    let is_tiered = limits.other.get("tiered_limits").and_then(|tiers| tiers.as_object());
    if let Some(tiers) = is_tiered.filter(|tiers| !tiers.is_empty()) {
        issues.error_if(tiers.contains_key(""), || {
            "Tiered JetStream Limits can not contain a blank \"\" tier name".to_owned()
        });
    }
}
