//! Account resolvers and trusted proxies.

use std::path::PathBuf;
use std::time::Duration;

use broker_core::auth::Secret;

use super::authorization::map;
use crate::config::declare::{
    blocks, choice, formatted, integer, section, strict_duration, switch,
};
use crate::config::kind::Format;
use crate::config::lang::{Node, Value};
use crate::config::table::Meaning;

section! {
    /// Source of the accounts' JWTs. `MEM` or `URL(address)` may stand in place of the block.
    pub struct Resolver = Block::new("resolver")
        .short("MEM, URL(address), or a map", place).off(is_memory);

    /// `mem`, `full`, `cache`, or `url`.
    r#type: String = "mem".into() => choice(&["mem", "memory", "full", "cache", "url"]);
    /// Directory of a `full` or `cache` resolver.
    dir: Option<PathBuf> = None => formatted(Format::Path);
    /// Address of a `url` resolver.
    url: Option<Secret> = None => formatted(Format::Url);
    /// Allows removing accounts from the directory.
    allow_delete: bool = false => switch();
    /// Deletes removed accounts instead of renaming them.
    hard_delete: bool = false => switch();
    /// Maximum number of accounts in the directory; 0 is unlimited.
    limit: i64 = 0 => integer(0, i64::MAX);
    /// Lifetime of an account.
    ttl: Option<Duration> = None => strict_duration();
    /// Interval of comparing directories between servers.
    interval: Option<Duration> = None => strict_duration();
    /// Timeout of requests to other servers.
    timeout: Option<Duration> = None => strict_duration();
}

section! {
    /// Proxies that may connect on behalf of clients.
    pub struct Proxies = Block::new("proxies").off(trusts_nobody);

    /// Keys of the proxies.
    trusted: Vec<TrustedProxy> = Vec::new() => blocks(TrustedProxy::block).at_once();
}

section! {
    /// A proxy that may connect on behalf of clients.
    pub struct TrustedProxy = Block::new("trusted proxy");

    /// Public key of the proxy.
    key: Option<String> = None => formatted(Format::Nkey("", "a public key")).aliases(&["public_key"])
        .unset("must be given");
}

// NATS 2.14: opts.go, the expressions for MEM and URL(...).
fn place(node: &Node) -> Meaning {
    let Value::String(text) = &node.value else { return Meaning::Unknown };
    let upper = text.trim().to_ascii_uppercase();
    if matches!(upper.as_str(), "MEM" | "MEMORY") {
        return Meaning::Is(map(node, "type", Value::String("mem".into())));
    }
    let Some(rest) = upper.starts_with("URL").then(|| &text.trim()[3..]) else {
        return Meaning::Unknown;
    };
    let url = rest.trim().trim_start_matches('(').trim_end_matches(')').trim().trim_matches('"');
    let mut entries = map(node, "type", Value::String("url".into())).entries;
    entries.extend(map(node, "url", Value::String(url.to_owned())).entries);
    Meaning::Is(crate::config::lang::Map { entries })
}

/// Without operators the resolver is unused.
fn is_memory(block: &figment::value::Dict) -> bool {
    matches!(block.get("type").and_then(|kind| kind.as_str()), Some("mem" | "memory"))
}

fn trusts_nobody(block: &figment::value::Dict) -> bool {
    block.get("trusted").and_then(|list| list.as_array()).is_none_or(<[_]>::is_empty)
}
