//! The login of a user.

use std::net::IpAddr;
use std::time::SystemTime;

use super::account::AccountState;
use super::config::limit;
use super::permissions::permissions;
use super::{Trust, template};
use crate::auth::callout::without_subject;
use crate::auth::jwt::{Network, Severity, UserClaims, UserLimits, UserScope};
use crate::auth::nkey::{PublicKey, verify_nonce};
use crate::auth::times::{self, earlier, expiry, expiry_of_user, seconds};
use crate::auth::{ConnectionKind, Credentials, Denied, Grant, Identity, TimeZones};
use crate::sync::Arc;

/// A user whose token was decoded.
pub(super) struct Login {
    user: Arc<UserClaims>,
    kind: ConnectionKind,
    address: Option<IpAddr>,
    /// The result of the check of the signature: a token alone may be enough.
    signature: Result<(), &'static str>,
    /// It is the token for clients that send none.
    is_sentinel: bool,
}

/// The data that is kept of a user who has logged in.
pub(super) struct UserProof {
    user: Arc<UserClaims>,
    /// The scope of its signing key.
    scope: Option<Arc<UserScope>>,
    is_bearer: bool,
    is_sentinel: bool,
}

impl Login {
    /// Checks what depends on the token alone.
    // NATS 2.14: auth.go processClientOrLeafAuthentication.
    pub(super) fn begin(
        user: UserClaims,
        is_sentinel: bool,
        credentials: &Credentials,
        now: i64,
    ) -> Result<Self, Denied> {
        if user.nats.limits.proxy_required && credentials.proxy.is_none() {
            return Err(Denied::ProxyRequired);
        }
        if user.issues(now).iter().any(|issue| issue.severity != Severity::Warning) {
            return Err(Denied::Refused("User JWT no longer valid"));
        }
        let signature = match PublicKey::parse(&user.subject) {
            Ok(key) => verify_nonce(&key, credentials),
            Err(_) => Err("User nkey not valid"),
        };
        Ok(Self { signature, is_sentinel, ..Self::of(Arc::new(user), credentials) })
    }

    /// Begins the review of a user whose signature was checked.
    pub(super) fn again(proof: &UserProof, credentials: &Credentials) -> Self {
        let is_sentinel = proof.is_sentinel;
        Self { is_sentinel, ..Self::of(Arc::clone(&proof.user), credentials) }
    }

    fn of(user: Arc<UserClaims>, credentials: &Credentials) -> Self {
        let address = credentials.remote.map(|remote| remote.ip());
        Self { user, kind: credentials.kind, address, signature: Ok(()), is_sentinel: false }
    }

    /// Returns the public key of the account.
    pub(super) fn account(&self) -> &str {
        let claims = &self.user.nats;
        if claims.issuer_account.is_empty() { &self.user.issuer } else { &claims.issuer_account }
    }

    /// Checks the rest, and makes the grant. The order of the checks is that of the reference.
    pub(super) fn finish(
        &self,
        account: &AccountState,
        trust: &Trust,
        zones: &dyn TimeZones,
        wall: SystemTime,
    ) -> Result<Grant, Denied> {
        let refused = |why| Err(Denied::Refused(why));
        if !trust.contains(&account.claims.issuer) {
            return refused("Account JWT not signed by trusted operator");
        }
        let Some(scope) = account.signer(&self.user.issuer) else {
            return refused("User JWT issuer is not known");
        };
        let limits = self.limits(scope.as_deref(), account)?;
        if account.is_expired(seconds(wall)) {
            return refused("Account JWT has expired");
        }
        if limits.bearer_token && account.claims.nats.limits.disallow_bearer {
            return refused("Account does not allow bearer tokens");
        }
        if !may_come_by(&limits, self.kind) {
            return refused("Connection type not allowed");
        }
        if let (false, Err(why)) = (limits.bearer_token, self.signature) {
            return refused(why);
        }
        if account.claims.nats.revocations.covers(&self.user.subject, self.user.issued_at) {
            return refused("User authentication revoked");
        }
        if !may_come_from(&limits, self.address) {
            return Err(Denied::Source);
        }
        let until = times::check(&limits, zones, wall).map_err(|()| Denied::TimeOfDay)?;
        let until = earlier(expiry_of_user(self.user.expires, wall), until);
        Ok(self.grant(account, scope.clone(), &limits, until))
    }

    /// Returns the limits in the token, or those of the scope of its signing key.
    fn limits(
        &self,
        scope: Option<&UserScope>,
        account: &AccountState,
    ) -> Result<UserLimits, Denied> {
        let Some(scope) = scope else { return Ok(self.user.nats.limits.clone()) };
        if !self.user.nats.limits.is_empty() {
            return Err(Denied::Refused("User JWT is not valid"));
        }
        template::apply(&scope.template, &self.user, &account.claims).map_err(
            |template::BadTemplate| Denied::Refused("User JWT generated invalid permissions"),
        )
    }

    fn grant(
        &self,
        account: &AccountState,
        scope: Option<Arc<UserScope>>,
        limits: &UserLimits,
        until: Option<SystemTime>,
    ) -> Grant {
        let user = &self.user;
        let mut grant = Grant::user(&*user.subject).with_account(&*account.claims.subject);
        grant.permissions = permissions(&limits.permissions)
            .map(Arc::new)
            .or_else(|| account.default_permissions.clone());
        grant.expires = until;
        grant.account_expires = expiry(account.claims.expires);
        grant.limits.max_subscriptions = limit(limits.subs);
        grant.limits.max_payload_bytes = limit(limits.payload);
        if account.claims.nats.authorization.is_enabled() {
            grant = without_subject(grant, &account.claims.subject);
        }
        let proof = UserProof {
            user: Arc::clone(user),
            scope,
            is_bearer: limits.bearer_token,
            is_sentinel: self.is_sentinel,
        };
        grant.with_identity(self.identity(account)).with_proof(Arc::new(proof))
    }

    fn identity(&self, account: &AccountState) -> Identity {
        let user = &self.user;
        let is_by_signing_key = !user.nats.issuer_account.is_empty();
        let issuer = if is_by_signing_key { &user.issuer } else { &account.claims.subject };
        let named = |name: &str| Some(name).filter(|name| !name.is_empty()).map(Into::into);
        Identity {
            nkey: named(&user.subject),
            issuer_key: named(issuer),
            account_key: named(&account.claims.subject),
            account_name: named(&account.claims.name),
            name_tag: named(&user.name),
            tags: user.nats.generic.tags.iter().map(|tag| tag.as_str().into()).collect(),
            user: None,
            is_by_token: true,
        }
    }
}

impl UserProof {
    /// Returns true if the user is one of these.
    pub(super) fn is_one_of(&self, keys: &[String]) -> bool {
        keys.contains(&self.user.subject)
    }

    /// Returns true if the client has sent no token, so that another one stands in for it.
    pub(super) fn is_by_sentinel(&self) -> bool {
        self.is_sentinel
    }

    /// Checks that a change of the account leaves the user connected.
    // NATS 2.14: accounts.go updateAccountClaimsWithRefresh.
    pub(super) fn check(&self, account: &AccountState) -> Result<(), Denied> {
        let nats = &account.claims.nats;
        let disallows_bearer = nats.limits.disallow_bearer;
        if self.is_bearer && disallows_bearer {
            return Err(Denied::Refused("Bearer User JWT not allowed"));
        }
        let is_checked = disallows_bearer || !nats.revocations.0.is_empty();
        if is_checked && account.claims.has_revoked(&self.user) {
            return Err(Denied::Revoked);
        }
        // A user whom the account itself has signed stays.
        if self.user.nats.issuer_account.is_empty() {
            return Ok(());
        }
        match account.signer(&self.user.issuer) {
            Some(scope) if *scope == self.scope => Ok(()),
            _ => Err(Denied::SignerRemoved),
        }
    }
}

/// Returns true if the user may use this kind of connection. Kinds that are not known are skipped, but a list of them
/// alone allows none.
// NATS 2.14: auth.go convertAllowedConnectionTypes.
fn may_come_by(limits: &UserLimits, kind: ConnectionKind) -> bool {
    let list = &limits.allowed_connection_types;
    list.is_empty() || list.iter().any(|name| name.parse() == Ok(kind))
}

// NATS 2.14: jwt.go validateSrc.
fn may_come_from(limits: &UserLimits, address: Option<IpAddr>) -> bool {
    let is_in = |address| {
        let mut networks = limits.src.iter().map_while(|network| Network::parse(network));
        networks.any(|network| network.contains(address))
    };
    limits.src.is_empty() || address.is_some_and(is_in)
}
