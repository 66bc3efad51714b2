//! Who vouches for whom: resolvers of accounts, and proxies.

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
    /// Where the JWTs of accounts are found. `MEM` or `URL(address)` may stand in place of the block.
    pub struct Resolver = Block::new("resolver")
        .short("MEM, URL(address), or a map", place).off(is_memory);

    /// `mem`, `full`, `cache`, or `url`.
    r#type: String = "mem".into() => choice(&["mem", "memory", "full", "cache", "url"]);
    /// The directory of a `full` or `cache` resolver.
    dir: Option<PathBuf> = None => formatted(Format::Path);
    /// The address of a `url` resolver.
    url: Option<Secret> = None => formatted(Format::Url);
    /// Accounts may be removed from the directory.
    allow_delete: bool = false => switch();
    /// What is removed is not kept by another name.
    hard_delete: bool = false => switch();
    /// How many accounts the directory may hold; 0 is no limit.
    limit: i64 = 0 => integer(0, i64::MAX);
    /// For how long an account is kept.
    ttl: Option<Duration> = None => strict_duration();
    /// How often servers compare their directories.
    interval: Option<Duration> = None => strict_duration();
    /// How long other servers may take to answer.
    timeout: Option<Duration> = None => strict_duration();
}

section! {
    /// Proxies that may speak for clients.
    pub struct Proxies = Block::new("proxies").off(trusts_nobody);

    /// Their keys.
    trusted: Vec<TrustedProxy> = Vec::new() => blocks(TrustedProxy::block).at_once();
}

section! {
    /// A proxy that may speak for clients.
    pub struct TrustedProxy = Block::new("trusted proxy");

    /// Its public key.
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

/// Without operators nothing is asked of it.
fn is_memory(block: &figment::value::Dict) -> bool {
    matches!(block.get("type").and_then(|kind| kind.as_str()), Some("mem" | "memory"))
}

fn trusts_nobody(block: &figment::value::Dict) -> bool {
    block.get("trusted").and_then(|list| list.as_array()).is_none_or(<[_]>::is_empty)
}
