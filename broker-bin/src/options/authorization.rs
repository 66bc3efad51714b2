//! Who may connect, and what they may do.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use broker_core::auth::Secret;

use crate::config::declare::{
    block, blocks, formatted, integer, list, seconds, section, switch, text,
};
use crate::config::kind::{Format, Kind};
use crate::config::lang::{Entry, Map, Node, Value};
use crate::config::table::{Group, Meaning};

section! {
    /// Who may connect: one user, one token, or many users.
    pub struct Authorization = Block::new("authorization");

    /// The one user who may connect.
    user: Option<String> = None => text().aliases(&["username"]).at_once().called("username")
        .flag(Group::Authorization, &["user"], "<user>");
    /// That user's password, plain or as a bcrypt hash.
    password: Option<Secret> = None => formatted(Format::Secret).aliases(&["pass"]).at_once()
        .flag(Group::Authorization, &["pass"], "<password>");
    /// A token that every client must show, plain or as a bcrypt hash.
    token: Option<Secret> = None => formatted(Format::Secret).at_once()
        .flag(Group::Authorization, &["auth"], "<token>");
    /// How long a client may take to say who it is.
    timeout: Duration = Duration::from_secs(2) => seconds()
        .zero_is_default().new_connections();
    /// Users who may connect.
    users: Option<Vec<User>> = None => blocks(User::block).at_once();
    /// What users may do who have no permissions of their own.
    default_permissions: Option<Permissions> = None => block(Permissions::block)
        .aliases(&["default_permission", "permissions"]).unset("everything").at_once();
    /// A service that is asked who may connect.
    auth_callout: Option<AuthCallout> = None => block(AuthCallout::block)
        .aliases(&["auth_hook"]).not_yet("auth callouts");
    /// Clients must come by a trusted proxy.
    proxy_required: bool = false => switch().not_yet("trusted proxies");
    /// The block is there, if only an empty one: then clients need credentials beside a system account with
    /// users.
    is_written: bool = false => switch().internal().at_once().called("block");
}

section! {
    /// Somebody who may connect.
    pub struct User = Block::new("user");

    /// The name.
    user: Option<String> = None => text().aliases(&["username"]).unset("must be given");
    /// The password, plain or as a bcrypt hash.
    password: Secret = Secret::default() => formatted(Format::Secret).aliases(&["pass"]);
    /// What the user may do.
    permissions: Option<Arc<Permissions>> = None => block(Permissions::block)
        .aliases(&["permission", "authorization"]).unset("the default permissions");
    /// The ways by which the user may connect.
    allowed_connection_types: Vec<String> = Vec::new() => list(Format::ConnectionKind)
        .aliases(&["connection_types", "clients"]).unset("all");
    /// The user's public key, in place of name and password.
    nkey: Option<String> = None => formatted(Format::Nkey("U", "a public user key")).not_yet("nkeys");
    /// The user must come by a trusted proxy.
    proxy_required: bool = false => switch().not_yet("trusted proxies");
}

section! {
    /// Where one may publish and subscribe.
    pub struct Permissions = Block::new("permissions");

    /// Where one may publish.
    publish: Option<SubjectLists> = None => block(SubjectLists::block)
        .aliases(&["pub", "import"]).unset("everywhere").at_once();
    /// Where one may subscribe; an entry may name a queue group after the subject.
    subscribe: Option<SubjectLists> = None => block(SubjectLists::block)
        .aliases(&["sub", "export"]).unset("everywhere").at_once();
    /// One may answer requests, whatever `publish` says.
    allow_responses: Option<AllowResponses> = None => block(AllowResponses::block)
        .aliases(&["publish_allow_responses"]).unset("false").at_once();
}

section! {
    /// Subjects that are allowed, but for those that are denied. A subject, or an array of them, in place
    /// of the block is what is allowed.
    pub struct SubjectLists = Block::new("subjects")
        .short("a subject, an array of subjects, or a map of \"allow\" and \"deny\"", allowed);

    /// What is allowed; an empty list allows everything, as in nats-server.
    allow: Vec<String> = Vec::new() => list(Format::SubjectAndQueue).unset("everything").at_once();
    /// What is denied.
    deny: Vec<String> = Vec::new() => list(Format::SubjectAndQueue).unset("nothing").at_once();
}

section! {
    /// How often, and for how long, a request may be answered. `true` is the block with its defaults.
    pub struct AllowResponses = Block::new("allow responses")
        .short("a map, true or false", if_on);

    /// Answers to a request; less than 0 is no limit.
    max: i64 = 1 => integer(i64::MIN, i64::MAX).zero_is_default()
        .aliases(&["max_msgs", "max_messages", "max_responses"]).at_once();
    /// For how long after a request; less than `"0s"` is for ever.
    expires: Option<Duration> = Some(Duration::from_mins(2)) => Key::new(Kind::Lifetime)
        .zero_is_default().aliases(&["expiration", "ttl"]).at_once();
}

section! {
    /// A service that is asked who may connect.
    pub struct AuthCallout = Block::new("auth callout").off(|_| false);

    /// Public key of the account that signs the answers.
    issuer: Option<String> = None => formatted(Format::Nkey("A", "a public account key"))
        .unset("must be given");
    /// The account that the service is in.
    account: String = "$G".into() => text().aliases(&["acc"]);
    /// Users who are not asked about: the service itself.
    auth_users: Vec<String> = Vec::new() => list(Format::Any).aliases(&["users"]).unset("must be given");
    /// Public key that questions are encrypted with.
    xkey: Option<String> = None => formatted(Format::Nkey("X", "a public curve key")).aliases(&["key"]);
    /// Accounts that the service may put users into.
    allowed_accounts: Vec<String> = Vec::new() => list(Format::Any).unset("all");
}

/// Permissions in the same words are kept once.
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

/// A subject or some, in place of the block.
fn allowed(node: &Node) -> Meaning {
    match &node.value {
        Value::String(_) | Value::Array(_) => Meaning::Is(map(node, "allow", node.value.clone())),
        _ => Meaning::Unknown,
    }
}

/// `true` for the block with its defaults.
pub(super) fn if_on(node: &Node) -> Meaning {
    match node.value {
        Value::Bool(true) => Meaning::Is(Map::default()),
        Value::Bool(false) => Meaning::Unset,
        _ => Meaning::Unknown,
    }
}

/// A block of one entry, in the place of `node`.
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
