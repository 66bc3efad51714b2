//! Accounts: isolated subject spaces.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_core::Subject;
use broker_core::account::{AccountConfig, TraceDestination};

use super::authorization::map;
use super::{AccountJetStream, Permissions, User};
use crate::config::declare::{
    block, blocks, choice, formatted, integer, list, section, strict_duration, switch, text,
    with_jwt, with_streams,
};
use crate::config::format::percent;
use crate::config::kind::{Format, Kind};
use crate::config::lang::{Map, Node, Value};
use crate::config::table::Meaning;

section! {
    /// An isolated subject space: its users, and what it shares with other accounts.
    pub struct Account = Block::new("account");

    /// Its users.
    users: Vec<User> = Vec::new() => blocks(User::block);
    /// Permissions of users who have none of their own.
    default_permissions: Option<Permissions> = None => block(Permissions::block).unset("everything");
    /// Its public key.
    nkey: Option<String> = None => with_jwt(formatted(Format::Nkey("A", "a public account key")));
    /// Streams and services imported from other accounts.
    imports: Vec<Import> = Vec::new() => blocks(Import::block);
    /// Streams and services exported to other accounts.
    exports: Vec<Export> = Vec::new() => blocks(Export::block);
    /// JetStream in this account.
    jetstream: Option<AccountJetStream> = None => with_streams(block(AccountJetStream::block));
    /// Rewrites the subjects of published messages.
    mappings: BTreeMap<String, Vec<MapDestination>> = BTreeMap::new() => Key::new(Kind::NamedLists {
        name: Format::Subject, block: MapDestination::block,
    }).aliases(&["maps"]);
    /// Limits of the account.
    limits: AccountLimits = AccountLimits::default() => block(AccountLimits::block);
    /// Destination of the traces of messages that a tracing system has marked by the header `traceparent`.
    msg_trace: Option<MessageTrace> = None => block(MessageTrace::block)
        .aliases(&["trace_dest"]);
}

section! {
    /// Limits of an account; -1 is unlimited.
    pub struct AccountLimits = Block::new("account limits");

    /// Connections.
    max_connections: i64 = -1 => integer(-1, i64::MAX).aliases(&["max_conn"]);
    /// Subscriptions per connection.
    max_subscriptions: i64 = -1 => integer(-1, i64::MAX).aliases(&["max_subs"]);
    /// Payload size of a message.
    max_payload: i64 = -1 => integer(-1, i64::MAX).aliases(&["max_pay"]);
    /// Leaf nodes.
    max_leafnodes: i64 = -1 => integer(-1, i64::MAX).aliases(&["max_leafs"]);
}

section! {
    /// The new subject of mapped messages. A subject in place of the block maps all of them.
    pub struct MapDestination = Block::new("mapping").short("a subject, a map, or an array of maps", all);

    /// The subject; `$1` or `{{wildcard(1)}}` is replaced by the token that matched the first wildcard.
    /// Other functions: `partition`, `random`, `split`, `splitfromleft`, `splitfromright`,
    /// `slicefromleft`, `slicefromright`, `left`, `right`.
    destination: Option<String> = None => text().aliases(&["dest"]).unset("must be given");
    /// The percentage of messages mapped.
    weight: Option<String> = None => Key::new(Kind::Spelled(Format::Percent)).unset("must be given");
    /// Applies in this cluster only.
    cluster: Option<String> = None => text();
}

section! {
    /// A stream or service exported to other accounts.
    pub struct Export = Block::new("export");

    /// Subjects that others may subscribe to.
    stream: Option<String> = None => formatted(Format::Subject);
    /// Subjects to which others may send requests.
    service: Option<String> = None => formatted(Format::Subject);
    /// Accounts that may import it.
    accounts: Vec<String> = Vec::new() => list(Format::Any).unset("all");
    /// The number of responses to a request.
    response_type: Option<String> = None => choice(&[
        "single", "singleton", "stream", "chunk", "chunked",
    ]).aliases(&["response"]).unset("singleton");
    /// The maximum time between two responses.
    response_threshold: Option<Duration> = None => strict_duration()
        .aliases(&["threshold", "response_max_time", "response_time"]).unset("2m");
    /// Publication of response times.
    latency: Option<Latency> = None => block(Latency::block);
    /// Position of the token that names the importing account.
    account_token_position: i64 = 0 => integer(0, 255);
    /// Message traces continue beyond the export.
    allow_trace: bool = false => switch();
}

section! {
    /// Publication of response times. A subject in place of the block publishes all of them.
    pub struct Latency = Block::new("latency").short("a subject or a map", latency_subject);

    /// The subject.
    subject: Option<String> = None => formatted(Format::Subject).unset("must be given");
    /// The percentage of requests measured, or `headers` for requests whose headers ask for it.
    sampling: String = "100".into() => Key::new(Kind::Spelled(Format::Sampling));
}

section! {
    /// A stream or service imported from another account.
    pub struct Import = Block::new("import");

    /// The imported stream.
    stream: Option<Imported> = None => block(Imported::block);
    /// The imported service.
    service: Option<Imported> = None => block(Imported::block);
    /// Prefix of the stream's subjects in this account.
    prefix: Option<String> = None => text();
    /// The subject in this account; `$1` and `*` stand for the tokens that matched the wildcards of the imported one.
    to: Option<String> = None => text();
    /// Shares the requester's identity with the service.
    share: bool = false => switch();
    /// Message traces continue beyond the import.
    allow_trace: bool = false => switch();
}

section! {
    /// The exporting account and its subject.
    pub struct Imported = Block::new("imported");

    /// The account.
    account: Option<String> = None => text().unset("must be given");
    /// The subject in that account.
    subject: Option<String> = None => formatted(Format::Subject).unset("must be given");
}

section! {
    /// Destination of message traces. A subject may stand in place of the block.
    pub struct MessageTrace = Block::new("message trace").short("a subject or a map", trace_subject);

    /// The subject.
    dest: Option<String> = None => formatted(Format::Literal).unset("none: no messages are traced");
    /// The percentage of the marked messages that are traced.
    sampling: String = "100".into() => Key::new(Kind::Spelled(Format::Share));
}

impl Account {
    /// Returns the account as the broker has it.
    pub(super) fn config(&self, name: &str) -> AccountConfig {
        let mut config = AccountConfig::new(name);
        config.trace_destination = self.msg_trace.as_ref().and_then(MessageTrace::destination);
        config
    }
}

impl MessageTrace {
    fn destination(&self) -> Option<TraceDestination> {
        // Both have been checked.
        let subject = Subject::parse(self.dest.as_deref()?).ok()?;
        Some(TraceDestination::new(subject).with_sampling(percent(&self.sampling)?))
    }
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
