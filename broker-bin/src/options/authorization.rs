//! Authentication and permissions of clients.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use broker_core::auth::Secret;

use crate::config::declare::{
    block, blocks, formatted, integer, list, seconds, section, switch, text, with_jwt,
};
use crate::config::kind::{Format, Kind};
use crate::config::lang::{Entry, Map, Node, Value};
use crate::config::table::{Group, Meaning};

section! {
    /// Authentication of clients: one user, one token, or many users.
    pub struct Authorization = Block::new("authorization");

    /// Name of the only user.
    user: Option<String> = None => text().aliases(&["username"]).at_once().called("username")
        .flag(Group::Authorization, &["user"], "<user>");
    /// Password of that user, plain or as a bcrypt hash.
    password: Option<Secret> = None => formatted(Format::Secret).aliases(&["pass"]).at_once()
        .flag(Group::Authorization, &["pass"], "<password>");
    /// Token that every client must present, plain or as a bcrypt hash.
    token: Option<Secret> = None => formatted(Format::Secret).at_once()
        .flag(Group::Authorization, &["auth"], "<token>");
    /// Timeout of authentication.
    timeout: Duration = Duration::from_secs(2) => seconds()
        .zero_is_default().new_connections();
    /// The users.
    users: Option<Vec<User>> = None => blocks(User::block).at_once();
    /// Permissions of users who have none of their own.
    default_permissions: Option<Permissions> = None => block(Permissions::block)
        .aliases(&["default_permission", "permissions"]).unset("everything").at_once();
    /// Delegates authentication to a service.
    auth_callout: Option<AuthCallout> = None => with_jwt(block(AuthCallout::block))
        .aliases(&["auth_hook"]).called("AuthCallout");
    /// Clients with the user or the token of this block must connect through a trusted proxy.
    proxy_required: bool = false => switch();
    /// True if the block is present, even if empty: clients then need credentials although only the
    /// system account has users.
    is_written: bool = false => switch().internal().at_once().called("block");
}

section! {
    /// A user.
    pub struct User = Block::new("user");

    /// The name.
    user: Option<String> = None => text().aliases(&["username"]).unset("must be given");
    /// The password, plain or as a bcrypt hash.
    password: Secret = Secret::default() => formatted(Format::Secret).aliases(&["pass"]);
    /// Permissions of the user.
    permissions: Option<Arc<Permissions>> = None => block(Permissions::block)
        .aliases(&["permission", "authorization"]).unset("the default permissions");
    /// Connection types that the user may use.
    allowed_connection_types: Vec<String> = Vec::new() => list(Format::ConnectionKind)
        .aliases(&["connection_types", "clients"]).unset("all");
    /// The user's public key, in place of name and password.
    nkey: Option<String> = None => with_jwt(formatted(Format::Nkey("U", "a public user key")));
    /// The user must connect through a trusted proxy.
    proxy_required: bool = false => switch().at_once();
}

section! {
    /// Subjects for publishing and subscribing.
    pub struct Permissions = Block::new("permissions");

    /// Subjects for publishing.
    publish: Option<SubjectLists> = None => block(SubjectLists::block)
        .aliases(&["pub", "import"]).unset("everywhere").at_once();
    /// Subjects for subscribing; an entry may name a queue group after the subject.
    subscribe: Option<SubjectLists> = None => block(SubjectLists::block)
        .aliases(&["sub", "export"]).unset("everywhere").at_once();
    /// Permission to respond to received requests, regardless of `publish`.
    allow_responses: Option<AllowResponses> = None => block(AllowResponses::block)
        .aliases(&["publish_allow_responses"]).unset("false").at_once();
}

section! {
    /// Allowed subjects and exceptions. A subject, or an array of them, in place of the block is
    /// `allow`.
    pub struct SubjectLists = Block::new("subjects")
        .short("a subject, an array of subjects, or a map of \"allow\" and \"deny\"", allowed);

    /// Allowed subjects; an empty list allows all, as in nats-server.
    allow: Vec<String> = Vec::new() => list(Format::SubjectAndQueue).unset("everything").at_once();
    /// Denied subjects.
    deny: Vec<String> = Vec::new() => list(Format::SubjectAndQueue).unset("nothing").at_once();
}

section! {
    /// Limits of responses to a request. `true` is the block with its defaults.
    pub struct AllowResponses = Block::new("allow responses")
        .short("a map, true or false", if_on);

    /// Responses per request; a negative value is unlimited.
    max: i64 = 1 => integer(i64::MIN, i64::MAX).zero_is_default()
        .aliases(&["max_msgs", "max_messages", "max_responses"]).at_once();
    /// Time after a request in which responses are allowed; a negative value is unlimited.
    expires: Option<Duration> = Some(Duration::from_mins(2)) => Key::new(Kind::Lifetime)
        .zero_is_default().aliases(&["expiration", "ttl"]).at_once();
}

section! {
    /// A service that authenticates clients.
    pub struct AuthCallout = Block::new("auth callout").off(|_| false);

    /// Public key of the account that signs the responses.
    issuer: Option<String> = None => formatted(Format::Nkey("A", "a public account key"))
        .unset("must be given");
    /// The account of the service.
    account: String = "$G".into() => text().aliases(&["acc"]);
    /// Users that are not delegated: the service itself.
    auth_users: Vec<String> = Vec::new() => list(Format::Any).aliases(&["users"]).unset("must be given");
    /// Public key for encrypting the requests.
    xkey: Option<String> = None => formatted(Format::Nkey("X", "a public curve key")).aliases(&["key"]);
    /// Accounts to which the service may assign users.
    allowed_accounts: Vec<String> = Vec::new() => list(Format::Any).unset("all");
}

/// Equal permissions are stored once.
impl Hash for Permissions {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { publish, subscribe, allow_responses } = self;
        (publish, subscribe, allow_responses).hash(state);
    }
}

impl Hash for SubjectLists {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { allow, deny } = self;
        (allow, deny).hash(state);
    }
}

impl Hash for AllowResponses {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { max, expires } = self;
        (max, expires).hash(state);
    }
}

/// A subject or an array of them, in place of the block.
fn allowed(node: &Node) -> Meaning {
    match &node.value {
        Value::String(_) | Value::Array(_) => Meaning::Is(map(node, "allow", node.value.clone())),
        _ => Meaning::Unknown,
    }
}

/// `true` is the block with its defaults.
pub(super) fn if_on(node: &Node) -> Meaning {
    match node.value {
        Value::Bool(true) => Meaning::Is(Map::default()),
        Value::Bool(false) => Meaning::Unset,
        _ => Meaning::Unknown,
    }
}

/// Builds a block of one entry in place of `node`.
pub(super) fn map(node: &Node, key: &str, value: Value) -> Map {
    let span = node.span.clone();
    let entry = Entry {
        key: key.to_owned(),
        span: span.clone(),
        node: Node { value, span },
        is_variable: false,
    };
    Map { entries: vec![entry] }
}
