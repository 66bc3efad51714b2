//! Whether certificates have been revoked.

use std::path::PathBuf;
use std::time::Duration;

use figment::value::{Dict, Value as Plain};

use super::authorization::map;
use crate::config::declare::{choice, formatted, list, seconds, section, switch};
use crate::config::kind::Format;
use crate::config::lang::{Node, Value};
use crate::config::table::Meaning;

section! {
    /// Stapling of certificate states. A switch in place of the block is the mode `auto` or `never`.
    pub struct Ocsp = Block::new("ocsp").short("a map, true or false", mode).off(is_never);

    /// Whether states are asked for and stapled.
    mode: String = "never".into() => choice(&["auto", "always", "must", "never"]).at_once();
    /// Who is asked, in place of those whom the certificate names.
    urls: Vec<String> = Vec::new() => list(Format::Any).aliases(&["url"]).at_once();
}

section! {
    /// What is remembered of certificate states. A switch in place of the block is `local` or `none`.
    pub struct OcspCache = Block::new("ocsp cache").short("a map, true or false", kind).off(is_none);

    /// Where it is kept.
    r#type: String = "none".into() => choice(&["local", "none"]).at_once();
    /// The directory.
    local_store: PathBuf = "_rc_".into() => formatted(Format::Path).at_once();
    /// What was revoked once stays so.
    preserve_revoked: bool = false => switch().at_once();
    /// How often it is saved.
    save_interval: Duration = Duration::from_mins(5) => seconds()
        .at_once();
}

section! {
    /// What is asked about the certificates of others. A switch in place of the block is `verify`.
    pub struct OcspPeer = Block::new("ocsp peer").short("a map, true or false", verify)
        .off(verifies_nothing);

    /// Ask.
    verify: bool = false => switch().at_once();
    /// How far clocks may be apart.
    allowed_clockskew: Duration = Duration::from_secs(30) => seconds().at_once();
    /// How long the authority may take to answer.
    ca_timeout: Duration = Duration::from_secs(2) => seconds()
        .at_once();
    /// For how long an answer is believed that does not say.
    cache_ttl_when_next_update_unset: Duration = Duration::from_hours(1) => seconds().at_once();
    /// A certificate that was revoked is only logged.
    warn_only: bool = false => switch().at_once();
    /// A certificate that the authority does not know is good.
    unknown_is_good: bool = false => switch().at_once();
    /// A certificate is good if the authority cannot be asked.
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
