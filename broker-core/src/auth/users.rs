//! Users with passwords.

use std::collections::HashMap;
use std::sync::Arc;

use super::password::{Bcrypt, Form, Password};
use super::{
    Authenticator, Certificate, ConnectionKind, Credentials, Decision, Denied, DistinguishedName,
    Grant, Permissions, Secret,
};

/// Authenticates clients by user name and password, from a list of users.
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
        let named = self.no_auth_user.as_ref().map(|user| &user.name);
        self.no_auth_user = named.and_then(|name| self.by_name.get(name)).cloned();
        self
    }
}

impl Authenticator for Users {
    fn is_required(&self) -> bool {
        self.no_auth_user.is_none()
    }

    // NATS 2.14: auth.go processClientOrLeafAuthentication, the part for users.
    fn authenticate(&self, credentials: &Credentials) -> Decision {
        if credentials.is_mapped {
            return self.authenticate_mapped(credentials);
        }
        if let Some(user) = &self.no_auth_user
            && credentials.is_anonymous()
        {
            // The reference checks this user's password against itself, so that a user with a hashed password
            // is rejected without CONNECT's `pass`. We accept `no_auth_user` without a check.
            return admit(user, credentials.kind).into();
        }
        if credentials.user.is_empty() {
            return Denied::Credentials.into();
        }
        let user = self.by_name.get(&*credentials.user);
        match user.map(|user| (user, &user.password.form)) {
            Some((user, _)) if self.is_known_by_certificate(user) => Denied::Credentials.into(),
            Some((user, Form::Plain(password))) if *password == credentials.password => {
                admit(user, credentials.kind).into()
            }
            Some((user, Form::Bcrypt(hash))) => {
                compute(hash, credentials, admit(user, credentials.kind))
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
                admit(user, credentials.kind).into()
            }
            _ => Denied::Credentials.into(),
        }
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
                admit(user, credentials.kind).into()
            }
            Form::Plain(_) => Denied::Credentials.into(),
            Form::Bcrypt(hash) => compute(hash, credentials, admit(user, credentials.kind)),
        }
    }

    fn review_mapped(&self, held: &Grant, credentials: &Credentials) -> Decision {
        match (self.mapped(credentials), held.proof.get::<User>()) {
            (None, _) => Denied::Unknown.into(),
            (Some(user), Some(held)) if user.password.is_known_as(&held.password) => {
                admit(user, credentials.kind).into()
            }
            (Some(_), None) if !held.proof.is_some() => self.authenticate_mapped(credentials),
            _ => Denied::Credentials.into(),
        }
    }
}

/// Returns the grant of an authenticated user.
fn admit(user: &Arc<User>, kind: ConnectionKind) -> Result<Grant, Denied> {
    if !user.may_come_by(kind) {
        return Err(Denied::ConnectionKind);
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
    kinds: Vec<ConnectionKind>,
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
            kinds: Vec::new(),
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
        self.kinds.extend(kinds);
        self
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
        for mut user in self.users {
            if user.name.is_empty() {
                return Err(UsersError::Nameless);
            }
            if user.permissions.is_none() {
                user.permissions.clone_from(&self.default_permissions);
            }
            if let Some(other) = by_name.insert(user.name.clone(), Arc::new(user)) {
                return Err(UsersError::Duplicate(other.name.as_ref().into()));
            }
        }
        let no_auth_user = match self.no_auth_user {
            None => None,
            Some(name) => match by_name.get(&name) {
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
        by_subject.sort_by(|(_, a), (_, b)| a.cmp(b));
        let Self { certificates_only, .. } = self;
        let (by_name, by_subject) = (Arc::new(by_name), by_subject.into());
        Ok(Users { by_name, by_subject, certificates_only, decoy, no_auth_user })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(user: &str, password: &str) -> Credentials {
        Credentials { user: user.into(), password: password.into(), ..Credentials::default() }
    }

    fn log_in(users: &Users, user: &str, password: &str) -> Result<Grant, Denied> {
        users.authenticate(&shows(user, password)).resolve()
    }

    #[test]
    fn only_the_right_password_is_accepted() {
        let hash = bcrypt::hash("pw", 4).unwrap();
        for stored in ["pw", &hash] {
            let users = Users::builder().user(User::new("u", stored)).build().unwrap();
            assert!(users.is_required());
            assert_eq!(log_in(&users, "u", "pw").unwrap(), Grant::user("u"));
            for (user, password) in
                [("u", ""), ("u", "pW"), ("u", &hash), ("U", "pw"), ("", "pw"), ("", ""), ("x", "")]
            {
                assert_eq!(log_in(&users, user, password), Err(Denied::Credentials), "{user}");
            }
        }
    }

    #[test]
    fn a_token_is_not_a_user() {
        let users = Users::builder().user(User::new("u", "pw")).build().unwrap();
        let credentials = Credentials { token: "pw".into(), ..Credentials::default() };
        assert_eq!(users.authenticate(&credentials).resolve(), Err(Denied::Credentials));
    }

    #[test]
    fn an_empty_list_accepts_no_client() {
        let users = Users::builder().build().unwrap();
        assert!(users.is_required());
        assert!(users.authenticate(&Credentials::default()).resolve().is_err());
    }

    #[test]
    fn every_failure_computes_a_hash_if_one_is_on_the_list() {
        let users = Users::builder()
            .user(User::new("plain", "pw"))
            .user(User::new("hashed", bcrypt::hash("pw", 4).unwrap()))
            .build()
            .unwrap();
        for (user, password) in [("nobody", "pw"), ("plain", "guess"), ("hashed", "guess")] {
            let decision = users.authenticate(&shows(user, password));
            assert!(matches!(decision, Decision::Compute(_)), "{user}");
            assert_eq!(decision.resolve(), Err(Denied::Credentials), "{user}");
        }
        assert!(log_in(&users, "plain", "pw").is_ok());
    }

    /// The decoy is the hash of one user: its password must not authenticate another user.
    #[test]
    fn the_password_of_the_decoy_authenticates_no_other_user() {
        let users = Users::builder()
            .user(User::new("plain", "other"))
            .user(User::new("hashed", bcrypt::hash("pw", 4).unwrap()))
            .build()
            .unwrap();
        assert!(log_in(&users, "hashed", "pw").is_ok());
        assert_eq!(log_in(&users, "nobody", "pw"), Err(Denied::Credentials));
        assert_eq!(log_in(&users, "plain", "pw"), Err(Denied::Credentials));
    }

    #[test]
    fn the_decoy_is_the_most_expensive_hash() {
        let hash = |cost| bcrypt::hash("pw", cost).unwrap();
        let users = Users::builder()
            .users([User::new("a", hash(4)), User::new("b", hash(6)), User::new("c", hash(5))])
            .build()
            .unwrap();
        assert_eq!(users.decoy.unwrap().cost(), "06");
    }

    #[test]
    fn a_client_without_credentials_is_the_no_auth_user() {
        let hash = bcrypt::hash("pw", 4).unwrap();
        let users = Users::builder()
            .users([User::new("guest", hash), User::new("u", "pw")])
            .no_auth_user("guest")
            .build()
            .unwrap();
        assert!(!users.is_required());
        let decision = users.authenticate(&Credentials::default());
        assert!(matches!(decision, Decision::Grant(_)), "no need to compute");
        assert_eq!(decision.resolve().unwrap().user.as_deref(), Some("guest"));
        assert_eq!(log_in(&users, "u", "pw").unwrap().user.as_deref(), Some("u"));
        for (user, password) in [("guest", ""), ("guest", "x"), ("", "pw"), ("nobody", "")] {
            assert_eq!(log_in(&users, user, password), Err(Denied::Credentials), "{user}");
        }
        let credentials = Credentials { token: "x".into(), ..Credentials::default() };
        assert_eq!(users.authenticate(&credentials).resolve(), Err(Denied::Credentials));
    }

    #[test]
    fn a_user_may_use_the_allowed_kinds_of_connections() {
        let user = User::new("u", "pw").connection_kinds([ConnectionKind::Websocket]);
        let users = Users::builder().user(user).no_auth_user("u").build().unwrap();
        for mut credentials in [shows("u", "pw"), Credentials::default()] {
            let denied = users.authenticate(&credentials).resolve();
            assert_eq!(denied, Err(Denied::ConnectionKind));
            credentials.kind = ConnectionKind::Websocket;
            assert!(users.authenticate(&credentials).resolve().is_ok());
        }
        assert_eq!(
            log_in(&users, "u", "guess"),
            Err(Denied::Credentials),
            "the reason is shown only with the right password"
        );
    }

    #[test]
    fn a_user_gets_its_account_and_permissions_or_the_default() {
        let permissions = |subject: &str| {
            Arc::new(Permissions::builder().publish_allow([subject]).build().unwrap())
        };
        let users = Users::builder()
            .user(User::new("a", "pw"))
            .user(User::new("b", "pw").account("B").permissions(permissions("own")))
            .default_permissions(permissions("default"))
            .build()
            .unwrap();
        let a = log_in(&users, "a", "pw").unwrap();
        assert_eq!(a, Grant::user("a").with_permissions(permissions("default")));
        let b = log_in(&users, "b", "pw").unwrap();
        assert_eq!(b, Grant::user("b").with_account("B").with_permissions(permissions("own")));
    }

    #[test]
    fn invalid_lists_are_refused() {
        let twice = Users::builder().user(User::new("u", "a")).user(User::new("u", "b"));
        assert_eq!(twice.build().unwrap_err(), UsersError::Duplicate("u".into()));
        let nameless = Users::builder().user(User::new("", "a"));
        assert_eq!(nameless.build().unwrap_err(), UsersError::Nameless);
        let unknown = Users::builder().user(User::new("u", "a")).no_auth_user("v");
        assert_eq!(unknown.build().unwrap_err(), UsersError::UnknownNoAuthUser("v".into()));
    }

    #[test]
    fn printed_users_show_no_password() {
        let hash = bcrypt::hash("marker", 4).unwrap();
        let users = [User::new("a", "marker"), User::new("b", &*hash)];
        let users = Users::builder().users(users).no_auth_user("a").build().unwrap();
        let decision = users.authenticate(&shows("b", "marker"));
        for shown in [format!("{users:?}"), format!("{decision:?}")] {
            assert!(!shown.contains("marker") && !shown.contains(&hash[7..]), "{shown}");
        }
    }

    /// Reviews a session with the grant `held`, whose password has been forgotten.
    fn review(users: &Users, held: &Grant, user: &str) -> Result<Grant, Denied> {
        let credentials = Credentials { user: user.into(), ..Credentials::default() };
        users.review(held, &credentials).resolve()
    }

    #[test]
    fn a_user_still_on_the_list_with_the_same_password_stays() {
        let list = |users: &[(&str, &str)]| {
            let users = users.iter().map(|(name, password)| User::new(*name, *password));
            Users::builder().users(users).build().unwrap()
        };
        let held = log_in(&list(&[("a", "pw"), ("b", "pw")]), "a", "pw").unwrap();
        assert_eq!(review(&list(&[("a", "pw"), ("c", "x")]), &held, "a"), Ok(Grant::user("a")));
        assert_eq!(review(&list(&[("a", "pW")]), &held, "a"), Err(Denied::Credentials));
        assert_eq!(review(&list(&[("b", "pw")]), &held, "a"), Err(Denied::Unknown));
        assert_eq!(review(&list(&[]), &held, "a"), Err(Denied::Unknown));
    }

    #[test]
    fn a_user_that_stays_gets_the_grant_of_the_new_list() {
        let permissions = Permissions::builder().publish_deny(["x"]).build().unwrap();
        let user = User::new("a", "pw").permissions(permissions.clone()).account("A");
        let before = Users::builder().user(User::new("a", "pw")).build().unwrap();
        let after = Users::builder().user(user).build().unwrap();
        let held = log_in(&before, "a", "pw").unwrap();
        let expected = Grant::user("a").with_account("A").with_permissions(permissions);
        assert_eq!(review(&after, &held, "a"), Ok(expected));
    }

    #[test]
    fn a_client_without_credentials_becomes_the_new_no_auth_user() {
        let list = |no_auth_user: Option<&str>| {
            let users = [User::new("a", "pw"), User::new("b", "pw")];
            let users = Users::builder().users(users);
            match no_auth_user {
                Some(name) => users.no_auth_user(name).build().unwrap(),
                None => users.build().unwrap(),
            }
        };
        let held = list(Some("a")).authenticate(&Credentials::default()).resolve().unwrap();
        assert_eq!(review(&list(Some("b")), &held, ""), Ok(Grant::user("b")));
        assert_eq!(review(&list(None), &held, ""), Err(Denied::Credentials));
    }

    #[test]
    fn a_client_with_a_token_is_not_a_user() {
        let credentials = Credentials { token: "t".into(), ..Credentials::default() };
        let held = crate::auth::Token::new("t").authenticate(&credentials).resolve().unwrap();
        let users = Users::builder().user(User::new("a", "pw")).no_auth_user("a").build().unwrap();
        assert_eq!(review(&users, &held, ""), Err(Denied::Credentials));
    }

    #[test]
    fn a_client_accepted_without_a_check_is_authenticated() {
        let users = Users::builder().user(User::new("a", "pw")).build().unwrap();
        let held = Grant::user("a");
        for (password, expected) in [("pw", Ok(Grant::user("a"))), ("", Err(Denied::Credentials))] {
            assert_eq!(users.review(&held, &shows("a", password)).resolve(), expected);
        }
    }

    #[test]
    fn users_stay_when_authentication_is_switched_off_and_on_again() {
        let users = Users::builder().user(User::new("a", "pw")).build().unwrap();
        let held = log_in(&users, "a", "pw").unwrap();
        let credentials = Credentials { user: "a".into(), ..Credentials::default() };
        let between = crate::auth::NoAuth.review(&held, &credentials).resolve().unwrap();
        assert_eq!(between, Grant::user("a"));
        assert_eq!(review(&users, &between, "a"), Ok(Grant::user("a")));
    }

    #[test]
    fn a_password_that_is_hashed_now_keeps_its_user() {
        let hash = bcrypt::hash("pw", 4).unwrap();
        let list =
            |password: &str| Users::builder().user(User::new("a", password)).build().unwrap();
        let before = list("pw");
        let held = log_in(&before, "a", "pw").unwrap();
        let hashed = list(&hash).succeeding(&before);
        let held = review(&hashed, &held, "a").unwrap();
        let again = list(&hash).succeeding(&hashed);
        assert_eq!(review(&again, &held, "a"), Ok(Grant::user("a")));
        assert_eq!(review(&list("pW").succeeding(&hashed), &held, "a"), Err(Denied::Credentials));
    }

    fn certificate(change: impl FnOnce(&mut Certificate)) -> Credentials {
        let mut certificate = Certificate::default();
        change(&mut certificate);
        Credentials {
            certificate: Some(Arc::new(certificate)),
            is_mapped: true,
            ..Credentials::default()
        }
    }

    fn subject(rdns: &[(&str, &str)]) -> DistinguishedName {
        DistinguishedName::from_attributes(rdns.iter().map(|rdn| [*rdn]))
    }

    #[test]
    fn a_certificate_names_its_user_by_mail_host_uri_and_subject_in_this_order() {
        let names = ["a@b", "host", "urn:x", "CN=x,O=acme"];
        let full = |certificate: &mut Certificate| {
            certificate.emails = vec!["other@b".into(), "a@b".into()];
            certificate.dns_names = vec!["host".into()];
            certificate.uris = vec!["urn:x".into()];
            certificate.subject = subject(&[("2.5.4.10", "acme"), ("2.5.4.3", "x")]);
        };
        for (at, name) in names.iter().enumerate() {
            let users = names[at..].iter().map(|name| User::new(*name, ""));
            let users = Users::builder().users(users).build().unwrap();
            let grant = users.authenticate(&certificate(full)).resolve().unwrap();
            assert_eq!(grant.user.as_deref(), Some(*name));
        }
        let users = Users::builder().user(User::new("x", "")).build().unwrap();
        assert_eq!(users.authenticate(&certificate(full)).resolve(), Err(Denied::Credentials));
    }

    #[test]
    fn a_subject_names_its_user_in_either_order_and_as_the_reference_prints_it() {
        let (cn, ou, dc) = ("2.5.4.3", "2.5.4.11", "0.9.2342.19200300.100.1.25");
        let mail = "1.2.840.113549.1.9.1";
        for (rdns, name) in [
            (&[(dc, "org"), (cn, "x")][..], "CN=x,DC=org"),
            (&[(dc, "org"), (cn, "x")], "DC=org,CN=x"),
            (&[(dc, "org"), (dc, "acme"), (cn, "x"), (mail, "m")], "CN=x,DC=org,DC=acme"),
            (&[(ou, "a"), (ou, "b"), (cn, "x"), (mail, "m")], "CN=x,OU=a+OU=b"),
            (&[(cn, "x"), (mail, "m")], "CN=x"),
        ] {
            let users = Users::builder().user(User::new(name, "")).build().unwrap();
            let shown = certificate(|certificate| certificate.subject = subject(rdns));
            assert_eq!(users.authenticate(&shown).resolve(), Ok(Grant::user(name)), "{name}");
        }
        let users = Users::builder().user(User::new("CN=x", "")).build().unwrap();
        for rdns in [&[(cn, "y")][..], &[(cn, "x"), (ou, "a")], &[(ou, "x")], &[]] {
            let shown = certificate(|certificate| certificate.subject = subject(rdns));
            assert!(users.authenticate(&shown).resolve().is_err(), "{rdns:?}");
        }
    }

    #[test]
    fn mapped_credentials_use_only_the_certificate() {
        let users =
            Users::builder().user(User::new("host", "")).no_auth_user("host").build().unwrap();
        let mut without = shows("host", "");
        without.is_mapped = true;
        assert_eq!(users.authenticate(&without).resolve(), Err(Denied::Credentials));
        without.user = String::new();
        assert_eq!(users.authenticate(&without).resolve(), Err(Denied::Credentials));
        without.certificate = Some(Arc::default());
        assert_eq!(users.authenticate(&without).resolve(), Err(Denied::Credentials));
    }

    #[test]
    fn a_user_with_a_certificate_must_send_its_password_if_it_has_one() {
        let hash = bcrypt::hash("pw", 4).unwrap();
        for (stored, shown, is_let_in) in [
            ("", "", true),
            ("", "pw", false),
            ("pw", "", false),
            ("pw", "pw", true),
            (&hash, "pw", true),
            (&hash, "", false),
        ] {
            let users = Users::builder().user(User::new("host", stored)).build().unwrap();
            let mut credentials = certificate(|shown| shown.dns_names = vec!["host".into()]);
            credentials.password = shown.into();
            let grant = users.authenticate(&credentials).resolve();
            assert_eq!(grant.is_ok(), is_let_in, "{stored} {shown}");
        }
    }

    #[test]
    fn a_user_without_a_password_can_be_required_to_have_a_certificate() {
        let list = || Users::builder().users([User::new("cert", ""), User::new("u", "pw")]);
        assert!(log_in(&list().build().unwrap(), "cert", "").is_ok());
        let users = list().certificates_only(ConnectionKind::Standard).build().unwrap();
        assert_eq!(log_in(&users, "cert", ""), Err(Denied::Credentials));
        assert!(log_in(&users, "u", "pw").is_ok());
        let shown = certificate(|shown| shown.dns_names = vec!["cert".into()]);
        assert!(users.authenticate(&shown).resolve().is_ok());
    }

    #[test]
    fn a_client_with_a_certificate_stays_while_it_names_a_user() {
        let list = |names: &[(&str, &str)]| {
            let users = names.iter().map(|(name, password)| User::new(*name, *password));
            Users::builder().users(users).build().unwrap()
        };
        let shown = certificate(|shown| shown.dns_names = vec!["host".into()]);
        let held = list(&[("host", "")]).authenticate(&shown).resolve().unwrap();
        let review = |names: &[(&str, &str)]| list(names).review(&held, &shown).resolve();
        assert_eq!(review(&[("host", ""), ("more", "")]), Ok(Grant::user("host")));
        assert_eq!(review(&[("other", "")]), Err(Denied::Unknown));
        assert_eq!(review(&[("host", "pw")]), Err(Denied::Credentials));
    }
}
