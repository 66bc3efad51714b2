//! The response of a service.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use super::super::jwt::{
    AuthorizationResponseClaims, UserClaims, UserLimits, decode_authorization_response, decode_user,
};
use super::super::nkey::{KeyKind, PublicKey};
use super::super::times::{self, TimeZones, earlier, expiry, seconds};
use super::super::{
    AllowResponses, ConnectionKind, Credentials, Denied, Grant, Identity, Permissions,
};
use super::{CalloutServer, Refused};
use crate::sync::Arc;

/// The beginning of every JWT; a sealed response begins otherwise.
const JWT_PREFIX: &[u8] = b"eyJ";

/// The request that a response must refer to.
pub(super) struct Expected {
    /// The account of the service.
    pub(super) account: Arc<str>,
    /// The key that stands for the client.
    pub(super) user: PublicKey,
    /// The key of the service, if the request was sealed.
    pub(super) xkey: Option<PublicKey>,
}

/// A user that the service approves.
#[derive(Clone)]
pub(crate) struct Approved {
    pub(crate) user: UserClaims,
    /// The account of the service.
    pub(crate) service: Arc<str>,
}

impl Expected {
    /// Reads and checks a response. The error is a line for the log.
    // NATS 2.14: auth_callout.go decodeResponse and processReply.
    pub(super) fn read(
        &self,
        answer: &[u8],
        server: &CalloutServer,
        now: SystemTime,
        trusts: impl FnOnce(&str, &str) -> Result<(), String>,
    ) -> Result<Approved, String> {
        let Self { account, user, xkey } = self;
        if answer.is_empty() {
            return Err(format!(
                "auth callout violation: \"no reason supplied\" on account {account:?}"
            ));
        }
        let mut opened = None;
        if let Some(xkey) = xkey.as_ref().filter(|_| !answer.starts_with(JWT_PREFIX)) {
            opened = Some(server.curve.open(answer, xkey).map_err(|error| {
                format!("error decrypting auth callout response on account {account:?}: {error}")
            })?);
        }
        let is_sealed = opened.is_some();
        let text = std::str::from_utf8(opened.as_deref().unwrap_or(answer))
            .map_err(|_| "expected 3 chunks".to_owned())?;
        let response = decode_authorization_response(text).map_err(|error| error.to_string())?;
        check(&response, seconds(now))?;
        if response.subject != user.to_string() {
            return Err(
                "auth callout violation: auth callout response is not for expected user".into()
            );
        }
        if response.audience != server.id.id {
            return Err("auth callout violation: auth callout response is not for server".into());
        }
        if !response.nats.error.is_empty() {
            return Err(format!(
                "auth callout service returned an error: {}",
                response.nats.error.escape_debug()
            ));
        }
        if !is_sealed {
            trusts(&response.issuer, &response.nats.issuer_account)?;
        }
        let approved = decode_user(&response.nats.jwt).map_err(|error| error.to_string())?;
        if let Some(issue) = approved.issues(seconds(now)).first() {
            return Err(format!("Error validating user JWT: {issue}"));
        }
        if approved.subject != user.to_string() {
            return Err(format!(
                "Expected authorized user of \"{user}\" but got {:?} on account {account:?}",
                approved.subject
            ));
        }
        Ok(Approved { user: approved, service: Arc::clone(account) })
    }
}

/// Checks the content of a response.
// NATS 2.14: jwt authorization_claims.go Validate.
fn check(response: &AuthorizationResponseClaims, now: i64) -> Result<(), String> {
    let nats = &response.nats;
    let is_valid = PublicKey::is_valid;
    let issue = if !is_valid(KeyKind::User, &response.subject) {
        "Subject must be a user public key"
    } else if !is_valid(KeyKind::Server, &response.audience) {
        "Audience must be a server public key"
    } else if nats.error.is_empty() && nats.jwt.is_empty() {
        "Error or Jwt is required"
    } else if !nats.error.is_empty() && !nats.jwt.is_empty() {
        "Only Error or Jwt can be set"
    } else if !nats.issuer_account.is_empty() && !is_valid(KeyKind::Account, &nats.issuer_account) {
        "issuer_account is not an account public key"
    } else if response.is_expired(now) {
        "claim is expired"
    } else if response.not_before > now {
        "claim is not yet valid"
    } else {
        return Ok(());
    };
    Err(format!("authorization response had validation errors: {issue}"))
}

impl Approved {
    /// Makes the grant of the user in `account`. `limits`: those in its claims, or those of its signing key.
    pub(crate) fn grant(
        &self,
        account: &str,
        limits: &UserLimits,
        credentials: &Credentials,
        zones: &dyn TimeZones,
        now: SystemTime,
    ) -> Result<Grant, Refused> {
        let service = &self.service;
        let until = times::check(limits, zones, now).map_err(|()| Refused {
            line: format!("authorized user on account {service:?} outside of valid connect times"),
            denied: Denied::TimeOfDay,
        })?;
        check_kind(&limits.allowed_connection_types, credentials.kind, service)?;
        let shown = match &*self.user.name {
            "" => credentials.shown_as().unwrap_or_default(),
            name => name,
        };
        let mut grant = Grant::user(shown).with_account(account);
        let text = |text: &str| (!text.is_empty()).then(|| text.into());
        // NATS 2.14: auth.go buildInternalNkeyUser, monitor.go.
        let is_by_signing_key = !self.user.nats.issuer_account.is_empty();
        let issuer = if is_by_signing_key { &*self.user.issuer } else { account };
        grant = grant.with_identity(Identity {
            user: text(&self.user.name),
            issuer_key: text(issuer),
            ..Identity::default()
        });
        grant.permissions = permissions(limits)?.map(Arc::new);
        grant.expires = earlier(expiry(self.user.expires), until);
        // A limit of 0 is none: services make claims without limits too.
        let limit = |limit: i64| usize::try_from(limit).ok().filter(|limit| *limit > 0);
        grant.limits.max_subscriptions = limit(limits.subs);
        grant.limits.max_payload_bytes = limit(limits.payload);
        Ok(grant)
    }
}

/// Returns an error if the user may not use this kind of connection. Unknown kinds do not matter beside known ones.
// NATS 2.14: auth.go convertAllowedConnectionTypes.
fn check_kind(allowed: &[String], kind: ConnectionKind, account: &str) -> Result<(), String> {
    let known: HashSet<ConnectionKind> =
        allowed.iter().filter_map(|name| name.parse().ok()).collect();
    if !allowed.is_empty() && !known.contains(&kind) {
        return Err(format!(
            "authorized user on account {account:?} using invalid connection type"
        ));
    }
    Ok(())
}

// NATS 2.14: auth.go buildPermissionsFromJwt.
fn permissions(limits: &UserLimits) -> Result<Option<Permissions>, String> {
    let given = &limits.permissions;
    let mut builder = Permissions::builder()
        .publish_deny(&given.publish.deny)
        .subscribe_deny(&given.subscribe.deny);
    if !given.publish.allow.is_empty() {
        builder = builder.publish_allow(&given.publish.allow);
    }
    if !given.subscribe.allow.is_empty() {
        builder = builder.subscribe_allow(&given.subscribe.allow);
    }
    if let Some(responses) = &given.responses {
        let ttl = u64::try_from(responses.ttl).ok().map(Duration::from_nanos);
        builder = builder.allow_responses(AllowResponses::new(responses.max, ttl));
    }
    if *given == Default::default() {
        return Ok(None);
    }
    builder.build().map(Some).map_err(|error| format!("Error validating user JWT: {error}"))
}
