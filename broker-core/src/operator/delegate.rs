//! Log-ins that an account delegates to a service.
//!
//! An account whose claims name `auth_users` lets only these in by itself. Of all others, who have proven that they are
//! its users, the service of the account decides: it may put them into the same account or into another one that the
//! claims allow, whose key signs the user in the response.
// ADR-26. NATS 2.14: auth_callout.go, in operator mode.

use std::time::{Duration, SystemTime};

use super::account::AccountState;
use super::config::limit;
use super::login::UserProof;
use super::{AccountError, LOOKUP, OperatorMode, template};
use crate::auth::callout::{Approved, CalloutServer, Inquiry, Refused, without_subject};
use crate::auth::jwt::{ExternalAuthorization, UserLimits, UserScope};
use crate::auth::nkey::{KeyKind, PublicKey};
use crate::auth::times::expiry;
use crate::auth::{Credentials, Decision, Denied, Grant, Identity, Pending, TimeZones};
use crate::sync::Arc;

/// In place of accounts: any account.
// NATS 2.14: jwt AnyAccount.
const ANY: &str = "*";

/// The server as services see it.
pub(super) struct Delegation {
    pub(super) server: Arc<CalloutServer>,
    pub(super) timeout: Duration,
}

/// The data that is kept of a user whom a service has admitted.
pub(super) struct PlacedUser {
    approved: Approved,
    /// The scope of the key that has signed the user.
    scope: Option<Arc<UserScope>>,
    /// The proofs of the client itself.
    before: Option<Arc<Identity>>,
}

impl OperatorMode {
    /// Has the service of the account decide about a user that the account itself admits, if it has one.
    ///
    /// A user that is not admitted is denied at once: in the reference it waits for a service that does not exist.
    // NATS 2.14: auth.go processClientOrLeafAuthentication, the deferred function.
    pub(super) fn delegate(
        &self,
        result: Result<Grant, Denied>,
        credentials: &Credentials,
    ) -> Decision {
        let grant = match result {
            Ok(grant) => grant,
            Err(denied) => return denied.into(),
        };
        let (Some(account), Some(proof)) =
            (self.loaded(&grant.account), grant.proof.get::<UserProof>())
        else {
            return Denied::Unavailable.into();
        };
        let external = &account.claims.nats.authorization;
        if !external.is_enabled() || proof.is_one_of(&external.auth_users) {
            return grant.into();
        }
        match self.ask(&grant, proof, external, credentials) {
            Ok(decision) => decision,
            Err(reason) => {
                tracing::warn!("{reason}");
                Denied::Unavailable.into()
            }
        }
    }

    fn ask(
        &self,
        grant: &Grant,
        proof: &UserProof,
        external: &ExternalAuthorization,
        credentials: &Credentials,
    ) -> Result<Decision, String> {
        let key = Arc::clone(&grant.account);
        let delegation = self.0.delegation.load_full();
        let delegation = delegation.ok_or("Auth callouts need the keys of the server")?;
        let xkey = match &*external.xkey {
            "" => None,
            xkey => Some(PublicKey::parse_as(KeyKind::Curve, xkey).map_err(|error| {
                format!("Error encrypting auth request claim on account {key:?}: {error}")
            })?),
        };
        let mut credentials = credentials.clone();
        if proof.is_by_sentinel() {
            credentials.jwt = self.0.rules.load().default_sentinel.clone();
        }
        let inquiry = Inquiry {
            account: Arc::clone(&key),
            subject: key.to_string(),
            xkey,
            timeout: delegation.timeout,
            identity: grant.identity.clone(),
        };
        let (mode, service) = (self.clone(), Arc::clone(&key));
        let trusts = move |issuer: &str, issuer_account: &str| {
            let signer = if issuer_account.is_empty() { issuer } else { issuer_account };
            let account = mode.loaded(&service);
            let is_known = account.is_some_and(|account| account.signer(signer).is_some());
            let is_trusted = *signer == *service || is_known;
            is_trusted.then_some(()).ok_or_else(|| "auth callout signing key is unknown".to_owned())
        };
        // The account of the user may have to be looked up, which takes another step.
        let keep = |approved, _| Ok(Grant::anonymous().with_proof(Arc::new(approved)));
        let question = inquiry.question(&delegation.server, &credentials, trusts, keep)?;
        let (mode, before) = (self.clone(), grant.identity.clone());
        Ok(Decision::from(question).and_then(move |result| {
            let approved = result.map(|grant| grant.proof.share::<Approved>());
            match approved {
                Ok(Some(approved)) => mode.place(approved, before, credentials),
                Ok(None) => Denied::Unavailable.into(),
                Err(denied) => denied.into(),
            }
        }))
    }

    /// Puts a user whom the service has approved into its account.
    // NATS 2.14: auth_callout.go assignAccountAndPermissions, getIssuerAccount.
    fn place(
        &self,
        approved: Arc<Approved>,
        before: Option<Arc<Identity>>,
        credentials: Credentials,
    ) -> Decision {
        let Approved { user, service } = &*approved;
        let placement = match &*user.nats.issuer_account {
            "" => user.issuer.clone(),
            account => account.to_owned(),
        };
        let allows =
            |account: Arc<AccountState>| is_allowed(&account.claims.nats.authorization, &placement);
        if placement != **service && !self.loaded(service).is_some_and(allows) {
            return deny(format!(
                "account {:?} not permitted as valid account option for auth callout for account {service:?}",
                user.issuer
            ))
            .into();
        }
        let (mode, key) = (self.clone(), placement.clone());
        self.with_account(&placement, move |result| {
            let account = mode.target(&key, result).map_err(|error| {
                deny(format!(
                    "no valid account {key:?} for auth callout response on account {:?}: {error}",
                    approved.service
                ))
            })?;
            let scope = account.signer(&approved.user.issuer).ok_or_else(|| {
                deny(format!("user JWT issuer {:?} is not known", approved.user.issuer))
            })?;
            let placed = PlacedUser { approved: (*approved).clone(), scope: scope.clone(), before };
            mode.admit(Arc::new(placed), &account, &credentials)
        })
    }

    /// Calls `then` with an account, at once or when it is looked up.
    pub(super) fn with_account(
        &self,
        key: &str,
        then: impl FnOnce(Result<Arc<AccountState>, AccountError>) -> Result<Grant, Denied>
        + Send
        + 'static,
    ) -> Decision {
        let (pending, answer) = Pending::new(LOOKUP);
        self.load(key, move |result| answer.decide(then(result)));
        match pending.take() {
            Some(result) => result.into(),
            None => pending.into(),
        }
    }

    /// Returns the account of a user, unless it has ended.
    // NATS 2.14: server.go lookupOrFetchAccount.
    fn target(
        &self,
        key: &str,
        result: Result<Arc<AccountState>, AccountError>,
    ) -> Result<Arc<AccountState>, String> {
        let account = result.map_err(|error| error.to_string())?;
        if account.is_expired(self.now()) {
            tracing::debug!("Requested account [{key}] has expired");
            return Err("account expired".to_owned());
        }
        Ok(account)
    }

    fn admit(
        &self,
        placed: Arc<PlacedUser>,
        account: &AccountState,
        credentials: &Credentials,
    ) -> Result<Grant, Denied> {
        let now = self.broker().ok_or(Denied::Unavailable)?.wall();
        placed.check(account)?;
        let grant = placed.grant(account, credentials, &*self.0.zones, now);
        Ok(grant.map_err(Refused::log)?.with_proof(placed))
    }

    /// Reviews a user whom a service has let in. The service is not asked again.
    pub(super) fn review_placed(
        &self,
        placed: Arc<PlacedUser>,
        held: &Grant,
        credentials: &Credentials,
    ) -> Result<Grant, Denied> {
        let account = self.loaded(&held.account).ok_or(Denied::Credentials)?;
        self.admit(placed, &account, credentials)
    }
}

fn deny(line: String) -> Denied {
    Refused::from(line).log()
}

/// Returns true if the service may put users into the account with this key.
// NATS 2.14: accounts.go isAllowedAcount.
fn is_allowed(external: &ExternalAuthorization, key: &str) -> bool {
    let allowed = &external.allowed_accounts;
    matches!(&allowed[..], [one] if one == ANY) || allowed.iter().any(|one| one == key)
}

impl PlacedUser {
    /// Checks that the user is not revoked, and that its signing key still signs for the account.
    // NATS 2.14: accounts.go updateAccountClaimsWithRefresh.
    fn check(&self, account: &AccountState) -> Result<(), Denied> {
        let user = &self.approved.user;
        if account.claims.nats.revocations.covers(&user.subject, user.issued_at) {
            return Err(Denied::Revoked);
        }
        match account.signer(&user.issuer) {
            _ if user.nats.issuer_account.is_empty() => Ok(()),
            Some(scope) if *scope == self.scope => Ok(()),
            _ => Err(Denied::SignerRemoved),
        }
    }

    /// Makes the grant.
    fn grant(
        &self,
        account: &AccountState,
        credentials: &Credentials,
        zones: &dyn TimeZones,
        now: SystemTime,
    ) -> Result<Grant, Refused> {
        let (user, claims) = (&self.approved.user, &account.claims);
        let limits = self.limits(account)?;
        let mut grant = self.approved.grant(&claims.subject, &limits, credentials, zones, now)?;
        if self.scope.is_some() {
            grant.limits.max_subscriptions = limit(limits.subs);
            grant.limits.max_payload_bytes = limit(limits.payload);
        }
        if grant.permissions.is_none() {
            grant.permissions.clone_from(&account.default_permissions);
        }
        grant.account_expires = expiry(claims.expires);
        if *claims.subject == *self.approved.service {
            grant = without_subject(grant, &self.approved.service);
        }
        let named = |name: &str| Some(name).filter(|name| !name.is_empty()).map(Into::into);
        let issuer =
            if user.nats.issuer_account.is_empty() { &claims.subject } else { &user.issuer };
        let before = self.before.as_deref().cloned().unwrap_or_default();
        // Names and tags are those of the token with which the client came.
        Ok(grant.with_identity(Identity {
            user: named(&user.name),
            nkey: None,
            issuer_key: named(issuer),
            account_key: named(&claims.subject),
            account_name: named(&claims.name),
            is_by_token: false,
            ..before
        }))
    }

    /// Returns the limits in the claims of the user, or those of the scope of its signing key.
    fn limits(&self, account: &AccountState) -> Result<UserLimits, String> {
        let user = &self.approved.user;
        let Some(scope) = &self.scope else { return Ok(user.nats.limits.clone()) };
        if !user.nats.limits.is_empty() {
            return Err(
                "user JWT is not valid: scoped users require no permissions or limits set".into()
            );
        }
        template::apply(&scope.template, user, &account.claims)
            .map_err(|template::BadTemplate| "user JWT generated invalid permissions".to_owned())
    }
}
