//! Operator mode: trusted operators, and the accounts that they sign.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use broker_core::auth::Secret;
use broker_core::auth::jwt::{
    OperatorClaims, Severity, decode_account, decode_operator, decode_user,
};
use broker_core::auth::nkey::{KeyKind, PublicKey};
use broker_core::operator::{OperatorMode, Rules, Trust, TrustError};
use broker_core::sort::to_set;
use broker_core::{Broker, SubscribeError, WeakBroker};

use super::account_source::operator_keys;
use super::operator_error::OperatorError;
use super::{Options, OptionsError};
use crate::NATS_VERSION;
use crate::resolver::{ClaimRequests, ResolverTls, Source};
use crate::time_zone;

/// A JWT in place of the path of its file begins like this.
// NATS 2.14: jwt.go jwtPrefix.
const INLINE: &str = "eyJ";

/// The interval at which the resolver is asked for the claims of a system account that it does not have yet.
const CLAIMS_INTERVAL: Duration = Duration::from_secs(1);

/// The authentication by tokens of accounts, and what a reload changes of it.
#[derive(Clone, Debug)]
pub struct Operators {
    mode: OperatorMode,
    source: Source,
    tokens: BTreeMap<String, Secret>,
    rules: Rules,
    claims: Vec<OperatorClaims>,
    /// The JWTs that hold the claims.
    #[cfg_attr(not(feature = "observer"), expect(dead_code, reason = "monitoring shows them"))]
    jwts: Vec<String>,
    /// The certificates for a resolver that is asked over HTTPS.
    resolver_tls: ResolverTls,
    system_account: Option<String>,
}

impl Options {
    /// Returns true if users are authenticated by tokens of accounts.
    pub fn has_operators(&self) -> bool {
        !self.operator.is_empty() || !self.trusted_keys.is_empty()
    }

    /// Returns the authentication by tokens of accounts, if operators are trusted.
    ///
    /// # Errors
    ///
    /// Returns an error for contradictory settings.
    // NATS 2.14: jwt.go validateTrustedOperators.
    pub fn operators(&self) -> Result<Option<Operators>, OptionsError> {
        // NATS 2.14: opts.go refuses a wrong one also without operators.
        for (account, token) in &self.resolver_preload {
            decode_account(token.expose())
                .map_err(|error| OperatorError::Preload(account.clone(), error))?;
        }
        if !self.has_operators() {
            let is_alone = self.default_sentinel.as_ref().is_some_and(|token| !token.is_empty());
            return if is_alone { Err(OperatorError::SentinelAlone.into()) } else { Ok(None) };
        }
        let operators = self.read_operators()?;
        let claims: Vec<_> = operators.iter().map(|(_, claims)| claims.clone()).collect();
        let trust = self.trust(&claims)?;
        if !claims.is_empty() {
            self.check_beside_operators(&claims)?;
        }
        let mut rules = Rules::default();
        rules.default_sentinel = self.default_sentinel.clone().unwrap_or_default();
        rules.pinned_accounts = self.pinned_accounts(self.system_account_of(&claims))?;
        let source = self.account_source(&claims)?;
        let mode = OperatorMode::builder(trust, source.clone())
            .rules(rules.clone())
            .time_zones(time_zone::offset)
            .build();
        let tokens = self.resolver_preload.clone();
        let system_account = self.system_account_of(&claims).map(str::to_owned);
        let resolver_tls = self.resolver_tls();
        let jwts = operators.into_iter().map(|(jwt, _)| jwt).collect();
        Ok(Some(Operators {
            mode,
            source,
            tokens,
            rules,
            claims,
            jwts,
            resolver_tls,
            system_account,
        }))
    }

    /// Returns the name of the system account, also if only the operator names it.
    pub(super) fn signed_system_account(&self) -> Option<String> {
        let operators = self.read_operators().ok()?;
        let claims: Vec<_> = operators.into_iter().map(|(_, claims)| claims).collect();
        self.system_account_of(&claims).map(str::to_owned)
    }

    /// Of several operators none names it.
    // NATS 2.14: opts.go processConfigFileLine.
    fn system_account_of<'a>(&'a self, claims: &'a [OperatorClaims]) -> Option<&'a str> {
        let of_operator = match claims {
            [one] => Some(&*one.nats.system_account).filter(|account| !account.is_empty()),
            _ => None,
        };
        self.system_account.as_deref().or(of_operator)
    }

    /// Returns the JWT and the claims of each operator.
    fn read_operators(&self) -> Result<Vec<(String, OperatorClaims)>, OptionsError> {
        let read = |text: &Secret| read_operator(text.expose()).map_err(OptionsError::from);
        self.operator.iter().map(read).collect()
    }

    fn trust(&self, claims: &[OperatorClaims]) -> Result<Trust, OptionsError> {
        let keys = self.trusted_keys.iter().map(|key| {
            let parsed = PublicKey::parse_as(KeyKind::Operator, key);
            parsed.map_err(|_| TrustError::Key(key.clone()))
        });
        let keys = keys.collect::<Result<Vec<_>, _>>().map_err(OperatorError::Trust)?;
        if claims.is_empty() {
            return Ok(Trust::keys(keys));
        }
        Ok(Trust::operators(claims, version()).map_err(OperatorError::Trust)?)
    }

    /// In the order of the reference.
    fn check_beside_operators(&self, claims: &[OperatorClaims]) -> Result<(), OperatorError> {
        if let Some(token) = self.default_sentinel.as_ref().filter(|token| !token.is_empty()) {
            let user = decode_user(token.expose()).map_err(|_| OperatorError::Sentinel)?.nats;
            // A scoped user may have the permission in its scope.
            let is_scoped = !user.issuer_account.is_empty() && user.limits.is_empty();
            if !user.limits.bearer_token && !is_scoped {
                return Err(OperatorError::SentinelNotBearer);
            }
        }
        if self.resolver.is_none() {
            return Err(OperatorError::NoResolver);
        }
        if !self.accounts.is_empty() {
            return Err(OperatorError::Accounts);
        }
        if self.authorization.users.as_ref().is_some_and(|users| !users.is_empty()) {
            return Err(OperatorError::Users);
        }
        if !self.trusted_keys.is_empty() {
            return Err(OperatorError::KeysAndOperators);
        }
        let mut named = claims
            .iter()
            .map(|one| &one.nats.system_account)
            .filter(|one| !one.is_empty())
            .peekable();
        if let Some(account) = &self.system_account
            && named.peek().is_some()
            && !named.any(|one| one == account)
        {
            return Err(OperatorError::SystemAccount);
        }
        // Accounts are stored and deleted by requests in the system account.
        let first = claims.first().map(|claims| &claims.nats.system_account);
        if self.system_account.is_none()
            && first.is_none_or(String::is_empty)
            && self.resolver.as_ref().is_some_and(|one| matches!(&*one.r#type, "full" | "cache"))
        {
            return Err(OperatorError::NoSystemAccount);
        }
        let websocket = self.websocket.no_auth_user.as_ref().filter(|_| self.websocket.is_on());
        if self.no_auth_user.is_some() || websocket.is_some() {
            return Err(OperatorError::NoAuthUser);
        }
        if self.authorization.auth_callout.is_some() {
            return Err(OperatorError::Callout);
        }
        Ok(())
    }

    fn pinned_accounts(
        &self,
        system_account: Option<&str>,
    ) -> Result<Option<std::collections::BTreeSet<String>>, OperatorError> {
        if self.resolver_pinned_accounts.is_empty() {
            return Ok(None);
        }
        let is_bad = |key: &&String| !PublicKey::is_valid(KeyKind::Account, key);
        if let Some(key) = self.resolver_pinned_accounts.iter().find(is_bad) {
            return Err(OperatorError::PinnedAccount(key.clone()));
        }
        let pinned = self.resolver_pinned_accounts.iter().cloned();
        Ok(Some(to_set(pinned.chain(system_account.map(str::to_owned)))))
    }
}

impl Operators {
    /// Continues the authentication of `before`, whose trusted keys are the same.
    pub(super) fn succeeding(self, before: &Self) -> Self {
        Self { mode: before.mode.clone(), source: before.source.clone(), ..self }
    }

    /// Returns the JWTs of the operators.
    #[cfg(feature = "observer")]
    pub(crate) fn jwts(&self) -> &[String] {
        &self.jwts
    }

    /// Returns the claims in them.
    #[cfg(feature = "observer")]
    pub(crate) fn claims(&self) -> &[OperatorClaims] {
        &self.claims
    }

    /// Checks the files that the configuration names, which may have changed while it has not.
    pub(crate) fn check_files(&self) -> Result<(), OptionsError> {
        if let Source::Url(_) = &self.source {
            self.resolver_tls.check()?;
        }
        Ok(())
    }

    /// Lets the next look-ups read the files again that the configuration names.
    pub(crate) fn follow_files(&self) {
        if let Source::Url(url) = &self.source {
            url.set_tls(self.resolver_tls.clone());
        }
    }

    /// Puts what a reload has changed in force.
    pub(crate) fn follow(&self) {
        self.mode.set_rules(self.rules.clone());
        self.follow_files();
        match &self.source {
            Source::Memory(memory) => {
                memory.replace(self.tokens.clone());
                self.mode.refresh();
            }
            // Reads files. Tests may have no runtime.
            Source::Directory(_) => {
                let (source, mode) = (self.source.clone(), self.mode.clone());
                match tokio::runtime::Handle::try_current() {
                    Ok(runtime) => _ = runtime.spawn_blocking(move || source.reload(&mode)),
                    Err(_) => source.reload(&mode),
                }
            }
            Source::Url(_) => {}
        }
    }

    /// Answers the requests of the system account about accounts.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`], which does not happen.
    pub(crate) fn serve(&self, broker: &Broker) -> Result<ClaimRequests, SubscribeError> {
        let keys = operator_keys(&self.claims, self.system_account.as_deref());
        self.source.serve(broker, &self.mode, keys)
    }

    /// Returns the authenticator.
    pub fn mode(&self) -> &OperatorMode {
        &self.mode
    }

    /// Logs whom the server trusts, and what is wrong with accounts.
    // NATS 2.14: server.go Start.
    pub(crate) fn announce(&self) {
        if self.claims.is_empty() {
            return;
        }
        tracing::info!("Trusted Operators");
        for claims in &self.claims {
            tracing::info!("  System  : {:?}", claims.audience);
            tracing::info!("  Operator: {:?}", claims.name);
            tracing::info!("  Issued  : {}", time_zone::show(claims.issued_at));
            match claims.expires {
                0 => tracing::info!("  Expires : Never"),
                at => tracing::info!("  Expires : {}", time_zone::show(at)),
            }
        }
        if self.system_account.is_none() {
            tracing::warn!("Trusted Operators should utilize a System Account");
        }
    }

    /// Logs what is wrong with the accounts of the configuration.
    // NATS 2.14: server.go checkResolvePreloads.
    pub(crate) fn warn(&self, now: i64) {
        for (key, token) in &self.tokens {
            let Ok(claims) = decode_account(token.expose()) else { continue };
            let issues = claims.issues(now);
            if issues.iter().any(|issue| issue.severity != Severity::Warning) {
                tracing::warn!("Account [{key}] has validation issues:");
                issues.iter().for_each(|issue| tracing::warn!("  - {issue}"));
            }
        }
    }

    /// Loads the system account. If the resolver has no claims of it yet, it is served without: by it the claims of all accounts
    /// are sent to a new server.
    ///
    /// # Errors
    ///
    /// Returns the reason why it cannot be served.
    // NATS 2.14: server.go NewServer, Start, SetSystemAccount.
    pub(crate) fn load_system_account(&self, broker: &Broker) -> Result<(), String> {
        let Some(account) = &self.system_account else { return Ok(()) };
        let operator = match (&self.source, &self.claims[..]) {
            (Source::Memory(_), _) => None,
            (_, [operator]) => Some(operator.issuer.clone()),
            _ => None,
        };
        let without_claims = PublicKey::parse_as(KeyKind::Account, account).ok().zip(operator);
        let (tell, told) = std::sync::mpsc::channel();
        let (mode, broker) = (self.mode.clone(), broker.downgrade());
        let may_lack_claims = without_claims.is_some();
        let runtime = tokio::runtime::Handle::current();
        self.mode.load_account(account, move |is_there| {
            if let (false, Some((key, operator))) = (is_there, without_claims) {
                tracing::info!("Using bootstrapping system account");
                mode.serve_without_claims(key, &operator);
                runtime.spawn(look_for_claims(mode, key.to_string(), broker));
            }
            _ = tell.send(is_there);
        });
        // A resolver that has to ask others answers later.
        match told.try_recv() {
            Ok(false) if !may_lack_claims => Err("account missing".to_owned()),
            _ => Ok(()),
        }
    }
}

/// Asks the resolver for the claims of an account each second, until it has them or the broker is gone.
async fn look_for_claims(mode: OperatorMode, key: String, broker: WeakBroker) {
    while broker.upgrade().is_some() {
        tokio::time::sleep(CLAIMS_INTERVAL).await;
        if mode.look_up_claims(&key) {
            tracing::info!("System account fetched and updated");
            return;
        }
    }
}

/// Reads the JWT of an operator from a file, or takes it as it is. Returns it with its claims.
// NATS 2.14: jwt.go readOperatorJWT.
fn read_operator(text: &str) -> Result<(String, OperatorClaims), OperatorError> {
    let contents = match fs::read_to_string(text) {
        Ok(contents) => contents,
        Err(_) if text.starts_with(INLINE) => text.to_owned(),
        Err(error) => {
            let reason = match error.kind() {
                ErrorKind::NotFound => "no such file or directory".to_owned(),
                ErrorKind::PermissionDenied => "permission denied".to_owned(),
                _ => error.to_string(),
            };
            // The text is not repeated: it may be a secret that stands in the wrong place.
            return Err(OperatorError::Operator(format!("the file cannot be read: {reason}")));
        }
    };
    let jwt = undecorated(&contents);
    let claims =
        decode_operator(jwt).map_err(|error| OperatorError::Operator(error.to_string()))?;
    Ok((jwt.to_owned(), claims))
}

/// Returns the JWT between the lines of dashes of a decorated file.
// NATS 2.14: jwt creds_utils.go ParseDecoratedJWT.
fn undecorated(contents: &str) -> &str {
    let mut lines = contents.lines().map(str::trim);
    let is_dashed = |line: &str| line.starts_with("---") && line.ends_with("---");
    while let Some(line) = lines.next() {
        if is_dashed(line) {
            return lines.find(|line| !line.is_empty()).unwrap_or_default();
        }
    }
    contents.trim()
}

fn version() -> [u64; 3] {
    let mut parts = NATS_VERSION.split('.').map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use broker_core::auth::jwt::{Account, Claims, Operator, encode};
    use broker_core::auth::nkey::KeyPair;

    use super::*;
    use crate::options::{Account as ConfiguredAccount, AuthCallout, Resolver, User};

    fn pair(kind: KeyKind, byte: u8) -> KeyPair {
        KeyPair::from_random(kind, [byte; 32])
    }

    fn operator(change: impl FnOnce(&mut OperatorClaims)) -> Secret {
        let mut claims = Claims::<Operator>::new(pair(KeyKind::Operator, 1).public());
        change(&mut claims);
        encode(&claims, &pair(KeyKind::Operator, 1)).unwrap()
    }

    fn options(operator: Secret) -> Options {
        Options {
            operator: vec![operator],
            resolver: Some(Resolver::default()),
            ..Options::default()
        }
    }

    fn refusal(options: &Options) -> String {
        options.operators().unwrap_err().to_string()
    }

    #[test]
    fn an_operator_is_read_from_text_and_from_a_decorated_file() {
        let token = operator(|claims| claims.name = "OP".into());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("op.jwt");
        let text = format!(
            "-----BEGIN NATS OPERATOR JWT-----\n{}\n------END NATS OPERATOR JWT------\n",
            token.expose()
        );
        fs::write(&path, text).unwrap();
        for from in [token, path.display().to_string().as_str().into()] {
            let operators = options(from).operators().unwrap().unwrap();
            assert_eq!(operators.claims[0].name, "OP");
        }
        let text = refusal(&options("/none".into()));
        assert_eq!(
            text,
            "error parsing operator JWT: the file cannot be read: no such file or directory"
        );
        let text = refusal(&options("eyJ.x".into()));
        assert_eq!(text, "error parsing operator JWT: expected 3 chunks");
    }

    #[test]
    fn settings_that_contradict_operators_are_refused() {
        let plain = || options(operator(|_| ()));
        assert!(plain().operators().is_ok());
        let with = |change: fn(&mut Options)| {
            let mut options = plain();
            change(&mut options);
            refusal(&options)
        };
        for kind in ["full", "cache"] {
            let mut options = plain();
            options.resolver = Some(Resolver { r#type: kind.into(), ..Resolver::default() });
            let text = "using nats based account resolver - the system account needs to be specified in configuration or the operator jwt";
            assert_eq!(refusal(&options), text);
        }
        assert_eq!(
            with(|options| options.resolver = None),
            "operators require an account resolver to be configured"
        );
        assert_eq!(
            with(|options| _ = options.accounts.insert("A".into(), ConfiguredAccount::default())),
            "operators do not allow Accounts to be configured directly"
        );
        assert_eq!(
            with(|options| options.authorization.users = Some(vec![User::default()])),
            "operators do not allow users to be configured directly"
        );
        assert_eq!(
            with(|options| options.trusted_keys =
                vec![pair(KeyKind::Operator, 2).public().to_string()]),
            "conflicting options for 'TrustedKeys' and 'TrustedOperators'"
        );
        assert_eq!(
            with(|options| options.no_auth_user = Some("a".into())),
            "no_auth_user not compatible with Trusted Operator"
        );
        assert_eq!(
            with(|options| options.authorization.auth_callout = Some(AuthCallout::default())),
            "operators do not allow authorization callouts to be configured directly"
        );
        assert_eq!(
            with(|options| options.default_sentinel = Some("x".into())),
            "default sentinel JWT not valid"
        );
        assert_eq!(
            with(|options| options.resolver_pinned_accounts = vec!["x".into()]),
            "pinned account key \"x\" is not a valid public account nkey"
        );
        assert_eq!(
            with(|options| _ = options.resolver_preload.insert("A".into(), "x".into())),
            "preload account error for \"A\": invalid account JWT: expected 3 chunks"
        );
        let alone = Options { default_sentinel: Some("x".into()), ..Options::default() };
        assert_eq!(refusal(&alone), "default sentinel requires operators and accounts");
    }

    #[test]
    fn an_operator_may_require_a_version_and_a_system_account() {
        let account = pair(KeyKind::Account, 3).public().to_string();
        let named = |claims: &mut OperatorClaims| claims.nats.system_account.clone_from(&account);
        let mut options = options(operator(named));
        assert_eq!(options.signed_system_account(), Some(account.clone()));
        options.system_account = Some(pair(KeyKind::Account, 4).public().to_string());
        let text = refusal(&options);
        assert_eq!(text, "system_account in config and operator JWT must be identical");
        let key = pair(KeyKind::Operator, 1).public();
        for (version, expected) in [
            ("3.0.0", "expected major version 3 > server major version 2"),
            ("2.99.0", "expected minor version 99 > server minor version 14"),
            ("2.14.99", "expected update version 99 > server update version 5"),
            (
                "2.x.0",
                "expects version 2.x.0 got error instead: asserted server version cant parse x to int",
            ),
        ] {
            let token = operator(|claims| claims.nats.assert_server_version = version.into());
            let text = refusal(&super::tests::options(token));
            assert_eq!(text, format!("operator {key} {expected}"));
        }
        let token = operator(|claims| claims.nats.assert_server_version = "2.14.5".into());
        assert!(super::tests::options(token).operators().is_ok());
    }

    #[test]
    fn nothing_printed_contains_a_token() {
        let mut options = options(operator(|_| ()));
        let account = pair(KeyKind::Account, 3).public();
        let token = encode(&Claims::<Account>::new(account), &pair(KeyKind::Operator, 1)).unwrap();
        let middle = token.expose()[60..90].to_owned();
        options.resolver_preload.insert(account.to_string(), token);
        let operators = options.operators().unwrap();
        assert!(!format!("{options:?}{operators:?}").contains(&middle));
    }
}
