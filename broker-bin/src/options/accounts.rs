//! Subject spaces apart from one another.

use std::collections::BTreeMap;
use std::time::Duration;

use super::authorization::map;
use super::{AccountJetStream, Permissions, User};
use crate::config::declare::{
    block, blocks, choice, formatted, integer, list, section, strict_duration, switch, text,
};
use crate::config::kind::{Format, Kind};
use crate::config::lang::{Map, Node, Value};
use crate::config::table::Meaning;

section! {
    /// A subject space: its users, and what it shares with others.
    pub struct Account = Block::new("account");

    /// Its users.
    users: Vec<User> = Vec::new() => blocks(User::block);
    /// What users may do who have no permissions of their own.
    default_permissions: Option<Permissions> = None => block(Permissions::block).unset("everything");
    /// Its public key.
    nkey: Option<String> = None => formatted(Format::Nkey("A", "a public account key"))
        .not_yet("nkeys");
    /// What it takes from other accounts.
    imports: Vec<Import> = Vec::new() => blocks(Import::block).not_yet("imports and exports");
    /// What it offers to other accounts.
    exports: Vec<Export> = Vec::new() => blocks(Export::block).not_yet("imports and exports");
    /// Its streams.
    jetstream: Option<AccountJetStream> = None => block(AccountJetStream::block).not_yet("JetStream")
        .passed_over("as in nats-server, there are no streams without `jetstream` outside of accounts");
    /// Subjects that are published to by another name.
    mappings: BTreeMap<String, Vec<MapDestination>> = BTreeMap::new() => Key::new(Kind::NamedLists {
        name: Format::Subject, block: MapDestination::block,
    }).aliases(&["maps"]).not_yet("subject mappings");
    /// What it may use.
    limits: AccountLimits = AccountLimits::default() => block(AccountLimits::block)
        .not_yet("limits of accounts");
    /// Where the way of traced messages is told.
    msg_trace: Option<MessageTrace> = None => block(MessageTrace::block)
        .aliases(&["trace_dest"]).not_yet("message tracing");
}

section! {
    /// What an account may use; less than 0 is no limit.
    pub struct AccountLimits = Block::new("account limits");

    /// Connections.
    max_connections: i64 = -1 => integer(i64::MIN, i64::MAX).aliases(&["max_conn"]);
    /// Subscriptions of a connection.
    max_subscriptions: i64 = -1 => integer(i64::MIN, i64::MAX).aliases(&["max_subs"]);
    /// Payload of a message.
    max_payload: i64 = -1 => integer(i64::MIN, i64::MAX).aliases(&["max_pay"]);
    /// Leaf nodes.
    max_leafnodes: i64 = -1 => integer(i64::MIN, i64::MAX).aliases(&["max_leafs"]);
}

section! {
    /// Where a message goes in place of its own subject. A subject in place of the block takes all.
    pub struct MapDestination = Block::new("mapping").short("a subject, a map, or an array of maps", all);

    /// The subject, in which `$1` is what the first wildcard stood for.
    destination: Option<String> = None => text().aliases(&["dest"]).unset("must be given");
    /// How many of a hundred messages.
    weight: Option<String> = None => Key::new(Kind::Spelled(Format::Percent)).unset("must be given");
    /// Only in this cluster.
    cluster: Option<String> = None => text();
}

section! {
    /// What an account offers to others: a stream or a service.
    pub struct Export = Block::new("export");

    /// Subjects that others may subscribe to.
    stream: Option<String> = None => formatted(Format::Subject);
    /// Subjects that others may send requests to.
    service: Option<String> = None => formatted(Format::Subject);
    /// Who may have it.
    accounts: Vec<String> = Vec::new() => list(Format::Any).unset("all");
    /// How many answers a request gets.
    response_type: String = "singleton".into() => choice(&[
        "single", "singleton", "stream", "chunk", "chunked",
    ]).aliases(&["response"]);
    /// How long an answer may take.
    response_threshold: Option<Duration> = None => strict_duration()
        .aliases(&["threshold", "response_max_time", "response_time"]).unset("2m");
    /// Where it is told how long answers take.
    latency: Option<Latency> = None => block(Latency::block);
    /// Which token of the subject is the account that imports it.
    account_token_position: i64 = 0 => integer(0, 255);
    /// Traces of messages go on behind it.
    allow_trace: bool = false => switch();
}

section! {
    /// Where it is told how long answers take. A subject in place of the block is told of all.
    pub struct Latency = Block::new("latency").short("a subject or a map", latency_subject);

    /// The subject.
    subject: Option<String> = None => formatted(Format::Subject).unset("must be given");
    /// Of how many of a hundred, or `headers`: those whose headers ask for it.
    sampling: String = "100".into() => Key::new(Kind::Spelled(Format::Sampling));
}

section! {
    /// What an account takes from another: a stream or a service.
    pub struct Import = Block::new("import");

    /// The stream that is taken.
    stream: Option<Imported> = None => block(Imported::block);
    /// The service that is taken.
    service: Option<Imported> = None => block(Imported::block);
    /// What is put in front of the subjects of a stream.
    prefix: Option<String> = None => text();
    /// The subject here.
    to: Option<String> = None => text();
    /// The service may know who asks.
    share: bool = false => switch();
    /// Traces of messages go on behind it.
    allow_trace: bool = false => switch();
}

section! {
    /// What is taken from which account.
    pub struct Imported = Block::new("imported");

    /// The account.
    account: Option<String> = None => text().unset("must be given");
    /// The subject there.
    subject: Option<String> = None => formatted(Format::Subject).unset("must be given");
}

section! {
    /// Where the way of traced messages is told. A subject may stand in place of the block.
    pub struct MessageTrace = Block::new("message trace").short("a subject or a map", trace_subject);

    /// The subject.
    dest: Option<String> = None => formatted(Format::Subject);
    /// Of how many of a hundred.
    sampling: String = "100".into() => Key::new(Kind::Spelled(Format::Percent));
}

fn all(node: &Node) -> Meaning {
    if !matches!(node.value, Value::String(_)) {
        return Meaning::Unknown;
    }
    let mut entries = map(node, "destination", node.value.clone()).entries;
    entries.extend(map(node, "weight", Value::Integer(100)).entries);
    Meaning::Is(Map { entries })
}

fn latency_subject(node: &Node) -> Meaning {
    subject(node, "subject")
}

fn trace_subject(node: &Node) -> Meaning {
    subject(node, "dest")
}

fn subject(node: &Node, key: &str) -> Meaning {
    match &node.value {
        Value::String(_) => Meaning::Is(map(node, key, node.value.clone())),
        _ => Meaning::Unknown,
    }
}
