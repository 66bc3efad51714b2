//! Users with keys.

use super::{
    Authenticator as _, Credentials, Decision, Denied, Grant, PublicKey, User, Users, admit,
};
use crate::auth::Identity;
use crate::auth::nkey::verify_nonce;
use crate::sync::Arc;

impl User {
    /// Creates a user who proves by a signature to hold a key, of the global account and with all permissions.
    ///
    /// ```
    /// use broker_core::auth::nkey::{KeyKind, KeyPair};
    /// use broker_core::auth::{Authenticator, User, Users};
    ///
    /// let pair = KeyPair::from_random(KeyKind::User, [7; 32]);
    /// let users = Users::builder().user(User::nkey(pair.public())).build()?;
    /// assert!(users.nonce_required());
    /// # Ok::<(), broker_core::auth::UsersError>(())
    /// ```
    pub fn nkey(key: PublicKey) -> Self {
        let mut user = Self::new(key.to_string(), "");
        user.key = Some(Box::new(key));
        user
    }
}

impl Users {
    /// Authenticates a client that sends a key, or sends nothing if everyone without credentials is a user with a key.
    // NATS 2.14: auth.go processClientOrLeafAuthentication, the part for nkeys.
    pub(super) fn authenticate_key(&self, credentials: &Credentials) -> Option<Decision> {
        if self.by_key.is_empty() {
            return None;
        }
        let guest = self.no_auth_user.as_ref().filter(|_| credentials.is_anonymous());
        let name = match (&*credentials.nkey, guest) {
            ("", Some(guest)) if guest.has_key() => &*guest.name,
            ("", _) => return None,
            (key, _) => key,
        };
        let Some(user) = self.by_key.get(name) else { return Some(Denied::Credentials.into()) };
        let grant = admit_by_key(user, credentials);
        let is_proven = grant.is_err() || self.is_for_all(user) || has_signed(user, credentials);
        Some(if is_proven { grant.into() } else { Denied::Credentials.into() })
    }

    /// Reviews a client that was authenticated by a key, or that names one.
    // NATS 2.14: reload.go clientHasMovedToDifferentAccount, then isClientAuthorized.
    pub(super) fn review_key(&self, held: &Grant, credentials: &Credentials) -> Option<Decision> {
        let before = held.proof.get::<User>().filter(|user| user.has_key());
        let name = match before {
            Some(before) => &before.name,
            None if self.by_key.is_empty() || credentials.nkey.is_empty() => return None,
            None => return Some(self.authenticate(credentials)),
        };
        let Some(user) = self.by_key.get(name) else { return Some(Denied::Unknown.into()) };
        // Its signature was checked at login, unless everyone without credentials was this user.
        if credentials.nkey.is_empty() && !self.is_for_all(user) {
            return Some(Denied::Credentials.into());
        }
        Some(admit_by_key(user, credentials).into())
    }

    fn is_for_all(&self, user: &Arc<User>) -> bool {
        self.no_auth_user.as_ref().is_some_and(|other| Arc::ptr_eq(other, user))
    }
}

fn has_signed(user: &User, credentials: &Credentials) -> bool {
    user.key.as_ref().is_some_and(|key| verify_nonce(key, credentials).is_ok())
}

fn admit_by_key(user: &Arc<User>, credentials: &Credentials) -> Result<Grant, Denied> {
    let grant = admit(user, credentials)?;
    let identity = Identity {
        nkey: Some(Arc::clone(&user.name)),
        issuer_key: Some(Arc::clone(&grant.account)),
        ..Identity::default()
    };
    Ok(grant.with_identity(identity))
}
