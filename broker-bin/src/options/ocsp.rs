//! Revocation of certificates.

use std::path::PathBuf;
use std::time::Duration;

use figment::value::{Dict, Value as Plain};

use super::authorization::map;
use crate::config::declare::{choice, formatted, list, seconds, section, switch};
use crate::config::kind::Format;
use crate::config::lang::{Node, Value};
use crate::config::table::Meaning;

section! {
    /// OCSP stapling. A switch in place of the block is the mode `auto` or `never`.
    pub struct Ocsp = Block::new("ocsp").short("a map, true or false", mode).off(is_never);

    /// When OCSP responses are fetched and stapled.
    mode: String = "never".into() => choice(&["auto", "always", "must", "never"]).at_once();
    /// Responders, in place of those in the certificate.
    urls: Vec<String> = Vec::new() => list(Format::Any).aliases(&["url"]).at_once();
}

section! {
    /// Cache of OCSP responses. A switch in place of the block is `local` or `none`.
    pub struct OcspCache = Block::new("ocsp cache").short("a map, true or false", kind).off(is_none);

    /// Kind of the cache.
    r#type: String = "none".into() => choice(&["local", "none"]).at_once();
    /// The directory.
    local_store: PathBuf = "_rc_".into() => formatted(Format::Path).at_once();
    /// Keeps revocations forever.
    preserve_revoked: bool = false => switch().at_once();
    /// Interval of saving.
    save_interval: Duration = Duration::from_mins(5) => seconds()
        .at_once();
}

section! {
    /// OCSP checks of peers' certificates. A switch in place of the block is `verify`.
    pub struct OcspPeer = Block::new("ocsp peer").short("a map, true or false", verify)
        .off(verifies_nothing);

    /// Enables the checks.
    verify: bool = false => switch().at_once();
    /// Tolerated clock skew.
    allowed_clockskew: Duration = Duration::from_secs(30) => seconds().at_once();
    /// Timeout of the responder.
    ca_timeout: Duration = Duration::from_secs(2) => seconds()
        .at_once();
    /// Lifetime of a response that states none.
    cache_ttl_when_next_update_unset: Duration = Duration::from_hours(1) => seconds().at_once();
    /// Only logs revoked certificates.
    warn_only: bool = false => switch().at_once();
    /// Accepts certificates that the responder does not know.
    unknown_is_good: bool = false => switch().at_once();
    /// Accepts certificates if the responder is unreachable.
    allow_when_ca_unreachable: bool = false => switch().at_once();
}

fn mode(node: &Node) -> Meaning {
    word(node, "mode", ["auto", "never"])
}

fn kind(node: &Node) -> Meaning {
    word(node, "type", ["local", "none"])
}

fn word(node: &Node, key: &str, [on, off]: [&str; 2]) -> Meaning {
    match node.value {
        Value::Bool(is_on) => {
            Meaning::Is(map(node, key, Value::String(if is_on { on } else { off }.into())))
        }
        _ => Meaning::Unknown,
    }
}

fn verify(node: &Node) -> Meaning {
    match &node.value {
        Value::Bool(_) => Meaning::Is(map(node, "verify", node.value.clone())),
        _ => Meaning::Unknown,
    }
}

fn verifies_nothing(block: &Dict) -> bool {
    block.get("verify").and_then(Plain::to_bool) != Some(true)
}

fn is_never(block: &Dict) -> bool {
    block.get("mode").and_then(Plain::as_str) == Some("never")
}

fn is_none(block: &Dict) -> bool {
    block.get("type").and_then(Plain::as_str) == Some("none")
}
