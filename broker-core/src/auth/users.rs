//! Users with passwords.

use std::collections::HashMap;
use std::sync::Arc;

use super::password::{Bcrypt, Password};
use super::{
    Authenticator, ConnectionKind, Credentials, Decision, Denied, Grant, Permissions, Secret,
};

/// Lets in who knows the password of a user on its list; one user is a list of one.
///
/// A name that is not on the list and a password that is wrong cannot be told apart: if any password
/// is kept as a bcrypt hash, every failure takes the time of the dearest of them.
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
    by_name: HashMap<Arc<str>, User>,
    /// What a failure is compared with, if no hash was: the dearest of all.
    decoy: Option<Bcrypt>,
    no_auth_user: Option<User>,
}

impl Users {
    /// Starts with an empty list.
    pub fn builder() -> UsersBuilder {
        UsersBuilder::default()
    }
}

impl Authenticator for Users {
    fn is_required(&self) -> bool {
        self.no_auth_user.is_none()
    }

    // NATS 2.14: auth.go processClientOrLeafAuthentication, the part for users.
    fn authenticate(&self, credentials: &Credentials) -> Decision {
        if let Some(user) = &self.no_auth_user
            && credentials.is_anonymous()
        {
            // The reference checks this user's password against itself, so that one kept as a hash
            // lets nobody in without CONNECT's `pass`. We take `no_auth_user` at its word.
            return user.admit(credentials.kind).into();
        }
        if credentials.user.is_empty() {
            return Denied::Credentials.into();
        }
        let user = self.by_name.get(&*credentials.user);
        match user.map(|user| (user, &user.password)) {
            Some((user, Password::Plain(password))) if *password == credentials.password => {
                user.admit(credentials.kind).into()
            }
            Some((user, Password::Bcrypt(hash))) => {
                compute(hash, credentials, user.admit(credentials.kind))
            }
            _ => match &self.decoy {
                Some(hash) => compute(hash, credentials, Err(Denied::Credentials)),
                None => Denied::Credentials.into(),
            },
        }
    }
}

/// `verdict` if the password is right, but in any case the time it takes to find out.
fn compute(hash: &Bcrypt, credentials: &Credentials, verdict: Result<Grant, Denied>) -> Decision {
    let (hash, shown) = (hash.clone(), credentials.password.clone());
    Decision::compute(move || if hash.verify(&shown) { verdict } else { Err(Denied::Credentials) })
}

/// Somebody who may log in.
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
    /// A user of the global account who may do everything. The password is plain or a bcrypt hash,
    /// recognised by how it begins (`$2a$10$…`).
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

    /// Says where the user may publish and subscribe.
    pub fn permissions(mut self, permissions: impl Into<Arc<Permissions>>) -> Self {
        self.permissions = Some(permissions.into());
        self
    }

    /// Lets the user in over these kinds of connections only; over all if there is none.
    pub fn connection_kinds(mut self, kinds: impl IntoIterator<Item = ConnectionKind>) -> Self {
        self.kinds.extend(kinds);
        self
    }

    /// What the user gets once known to be the user.
    fn admit(&self, kind: ConnectionKind) -> Result<Grant, Denied> {
        if !self.kinds.is_empty() && !self.kinds.contains(&kind) {
            return Err(Denied::ConnectionKind);
        }
        let mut grant = Grant::user(self.name.clone());
        if let Some(account) = &self.account {
            grant = grant.with_account(account.clone());
        }
        grant.permissions = self.permissions.clone();
        Ok(grant)
    }
}

/// Builds [`Users`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct UsersBuilder {
    users: Vec<User>,
    default_permissions: Option<Arc<Permissions>>,
    no_auth_user: Option<Arc<str>>,
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

    /// What users get who have no permissions of their own.
    pub fn default_permissions(mut self, permissions: impl Into<Arc<Permissions>>) -> Self {
        self.default_permissions = Some(permissions.into());
        self
    }

    /// Who somebody is taken for that shows no name, no password and no token.
    pub fn no_auth_user(mut self, name: impl Into<Arc<str>>) -> Self {
        self.no_auth_user = Some(name.into());
        self
    }

    /// Checks that names are unique.
    ///
    /// # Errors
    ///
    /// [`UsersError`] names the first user that cannot be.
    pub fn build(self) -> Result<Users, UsersError> {
        let mut by_name = HashMap::with_capacity(self.users.len());
        for mut user in self.users {
            if user.name.is_empty() {
                return Err(UsersError::Nameless);
            }
            if user.permissions.is_none() {
                user.permissions.clone_from(&self.default_permissions);
            }
            if let Some(other) = by_name.insert(user.name.clone(), user) {
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
        let hashes = by_name.values().filter_map(|user: &User| match &user.password {
            Password::Bcrypt(hash) => Some(hash),
            Password::Plain(_) => None,
        });
        let decoy = hashes.max_by(|a, b| a.cost().cmp(b.cost())).cloned();
        Ok(Users { by_name, decoy, no_auth_user })
    }
}

/// Why a list of users was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UsersError {
    /// Two users have the same name.
    #[error("there are two users {0:?}")]
    Duplicate(String),
    /// A user has no name, and could never log in.
    #[error("a user needs a name")]
    Nameless,
    /// The user for those who show nothing is not on the list.
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
    fn the_right_password_lets_in_and_nothing_else_does() {
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
    fn an_empty_list_lets_nobody_in() {
        let users = Users::builder().build().unwrap();
        assert!(users.is_required());
        assert!(users.authenticate(&Credentials::default()).resolve().is_err());
    }

    #[test]
    fn where_there_is_a_hash_all_failures_look_alike() {
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

    /// The decoy is somebody's hash: knowing their password must not help anybody else.
    #[test]
    fn the_password_behind_the_decoy_lets_no_stranger_in() {
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
    fn the_decoy_is_the_dearest_hash() {
        let hash = |cost| bcrypt::hash("pw", cost).unwrap();
        let users = Users::builder()
            .users([User::new("a", hash(4)), User::new("b", hash(6)), User::new("c", hash(5))])
            .build()
            .unwrap();
        assert_eq!(users.decoy.unwrap().cost(), "06");
    }

    #[test]
    fn who_shows_nothing_is_the_no_auth_user() {
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
    fn a_user_comes_over_the_kinds_of_connections_allowed() {
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
            "only who knows the password learns why"
        );
    }

    #[test]
    fn a_user_gets_their_account_and_permissions_or_the_default() {
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
    fn lists_that_make_no_sense_are_refused() {
        let twice = Users::builder().user(User::new("u", "a")).user(User::new("u", "b"));
        assert_eq!(twice.build().unwrap_err(), UsersError::Duplicate("u".into()));
        let nameless = Users::builder().user(User::new("", "a"));
        assert_eq!(nameless.build().unwrap_err(), UsersError::Nameless);
        let unknown = Users::builder().user(User::new("u", "a")).no_auth_user("v");
        assert_eq!(unknown.build().unwrap_err(), UsersError::UnknownNoAuthUser("v".into()));
    }

    #[test]
    fn printed_users_tell_no_password() {
        let hash = bcrypt::hash("marker", 4).unwrap();
        let users = [User::new("a", "marker"), User::new("b", &*hash)];
        let users = Users::builder().users(users).no_auth_user("a").build().unwrap();
        let decision = users.authenticate(&shows("b", "marker"));
        for shown in [format!("{users:?}"), format!("{decision:?}")] {
            assert!(!shown.contains("marker") && !shown.contains(&hash[7..]), "{shown}");
        }
    }
}
