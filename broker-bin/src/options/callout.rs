//! The keys of the server, and its auth callout.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use broker_core::auth::callout::{AuthCallout, CalloutOptions, CalloutServer};
use broker_core::auth::jwt::ServerId;
use broker_core::auth::nkey::{CurvePair, KEY_BYTES, KeyKind, KeyPair, PublicKey};
use broker_core::auth::{Authenticator, GLOBAL_ACCOUNT};
use broker_core::operator::OperatorMode;
use broker_net::ServerOptions;

use super::{Options, OptionsError};
use crate::{NATS_VERSION, time_zone};

/// The keys of the server, which no reload changes, and its auth callout.
#[derive(Clone, Debug)]
pub(crate) struct Delegation {
    keys: Keys,
    host: String,
    name: Option<String>,
    /// The configured name of the cluster.
    cluster: String,
    tags: Vec<String>,
    callout: Option<CalloutOptions>,
    /// Accounts may name services themselves.
    has_operators: bool,
    timeout: Duration,
    /// The account of the service does not exist.
    is_account_unknown: bool,
    /// Users of the service who are not configured.
    unknown_users: Vec<String>,
}

#[derive(Clone, Debug)]
struct Keys {
    server: KeyPair,
    curve: CurvePair,
}

impl Delegation {
    pub(super) fn of(options: &Options) -> Result<Self, OptionsError> {
        let random = || random().ok_or(OptionsError::NoRandomness);
        let server = KeyPair::from_random(KeyKind::Server, random()?);
        let keys = Keys { server, curve: CurvePair::from_random(random()?) };
        let callout = options.callout()?;
        let users = options.user_names();
        let auth_users = callout.iter().flat_map(|callout| &callout.auth_users);
        Ok(Self {
            keys,
            host: options.host.clone(),
            name: options.server_name.clone(),
            // A contradiction has been refused: see `check`.
            cluster: options.cluster_name().ok().flatten().unwrap_or_default(),
            tags: options.server_tags.clone(),
            is_account_unknown: callout
                .as_ref()
                .is_some_and(|callout| !callout.accounts.contains(&*callout.account)),
            unknown_users: auth_users
                .filter(|user| !users.contains(user.as_str()))
                .cloned()
                .collect(),
            callout,
            has_operators: options.has_operators(),
            timeout: options.authorization.timeout,
        })
    }

    /// Keeps the keys and the name of the server, which has started with `before`.
    pub(super) fn succeeding(self, before: &Self) -> Self {
        Self { keys: before.keys.clone(), name: before.name.clone(), ..self }
    }

    /// Returns true if a service decides about clients, or may do so.
    #[cfg(feature = "testing")]
    pub(crate) fn is_on(&self) -> bool {
        self.callout.is_some() || self.has_operators
    }

    /// Has the service decide after `inner`, if there is one.
    pub(super) fn around(&self, inner: Arc<dyn Authenticator>) -> Arc<dyn Authenticator> {
        let Some(callout) = &self.callout else { return inner };
        Arc::new(AuthCallout::new(inner, Arc::new(self.server()), callout.clone()))
    }

    /// Introduces the server to the services of accounts.
    pub(super) fn introduce_to_services(&self, mode: &OperatorMode) {
        mode.set_callout(Arc::new(self.server()), self.timeout);
    }

    fn server(&self) -> CalloutServer {
        let Keys { server, curve } = self.keys.clone();
        CalloutServer::new(self.id(), server, curve, random).with_time_zones(time_zone::offset)
    }

    // NATS 2.14: auth_callout.go processClientOrLeafCallout.
    fn id(&self) -> ServerId {
        let id = self.keys.server.public().to_string();
        ServerId {
            name: self.name.clone().unwrap_or(id),
            host: self.host.clone(),
            version: NATS_VERSION.to_owned(),
            cluster: self.cluster.clone(),
            tags: self.tags.clone(),
            ..ServerId::default()
        }
    }

    /// Makes the public keys known: one is the id of the server.
    pub(crate) fn introduce(&self, server: &mut ServerOptions) {
        server.broker.server_id = Some(self.keys.server.public().to_string());
        let is_sealed = self.callout.as_ref().is_some_and(|callout| callout.xkey.is_some());
        let is_sealed = is_sealed || self.has_operators;
        server.broker.xkey = is_sealed.then(|| self.keys.curve.public().to_string());
    }

    /// Logs what makes the callout useless.
    // NATS 2.14: auth.go configureAuthorization.
    pub(crate) fn report(&self) {
        let Some(callout) = &self.callout else { return };
        let reason = if self.is_account_unknown {
            tracing::error!("Authorization callout account {:?} not valid", callout.account);
            "account missing"
        } else {
            "<nil>"
        };
        for user in &self.unknown_users {
            tracing::error!("Authorization callout user {user:?} not valid: {reason}");
        }
    }
}

impl Options {
    // NATS 2.14: opts.go parseAuthCallout and ProcessConfigString.
    fn callout(&self) -> Result<Option<CalloutOptions>, OptionsError> {
        let Some(callout) = &self.authorization.auth_callout else { return Ok(None) };
        let key = |kind, text: &Option<String>| {
            let key = text.as_deref().map(|text| PublicKey::parse_as(kind, text));
            key.transpose().map_err(|_| OptionsError::CalloutKey(kind.as_str()))
        };
        let issuer = key(KeyKind::Account, &callout.issuer)?.ok_or(OptionsError::CalloutIssuer)?;
        if callout.auth_users.is_empty() {
            return Err(OptionsError::CalloutUsers);
        }
        let unknown = |name: &&String| !self.accounts.contains_key(*name);
        if let Some(name) = callout.allowed_accounts.iter().find(unknown) {
            return Err(OptionsError::CalloutAccount(name.clone()));
        }
        let mut accounts: BTreeSet<String> = self.accounts.keys().cloned().collect();
        // A service puts users into a system account only if it is configured.
        accounts.insert(GLOBAL_ACCOUNT.to_owned());
        Ok(Some(CalloutOptions {
            issuer,
            account: callout.account.as_str().into(),
            auth_users: callout.auth_users.clone(),
            allowed_accounts: callout.allowed_accounts.clone(),
            xkey: key(KeyKind::Curve, &callout.xkey)?,
            timeout: self.authorization.timeout,
            accounts,
        }))
    }

    /// Returns the names and keys of all users.
    fn user_names(&self) -> BTreeSet<&str> {
        let of_accounts = self.accounts.values().flat_map(|account| &account.users);
        let users = self.authorization.users.iter().flatten().chain(of_accounts);
        users.filter_map(|user| user.nkey.as_deref().or(user.user.as_deref())).collect()
    }
}

/// Returns randomness of the operating system.
fn random() -> Option<[u8; KEY_BYTES]> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Account, AuthCallout as Configured};

    /// With and without a port for other servers.
    #[test]
    fn a_service_learns_the_name_of_the_cluster() {
        let mut options = Options::default();
        options.cluster.name = Some("HUB".into());
        for port in [0, -1] {
            options.cluster.port = port;
            assert_eq!(Delegation::of(&options).unwrap().id().cluster, "HUB");
        }
    }

    #[test]
    fn a_service_puts_users_into_configured_accounts_only() {
        let issuer = KeyPair::from_random(KeyKind::Account, [1; 32]).public().to_string();
        let mut options = Options::default();
        options.accounts.insert("A".into(), Account::default());
        options.authorization.auth_callout = Some(Configured {
            issuer: Some(issuer),
            auth_users: vec!["u".into()],
            ..Configured::default()
        });
        let callout = options.callout().unwrap().unwrap();
        assert_eq!(callout.accounts.iter().collect::<Vec<_>>(), ["$G", "A"]);
    }
}
