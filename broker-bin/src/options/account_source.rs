//! The source of the accounts of operators.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use broker_core::auth::jwt::OperatorClaims;
use broker_core::operator::MemoryResolver;

use super::{OperatorError, Options, Resolver};
use crate::resolver::store::{AtLimit, Removal, Store, StoreOptions};
use crate::resolver::{Directory, DirectoryKind, OperatorKeys, ResolverTls, Source, UrlResolver};

/// The time for an answer of another server.
// NATS 2.14: const.go DEFAULT_ACCOUNT_FETCH_TIMEOUT.
const TIMEOUT: Duration = Duration::from_millis(1900);

/// The time between two comparisons with other servers.
// NATS 2.14: accounts.go NewDirAccResolver.
const INTERVAL: Duration = Duration::from_secs(60);

/// The number of accounts in a cache.
// NATS 2.14: accounts.go NewCacheDirAccResolver.
const CACHE: usize = 1000;

/// The longest time that a cache keeps an account.
const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl Options {
    /// Opens the source of accounts. A directory is created and read.
    pub(super) fn account_source(
        &self,
        claims: &[OperatorClaims],
    ) -> Result<Source, OperatorError> {
        let default = Resolver::default();
        let resolver = self.resolver.as_ref().unwrap_or(&default);
        let kind = match &*resolver.r#type {
            "full" => DirectoryKind::Full,
            "cache" => DirectoryKind::Cache,
            "url" => return self.url_resolver(resolver),
            _ => return Ok(Source::Memory(MemoryResolver::new(self.resolver_preload.clone()))),
        };
        if claims.is_empty() {
            return Err(OperatorError::NoKey);
        }
        let options = resolver.store(kind)?;
        let failed = |dir: PathBuf, error: &dyn ToString| OperatorError::Directory {
            dir: dir.display().to_string(),
            reason: error.to_string(),
        };
        let (dir, now) = (options.dir.clone(), SystemTime::now());
        let store = Store::open(options, now).map_err(|error| failed(dir.clone(), &error))?;
        for (key, jwt) in &self.resolver_preload {
            store
                .save_if_newer(key, jwt.expose(), now)
                .map_err(|error| failed(dir.clone(), &error))?;
        }
        let timeout = resolver.timeout.unwrap_or(TIMEOUT);
        let interval = resolver.interval.filter(|interval| !interval.is_zero()).unwrap_or(INTERVAL);
        Ok(Source::Directory(Directory::new(store, kind, timeout, interval)))
    }

    /// Returns the certificates for a resolver that is asked over HTTPS.
    pub(super) fn resolver_tls(&self) -> ResolverTls {
        let tls = self.resolver_tls.clone().unwrap_or_default();
        ResolverTls {
            ca: tls.ca_file,
            certificate: tls.cert_file.zip(tls.key_file),
            is_insecure: tls.insecure,
        }
    }

    fn url_resolver(&self, resolver: &Resolver) -> Result<Source, OperatorError> {
        // NATS 2.14: server.go configureResolver.
        if !self.resolver_preload.is_empty() {
            return Err(OperatorError::ReadOnly);
        }
        let tls = self.resolver_tls();
        tls.check()?;
        let url = resolver.url.as_ref().map(|url| url.expose()).unwrap_or_default();
        let resolver =
            UrlResolver::new(url, tls).map_err(|error| OperatorError::Url(error.to_string()))?;
        Ok(Source::Url(resolver))
    }
}

impl ResolverTls {
    /// Checks the files that it names.
    pub(super) fn check(&self) -> Result<(), OperatorError> {
        if *self == Self::default() {
            return Ok(());
        }
        self.build().map(drop).map_err(|error| OperatorError::Tls(error.to_string()))
    }
}

impl Resolver {
    // NATS 2.14: opts.go processConfigFileLine, the part for `resolver`.
    fn store(&self, kind: DirectoryKind) -> Result<StoreOptions, OperatorError> {
        let refused = |text| Err(OperatorError::Resolver(text));
        let Some(dir) = self.dir.clone().filter(|dir| !dir.as_os_str().is_empty()) else {
            return refused("dir has no value and needs to point to a directory");
        };
        if dir.exists() && !dir.is_dir() {
            return refused("dir needs to point to an accessible directory");
        }
        let limit = usize::try_from(self.limit).ok().filter(|limit| *limit > 0);
        let ttl = self.ttl.filter(|ttl| !ttl.is_zero());
        match kind {
            DirectoryKind::Cache => {
                if self.interval.is_some_and(|interval| !interval.is_zero()) {
                    return refused("CACHE does not accept sync");
                }
                if self.allow_delete {
                    return refused("CACHE does not accept allow_delete");
                }
                if self.hard_delete {
                    return refused("CACHE does not accept hard_delete");
                }
                let ttl = ttl.map(|ttl| ttl.min(MAX_TTL));
                let limit = Some(limit.unwrap_or(CACHE));
                Ok(StoreOptions {
                    dir,
                    limit,
                    at_limit: AtLimit::Evict,
                    ttl,
                    removal: Removal::Deleted,
                })
            }
            DirectoryKind::Full => {
                if ttl.is_some() {
                    return refused("FULL does not accept ttl");
                }
                let removal = match (self.allow_delete, self.hard_delete) {
                    (false, true) => return refused("hard_delete has no effect without delete"),
                    (false, false) => Removal::Refused,
                    (true, false) => Removal::Renamed,
                    (true, true) => Removal::Deleted,
                };
                Ok(StoreOptions { dir, limit, at_limit: AtLimit::Refuse, ttl, removal })
            }
        }
    }
}

/// Returns the keys that may sign requests about accounts.
// NATS 2.14: accounts.go getOperatorKeys.
pub(super) fn operator_keys(
    claims: &[OperatorClaims],
    system_account: Option<&str>,
) -> OperatorKeys {
    let Some(operator) = claims.first() else { return OperatorKeys::default() };
    let is_strict = operator.nats.strict_signing_key_usage;
    let own = Some(operator.subject.clone()).filter(|_| !is_strict);
    OperatorKeys {
        key: operator.subject.clone(),
        signers: operator.nats.signing_keys.iter().cloned().chain(own).collect(),
        is_strict,
        system_account: system_account.unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use broker_core::auth::Secret;

    use super::*;

    fn refusal(change: impl FnOnce(&mut Resolver)) -> String {
        let dir = tempfile::tempdir().unwrap();
        let mut resolver = Resolver { dir: Some(dir.path().join("jwt")), ..Resolver::default() };
        resolver.r#type = "full".into();
        change(&mut resolver);
        let options = Options { resolver: Some(resolver), ..Options::default() };
        let refused = options.account_source(&[OperatorClaims::default()]);
        refused.map_or_else(|error| error.to_string(), |source| format!("{source:?}"))
    }

    #[test]
    fn contradictory_resolvers_are_refused_with_the_texts_of_the_reference() {
        type Change = fn(&mut Resolver);
        let cache = |resolver: &mut Resolver| resolver.r#type = "cache".into();
        let cases: [(bool, Change, &str); 7] = [
            (false, |one| one.dir = None, "dir has no value and needs to point to a directory"),
            (
                false,
                |one| one.dir = Some("/dev/null".into()),
                "dir needs to point to an accessible directory",
            ),
            (false, |one| one.ttl = Some(TIMEOUT), "FULL does not accept ttl"),
            (false, |one| one.hard_delete = true, "hard_delete has no effect without delete"),
            (true, |one| one.interval = Some(TIMEOUT), "CACHE does not accept sync"),
            (true, |one| one.allow_delete = true, "CACHE does not accept allow_delete"),
            (true, |one| one.hard_delete = true, "CACHE does not accept hard_delete"),
        ];
        for (is_cache, change, text) in cases {
            let refused = refusal(|resolver| {
                if is_cache {
                    cache(resolver);
                }
                change(resolver);
            });
            assert_eq!(refused, text);
        }
        assert!(refusal(|_| ()).starts_with("Directory("));
        assert!(refusal(cache).starts_with("Directory("));
        let url = refusal(|one| {
            one.r#type = "url".into();
            one.url = Some("http://u:marker@h/a".into());
        });
        assert_eq!(url, "Url(UrlResolver { url: \"http://h/a/\", .. })");
        let bad = refusal(|one| (one.r#type, one.url) = ("url".into(), Some("nats://h".into())));
        assert_eq!(bad, "account resolver: not an http or https URL");
    }

    #[test]
    fn accounts_of_the_configuration_need_a_source_that_stores_them() {
        let url = Resolver { url: Some("http://h".into()), ..Resolver::default() };
        let resolver = Some(Resolver { r#type: "url".into(), ..url });
        let resolver_preload = [("A".to_owned(), Secret::from("x"))].into();
        let options = Options { resolver, resolver_preload, ..Options::default() };
        assert_eq!(
            options.account_source(&[]).unwrap_err().to_string(),
            "resolver preloads only available for writeable resolver types MEM/DIR/CACHE_DIR"
        );
    }
}
