//! Builds the core's authenticators from options.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use broker_core::auth::{self, Authenticator, ConnectionKind, NoAuth, Secret, Token, Users};
use broker_net::Authenticators;
use foldhash::fast::RandomState;

#[cfg(feature = "jwt")]
use super::Operators;
use super::callout::Delegation;
use super::{
    AllowResponses, Authorization, Options, OptionsError, Permissions, SimpleAuthorization,
    SubjectLists, Tls, User, WebsocketError,
};
use crate::config::path::Path;

/// The system account, which receives the server's own events.
// NATS 2.14: const.go.
pub(super) const SYSTEM_ACCOUNT: &str = "$SYS";

#[cfg(test)]
thread_local! {
    /// The number of lists of users that this thread has built.
    pub(crate) static BUILT_LISTS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The access rule of a listener.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Access {
    /// No credentials are required.
    Anybody,
    /// Users with passwords.
    Users(Users),
    /// Clients that present the token.
    Token(Token),
    /// Users with JWTs of accounts that a trusted operator has signed.
    #[cfg(feature = "jwt")]
    Operators(Box<Operators>),
}

impl Access {
    /// Replaces `before`. Clients whose credentials and permissions are the same in both stay
    /// authenticated.
    #[must_use]
    pub fn succeeding(self, before: &Self) -> Self {
        match (self, before) {
            (Self::Users(users), Self::Users(before)) => Self::Users(users.succeeding(before)),
            (Self::Token(token), Self::Token(before)) => Self::Token(token.succeeding(before)),
            #[cfg(feature = "jwt")]
            (Self::Operators(operators), Self::Operators(before)) => {
                Self::Operators(Box::new(operators.succeeding(before)))
            }
            (access, _) => access,
        }
    }

    /// Returns the authenticator for this rule.
    pub fn authenticator(self) -> Arc<dyn Authenticator> {
        match self {
            Self::Anybody => Arc::new(NoAuth),
            Self::Users(users) => Arc::new(users),
            Self::Token(token) => Arc::new(token),
            #[cfg(feature = "jwt")]
            Self::Operators(operators) => Arc::new(operators.mode().clone()),
        }
    }
}

/// The access rules of all listeners.
#[derive(Clone, Debug)]
pub(crate) struct Deciders {
    pub(crate) all: Access,
    /// The WebSocket rule, if different.
    pub(crate) websocket: Option<Access>,
    /// The service that decides about clients.
    pub(crate) delegation: Delegation,
    /// The proxies that may connect on behalf of clients.
    pub(crate) proxies: super::proxies::Trusted,
}

impl Deciders {
    /// Replaces `before`: see [`Access::succeeding`].
    pub(crate) fn succeeding(self, before: &Self) -> Self {
        let websocket = match (self.websocket, &before.websocket) {
            (Some(access), Some(before)) => Some(access.succeeding(before)),
            (access, _) => access,
        };
        let delegation = self.delegation.succeeding(&before.delegation);
        let proxies = self.proxies.succeeding(&before.proxies);
        Self { all: self.all.succeeding(&before.all), websocket, delegation, proxies }
    }

    /// Returns the trusted operators.
    #[cfg(feature = "jwt")]
    pub(crate) fn operators(&self) -> Option<&Operators> {
        match &self.all {
            Access::Operators(operators) => Some(operators),
            _ => None,
        }
    }

    /// Checks the files that the configuration of operators names, which may have changed while it has not.
    pub(crate) fn check_files(&self) -> Result<(), OptionsError> {
        #[cfg(feature = "jwt")]
        if let Some(operators) = self.operators() {
            operators.check_files()?;
        }
        Ok(())
    }

    /// Returns the authenticators, each with the service that it asks.
    pub(crate) fn authenticators(self) -> Authenticators {
        #[cfg(feature = "jwt")]
        if let Some(operators) = self.operators() {
            self.delegation.introduce_to_services(operators.mode());
        }
        let around =
            |access: Access| self.proxies.around(self.delegation.around(access.authenticator()));
        Authenticators { all: around(self.all), websocket: self.websocket.map(around) }
    }
}

impl Options {
    pub(crate) fn deciders(&self) -> Result<Deciders, OptionsError> {
        let (all, websocket) = (self.access()?, self.websocket_access()?);
        let (delegation, proxies) = (Delegation::of(self)?, super::proxies::Trusted::of(self)?);
        Ok(Deciders { all, websocket, delegation, proxies })
    }

    /// Returns the access rule of the WebSocket block, if it has its own.
    // NATS 2.14: websocket.go wsConfigAuth and validateWebsocketOptions.
    fn websocket_access(&self) -> Result<Option<Access>, OptionsError> {
        let set = &self.websocket;
        if !set.is_on() {
            return Ok(None);
        }
        if let Some(cookie) = set.jwt_cookie.as_ref().filter(|_| !self.trusts_operators()) {
            return Err(WebsocketError::JwtCookieAlone(cookie.clone()).into());
        }
        if self.trusts_operators() {
            return Ok(None);
        }
        let SimpleAuthorization { user, password, token, .. } = &set.authorization;
        match (user, password, token) {
            (None, Some(_), None) => return Err(WebsocketError::PasswordWithoutUser.into()),
            (Some(_), _, Some(_)) | (None, Some(_), Some(_)) => {
                return Err(WebsocketError::UserAndToken.into());
            }
            (Some(_), _, None) if self.has_users() => {
                return Err(WebsocketError::UserAndUsers.into());
            }
            (None, None, Some(_)) if self.has_users() => {
                return Err(WebsocketError::TokenAndUsers.into());
            }
            _ => {}
        }
        if let Some(name) = &set.no_auth_user {
            let unknown = || WebsocketError::NoAuthUser(name.clone());
            if !self.has_users() {
                return Err(unknown().into());
            }
            let default = self.authorization.default_permissions.as_ref();
            return match self.users(default, Some(name)) {
                Ok(users) => Ok(Some(Access::Users(users))),
                Err(OptionsError::NoAuthUserAlone(_)) => Err(unknown().into()),
                Err(error) => Err(error),
            };
        }
        if let Some(name) = user {
            let user = auth::User::new(name.as_str(), password.clone().unwrap_or_default());
            return Ok(Some(Access::Users(Users::builder().user(user).build()?)));
        }
        Ok(token.as_ref().map(|token| Access::Token(Token::new(token.clone()))))
    }

    /// Returns true if users need JWTs.
    #[cfg(feature = "jwt")]
    fn trusts_operators(&self) -> bool {
        self.has_operators()
    }

    /// The options for it are refused.
    #[cfg(not(feature = "jwt"))]
    fn trusts_operators(&self) -> bool {
        false
    }

    /// Returns true if there is a list of users.
    pub(super) fn has_users(&self) -> bool {
        self.authorization.users.is_some()
            || self.accounts.values().any(|account| !account.users.is_empty())
    }

    /// Returns the access rule.
    ///
    /// # Errors
    ///
    /// Returns an error for contradictory settings. nats-server starts with some of them, and then
    /// accepts more clients than the operator intended.
    pub fn access(&self) -> Result<Access, OptionsError> {
        if self.accounts.contains_key(auth::GLOBAL_ACCOUNT) {
            return Err(OptionsError::ReservedAccount(auth::GLOBAL_ACCOUNT.into()));
        }
        #[cfg(feature = "jwt")]
        if let Some(operators) = self.operators()? {
            return Ok(Access::Operators(Box::new(operators)));
        }
        self.check_system_account()?;
        let one = &self.authorization;
        let (user, password, token) =
            (one.user.as_deref(), one.password.as_ref(), one.token.as_ref());
        let no_auth_user = self.no_auth_user.as_deref();
        let has_users = self.has_users();

        match (user, password, token) {
            // Beside a list of users a password is harmless, and often a variable: `PASS: x, users:
            // [...]`.
            (None, Some(_), None) if !has_users => return Err(OptionsError::PasswordWithoutUser),
            (Some(_), _, Some(_)) | (None, Some(_), Some(_)) => {
                return Err(OptionsError::UserAndToken);
            }
            (Some(_), _, None) if has_users => return Err(OptionsError::UserAndUsers),
            (None, None, Some(_)) if has_users => return Err(OptionsError::TokenAndUsers),
            _ => {}
        }
        if let (Some(name), false) = (no_auth_user, has_users) {
            return Err(OptionsError::NoAuthUserAlone(name.to_owned()));
        }

        let default = one.default_permissions.as_ref();
        if let Some(name) = user {
            // NATS 2.14 ignores these permissions; natsd applies them, as the operator intended.
            let password = password.cloned().unwrap_or_default();
            let mut user = auth::User::new(name, password);
            if let Some(permissions) = default {
                user = user.permissions(permissions.build("authorization.default_permissions")?);
            }
            user = user.proxy_required(one.proxy_required);
            return Ok(Access::Users(Users::builder().user(user).build()?));
        }
        if let Some(token) = token {
            let token = Token::new(token.clone()).proxy_required(one.proxy_required);
            return Ok(Access::Token(token));
        }
        if has_users {
            return self.users(default, no_auth_user).map(Access::Users);
        }
        Ok(Access::Anybody)
    }

    fn users(
        &self,
        default: Option<&Permissions>,
        no_auth_user: Option<&str>,
    ) -> Result<Users, OptionsError> {
        #[cfg(test)]
        BUILT_LISTS.set(BUILT_LISTS.get() + 1);
        let mut built = BuiltUsers::default();
        let listed = self.authorization.users.as_deref().unwrap_or_default();
        let block = Path::Text("authorization");
        built.add(block.name("users"), listed, default, None)?;
        for (name, account) in &self.accounts {
            let block = Path::Text("accounts");
            let block = block.name(name);
            let default = account.default_permissions.as_ref();
            built.add(block.name("users"), &account.users, default, Some(name))?;
        }
        let BuiltUsers { users, names, .. } = built;
        let mut builder = Users::builder().users(users);
        if names.is_empty() {
            return Err(OptionsError::NoUsers);
        }
        if let Some(name) = no_auth_user {
            if !names.contains(name) {
                return Err(OptionsError::NoAuthUserAlone(name.to_owned()));
            }
            builder = builder.no_auth_user(name);
        } else if self.is_open_beside_system_account() {
            let mut name = String::from("anonymous");
            while names.contains(name.as_str()) {
                name.push('_');
            }
            builder = builder.user(auth::User::new(name.as_str(), "")).no_auth_user(name);
        }
        for kind in self.kinds_known_by_certificate() {
            builder = builder.certificates_only(kind);
        }
        Ok(builder.build()?)
    }

    /// Returns the kinds of connections whose users are found by their certificates: a user without a password who may
    /// come by one of them cannot log in by name. Listeners that natsd does not have yet count too: a file that was
    /// written for them would otherwise admit everyone who knows the name.
    // NATS 2.14: auth.go canTLSMap.
    fn kinds_known_by_certificate(&self) -> Vec<ConnectionKind> {
        let maps = |tls: Option<&Tls>| tls.is_some_and(|tls| tls.verify_and_map);
        let (mqtt, leafs) = (&self.mqtt, &self.leafnodes);
        let own = &leafs.authorization;
        let has_leaf_users = own.user.is_some() || own.nkey.is_some() || !own.users.is_empty();
        let by_mqtt = mqtt.port != 0 && maps(mqtt.tls.as_ref());
        let by_leafs = leafs.port != 0 && maps(leafs.tls.as_ref()) && !has_leaf_users;
        let websocket = &self.websocket;
        let over_websocket = websocket.is_on()
            && websocket.tls.as_ref().is_some_and(|tls| tls.verify || tls.verify_and_map);
        [
            (ConnectionKind::Standard, maps(self.tls.as_ref())),
            (ConnectionKind::Websocket, websocket.maps_certificates()),
            (ConnectionKind::Mqtt, by_mqtt),
            (ConnectionKind::MqttWs, by_mqtt && over_websocket),
            (ConnectionKind::Leafnode, by_leafs),
            (ConnectionKind::LeafnodeWs, by_leafs && over_websocket),
        ]
        .into_iter()
        .filter_map(|(kind, is_mapped)| is_mapped.then_some(kind))
        .collect()
    }

    /// Returns the name of the account that receives the server's own events.
    pub fn system_account(&self) -> &str {
        self.system_account.as_deref().unwrap_or(SYSTEM_ACCOUNT)
    }

    /// Returns true if the server publishes events and answers requests in its system account.
    // NATS 2.14: server.go configureAccounts: a declared account of the usual name is one.
    pub fn has_system_account(&self) -> bool {
        !self.no_system_account
            || self.system_account.is_some()
            || self.accounts.contains_key(SYSTEM_ACCOUNT)
    }

    // NATS 2.14: server.go configureAccounts. It accepts the global account, whose clients could then stop the server.
    fn check_system_account(&self) -> Result<(), OptionsError> {
        let name = self.system_account();
        if name == auth::GLOBAL_ACCOUNT {
            return Err(OptionsError::GlobalSystemAccount);
        }
        let is_there =
            self.accounts.contains_key(name) || (name == SYSTEM_ACCOUNT && !self.no_system_account);
        // Claims may name it.
        let has_claims = !self.operator.is_empty() || !self.trusted_keys.is_empty();
        match &self.system_account {
            Some(_) if !is_there && !has_claims => {
                Err(OptionsError::NoSystemAccount(name.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Returns true if only the system account has users: they are for operators, and clients need
    /// no credentials, as if there were no users.
    // NATS 2.14: server.go configureAccounts.
    pub fn is_open_beside_system_account(&self) -> bool {
        self.accounts.keys().eq([self.system_account()])
            && self.no_auth_user.is_none()
            && self.authorization == Authorization::default()
    }

    /// Returns true if a password or token is stored in plain text instead of as a hash.
    // NATS 2.14: auth.go checkAuthforWarnings.
    pub(crate) fn has_plain_passwords(&self) -> bool {
        let is_plain = |secret: &Secret| !secret.is_empty() && !secret.expose().starts_with("$2");
        let one = &self.authorization;
        let listed = one.users.iter().flatten();
        let users = listed.chain(self.accounts.values().flat_map(|account| &account.users));
        one.password.iter().chain(&one.token).any(is_plain)
            || users.map(|user| &user.password).any(is_plain)
    }
}

impl User {
    fn build<'a>(
        &'a self,
        path: Path<'_>,
        default: Option<&'a Permissions>,
        known: &mut KnownPermissions<'a>,
    ) -> Result<auth::User, OptionsError> {
        let kinds: Vec<ConnectionKind> =
            self.allowed_connection_types.iter().filter_map(|kind| kind.parse().ok()).collect();
        let mut user = self.identify(path)?.connection_kinds(kinds);
        user = user.proxy_required(self.proxy_required);
        if let Some(permissions) = self.permissions.as_deref().or(default) {
            user = user.permissions(known.build(permissions, path)?);
        }
        Ok(user)
    }
}

impl User {
    /// Builds the user with its name and password, or its key.
    // NATS 2.14: opts.go parseUsers.
    fn identify(&self, path: Path<'_>) -> Result<auth::User, OptionsError> {
        if let Some(key) = &self.nkey {
            if self.user.is_some() || !self.password.is_empty() {
                return Err(OptionsError::NkeyAndName(path.to_string()));
            }
            return by_key(key).ok_or_else(|| OptionsError::BadNkey(path.to_string()));
        }
        let Some(name) = &self.user else {
            return Err(OptionsError::NamelessUser(path.to_string()));
        };
        Ok(auth::User::new(name.as_str(), self.password.clone()))
    }
}

#[cfg(feature = "jwt")]
fn by_key(key: &str) -> Option<auth::User> {
    use broker_core::auth::nkey::{KeyKind, PublicKey};
    PublicKey::parse_as(KeyKind::User, key).ok().map(auth::User::nkey)
}

/// The option is refused before.
#[cfg(not(feature = "jwt"))]
fn by_key(_key: &str) -> Option<auth::User> {
    None
}

/// The users of all lists.
#[derive(Default)]
struct BuiltUsers<'a> {
    users: Vec<auth::User>,
    names: HashSet<&'a str, RandomState>,
    known: KnownPermissions<'a>,
}

impl<'a> BuiltUsers<'a> {
    /// Adds the users of one list, `path`.
    fn add(
        &mut self,
        path: Path<'_>,
        users: &'a [User],
        default: Option<&'a Permissions>,
        account: Option<&str>,
    ) -> Result<(), OptionsError> {
        let account: Option<Arc<str>> = account.map(Into::into);
        for (index, user) in users.iter().enumerate() {
            let path = path.item(index);
            let mut built = user.build(path, default, &mut self.known)?;
            if let Some(account) = &account {
                built = built.account(Arc::clone(account));
            }
            let name = user.nkey.as_deref().or(user.user.as_deref()).unwrap_or_default();
            if !self.names.insert(name) {
                let path = path.to_string();
                return Err(OptionsError::DuplicateUser { path, name: name.into() });
            }
            self.users.push(built);
        }
        Ok(())
    }
}

/// Permissions already built, since thousands of users may share the same.
#[derive(Default)]
struct KnownPermissions<'a>(HashMap<&'a Permissions, Arc<auth::Permissions>, RandomState>);

impl<'a> KnownPermissions<'a> {
    fn build(
        &mut self,
        permissions: &'a Permissions,
        path: Path<'_>,
    ) -> Result<Arc<auth::Permissions>, OptionsError> {
        if let Some(known) = self.0.get(permissions) {
            return Ok(Arc::clone(known));
        }
        let built = Arc::new(permissions.build(&path.to_string())?);
        self.0.insert(permissions, Arc::clone(&built));
        Ok(built)
    }
}

impl Permissions {
    /// Builds the core's permissions. `path` is their place in the configuration.
    fn build(&self, path: &str) -> Result<auth::Permissions, OptionsError> {
        let nothing = SubjectLists::default();
        let publish = self.publish.as_ref().unwrap_or(&nothing);
        let subscribe = self.subscribe.as_ref().unwrap_or(&nothing);
        let mut builder = auth::Permissions::builder()
            .publish_deny(&publish.deny)
            .subscribe_deny(&subscribe.deny);
        // NATS 2.14: an empty list equals an absent one.
        if !publish.allow.is_empty() {
            builder = builder.publish_allow(&publish.allow);
        }
        if !subscribe.allow.is_empty() {
            builder = builder.subscribe_allow(&subscribe.allow);
        }
        if let Some(AllowResponses { max, expires }) = self.allow_responses {
            builder = builder.allow_responses(auth::AllowResponses::new(max, expires));
        }
        builder
            .build()
            .map_err(|source| OptionsError::Permissions { path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use broker_core::auth::Credentials;

    use super::*;
    use crate::options::{Account, Leafnodes, Mqtt, Websocket};

    fn refusal(authorization: Authorization) -> String {
        let options = Options { authorization, ..Options::default() };
        options.access().expect_err("refused").to_string()
    }

    fn user(name: &str) -> User {
        User { user: Some(name.into()), password: "p".into(), ..User::default() }
    }

    fn log_in(options: &Options, name: &str, password: &str) -> Option<auth::Grant> {
        let mut credentials = Credentials::default();
        credentials.user = name.into();
        credentials.password = password.into();
        options.access().unwrap().authenticator().authenticate(&credentials).resolve().ok()
    }

    /// A file that was written for a listener that natsd does not have must not admit more than nats-server would.
    #[test]
    fn a_name_alone_admits_nobody_whom_a_listener_knows_by_certificate() {
        let mapped = || Some(Tls { verify: true, verify_and_map: true, ..Tls::default() });
        let unmapped = || Some(Tls { verify: true, ..Tls::default() });
        let websocket = Websocket { port: 1, tls: unmapped(), ..Websocket::default() };
        let over_websocket = Options { websocket, ..Options::default() };
        let mqtt = |port, tls| Options {
            mqtt: Mqtt { port, tls, ..Mqtt::default() },
            ..over_websocket.clone()
        };
        let leafs = |change: fn(&mut Leafnodes)| {
            let mut leafnodes = Leafnodes { port: 1, tls: mapped(), ..Leafnodes::default() };
            change(&mut leafnodes);
            Options { leafnodes, ..Options::default() }
        };
        let all: Vec<String> = Vec::new();
        let only = |kind: &str| vec![kind.to_owned()];
        for (options, kinds, is_in) in [
            (Options::default(), all.clone(), true),
            (Options { tls: mapped(), ..Options::default() }, all.clone(), false),
            (mqtt(1, mapped()), all.clone(), false),
            (mqtt(1, mapped()), only("STANDARD"), true),
            (mqtt(0, mapped()), all.clone(), true),
            (mqtt(1, unmapped()), all.clone(), true),
            (leafs(|_| ()), all.clone(), false),
            (leafs(|_| ()), only("STANDARD"), true),
            (leafs(|one| one.port = 0), all.clone(), true),
            (leafs(|one| one.authorization.user = Some("l".into())), all, true),
        ] {
            let mut one = User { user: Some("a".into()), ..User::default() };
            one.allowed_connection_types.clone_from(&kinds);
            let authorization = Authorization { users: Some(vec![one]), ..Default::default() };
            let options = Options { authorization, ..options };
            assert_eq!(log_in(&options, "a", "").is_some(), is_in, "{kinds:?} {options:?}");
        }
        let kinds = mqtt(1, mapped()).kinds_known_by_certificate();
        assert_eq!(kinds, [ConnectionKind::Mqtt, ConnectionKind::MqttWs]);
    }

    #[test]
    fn a_secret_does_not_print() {
        let authorization = Authorization { token: Some("s3cr3t".into()), ..Default::default() };
        let options = Options { authorization, ..Options::default() };
        assert!(!format!("{options:?}").contains("s3cr3t"));
    }

    #[test]
    fn settings_that_would_admit_too_many_clients_are_refused() {
        let secret = || Some(Secret::from("x"));
        let name = || Some(String::from("u"));
        for (authorization, text) in [
            (
                Authorization { password: secret(), ..Default::default() },
                "authorization: a password needs a user",
            ),
            (
                Authorization { user: name(), token: secret(), ..Default::default() },
                "authorization: a token cannot be combined with a user and password",
            ),
            (
                Authorization { user: name(), users: Some(vec![]), ..Default::default() },
                "authorization: a single user cannot be combined with a list of users",
            ),
            (
                Authorization { token: secret(), users: Some(vec![]), ..Default::default() },
                "authorization: a token cannot be combined with a list of users",
            ),
            (
                Authorization { users: Some(vec![]), ..Default::default() },
                "authorization: the list of users is empty: nobody could connect",
            ),
            (
                Authorization { users: Some(vec![User::default()]), ..Default::default() },
                "authorization.users[0]: a user needs a name",
            ),
            (
                Authorization { users: Some(vec![user("a"), user("a")]), ..Default::default() },
                "there is another user \"a\"",
            ),
        ] {
            assert_eq!(refusal(authorization), text);
        }
    }

    #[test]
    fn permissions_beside_a_token_are_ignored_with_a_warning() {
        let authorization = Authorization {
            token: Some("t".into()),
            default_permissions: Some(Permissions::default()),
            ..Default::default()
        };
        let options = Options { authorization, ..Options::default() };
        assert!(matches!(options.access(), Ok(Access::Token(_))), "{:?}", options.access());
        let paths: Vec<_> = options.advice().into_iter().map(|advice| advice.path).collect();
        assert_eq!(paths, ["authorization.default_permissions"]);
    }

    #[test]
    fn a_password_beside_a_list_of_users_is_ignored() {
        let authorization = Authorization {
            password: Some("x".into()),
            users: Some(vec![user("a")]),
            ..Default::default()
        };
        let options = Options { authorization, ..Options::default() };
        assert!(log_in(&options, "a", "p").is_some());
        assert!(log_in(&options, "", "x").is_none());
    }

    #[test]
    fn a_user_without_a_password_has_the_empty_one() {
        let authorization = Authorization { user: Some("u".into()), ..Default::default() };
        let options = Options { authorization, ..Options::default() };
        assert!(log_in(&options, "u", "").is_some());
        assert!(log_in(&options, "u", "x").is_none());
    }

    #[test]
    fn users_of_accounts_are_in_their_accounts() {
        let account = Account { users: vec![user("a")], ..Account::default() };
        let authorization = Authorization { users: Some(vec![user("b")]), ..Default::default() };
        let accounts = [(String::from("A"), account)].into();
        let options = Options { authorization, accounts, ..Options::default() };
        assert_eq!(&*log_in(&options, "a", "p").unwrap().account, "A");
        assert_eq!(&*log_in(&options, "b", "p").unwrap().account, "$G");
    }

    #[test]
    fn users_of_the_system_account_alone_do_not_exclude_clients() {
        let of = |names: [&str; 2]| {
            let account = |name: &str| {
                (name.to_owned(), Account { users: vec![user(name)], ..Account::default() })
            };
            Options { accounts: names.map(account).into(), ..Options::default() }
        };
        let alone = of(["$SYS", "$SYS"]);
        assert_eq!(&*log_in(&alone, "$SYS", "p").unwrap().account, "$SYS");
        assert_eq!(&*log_in(&alone, "", "").unwrap().account, "$G");
        assert!(log_in(&alone, "$SYS", "x").is_none());

        assert!(log_in(&of(["$SYS", "A"]), "", "").is_none());
        assert!(log_in(&of(["A", "A"]), "", "").is_none());
        let authorization = Authorization { is_written: true, ..Authorization::default() };
        assert!(log_in(&Options { authorization, ..alone }, "", "").is_none());
    }

    #[test]
    fn the_system_account_is_one_of_the_accounts_but_not_the_global_one() {
        let of = |name: &str, accounts: &[&str]| {
            let account = |name: &&str| ((*name).to_owned(), Account::default());
            Options {
                system_account: Some(name.into()),
                accounts: accounts.iter().map(account).collect(),
                ..Options::default()
            }
        };
        let refusal = |options: &Options| options.access().err().map(|error| error.to_string());
        assert_eq!(refusal(&of("OPS", &["OPS", "A"])), None);
        assert_eq!(refusal(&of("$SYS", &[])), None);
        assert_eq!(
            refusal(&of("OPS", &["A"])).as_deref(),
            Some("error resolving system account: account missing: \"OPS\"")
        );
        assert!(refusal(&of("$G", &[])).unwrap().contains("cannot be the system account"));
        let without = Options { no_system_account: true, ..of("$SYS", &[]) };
        assert!(refusal(&without).is_some());
        assert!(without.has_system_account(), "it was named");
        let without = Options { system_account: None, ..without };
        assert!(!without.has_system_account());
        let accounts = of("", &["$SYS"]).accounts;
        assert!(Options { accounts, ..without }.has_system_account(), "it was declared");
        assert!(Options::default().has_system_account());
        let alone = Account { users: vec![user("ops")], ..Account::default() };
        let options = Options { accounts: [("OPS".into(), alone)].into(), ..of("OPS", &[]) };
        assert!(options.is_open_beside_system_account());
    }

    #[test]
    fn a_single_user_has_the_permissions_of_its_block() {
        let publish = SubjectLists { deny: vec!["x".into()], ..Default::default() };
        let authorization = Authorization {
            user: Some("u".into()),
            default_permissions: Some(Permissions {
                publish: Some(publish),
                ..Permissions::default()
            }),
            ..Default::default()
        };
        let options = Options { authorization, ..Options::default() };
        assert!(log_in(&options, "u", "").unwrap().permissions.is_some());
    }

    #[test]
    fn an_empty_allow_list_equals_an_absent_one() {
        let empty = Permissions { publish: Some(SubjectLists::default()), ..Default::default() };
        assert_eq!(empty.build("").unwrap(), auth::Permissions::builder().build().unwrap());
    }

    #[test]
    fn a_publish_permission_may_not_name_a_queue_group() {
        let publish = SubjectLists { allow: vec!["x q".into()], ..Default::default() };
        let permissions = Permissions { publish: Some(publish), ..Default::default() };
        let user = User { permissions: Some(permissions.into()), ..user("a") };
        let authorization = Authorization { users: Some(vec![user]), ..Default::default() };
        assert_eq!(
            refusal(authorization),
            "authorization.users[0]: permissions: publish allow: \"x q\" is not a subject"
        );
    }
}
