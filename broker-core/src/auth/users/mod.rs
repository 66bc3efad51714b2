//! Users with passwords or keys.

#[cfg(feature = "jwt")]
mod keys;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

#[cfg(feature = "jwt")]
use super::nkey::PublicKey;
use super::password::{Bcrypt, Form, Password};
use super::{
    Authenticator, Certificate, ConnectionKind, Credentials, Decision, Denied, DistinguishedName,
    Grant, Permissions, Secret,
};
use crate::sort::sort_by;

/// Authenticates clients by user name and password, or by key, from a list of users.
///
/// An unknown user and a wrong password cannot be told apart: if any password is kept as a bcrypt hash,
/// every failure takes the time of the most expensive of them.
///
/// ```
/// use broker_core::auth::{Authenticator, Credentials, Permissions, User, Users};
///
/// let users = Users::builder()
///     .user(User::new("app", "s3cr3t"))
///     .user(User::new("guest", "").permissions(Permissions::builder().publish_deny([">"]).build()?))
///     .no_auth_user("guest")
///     .build()?;
///
/// let guest = users.authenticate(&Credentials::default()).resolve()?;
/// assert_eq!(guest.user.as_deref(), Some("guest"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Users {
    /// Shared, so that a clone costs nothing.
    by_name: Arc<HashMap<Arc<str>, Arc<User>>>,
    /// Users with a key, by its text.
    by_key: Arc<HashMap<Arc<str>, Arc<User>>>,
    /// Users whose names are distinguished names, ordered by name.
    by_subject: Arc<[(DistinguishedName, Arc<str>)]>,
    /// Kinds of connections on which a user without a password is accepted by certificate only.
    certificates_only: Vec<ConnectionKind>,
    /// The most expensive hash. A failure that needed no hash is compared with it, so that it takes as long.
    decoy: Option<Bcrypt>,
    no_auth_user: Option<Arc<User>>,
}

impl Users {
    /// Starts with an empty list.
    pub fn builder() -> UsersBuilder {
        UsersBuilder::default()
    }

    /// Returns the same list, which also recognises the users that `before` accepted if their password
    /// was plain and is now hashed, or the reverse. (A user with a new hash of the same password must log in
    /// again: only the password itself could show that the two hashes match, and it is not kept.)
    ///
    /// Takes the time of one check for each user whose password changed its form.
    #[must_use]
    pub fn succeeding(mut self, before: &Self) -> Self {
        for (name, user) in Arc::make_mut(&mut self.by_name) {
            let Some(before) = before.by_name.get(name) else { continue };
            let user = Arc::make_mut(user);
            user.password.succeed(&before.password);
            if user.permissions == before.permissions {
                // Keeps the old permissions, so that sessions can see by the pointer that nothing has changed.
                user.permissions.clone_from(&before.permissions);
            }
        }
        for (key, user) in Arc::make_mut(&mut self.by_key) {
            if let Some(before) = before.by_key.get(key)
                && user.permissions == before.permissions
            {
                Arc::make_mut(user).permissions.clone_from(&before.permissions);
            }
        }
        let named = self.no_auth_user.as_ref().map(|user| &user.name);
        let of = |name| self.by_name.get(name).or_else(|| self.by_key.get(name));
        self.no_auth_user = named.and_then(of).cloned();
        self
    }
}

impl Authenticator for Users {
    fn is_required(&self) -> bool {
        self.no_auth_user.is_none()
    }

    fn may_name(&self, account: &str) -> bool {
        let mut all = self.by_name.values().chain(self.by_key.values());
        all.any(|user| user.account.as_deref() == Some(account))
    }

    // NATS 2.14: auth.go processClientOrLeafAuthentication, the part for users.
    fn authenticate(&self, credentials: &Credentials) -> Decision {
        #[cfg(feature = "jwt")]
        if let Some(decision) = self.authenticate_key(credentials) {
            return decision;
        }
        if credentials.is_mapped {
            return self.authenticate_mapped(credentials);
        }
        if let Some(user) = &self.no_auth_user
            && credentials.is_anonymous()
        {
            // The reference checks this user's password against itself, so that a user with a hashed password
            // is rejected without CONNECT's `pass`. We accept `no_auth_user` without a check.
            return admit(user, credentials).into();
        }
        if credentials.user.is_empty() {
            return Denied::Credentials.into();
        }
        let user = self.by_name.get(&*credentials.user);
        match user.map(|user| (user, &user.password.form)) {
            Some((user, _)) if self.is_known_by_certificate(user) => Denied::Credentials.into(),
            Some((user, Form::Plain(password))) if *password == credentials.password => {
                admit(user, credentials).into()
            }
            Some((user, Form::Bcrypt(hash))) => {
                compute(hash, credentials, admit(user, credentials))
            }
            _ => match &self.decoy {
                Some(hash) => compute(hash, credentials, Err(Denied::Credentials)),
                None => Denied::Credentials.into(),
            },
        }
    }

    // NATS 2.14: reload.go clientHasMovedToDifferentAccount, then isClientAuthorized, with the password
    // that the client had shown.
    fn review(&self, held: &Grant, credentials: &Credentials) -> Decision {
        #[cfg(feature = "jwt")]
        if let Some(decision) = self.review_key(held, credentials) {
            return decision;
        }
        if credentials.is_mapped {
            return self.review_mapped(held, credentials);
        }
        let name = &*credentials.user;
        if !name.is_empty() && !self.by_name.contains_key(name) {
            return Denied::Unknown.into();
        }
        if !held.proof.is_some() {
            return self.authenticate(credentials);
        }
        match (held.proof.get::<User>(), self.by_name.get(name)) {
            // A client that was accepted as the `no_auth_user`.
            (Some(_), None) => self.authenticate(credentials),
            (Some(held), Some(user)) if user.password.is_known_as(&held.password) => {
                admit(user, credentials).into()
            }
            _ => Denied::Credentials.into(),
        }
    }

    // NATS 2.14: nkey.go nonceRequired.
    fn nonce_required(&self) -> bool {
        !self.by_key.is_empty()
    }
}

/// Authentication by certificate.
impl Users {
    /// Returns the user that the certificate names, if that user may use this kind of connection.
    // NATS 2.14: auth.go checkClientTLSCertSubject.
    fn named_by(&self, certificate: &Certificate, kind: ConnectionKind) -> Option<&Arc<User>> {
        let user = |name: &str| self.by_name.get(name).filter(|user| user.may_come_by(kind));
        let by_subject = |equals: fn(&DistinguishedName, &DistinguishedName) -> bool| {
            let mut equal =
                self.by_subject.iter().filter(|(subject, _)| equals(subject, &certificate.subject));
            equal.find_map(|(_, name)| user(name))
        };
        certificate
            .alternative_names()
            .find_map(user)
            .or_else(|| by_subject(DistinguishedName::equals))
            .or_else(|| by_subject(DistinguishedName::equals_in_any_order))
            .or_else(|| certificate.subject_texts().find_map(|text| user(&text)))
    }

    /// Returns true if the user is authenticated by certificate alone. The `no_auth_user` needs none.
    fn is_known_by_certificate(&self, user: &User) -> bool {
        let is_for_all = self.no_auth_user.as_ref().is_some_and(|other| other.name == user.name);
        !user.password.is_some()
            && !is_for_all
            && self.certificates_only.iter().any(|kind| user.may_come_by(*kind))
    }

    fn mapped(&self, credentials: &Credentials) -> Option<&Arc<User>> {
        let certificate = credentials.certificate.as_ref()?;
        self.named_by(certificate, credentials.kind)
    }

    /// As in the reference, a user with a password must send it too, and a user without one must not send any.
    fn authenticate_mapped(&self, credentials: &Credentials) -> Decision {
        let Some(user) = self.mapped(credentials) else { return Denied::Credentials.into() };
        match &user.password.form {
            Form::Plain(password) if *password == credentials.password => {
                admit(user, credentials).into()
            }
            Form::Plain(_) => Denied::Credentials.into(),
            Form::Bcrypt(hash) => compute(hash, credentials, admit(user, credentials)),
        }
    }

    fn review_mapped(&self, held: &Grant, credentials: &Credentials) -> Decision {
        match (self.mapped(credentials), held.proof.get::<User>()) {
            (None, _) => Denied::Unknown.into(),
            (Some(user), Some(held)) if user.password.is_known_as(&held.password) => {
                admit(user, credentials).into()
            }
            (Some(_), None) if !held.proof.is_some() => self.authenticate_mapped(credentials),
            _ => Denied::Credentials.into(),
        }
    }
}

/// Returns the grant of an authenticated user.
fn admit(user: &Arc<User>, credentials: &Credentials) -> Result<Grant, Denied> {
    if !user.may_come_by(credentials.kind) {
        return Err(Denied::ConnectionKind);
    }
    if user.proxy_required && credentials.proxy.is_none() {
        return Err(Denied::ProxyRequired);
    }
    let mut grant = Grant::user(user.name.clone()).with_proof(Arc::clone(user));
    if let Some(account) = &user.account {
        grant = grant.with_account(account.clone());
    }
    grant.permissions.clone_from(&user.permissions);
    Ok(grant)
}

/// Returns `verdict` if the password is right. Takes the time of the check in any case.
fn compute(hash: &Bcrypt, credentials: &Credentials, verdict: Result<Grant, Denied>) -> Decision {
    let (hash, shown) = (hash.clone(), credentials.password.clone());
    Decision::compute(move || if hash.verify(&shown) { verdict } else { Err(Denied::Credentials) })
}

/// A user that may log in.
#[derive(Clone, Debug)]
#[must_use]
pub struct User {
    name: Arc<str>,
    password: Password,
    account: Option<Arc<str>>,
    permissions: Option<Arc<Permissions>>,
    /// Empty if all are allowed.
    kinds: Box<[ConnectionKind]>,
    proxy_required: bool,
    /// Its key, in place of a password.
    #[cfg(feature = "jwt")]
    key: Option<Box<PublicKey>>,
}

impl User {
    /// Creates a user of the global account with all permissions. The password is plain or a bcrypt hash,
    /// recognised by its prefix (`$2a$10$…`).
    pub fn new(name: impl Into<Arc<str>>, password: impl Into<Secret>) -> Self {
        Self {
            name: name.into(),
            password: password.into().into(),
            account: None,
            permissions: None,
            kinds: Box::default(),
            proxy_required: false,
            #[cfg(feature = "jwt")]
            key: None,
        }
    }

    /// Puts the user into an account.
    pub fn account(mut self, account: impl Into<Arc<str>>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// Restricts the subjects that the user may publish and subscribe to.
    pub fn permissions(mut self, permissions: impl Into<Arc<Permissions>>) -> Self {
        self.permissions = Some(permissions.into());
        self
    }

    /// Restricts the user to these kinds of connections; without any, all kinds are allowed.
    pub fn connection_kinds(mut self, kinds: impl IntoIterator<Item = ConnectionKind>) -> Self {
        let mut all = self.kinds.into_vec();
        all.extend(kinds);
        self.kinds = all.into();
        self
    }

    /// Requires the user to connect through a [trusted](super::TrustedProxies) proxy.
    pub fn proxy_required(mut self, is_required: bool) -> Self {
        self.proxy_required = is_required;
        self
    }

    #[cfg(feature = "jwt")]
    fn has_key(&self) -> bool {
        self.key.is_some()
    }

    #[cfg(not(feature = "jwt"))]
    fn has_key(&self) -> bool {
        false
    }

    fn may_come_by(&self, kind: ConnectionKind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }
}

/// Builds [`Users`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct UsersBuilder {
    users: Vec<User>,
    default_permissions: Option<Arc<Permissions>>,
    no_auth_user: Option<Arc<str>>,
    certificates_only: Vec<ConnectionKind>,
}

impl UsersBuilder {
    /// Adds a user.
    pub fn user(mut self, user: User) -> Self {
        self.users.push(user);
        self
    }

    /// Adds users.
    pub fn users(mut self, users: impl IntoIterator<Item = User>) -> Self {
        self.users.extend(users);
        self
    }

    /// Sets the permissions of users that have none of their own.
    pub fn default_permissions(mut self, permissions: impl Into<Arc<Permissions>>) -> Self {
        self.default_permissions = Some(permissions.into());
        self
    }

    /// Sets the user of clients that send no user name, password or token.
    pub fn no_auth_user(mut self, name: impl Into<Arc<str>>) -> Self {
        self.no_auth_user = Some(name.into());
        self
    }

    /// Requires a certificate from users without a password that may use this kind of connection. Call it for
    /// each kind on which certificates name users, if passwords are accepted on other kinds.
    // NATS 2.14: auth.go canTLSMap.
    pub fn certificates_only(mut self, kind: ConnectionKind) -> Self {
        self.certificates_only.push(kind);
        self
    }

    /// Checks that names are unique.
    ///
    /// # Errors
    ///
    /// [`UsersError`] names the first invalid user.
    pub fn build(self) -> Result<Users, UsersError> {
        let mut by_name = HashMap::with_capacity(self.users.len());
        let mut by_key = HashMap::new();
        for mut user in self.users {
            if user.name.is_empty() {
                return Err(UsersError::Nameless);
            }
            if user.permissions.is_none() {
                user.permissions.clone_from(&self.default_permissions);
            }
            let list = if user.has_key() { &mut by_key } else { &mut by_name };
            if let Some(other) = list.insert(user.name.clone(), Arc::new(user)) {
                return Err(UsersError::Duplicate(other.name.as_ref().into()));
            }
        }
        let no_auth_user = match self.no_auth_user {
            None => None,
            Some(name) => match by_name.get(&name).or_else(|| by_key.get(&name)) {
                Some(user) => Some(user.clone()),
                None => return Err(UsersError::UnknownNoAuthUser(name.as_ref().into())),
            },
        };
        let hashes = by_name.values().filter_map(|user: &Arc<User>| match &user.password.form {
            Form::Bcrypt(hash) => Some(hash),
            Form::Plain(_) => None,
        });
        let decoy = hashes.max_by(|a, b| a.cost().cmp(b.cost())).cloned();
        let subject = |name: &Arc<str>| Some((DistinguishedName::parse(name)?, Arc::clone(name)));
        let mut by_subject: Vec<_> = by_name.keys().filter_map(subject).collect();
        sort_by(&mut by_subject, |(_, a), (_, b)| a.cmp(b));
        let Self { certificates_only, .. } = self;
        let (by_name, by_key) = (Arc::new(by_name), Arc::new(by_key));
        Ok(Users {
            by_name,
            by_key,
            by_subject: by_subject.into(),
            certificates_only,
            decoy,
            no_auth_user,
        })
    }
}

/// The reason why a list of users was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UsersError {
    /// Two users have the same name.
    #[error("there are two users {0:?}")]
    Duplicate(String),
    /// A user has no name, and could never log in.
    #[error("a user needs a name")]
    Nameless,
    /// The `no_auth_user` is not on the list.
    #[error("no_auth_user {0:?} is not among the users")]
    UnknownNoAuthUser(String),
}
